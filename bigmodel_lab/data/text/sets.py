"""`TextSet`: texts with their labels and, where it is known, the words that decide each label. N counts the texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError


@dataclass(frozen=True, eq=False)
class TextSet:
    """Texts with their labels and, where it is known, the truth about each word."""

    texts: tuple[str, ...]
    labels: Tensor  # (N,) int64 classes, or float32 where the target is a number
    classes: tuple[str, ...]  # the name of each label; empty where the target is a number
    pairs: tuple[str, ...] | None = None  # the second text of each example, in tasks about two
    truth: tuple[tuple[bool, ...], ...] | None = None  # for each word (as `text.split()` gives them): does it decide?

    def __post_init__(self) -> None:
        """Refuse parts of different lengths and labels that name no class."""
        labels = self.labels
        if not isinstance(labels, Tensor) or labels.ndim != 1 or (self.classes and labels.is_floating_point()):
            raise InputError(
                "labels int64 of shape (N,), or float32 where there are no classes",
                got=f"{labels.dtype} of shape {tuple(labels.shape)}"
                if isinstance(labels, Tensor)
                else repr(labels)[:80],
                hint="torch.tensor(labels)",
            )
        parts = {"texts": self.texts, "labels": labels, "pairs": self.pairs, "truth": self.truth}
        lengths = {name: len(part) for name, part in parts.items() if part is not None}
        if len(set(lengths.values())) > 1:
            raise InputError("one label (and pair, and truth) per text", got=repr(lengths))
        if self.classes and len(labels):
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(self.classes):
                raise InputError(
                    f"labels from 0 to {len(self.classes) - 1}, one per class",
                    got=f"labels from {low} to {high}",
                    hint="texts without a known label (-1) have no place in training or evaluation",
                )

    def __len__(self) -> int:
        """Return N, the number of texts."""
        return len(self.texts)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "TextSet":
        """Return the texts at `which` (a slice, or indices) as a TextSet."""
        if isinstance(which, slice):
            index = list(range(len(self))[which])
        else:
            which = torch.as_tensor(which)
            which = which if which.numel() else which.long()  # torch makes floats of an empty list
            index = torch.arange(len(self))[which].reshape(-1).tolist()

        def pick(part: tuple | None) -> tuple | None:
            return None if part is None else tuple(part[i] for i in index)

        labels = self.labels[torch.tensor(index, dtype=torch.int64)]
        return TextSet(pick(self.texts), labels, self.classes, pick(self.pairs), pick(self.truth))

    def __repr__(self) -> str:
        """Say how many texts there are, in which classes."""
        return f"TextSet({len(self)} texts, {len(self.classes)} classes: {', '.join(self.classes[:8])})"
