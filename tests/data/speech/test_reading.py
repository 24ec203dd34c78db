"""Sound files: each conversion is the one that is stated, each broken file a clear error."""

import numpy as np
import pytest
import soundfile
import torch

from bigmodel_lab.data.speech.reading import read_audio
from bigmodel_lab.errors import DataError, InputError


def tone(rate=8000, hertz=440, seconds=0.2, loud=0.5):
    return loud * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-20),
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "FLOAT", 1e-6),
        ("a.flac", "PCM_16", 2**-15),
    ],
)
def test_samples_of_any_kind_come_as_floats(tmp_path, name, subtype, error):
    soundfile.write(tmp_path / name, tone(), 8000, subtype=subtype)
    wave = read_audio(tmp_path / name)
    assert wave.dtype == torch.float32
    assert np.abs(wave.numpy() - tone()).max() <= error


def test_another_rate_is_resampled(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(22050), 22050, subtype="FLOAT")
    wave = read_audio(tmp_path / "a.wav", 8000)
    assert wave.shape == (1600,)
    assert np.abs(wave.numpy() - tone())[200:-200].max() < 2e-3


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), 0 * tone()], axis=1), 8000, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav").numpy() - tone() / 2).max() < 1e-6


def test_a_sphere_file_as_timit_has_them_is_read(tmp_path):
    soundfile.write(tmp_path / "SA1.WAV", tone(16000), 16000, format="NIST", subtype="PCM_16")
    assert (tmp_path / "SA1.WAV").read_bytes().startswith(b"NIST_1A")
    assert read_audio(tmp_path / "SA1.WAV", 16000).shape == (3200,)


def test_floats_that_are_too_loud_are_scaled_back(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(loud=3.0), 8000, subtype="FLOAT")
    wave = read_audio(tmp_path / "a.wav")
    assert float(wave.abs().max()) == pytest.approx(1)
    assert np.abs(wave.numpy() - tone(loud=1.0)).max() < 1e-2


def test_no_sound_is_refused_unless_it_is_wanted(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    with pytest.raises(DataError, match="sound in"):
        read_audio(tmp_path / "a.wav")
    assert not read_audio(tmp_path / "a.wav", silence=True).any()
    soundfile.write(tmp_path / "b.wav", np.stack([tone(), -tone()], axis=1), 8000, subtype="FLOAT")
    with pytest.raises(DataError, match="cancel"):
        read_audio(tmp_path / "b.wav")


def test_samples_that_are_not_finite_are_refused(tmp_path):
    wave = tone()
    wave[[3, 4]] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    with pytest.raises(DataError, match="2 that are not"):
        read_audio(tmp_path / "a.wav")


def test_an_empty_recording_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    with pytest.raises(DataError, match="at least one sample"):
        read_audio(tmp_path / "a.wav")


def test_a_file_that_is_no_sound_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text("this is no sound")
    (tmp_path / "b.wav").write_bytes(b"")
    for name in ("a.wav", "b.wav"):
        with pytest.raises(DataError, match="libsndfile"):
            read_audio(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        read_audio(tmp_path / "c.wav")
    with pytest.raises(DataError, match="a folder"):
        read_audio(tmp_path)


def test_an_impossible_rate_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 8000)
    with pytest.raises(InputError, match="rate"):
        read_audio(tmp_path / "a.wav", 0)
