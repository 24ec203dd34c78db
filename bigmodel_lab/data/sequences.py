"""Sequences whose right answer is known: memory tasks, numbers as words and as Chinese numerals, planted sentiment.

Each memory task puts a known number of steps between what must be remembered and where it is asked for.
Id 0 is padding everywhere and never occurs, except where a docstring says so. The same arguments give the same data;
draw training and test data with different seeds.
Sources: adding problem: Hochreiter & Schmidhuber (1997), Neural Computation 9, in the form of Le, Jaitly & Hinton
(2015), arXiv 1504.00941; copying: Arjovsky, Shah & Bengio (2016), arXiv 1511.06464.
Dimension letters: N sequences, T time.
"""

import torch
from torch import Tensor

from bigmodel_lab.data.integers import integer, seeded
from bigmodel_lab.data.numerals import chinese_numeral, number_words, numerals
from bigmodel_lab.data.sentiment import sentiment

__all__ = ["adding", "chinese_numeral", "copying", "number_words", "numerals", "parity", "recall", "sentiment"]


def adding(n: int, length: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the adding problem: inputs (N, T, 2) float32 and targets (N, 1), T = `length` of at least 2.

    Each step brings a number from [0, 1) and a mark, 0 or 1. Two steps are marked, one in each half of the sequence;
    the target is the sum of their numbers. Who always answers 1 has a mean squared error of 1/6.
    """
    _check(length=(length, 2), n=(n, 1))
    generator = torch.Generator().manual_seed(seeded(seed))
    numbers, marks = torch.rand(n, length, generator=generator), torch.zeros(n, length)
    half = length // 2
    for start, end in ((0, half), (half, length)):
        marks[torch.arange(n), torch.randint(start, end, (n,), generator=generator)] = 1
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(1, keepdim=True)


def copying(n: int, gap: int, *, symbols: int = 8, length: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the copying task: ids (N, 2 * length + gap) int64 and targets of the same shape.

    `length` symbols (ids 3 ... symbols + 2) come first, then `gap` blanks (id 1), then the sign to begin (id 2) and
    blanks. From that sign on the targets are the symbols in their order; before it they are -100, which
    `train.token_loss` leaves out. Each symbol is asked for `length + gap` steps after it came.
    The vocabulary is `symbols + 3`.
    """
    _check(length=(length, 1), gap=(gap, 0), symbols=(symbols, 2), n=(n, 1))
    generator = torch.Generator().manual_seed(seeded(seed))
    kept = torch.randint(3, symbols + 3, (n, length), generator=generator)
    ids = torch.ones(n, 2 * length + gap, dtype=torch.int64)
    targets = torch.full_like(ids, -100)
    ids[:, :length], ids[:, length + gap], targets[:, length + gap :] = kept, 2, kept
    return ids, targets


def parity(n: int, length: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return bits (N, T) as ids, 1 for a zero and 2 for a one, and targets (N,): 1 if the number of ones is odd.

    No part of the sequence says anything about the answer: each bit turns it round.
    """
    _check(length=(length, 1), n=(n, 1))
    bits = torch.randint(0, 2, (n, length), generator=torch.Generator().manual_seed(seeded(seed)))
    return bits + 1, bits.sum(1) % 2


def recall(n: int, distance: int, *, symbols: int = 8, lead: int = 0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the recall task: ids (N, lead + 1 + distance) int64 and targets (N,) in [0, symbols).

    One step, at place `lead`, brings a marked symbol; the target is which one. It is followed by `distance` other
    symbols, all unmarked, and preceded by `lead` of them; they say nothing. Symbol k has the id k + 1, and
    k + 1 + symbols where it is marked. The vocabulary is `2 * symbols + 1`; guessing is right once in `symbols`.
    """
    _check(distance=(distance, 0), lead=(lead, 0), symbols=(symbols, 2), n=(n, 1))
    generator = torch.Generator().manual_seed(seeded(seed))
    ids = torch.randint(1, symbols + 1, (n, lead + 1 + distance), generator=generator)
    targets = ids[:, lead] - 1
    ids[:, lead] += symbols
    return ids, targets


def _check(**bounds: tuple[int, int]) -> None:
    """Refuse an argument below its least value; `bounds` holds (argument, least value) by name."""
    for name, (value, least) in bounds.items():
        integer(name, value, least)
