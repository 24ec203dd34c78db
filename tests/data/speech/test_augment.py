"""Conversions keep what they should and remove what they should; random changes stay within their bounds."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from bigmodel_lab.data.speech.augment import add_noise, low_pass, mask, resample, shift, to_float, to_mono
from bigmodel_lab.errors import InputError


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hertz, rate, seconds=0.5):
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(rate * seconds), dtype=torch.float64) / rate)


@pytest.mark.parametrize(("rate", "to"), [(16000, 8000), (8000, 16000), (22050, 8000), (44100, 16000), (8000, 11025)])
def test_a_tone_is_the_same_tone_at_another_rate(rate, to):
    made = resample(tone(440, rate), rate, to)
    wanted = tone(440, to, 0.6)[: len(made)]
    assert len(made) == -(-len(tone(440, rate)) * to // rate)  # rounded up
    inside = slice(to // 20, -to // 20)  # the ends meet the silence outside
    assert (made - wanted)[inside].abs().max() < 2e-3


@pytest.mark.parametrize("rate", [16000, 22050])
def test_what_the_lower_rate_cannot_hold_is_removed_not_folded(rate):
    made = resample(tone(5000, rate), rate, 8000)
    folded = tone(5000, rate)[:: rate // 8000]
    assert made[400:-400].abs().max() < 2e-3
    assert folded.abs().max() > 0.9  # leaving samples out folds it down to 3000 Hz


def test_resampling_agrees_with_scipy_on_speech_like_noise():
    generator = np.random.default_rng(0)
    wave = np.convolve(generator.normal(size=8000), np.hanning(25) / 12, "same")  # little above 2 kHz
    made = resample(torch.from_numpy(wave), 16000, 8000).numpy()
    wanted = resample_poly(wave, 1, 2)
    assert np.abs(made - wanted)[200:-200].max() < 0.01 * np.abs(wanted).max()


def test_resampling_keeps_batches_kinds_and_the_same_rate():
    waves = torch.rand(2, 3, 800, generator=drawn())
    assert resample(waves, 8000, 8000) is waves
    assert resample(waves, 8000, 4000).shape == (2, 3, 400)
    torch.testing.assert_close(resample(waves, 8000, 4000)[1, 2], resample(waves[1, 2], 8000, 4000))
    assert resample(waves[0, 0, :801], 8000, 11025).shape == (-(-800 * 11025 // 8000),)


def test_a_low_pass_keeps_low_tones_and_removes_high_ones():
    for hertz, kept in ((300, 1.0), (2000, 0.0)):
        made = low_pass(tone(hertz, 8000), 8000, 1000)
        assert abs(made[1000:3000].abs().max() - kept) < 0.02
    with pytest.raises(InputError, match="4000"):
        low_pass(tone(300, 8000), 8000, 5000)


@pytest.mark.parametrize("snr", [-10, 0, 20])
def test_noise_has_the_ratio_that_was_asked_for(snr):
    waves = 0.05 * torch.stack([tone(440, 8000), 0.1 * tone(700, 8000)]).float()
    noise = add_noise(waves, drawn(), snr=snr) - waves
    found = 10 * torch.log10(waves.square().mean(1) / noise.square().mean(1))
    assert (found - snr).abs().max() < 0.3


def test_noise_stays_within_the_recording_and_its_range():
    waves = torch.cat([tone(440, 8000).float()[None] * 0.1, torch.zeros(1, 4000)], dim=1)
    lengths = torch.tensor([4000])
    made = add_noise(waves, drawn(), snr=10, lengths=lengths)
    assert not made[:, 4000:].any()
    noise = (made - waves)[:, :4000]
    assert abs(10 * torch.log10(waves[:, :4000].square().mean() / noise.square().mean()) - 10) < 0.3
    many = waves[:, :4000].repeat(200, 1)
    noise = add_noise(many, drawn(), snr=(0.0, 20.0)) - many
    found = 10 * torch.log10(many.square().mean(1) / noise.square().mean(1))
    assert -0.5 < found.min() < 2
    assert 18 < found.max() < 20.5
    assert add_noise(torch.ones(1, 100), drawn(), snr=-20).abs().max() == 1


@pytest.mark.parametrize(
    ("waves", "snr", "message"),
    [
        (torch.stack([torch.ones(8), torch.zeros(8)]), 10, "wave 1"),
        (torch.ones(8), 10, r"\(N, T\)"),
        (torch.ones(2, 8).short(), 10, "to_float"),
        (torch.ones(2, 8), float("nan"), "dB"),
        (torch.ones(2, 8), (20, 10), "dB"),
    ],
)
def test_noise_that_means_nothing_is_refused(waves, snr, message):
    with pytest.raises(InputError, match=message):
        add_noise(waves, drawn(), snr=snr)


def test_a_shift_moves_each_wave_and_fills_with_zeros():
    waves = torch.arange(1.0, 21).repeat(300, 1)
    made = shift(waves, drawn(), most=5)
    seen = set()
    for row in made:
        by = next(by for by in range(-5, 6) if torch.equal(row, moved(waves[0], by)))
        seen.add(by)
    assert seen == set(range(-5, 6))
    assert torch.equal(shift(waves, drawn(), most=0), waves)
    with pytest.raises(InputError, match="most"):
        shift(waves, drawn(), most=-1)


def moved(wave, by):
    held = torch.zeros_like(wave)
    held[max(0, by) : len(wave) + min(0, by)] = wave[max(0, -by) : len(wave) - max(0, by)]
    return held


def test_a_mask_hides_one_stretch_of_frames_and_one_of_bands():
    features = torch.randn(200, 30, 12, generator=drawn())
    made = mask(features, drawn(), frames=10, mels=4)
    mean = features.mean((1, 2))
    widths = []
    for before, after, value in zip(features, made, mean, strict=True):
        hidden = after != before
        torch.testing.assert_close(after[hidden], value.expand(int(hidden.sum())))
        rows, columns = hidden.all(1), hidden.all(0)
        assert torch.equal(hidden, rows[:, None] | columns)
        for line in (rows, columns):
            assert line.int().diff().abs().sum() <= 2  # one stretch
        widths.append((int(rows.sum()), int(columns.sum())))
    assert max(w[0] for w in widths) == 10
    assert max(w[1] for w in widths) == 4
    with pytest.raises(InputError, match="mels"):
        mask(features, drawn(), frames=3, mels=13)
    with pytest.raises(InputError, match=r"\(N, F, M\)"):
        mask(features[0], drawn(), frames=3, mels=3)


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        (torch.tensor([-32768, 0, 16384], dtype=torch.int16), [-1.0, 0.0, 0.5]),
        (torch.tensor([-(2**31), 2**30], dtype=torch.int32), [-1.0, 0.5]),
        (torch.tensor([0, 128, 192], dtype=torch.uint8), [-1.0, 0.0, 0.5]),
        (torch.tensor([0.25], dtype=torch.float64), [0.25]),
    ],
)
def test_samples_become_floats(samples, wanted):
    made = to_float(samples)
    assert made.dtype == torch.float32
    assert made.tolist() == wanted


def test_channels_are_averaged():
    stereo = torch.tensor([[1.0, 0.5], [0.0, -0.5]])
    assert to_mono(stereo).tolist() == [0.5, 0.0]
    for wrong in (torch.zeros(8), torch.zeros(8000, 2), torch.zeros(2, 8).short()):
        with pytest.raises(InputError, match="channels"):
            to_mono(wrong)


@pytest.mark.parametrize("wrong", [torch.tensor([True]), [0.5]], ids=["truth", "list"])
def test_what_is_no_sample_is_refused(wrong):
    with pytest.raises(InputError, match="samples"):
        to_float(wrong)


@pytest.mark.parametrize(("rate", "to"), [(0, 8000), (8000, -1), (8000.5, 8000)])
def test_impossible_rates_are_refused(rate, to):
    with pytest.raises(InputError, match="integer of at least 1"):
        resample(torch.zeros(10), rate, to)


def test_a_ratio_that_would_need_thousands_of_filters_is_refused():
    with pytest.raises(InputError, match=r"8000 / 6667[\s\S]*to=6640"):
        resample(torch.zeros(100), 8000, 6667)
    assert resample(torch.zeros(100), 8000, 6640).shape == (83,)


def test_an_empty_wave_is_refused():
    with pytest.raises(InputError, match="at least one sample"):
        resample(torch.zeros(0), 16000, 8000)
