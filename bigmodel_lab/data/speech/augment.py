"""Changes of sound: conversions to what models read, and random noise, shifts and masks for training.

Sources: Smith (2002), Digital Audio Resampling (https://ccrma.stanford.edu/~jos/resample/); Park et al. (2019),
SpecAugment, Interspeech, arXiv 1904.08779. Dimension letters: N recordings, C channels, T samples, F frames, M bands.
"""

from math import ceil, gcd, pi

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bigmodel_lab.data.integers import integer
from bigmodel_lab.errors import InputError

__all__ = ["add_noise", "low_pass", "mask", "resample", "shift", "to_float", "to_mono"]

ZEROS = 24  # zero crossings of the interpolating sinc on each side: the steepness of the filter
LARGEST = 2000  # of numerator and denominator of the ratio of two rates; 44 100 and 16 000 Hz have 441 and 160
ROLL_OFF = 0.94  # of half the lower rate: where the filter begins to close


def to_float(samples: Tensor) -> Tensor:
    """Return samples as float32 in [-1, 1): integers of b bits are divided by 2^(b-1), unsigned 8 bits recentred."""
    if not isinstance(samples, Tensor) or samples.dtype in (torch.bool, torch.complex64, torch.complex128):
        got = str(samples.dtype) if isinstance(samples, Tensor) else type(samples).__name__
        raise InputError("a tensor of samples, integers or floats", got=got, hint="torch.from_numpy(samples)")
    if samples.is_floating_point():
        return samples.float()
    if samples.dtype == torch.uint8:
        return (samples.float() - 128) / 128
    return (samples.double() / 2.0 ** (torch.iinfo(samples.dtype).bits - 1)).float()


def to_mono(waves: Tensor) -> Tensor:
    """Return the mean (…, T) over the channels of (…, C, T)."""
    if waves.ndim < 2 or not waves.is_floating_point() or not 1 <= waves.shape[-2] <= 64:
        raise InputError(
            "float waves (…, C, T) with 1 to 64 channels",
            got=f"{waves.dtype} of shape {tuple(waves.shape)}",
            hint="soundfile gives (T, C): waves.T",
        )
    return waves.mean(-2)


def resample(waves: Tensor, rate: int, to: int) -> Tensor:
    """Return `waves` (…, T) of `rate` Hz at `to` Hz, (…, ceil(T · to / rate)), float32 or as they are.

    Each new sample is the sum of its neighbours weighted by a windowed sinc, which removes what lies above half of
    the lower rate: nothing is folded down.
    """
    rate, to = integer("rate", rate, 1), integer("to", to, 1)
    _check(waves)
    if rate == to:
        return waves
    length = ceil(waves.shape[-1] * to / rate)
    old, new = rate // gcd(rate, to), to // gcd(rate, to)
    if max(old, new) > LARGEST:
        near = round(to * 100 / rate) * rate // 100
        expected = f"two rates whose ratio is a fraction of numbers up to {LARGEST}"
        raise InputError(expected, got=f"{old} / {new}", hint=f"to={near}: one filter is kept for each new place")
    width, kernels = _sincs(old, new)
    flat = F.pad(waves.reshape(-1, 1, waves.shape[-1]), (width, width + old))
    made = F.conv1d(flat, kernels.to(flat), stride=old)  # (N, new, blocks): each block of `old` gives `new` samples
    return made.transpose(1, 2).reshape(*waves.shape[:-1], -1)[..., :length]


def _sincs(old: int, new: int) -> tuple[int, Tensor]:
    """Return the width on each side, and one filter for each of the `new` places within a block, (new, 1, taps)."""
    cut = min(old, new) * ROLL_OFF
    width = ceil(ZEROS * old / cut)
    at = torch.arange(-width, width + old, dtype=torch.float64) / old
    place = torch.arange(new, dtype=torch.float64)[:, None] / new
    distance = (at - place) * cut  # (new, taps), in zero crossings
    window = torch.cos(pi * distance.clamp(-ZEROS, ZEROS) / (2 * ZEROS)) ** 2
    kernels = torch.sinc(distance) * window * cut / old
    return width, kernels[:, None]


def low_pass(waves: Tensor, rate: int, edge: float) -> Tensor:
    """Return `waves` (…, T) without what lies above `edge` Hz, as a voice behind a wall, by a windowed sinc."""
    rate = integer("rate", rate, 1)
    _check(waves)
    if not 0 < edge <= rate / 2:
        raise InputError(f"an edge above 0 and up to {rate / 2:g} Hz", got=repr(edge))
    width = ceil(ZEROS * rate / (2 * edge))
    at = torch.arange(-width, width + 1, dtype=torch.float64)
    kernel = torch.sinc(2 * edge / rate * at) * torch.cos(pi * at / (2 * width)) ** 2
    flat = waves.reshape(-1, 1, waves.shape[-1])
    made = F.conv1d(flat, (kernel / kernel.sum()).to(flat)[None, None], padding=width)
    return made.reshape(waves.shape)


def add_noise(
    waves: Tensor, generator: Generator, *, snr: float | tuple[float, float], lengths: Tensor | None = None
) -> Tensor:
    """Return `waves` (N, T) with white noise `snr` decibels below each one's mean power.

    A pair (low, high) draws a ratio for each. Power is the mean over the whole wave, or over its first `lengths` (N,)
    samples, where alone noise is added then. What would leave [-1, 1] is cut off, as a microphone does.
    Raises `InputError` for a wave that is silent.
    """
    _check(waves, 2)
    low, high = snr if isinstance(snr, tuple) else (snr, snr)
    if not -60 <= low <= high <= 120:
        raise InputError("a signal-to-noise ratio in dB, or (low, high), from -60 to 120", got=repr(snr))
    count, length = waves.shape
    real = torch.ones(count, length) if lengths is None else (torch.arange(length) < lengths[:, None]).float()
    power = (waves.square() * real).sum(1) / real.sum(1)
    if not bool((power > 0).all()):
        raise InputError("waves with sound in them", got=f"silence in wave {int((power <= 0).nonzero()[0])}")
    drawn = low + (high - low) * torch.rand(count, generator=generator)
    scale = (power * 10 ** (-drawn / 10)).sqrt()
    noise = torch.randn(waves.shape, generator=generator) * scale[:, None] * real
    return (waves + noise).clamp(-1, 1)


def shift(waves: Tensor, generator: Generator, *, most: int) -> Tensor:
    """Move each wave (N, T) by up to `most` samples, earlier or later; what leaves is lost, zeros come in."""
    _check(waves, 2)
    most = integer("most", most, 0, waves.shape[1])
    by = torch.randint(-most, most + 1, (len(waves), 1), generator=generator)
    source = torch.arange(waves.shape[1]) - by  # (N, T): where each sample comes from
    inside = (source >= 0) & (source < waves.shape[1])
    return waves.gather(1, source.clamp(0, waves.shape[1] - 1)) * inside


def mask(features: Tensor, generator: Generator, *, frames: int, mels: int) -> Tensor:
    """Blank, in each log-mel spectrogram (N, F, M), up to `frames` frames in a row and up to `mels` bands in a row.

    They take the spectrogram's mean. An `augment` for `train.Batches`, with both sizes fixed by `functools.partial`.
    """
    if features.ndim != 3 or not features.is_floating_point():
        raise InputError("float features (N, F, M)", got=f"{features.dtype} of shape {tuple(features.shape)}")
    integer("frames", frames, 0, features.shape[1])
    integer("mels", mels, 0, features.shape[2])
    hidden = torch.zeros(features.shape, dtype=torch.bool)
    for size, most, axis in ((features.shape[1], frames, 1), (features.shape[2], mels, 2)):
        width = torch.randint(0, most + 1, (len(features),), generator=generator)
        first = (torch.rand(len(features), generator=generator) * (size - width + 1)).long()
        at = torch.arange(size)
        row = (at >= first[:, None]) & (at < (first + width)[:, None])  # (N, size)
        hidden |= row.unsqueeze(3 - axis)
    mean = features.mean((1, 2), keepdim=True)
    return torch.where(hidden.to(features.device), mean, features)


def _check(waves: Tensor, dimensions: int | None = None) -> None:
    """Refuse what is no wave: not floats, no samples, or another number of dimensions."""
    shape = "(…, T)" if dimensions is None else "(N, T)"
    if not isinstance(waves, Tensor) or not waves.is_floating_point():
        got = str(waves.dtype) if isinstance(waves, Tensor) else type(waves).__name__
        raise InputError(f"float waves {shape}", got=got, hint="to_float(samples) turns integer samples into floats")
    if waves.ndim < 1 or waves.shape[-1] == 0 or (dimensions is not None and waves.ndim != dimensions):
        raise InputError(f"waves {shape} with at least one sample", got=f"shape {tuple(waves.shape)}")
