"""`AudioSet`: recordings with what is said in them, who says it and, where it is known, where in the sound it is.

Dimension letters: N recordings, T samples of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bigmodel_lab.data.images import _indices
from bigmodel_lab.data.integers import integer
from bigmodel_lab.errors import InputError

__all__ = ["RATE", "AudioSet", "padded"]

RATE = 8000  # Hz, of everything that is embedded: frequencies up to 4000 Hz, as on the telephone

Phones = tuple[tuple[int, int, str], ...]  # first sample, sample after the last, and the symbol


@dataclass(frozen=True, eq=False)
class AudioSet:
    """Recordings of one rate, each filled with zeros after its end, with the truth about them."""

    waves: Tensor  # (N, T) float32 in [-1, 1]
    lengths: Tensor  # (N,) int64: samples of each that are real
    rate: int  # samples a second, Hz
    texts: tuple[str, ...]  # what is said
    voices: tuple[str, ...]  # who says it
    labels: Tensor | None = None  # (N,) int64: the class of each, where there are classes
    classes: tuple[str, ...] = ()  # the name of each label
    spans: Tensor | None = None  # (N, 2) int64: the word's first sample, and the one after its last
    distractors: Tensor | None = None  # (N, 2) int64: the same of a sound that says nothing about the label
    translations: tuple[str, ...] | None = None  # the text in another language
    phones: tuple[Phones, ...] | None = None  # the speech sounds in order

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together and waves that are no sound."""
        waves = self.waves
        if not isinstance(waves, Tensor) or waves.ndim != 2 or waves.dtype != torch.float32:
            got = f"{waves.dtype} of shape {tuple(waves.shape)}" if isinstance(waves, Tensor) else type(waves).__name__
            hint = "speech.to_float and speech.to_mono turn integer samples and channels into this"
            raise InputError("waves float32 of shape (N, T)", got=got, hint=hint)
        integer("rate", self.rate, 1)
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _COMMON}
        counts = {name: len(part) for name, part in parts.items() if part is not None}
        if len(set(counts.values())) > 1:
            raise InputError("one of each part per recording", got=repr(counts))
        if waves.numel() and not bool(waves.abs().max() <= 1):  # False for NaN too
            raise InputError("finite samples in [-1, 1]", got=f"from {waves.min():.3g} to {waves.max():.3g}")
        _within("lengths", self.lengths, (len(waves),), 1, waves.shape[1])
        if self.labels is not None:
            _within("labels", self.labels, (len(waves),), 0, len(self.classes) - 1)
        for name in ("spans", "distractors"):
            spans = getattr(self, name)
            if spans is not None:
                _within(name, spans, (len(waves), 2), 0, waves.shape[1])
                if bool((spans[:, 0] > spans[:, 1]).any() or (spans[:, 1] > self.lengths).any()):
                    raise InputError(f"{name} (first, after the last) inside the recording", got="one that is not")

    def __len__(self) -> int:
        """Return N, the number of recordings."""
        return len(self.waves)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "AudioSet":
        """Return the recordings at `which` (a slice, indices, or a mask of N booleans) as an AudioSet."""
        index = _indices(which, len(self))
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, part in parts.items():
            if name in _COMMON or part is None:
                continue
            parts[name] = part[index] if isinstance(part, Tensor) else tuple(part[i] for i in index.tolist())
        return AudioSet(**parts)

    def __repr__(self) -> str:
        """Say how much sound there is."""
        seconds = float(self.lengths.sum()) / self.rate
        words = f", {len(self.classes)} classes" if self.classes else ""
        voices = len(set(self.voices))
        return f"AudioSet({len(self)} recordings, {seconds:.0f} s at {self.rate} Hz, {voices} voices{words})"

    def wave(self, index: int) -> Tensor:
        """Return recording `index` without the zeros after its end, (T',) float32."""
        return self.waves[index, : int(self.lengths[index])]


_COMMON = ("rate", "classes")  # of the whole set, not of each recording


def padded(waves: Sequence[Tensor], longest: int | None = None) -> tuple[Tensor, Tensor]:
    """Return (waves, lengths): waves (T',) of any lengths as one tensor (N, T), zeros after the end, and lengths (N,).

    `longest` is T if given; a wave that is longer is cut.
    """
    if not waves:
        raise InputError("at least one wave", got="none")
    lengths = torch.tensor([len(wave) for wave in waves])
    lengths = lengths if longest is None else lengths.clamp(max=longest)
    held = torch.zeros(len(waves), int(lengths.max()) if longest is None else longest)
    for row, wave, length in zip(held, waves, lengths.tolist(), strict=True):
        row[:length] = wave[:length]
    return held, lengths


def _within(name: str, values: Tensor, shape: tuple[int, ...], low: int, high: int) -> None:
    """Refuse what is not int64 of `shape` with numbers from `low` to `high`."""
    good = isinstance(values, Tensor) and values.dtype == torch.int64 and values.shape == shape
    if not good:
        got = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"{name} int64 of shape {shape}", got=got)
    if values.numel() and not low <= int(values.min()) <= int(values.max()) <= high:
        raise InputError(f"{name} from {low} to {high}", got=f"{int(values.min())} to {int(values.max())}")
