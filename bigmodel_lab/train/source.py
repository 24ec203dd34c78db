"""The windows of batches that optimizer steps are made of.

A window is `accumulate` batches, the last of an epoch has what is left; it counts as one batch.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train.batches import Batches
from bigmodel_lab.train.checks import check_batch, check_input_type
from bigmodel_lab.train.layout import likes_channels_last

Window = list[tuple[Tensor, Tensor]]


class Source:
    """The batches of a run, for this process; `Batches` come out on its device, others as they come."""

    def __init__(self, batches: Iterable, *, accumulate: int, process: int, processes: int) -> None:
        """Take the batches as the caller gave them; `place` brings them to a device."""
        _check(batches, processes)
        self.batches, self.accumulate = batches, accumulate
        self.process, self.processes = process, processes
        self.sizes = batches.sizes(processes=processes) if isinstance(batches, Batches) else None
        count = len(self.sizes) if self.sizes else length(batches)
        self.steps = None if count is None else ceil(count / accumulate)  # optimizer steps of an epoch, if known
        self.targets = batches.targets if isinstance(batches, Batches) else None  # all of them, if known
        self.channels_last = False

    def place(self, model: nn.Module, device: torch.device) -> None:
        """Bring the data to `device`, where `model` is, in the memory layout that suits it."""
        self.model = model
        if isinstance(self.batches, Batches):
            check_input_type(model, self.batches.inputs)
            if device.type == "mps":  # some of its operations are wrong without an error
                runtime.parity(model, self.batches.inputs[:8], on=device)
            self.channels_last = likes_channels_last(model, self.batches.inputs[:2].to(device))
            self.batches = self.batches.to(device, channels_last=self.channels_last)

    def windows(self, epoch: int, done: int) -> Iterator[tuple[Window, int]]:
        """Yield the windows of `epoch` after the first `done`, each with its number of examples in all processes."""
        if self.sizes is None:
            for window in grouped(self.batches, self.accumulate):
                pairs = [self._checked(batch) for batch in window]
                yield pairs, sum(len(targets) for _, targets in pairs)
            return
        first = done * self.accumulate
        batches = self.batches.epoch(epoch, first, process=self.process, processes=self.processes)
        for window in grouped(batches, self.accumulate):
            yield window, sum(self.sizes[first : first + len(window)])
            first += len(window)

    def _checked(self, batch: Any) -> tuple[Tensor, Tensor]:
        inputs, targets = check_batch(batch)
        check_input_type(self.model, inputs)
        if isinstance(self.batches, (list, tuple)):
            inputs = inputs.clone()  # the caller's tensor: a model may change its inputs in place
        return inputs.detach(), targets.detach()


def grouped(items: Iterable, size: int) -> Iterator[list]:
    """Yield lists of `size` items; the last has what is left."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def length(batches: Any) -> int | None:
    """Return the number of batches, or None where it is not known in advance."""
    try:
        return len(batches)
    except TypeError:
        return None


def _check(batches: Any, processes: int) -> None:
    if isinstance(batches, Tensor) or not hasattr(batches, "__iter__") or hasattr(batches, "__next__"):
        raise InputError(
            "batches that can be iterated once per epoch",
            got=f"a {type(batches).__name__}" + (", used up after one epoch" if hasattr(batches, "__next__") else ""),
            hint="Batches(inputs, targets, batch_size=64), a DataLoader, or a list of pairs",
        )
    if processes > 1 and not isinstance(batches, Batches):
        raise TrainingError(
            f"Batches, which divide the data between {processes} processes",
            got=f"a {type(batches).__name__}",
            hint="Batches(inputs, targets, batch_size=64)",
        )
