"""Sound files to waves: every conversion on the way is stated, and what holds no sound is refused.

WAV, FLAC, Ogg and NIST SPHERE are read by libsndfile (https://libsndfile.github.io/libsndfile/).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.speech.augment import resample, to_mono
from bigmodel_lab.data.speech.sets import RATE
from bigmodel_lab.errors import DataError

__all__ = ["read_audio"]

SILENCE = 10 ** (-90 / 20)  # a peak 90 dB below full scale: about one step of 16 bits


def read_audio(path: str | Path, rate: int = RATE, *, silence: bool = False) -> Tensor:
    """Return the sound in a file as one wave (T,) float32 in [-1, 1] at `rate` Hz.

    Integer samples are divided by their full scale, channels are averaged, another rate is resampled; a peak above 1,
    which the last two and files of floats can make, is scaled back to 1. Raises `DataError` if the file is missing,
    is no sound file, holds no sample, a sample that is not finite, or, unless `silence` is taken too, nothing else.
    """
    import soundfile

    rate = integer("rate", rate, 1)
    path = Path(path)
    if not path.is_file():
        raise DataError(f"a sound file {path}", got="a folder" if path.is_dir() else "no such file")
    try:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)  # (T, C), integers scaled
    except soundfile.SoundFileError as error:
        hint = "convert it to WAV or FLAC; a file cut short has to be fetched again"
        raise DataError(f"a sound file that libsndfile reads: {path}", got=str(error), hint=hint) from error
    if not samples.size:
        raise DataError(f"at least one sample in {path}", got="none", hint="leave the file out")
    if not np.isfinite(samples).all():
        odd = int((~np.isfinite(samples)).sum())
        raise DataError(f"finite samples in {path}", got=f"{odd} that are not", hint="convert or fetch it again")
    wave = resample(to_mono(torch.from_numpy(samples).T), found, rate)
    peak = float(wave.abs().max())
    if peak < SILENCE and not silence:
        got = f"a peak of {peak:.1g} in {len(samples)} samples of {samples.shape[1]} channels"
        raise DataError(
            f"sound in {path}", got=got, hint="was the microphone off, or do two channels cancel? silence=True takes it"
        )
    return wave / max(peak, 1.0)
