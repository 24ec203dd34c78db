"""What a network hears: spectrogram, log-mel spectrogram and MFCC of waves, and the way back to a wave, in torch.

Sources: the mel scale and filters of Slaney (1998), Auditory Toolbox, as librosa has them by default; MFCC by Davis &
Mermelstein (1980), IEEE TASSP 28; waves from magnitudes by Griffin & Lim (1984), IEEE TASSP 32, made faster by
Perraudin, Balazs & Søndergaard (2013), WASPAA. Everything works on batches and on the device of its input.
Conventions: Hann window, frames centred at samples 0, hop, 2 hop …, the wave taken as zero outside its ends; so T
samples give 1 + T // hop frames, and frame f hears the samples within half a window of f · hop.
Dimension letters: B batch, T samples.
"""

from math import log, pi

import torch
from torch import Generator, Tensor

from bigmodel_lab.errors import InputError

__all__ = ["FLOOR", "griffin_lim", "log_mel", "mel_filters", "mel_to_magnitude", "mfcc", "spectrogram", "warp"]

FLOOR = 1e-5  # mel power below which everything sounds as silence does
MOMENTUM = 0.99  # of fast Griffin-Lim: how far each round goes on in its direction
BREAK, PER_HERTZ, PER_LOG = 1000.0, 3 / 200, 27 / log(6.4)  # Slaney: linear below 1 kHz, logarithmic above


def _to_mel(hertz: float) -> float:
    """Return the pitch in mel of a frequency."""
    return hertz * PER_HERTZ if hertz < BREAK else BREAK * PER_HERTZ + PER_LOG * log(hertz / BREAK)


def _to_hertz(mel: Tensor) -> Tensor:
    """Return the frequency of each pitch in mel."""
    knee = BREAK * PER_HERTZ
    return torch.where(mel < knee, mel / PER_HERTZ, BREAK * ((mel - knee) / PER_LOG).exp())


def mel_filters(mels: int, bins: int, rate: int) -> Tensor:
    """Return the triangular filters (mels, bins), float32, that take a power spectrum to `mels` bands of pitch.

    The edges are equally far apart on Slaney's mel scale, from 0 Hz to `rate / 2`; each triangle has the area 1 Hz,
    so a flat spectrum gives equal bands. `bins` is window // 2 + 1. Raises `InputError` where a band would fall between
    two bins and hear nothing.
    """
    _positive(mels=mels, bins=bins, rate=rate)
    edges = _to_hertz(torch.linspace(0, _to_mel(rate / 2), mels + 2, dtype=torch.float64))
    hertz = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    low, peak, high = (edges[i : i + mels, None] for i in range(3))  # (mels, 1) each
    rising, falling = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
    filters = torch.minimum(rising, falling).clamp(min=0) * 2 / (high - low)  # (mels, bins)
    if not filters.any(1).all():
        raise InputError(
            "bands that each hear at least one bin",
            got=f"{int((~filters.any(1)).sum())} of {mels} bands between two of {bins} bins",
            hint="fewer mels or a longer window",
        )
    return filters.float()


def spectrogram(waves: Tensor, *, window: int = 256, hop: int = 80) -> Tensor:
    """Return the magnitudes (…, frames, bins) of the short-time Fourier transform of `waves` (…, T).

    `window` and `hop` are in samples; frames = 1 + T // hop, bins = window // 2 + 1. Its square is the power.
    """
    _check_waves(waves, window, hop)
    return _stft(waves, window, hop).abs()


def log_mel(waves: Tensor, rate: int, *, mels: int = 40, window: int = 256, hop: int = 80) -> Tensor:
    """Return the natural logarithm of the mel power (…, frames, mels) of `waves` (…, T), at least log(`FLOOR`)."""
    power = spectrogram(waves, window=window, hop=hop).square()  # (…, frames, bins)
    filters = mel_filters(mels, window // 2 + 1, rate).to(power)
    return (power @ filters.T).clamp(min=FLOOR).log()


def mfcc(
    waves: Tensor, rate: int, *, coefficients: int = 13, mels: int = 40, window: int = 256, hop: int = 80
) -> Tensor:
    """Return the first mel-frequency cepstral coefficients (…, frames, coefficients) of `waves` (…, T).

    They are the orthonormal cosine transform (DCT-II) of `log_mel` along the bands: a smooth summary of the
    spectrum's shape, the first the loudness. librosa's are these times 10 / ln 10, since it counts in decibels.
    """
    _positive(coefficients=coefficients)
    if coefficients > mels:
        raise InputError(f"at most as many coefficients as mels, {mels}", got=f"coefficients={coefficients}")
    bands = log_mel(waves, rate, mels=mels, window=window, hop=hop)
    k, m = torch.arange(coefficients, dtype=torch.float64), torch.arange(mels, dtype=torch.float64)
    basis = torch.cos(pi / mels * (m + 0.5) * k[:, None]) * (2 / mels) ** 0.5  # (coefficients, mels)
    basis[0] *= 0.5**0.5
    return bands @ basis.to(bands).T


def mel_to_magnitude(bands: Tensor, rate: int, *, window: int = 256, rounds: int = 100) -> Tensor:
    """Return magnitudes (…, frames, bins), none negative, whose log-mel spectrogram is near `bands` (…, frames, mels).

    The filters mix the bins of a band, so many spectra fit; this one is found by multiplicative updates (Lee & Seung
    1999, Nature 401) of a spectrum that starts flat within each band. Powers of at most `FLOOR` come out as zero.
    """
    _positive(window=window, rounds=rounds)
    _check_numbers(bands, "log-mel numbers (…, frames, mels)", 2)
    filters = mel_filters(bands.shape[-1], window // 2 + 1, rate).to(bands)  # (mels, bins)
    wanted = bands.exp() * (bands > log(FLOOR) + 1e-4)
    tiny = torch.finfo(bands.dtype).tiny
    aim = wanted @ filters  # (…, frames, bins)
    power = aim / (filters.sum(1) @ filters).clamp(min=tiny)
    for _ in range(rounds):
        power = power * aim / (power @ filters.T @ filters).clamp(min=tiny)
    return power.sqrt()


def griffin_lim(magnitude: Tensor, *, hop: int = 80, rounds: int = 60, seed: int = 0) -> Tensor:
    """Return waves (…, T), T = (frames - 1) · hop, whose spectrogram is near `magnitude` (…, frames, bins).

    A magnitude has lost the phase. Starting from a random one (`seed`), each of `rounds` makes the wave and takes the
    phase of its spectrogram, which goes nearer to a phase that some wave has; with the momentum of fast Griffin-Lim.
    """
    _positive(hop=hop, rounds=rounds)
    _check_numbers(magnitude, "magnitudes (…, frames, bins)", 2)
    window = 2 * (magnitude.shape[-1] - 1)
    if magnitude.shape[-2] < 2 or not 0 < hop <= window // 2 or (magnitude < 0).any():
        raise InputError(
            "at least 2 frames, magnitudes of at least 0, and a hop of at most half the window",
            got=f"shape {tuple(magnitude.shape)}, least {magnitude.min().item():.3g}, hop {hop}",
            hint="the logarithm has to be undone first: mel_to_magnitude",
        )
    generator = Generator().manual_seed(seed)
    angle = 2 * pi * torch.rand(magnitude.shape, generator=generator, dtype=torch.float64)
    kind = torch.promote_types(magnitude.dtype, torch.complex64)
    phase = torch.polar(torch.ones_like(angle), angle).to(magnitude.device, kind)
    last = torch.zeros_like(phase)
    for _ in range(rounds):
        now = _stft(_istft(magnitude * phase, hop), window, hop)
        phase = now + MOMENTUM * (now - last)
        phase, last = phase / phase.abs().clamp(min=1e-12), now
    return _istft(magnitude * phase, hop)


def warp(bands: Tensor, generator: Generator, *, most: float) -> Tensor:
    """Stretch the bands of each log-mel spectrogram (N, F, M) by a factor drawn from 1 - `most` to 1 + `most`.

    As if the same were said by a longer or a shorter throat, which moves all resonances: training on it teaches more
    voices than there are (vocal tract length perturbation, Jaitly & Hinton 2013, ICML workshop WDLASL; here along the
    mel scale). Between two bands is their weighted mean; beyond the last band, the last.
    """
    _check_numbers(bands, "log-mel numbers (N, F, M)", 3)
    if not 0 <= most < 1:
        raise InputError("most in [0, 1)", got=repr(most), hint="most=0.15")
    mels = bands.shape[-1]
    factor = 1 + most * (2 * torch.rand(len(bands), 1, generator=generator) - 1)  # (N, 1)
    place = (torch.arange(mels) * factor).clamp(max=mels - 1)  # (N, M): which band each new one was
    low = place.floor().long().clamp(max=max(mels - 2, 0))
    share = (place - low)[:, None].to(bands)  # (N, 1, M)
    lower, upper = (at[:, None].expand_as(bands).to(bands.device) for at in (low, (low + 1).clamp(max=mels - 1)))
    return bands.gather(2, lower) * (1 - share) + bands.gather(2, upper) * share


def _stft(waves: Tensor, window: int, hop: int) -> Tensor:
    """Return the complex spectrogram (…, frames, bins) of waves (…, T)."""
    hann = torch.hann_window(window, dtype=waves.dtype, device=waves.device)
    flat = waves.reshape(-1, waves.shape[-1])  # (B, T)
    bins = torch.stft(flat, window, hop, window=hann, center=True, pad_mode="constant", return_complex=True)
    return bins.transpose(1, 2).reshape(*waves.shape[:-1], -1, bins.shape[1])  # (B, bins, frames) -> (…, frames, bins)


def _istft(complex_: Tensor, hop: int) -> Tensor:
    """Return the waves (…, T) whose spectrogram is nearest, in squares, to the complex numbers (…, frames, bins)."""
    frames, bins = complex_.shape[-2:]
    window, length = 2 * (bins - 1), (frames - 1) * hop
    hann = torch.hann_window(window, dtype=complex_.real.dtype, device=complex_.device)
    flat = complex_.reshape(-1, frames, bins).transpose(1, 2)  # (B, bins, frames)
    waves = torch.istft(flat, window, hop, window=hann, center=True, length=length)
    return waves.reshape(*complex_.shape[:-2], length)


def _positive(**sizes: int) -> None:
    """Refuse sizes that are not whole numbers of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError(f"{name}, an integer of at least 1", got=repr(size))


def _check_waves(waves: Tensor, window: int, hop: int) -> None:
    """Refuse what has no spectrogram."""
    _positive(window=window, hop=hop)
    _check_numbers(waves, "waves (…, T) of floats in [-1, 1]", 1)
    if waves.shape[-1] < window:
        raise InputError(
            f"at least one window, {window} samples",
            got=f"{waves.shape[-1]} samples",
            hint="F.pad(waves, (0, missing)) puts silence at the end; or a shorter window",
        )


def _check_numbers(x: Tensor, expected: str, dimensions: int) -> None:
    """Refuse what is not a tensor of at least one finite float with at least `dimensions` dimensions."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(expected, got=got, hint="16-bit samples / 32768; torch.from_numpy(x).float() for an array")
    if x.ndim < dimensions or x.numel() == 0:
        raise InputError(expected, got=f"shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise InputError(f"{expected}, each finite", got=f"{int((~torch.isfinite(x)).sum())} numbers that are not")
