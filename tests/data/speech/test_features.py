"""Features against librosa and SciPy, the way back to a wave on a voice, and what each function refuses."""

import math

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from bigmodel_lab.data.speech.features import (
    FLOOR,
    griffin_lim,
    log_mel,
    mel_filters,
    mel_to_magnitude,
    mfcc,
    spectrogram,
    warp,
)
from bigmodel_lab.errors import InputError

RATE = 8000


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """The tests of explanations switch numba's compiler off for the whole process, and librosa cannot do without."""
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)


def voice(seconds: float = 0.8) -> torch.Tensor:
    """A gliding voice: pulses of the vocal cords at 90-160 Hz through three moving resonances, with hiss and a stop."""
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 125 + 35 * np.sin(2 * np.pi * 1.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    source = sum(np.cos(k * phase) / k for k in range(1, 24))
    source += np.random.default_rng(0).normal(size=len(t)) * 0.05
    wave = source
    for centre, width in ((600, 90), (1300, 120), (2500, 180)):
        pole = np.exp(-np.pi * width / RATE + 2j * np.pi * centre / RATE)
        wave = scipy.signal.lfilter([1.0], np.real(np.poly([pole, pole.conjugate()])), wave)
    wave[len(t) // 2 : len(t) // 2 + 700] = 0.0
    return torch.from_numpy(wave / np.abs(wave).max() * 0.8).float()


@pytest.fixture(scope="module")
def wave() -> torch.Tensor:
    return voice()


def near_librosa(filters: torch.Tensor, rate: int) -> bool:
    mels, bins = filters.shape
    theirs = librosa.filters.mel(sr=rate, n_fft=2 * (bins - 1), n_mels=mels)
    return bool(np.abs(filters.numpy() - theirs).max() < 1e-6)


class TestMelFilters:
    @pytest.mark.parametrize(("mels", "bins", "rate"), [(40, 129, 8000), (24, 129, 8000), (80, 513, 22050)])
    def test_they_are_librosas(self, mels, bins, rate):
        filters = mel_filters(mels, bins, rate)
        assert filters.dtype == torch.float32
        assert near_librosa(filters, rate)

    def test_the_other_mel_scale_would_be_noticed(self):
        htk = librosa.filters.mel(sr=RATE, n_fft=256, n_mels=40, htk=True)
        shifted = mel_filters(40, 129, RATE).roll(1, dims=1)
        assert not near_librosa(torch.from_numpy(htk), RATE)
        assert not near_librosa(shifted, RATE)

    def test_a_flat_spectrum_gives_equal_bands(self):
        bands = mel_filters(40, 4097, RATE).double() @ torch.full((4097,), RATE / 2 / 4096, dtype=torch.float64)
        torch.testing.assert_close(bands, torch.ones(40, dtype=torch.float64), atol=0.01, rtol=0)

    def test_a_band_that_would_hear_nothing_is_refused(self):
        with pytest.raises(InputError, match="bands between two of 129 bins"):
            mel_filters(200, 129, RATE)

    @pytest.mark.parametrize("sizes", [(0, 129, 8000), (40, 129, 0), (40, 0, 8000), (4.0, 129, 8000)])
    def test_sizes_that_make_no_filters_are_refused(self, sizes):
        with pytest.raises(InputError, match="integer of at least 1"):
            mel_filters(*sizes)


class TestSpectrogram:
    @pytest.mark.parametrize(("window", "hop"), [(256, 80), (512, 128)])
    def test_it_is_librosas(self, wave, window, hop):
        theirs = np.abs(librosa.stft(wave.numpy(), n_fft=window, hop_length=hop, window="hann", pad_mode="constant")).T
        ours = spectrogram(wave, window=window, hop=hop)
        assert ours.shape == (1 + len(wave) // hop, window // 2 + 1)
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)
        np.testing.assert_allclose(ours.square().numpy(), theirs**2, rtol=1e-3, atol=1e-3)

    def test_it_is_scipys(self, wave):
        double = wave.double()
        engine = scipy.signal.ShortTimeFFT(scipy.signal.get_window("hann", 256), hop=80, fs=RATE)
        frames = 1 + len(wave) // 80
        theirs = np.abs(engine.stft(double.numpy(), p0=0, p1=frames)).T
        np.testing.assert_allclose(spectrogram(double).numpy(), theirs, atol=1e-9)

    def test_a_pure_tone_stands_in_its_bin(self):
        tone = torch.sin(2 * math.pi * 1000 * torch.arange(RATE) / RATE)
        inside = spectrogram(tone)[5:-5]
        assert (inside.argmax(-1) == 32).all()  # 1000 Hz / (8000 Hz / 256)
        torch.testing.assert_close(inside[:, 32], torch.full((len(inside),), 64.0), atol=0.05, rtol=0)  # window sum / 2

    @pytest.mark.parametrize("shape", [(2, 3), (4,), ()])
    def test_batches_are_waves_one_by_one(self, shape):
        waves = torch.randn(*shape, 900, generator=torch.Generator().manual_seed(0))
        together = spectrogram(waves)
        assert together.shape == (*shape, 12, 129)
        one_by_one = torch.stack([spectrogram(one) for one in waves.reshape(-1, 900)])
        torch.testing.assert_close(together.reshape(-1, 12, 129), one_by_one)


class TestLogMel:
    def test_it_is_the_logarithm_of_librosas(self, wave):
        theirs = librosa.feature.melspectrogram(
            y=wave.numpy(), sr=RATE, n_fft=256, hop_length=80, n_mels=40, pad_mode="constant", power=2.0
        )
        ours = log_mel(wave[None], RATE)
        assert ours.shape == (1, 1 + len(wave) // 80, 40)
        np.testing.assert_allclose(ours[0].numpy(), np.log(np.maximum(theirs.T, FLOOR)), atol=1e-3)

    def test_silence_is_the_floor(self):
        torch.testing.assert_close(log_mel(torch.zeros(800), RATE), torch.full((11, 40), math.log(FLOOR)))

    def test_gradients_reach_the_wave(self, wave):
        x = wave.clone().requires_grad_()
        log_mel(x, RATE).mean().backward()
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0


class TestMfcc:
    def test_it_is_scipys_cosine_transform_of_the_bands(self, wave):
        theirs = scipy.fft.dct(log_mel(wave, RATE).double().numpy(), type=2, norm="ortho", axis=-1)
        np.testing.assert_allclose(mfcc(wave, RATE, coefficients=40).numpy(), theirs, atol=1e-3)

    def test_it_is_librosas_in_other_units(self, wave):
        power = librosa.feature.melspectrogram(
            y=wave.numpy(), sr=RATE, n_fft=256, hop_length=80, n_mels=40, pad_mode="constant"
        )
        decibels = librosa.power_to_db(power, amin=FLOOR, top_db=None)
        theirs = librosa.feature.mfcc(S=decibels, n_mfcc=13).T
        ours = mfcc(wave, RATE)
        assert ours.shape == (1 + len(wave) // 80, 13)
        np.testing.assert_allclose(ours.numpy() * 10 / math.log(10), theirs, atol=1e-2)

    def test_more_coefficients_than_bands_are_refused(self, wave):
        with pytest.raises(InputError, match="at most as many coefficients as mels, 40"):
            mfcc(wave, RATE, coefficients=41)


def convergence(wave: torch.Tensor, magnitude: torch.Tensor) -> float:
    """Spectral convergence: the norm of what is wrong by the norm of what is wanted."""
    return ((spectrogram(wave) - magnitude).norm() / magnitude.norm()).item()


class TestGriffinLim:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_a_voice_comes_back(self, wave, seed):
        magnitude = spectrogram(wave)
        back = griffin_lim(magnitude, seed=seed)
        assert back.shape == ((len(magnitude) - 1) * 80,)
        assert convergence(back, magnitude) < 0.15
        assert convergence(griffin_lim(magnitude, rounds=1, seed=seed), magnitude) > 0.25  # rounds do it

    def test_it_is_about_as_near_as_librosas(self, wave):
        magnitude = spectrogram(wave)
        theirs = librosa.griffinlim(
            magnitude.T.numpy(), n_iter=60, hop_length=80, n_fft=256, window="hann", pad_mode="constant", random_state=0
        )
        assert convergence(griffin_lim(magnitude), magnitude) < 1.2 * convergence(torch.from_numpy(theirs), magnitude)

    def test_the_same_seed_gives_the_same_wave_and_the_global_generator_is_left_alone(self, wave):
        magnitude = spectrogram(wave[:2000])
        before = torch.get_rng_state()
        first, second = griffin_lim(magnitude, rounds=3), griffin_lim(magnitude, rounds=3)
        assert torch.equal(first, second)
        assert not torch.equal(first, griffin_lim(magnitude, rounds=3, seed=1))
        assert torch.equal(before, torch.get_rng_state())

    def test_a_batch_comes_back_as_a_batch(self, wave):
        magnitude = spectrogram(torch.stack([wave[:1600], wave[1600:3200]]))
        assert griffin_lim(magnitude, rounds=2).shape == (2, 1600)

    @pytest.mark.parametrize("rows", [1, 5])
    def test_what_is_no_magnitude_is_refused(self, rows):
        magnitude = torch.ones(rows, 129) if rows == 1 else -torch.ones(rows, 129)
        with pytest.raises(InputError, match="at least 2 frames, magnitudes of at least 0"):
            griffin_lim(magnitude)


class TestMelToMagnitude:
    def test_the_bands_of_what_it_finds_are_the_bands_asked_for(self, wave):
        bands = log_mel(wave, RATE)
        magnitude = mel_to_magnitude(bands, RATE)
        assert magnitude.shape == (len(bands), 129)
        assert (magnitude >= 0).all()
        wanted = bands.exp() * (bands > math.log(FLOOR) + 1e-4)
        again = magnitude.square() @ mel_filters(40, 129, RATE).T
        assert ((again - wanted).norm() / wanted.norm()).item() < 0.01

    def test_it_is_as_near_to_the_truth_as_librosas(self, wave):
        truth = spectrogram(wave)
        power = truth.square() @ mel_filters(40, 129, RATE).T
        theirs = librosa.feature.inverse.mel_to_stft(power.T.numpy(), sr=RATE, n_fft=256, power=2.0).T
        wrong = (mel_to_magnitude(log_mel(wave, RATE), RATE) - truth).norm() / truth.norm()
        assert wrong < 1.1 * np.linalg.norm(theirs - truth.numpy()) / truth.norm()

    def test_a_voice_is_heard_through_the_bands(self, wave):
        bands = log_mel(wave, RATE)
        back = griffin_lim(mel_to_magnitude(bands, RATE))
        loud = bands[: 1 + len(back) // 80] > -4
        noise = torch.randn(len(back), generator=torch.Generator().manual_seed(0)) * back.std()
        away, control = ((log_mel(x, RATE) - bands[: 1 + len(back) // 80]).abs()[loud].mean() for x in (back, noise))
        assert away < 0.35 * control  # noise of the same loudness


class TestWarp:
    bands = torch.arange(40.0).expand(500, 3, 40).contiguous()  # each band says its own number

    def test_a_band_becomes_the_one_at_its_place_times_the_factor(self):
        made = warp(self.bands, torch.Generator().manual_seed(0), most=0.2)
        factor = made[:, 0, 10] / 10
        assert 0.8 <= factor.min() < 0.81
        assert 1.19 < factor.max() <= 1.2
        expected = (self.bands * factor[:, None, None]).clamp(max=39)
        torch.testing.assert_close(made, expected, atol=1e-3, rtol=0)

    def test_a_resonance_moves(self, wave):
        bands = log_mel(wave, RATE)
        made = warp(bands.expand(64, -1, -1), torch.Generator().manual_seed(0), most=0.15)
        power = made.exp().mean(1)  # (64, 40)
        centre = (power * torch.arange(40)).sum(1) / power.sum(1)
        assert centre.max() > 1.1 * centre.min()

    def test_most_0_changes_nothing_and_the_generator_decides(self):
        generator = torch.Generator().manual_seed(0)
        assert torch.equal(warp(self.bands, generator, most=0.0), self.bands)
        first, second, third = (warp(self.bands, torch.Generator().manual_seed(s), most=0.1) for s in (1, 1, 2))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)

    @pytest.mark.parametrize("most", [-0.1, 1.0, float("nan")])
    def test_a_factor_of_0_is_refused(self, most):
        with pytest.raises(InputError, match=r"most in \[0, 1\)"):
            warp(self.bands, torch.Generator(), most=most)

    def test_one_spectrogram_without_a_batch_is_refused(self):
        with pytest.raises(InputError, match="log-mel numbers"):
            warp(self.bands[0], torch.Generator(), most=0.1)


@pytest.mark.parametrize("function", [spectrogram, lambda w: log_mel(w, RATE), lambda w: mfcc(w, RATE)])
@pytest.mark.parametrize(
    ("waves", "message"),
    [
        (torch.zeros(255), "at least one window, 256 samples"),
        (torch.zeros(3, 0), r"shape \(3, 0\)"),
        (torch.tensor(0.5), r"shape \(\)"),
        (torch.zeros(800, dtype=torch.int16), "a tensor of torch.int16"),
        (np.zeros(800), "ndarray"),
        (torch.full((800,), float("nan")), "800 numbers that are not"),
        (torch.cat([torch.zeros(800), torch.tensor([float("inf")])]), "1 numbers that are not"),
    ],
    ids=["short", "empty", "number", "int16", "numpy", "nan", "inf"],
)
def test_what_is_no_wave_is_refused(function, waves, message):
    with pytest.raises(InputError, match=message):
        function(waves)


@pytest.mark.parametrize("bands", [torch.zeros(40), torch.full((3, 40), float("nan")), torch.zeros(3, 40).long()])
def test_what_are_no_bands_is_refused(bands):
    with pytest.raises(InputError, match="log-mel numbers"):
        mel_to_magnitude(bands, RATE)
