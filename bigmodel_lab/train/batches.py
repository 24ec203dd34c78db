"""Batches from tensors in memory, in an order that is a pure function of (seed, epoch, process).

Letters: N examples, B batch size, P processes.
Nothing here draws from a global generator: that is what makes a killed run resume exactly (see `resume.py`).
"""

from collections.abc import Callable, Iterator
from copy import copy
from hashlib import blake2b
from operator import index as to_index
from typing import Any

import torch
from torch import Generator, Tensor

from bigmodel_lab.errors import InputError

Augment = Callable[[Tensor, Generator], Tensor | tuple[Tensor, Tensor]]


class Batches:
    """`inputs` (N, ...) and `targets` (N, ...) in batches of `batch_size` examples, shuffled anew in every epoch.

    `augment(inputs, generator)` gets the inputs (B, ...) of one batch and a CPU generator seeded by
    (seed, epoch, batch index, process); it returns inputs (B, ...), or the pair of inputs and targets where it makes
    the targets too, as masked-token training does. Draw only from that generator, for example
    `torch.rand(len(inputs), generator=generator)`. With `augment` the data stays on the CPU, so that the same code
    and the same random numbers serve a CPU and a GPU.

    With P processes a batch is `batch_size` examples *per process*, so a step sees `P * batch_size` of them.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        drop_last: bool = False,
    ) -> None:
        """Check the data; nothing is copied (with `augment`, data on a GPU is brought to the CPU)."""
        batch_size, seed = _integer("batch_size", batch_size), _integer("seed", seed)
        _check(inputs, targets, batch_size, drop_last)
        inputs, targets = inputs.detach(), targets.detach()  # data is not trained
        self.inputs, self.targets = (inputs.cpu(), targets.cpu()) if augment else (inputs, targets)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.augment, self.drop_last = augment, drop_last
        self.device = self.inputs.device  # where batches come out
        self._rows: Tensor | None = None  # inputs as (N, H*W*C) when batches shall come out channels-last

    def __len__(self) -> int:
        """Number of batches in an epoch, in one process."""
        return len(self._bounds(1))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate epoch 0; in a loop over epochs, say which: `batches.epoch(e)`."""
        return self.epoch(0)

    def __repr__(self) -> str:
        """Say how many examples there are, of which shape."""
        return (
            f"Batches({len(self.targets)} examples, inputs {tuple(self.inputs.shape[1:])}, "
            f"targets {tuple(self.targets.shape[1:])}, {len(self)} batches of {self.batch_size})"
        )

    def order(self, epoch: int) -> Tensor:
        """Return the permutation (N,) in which epoch `epoch` visits the examples: the same on every process."""
        if not self.shuffle:
            return torch.arange(len(self.targets))
        return torch.randperm(len(self.targets), generator=_generator(self.seed, epoch))

    def sizes(self, *, processes: int = 1) -> list[int]:
        """Return how many examples each batch of an epoch has, over all processes together."""
        return [end - begin for begin, end in self._bounds(processes)]

    def epoch(
        self, epoch: int, start: int = 0, *, process: int = 0, processes: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs (B, ...), targets (B, ...)) of epoch `epoch`, from batch `start` on, for one of the processes.

        The shares of the processes are disjoint, cover the epoch, and have equally many batches.
        """
        order = self.order(epoch).to(self.inputs.device)
        for batch, (begin, end) in enumerate(self._bounds(processes)[start:], start):
            index = order[begin:end] if processes == 1 else order[begin + process : end : processes]
            generator = _generator(self.seed, epoch, batch, process) if self.augment else None
            yield self._take(index, generator)

    def in_order(self, *, process: int = 0, processes: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every example once, in the order given, not augmented: for evaluation."""
        order = torch.arange(len(self.targets), device=self.inputs.device)
        for begin, end in self._bounds(processes, drop_last=False):
            yield self._take(order[begin + process : end : processes], None)

    def to(self, device: torch.device | str, *, channels_last: bool = False) -> "Batches":
        """Return these batches coming out on `device`; the data moves there once if it fits, else batch by batch.

        It fits a GPU when it takes at most half of the free memory. `channels_last` lays inputs (B, C, H, W) out with
        the channel as the fastest index: the values and the shape are the same, convolutions are faster.
        """
        moved, moved.device = copy(self), torch.device(device)
        if not self.augment and self._fits(moved.device):
            moved.inputs, moved.targets = self.inputs.to(device), self.targets.to(device)
        if channels_last and self.inputs.ndim == 4:
            moved.inputs = moved.inputs.contiguous(memory_format=torch.channels_last)
            moved._rows = moved.inputs.permute(0, 2, 3, 1).reshape(len(moved.inputs), -1)  # a view: (N, H*W*C)
        return moved

    def _take(self, index: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        targets = self.targets.index_select(0, index)
        if self._rows is None:
            inputs = self.inputs.index_select(0, index)
        else:
            _, channels, height, width = self.inputs.shape
            rows = self._rows.index_select(0, index)
            inputs = rows.view(-1, height, width, channels).permute(0, 3, 1, 2)  # (B, C, H, W), channels last
        if generator is not None:
            inputs, targets = _augmented(self.augment, inputs, targets, generator)
        if inputs.device != self.device:
            inputs, targets = inputs.to(self.device), targets.to(self.device)
        if self._rows is not None:
            inputs = inputs.contiguous(memory_format=torch.channels_last)  # nothing to do unless `augment` changed it
        return inputs, targets

    def _bounds(self, processes: int, drop_last: bool | None = None) -> list[tuple[int, int]]:
        """Begin and end of each batch in the order; a rest too small for every process joins the batch before it."""
        drop_last = self.drop_last if drop_last is None else drop_last
        count, step = len(self.targets), self.batch_size * processes
        begins = list(range(0, count, step))
        rest = count - begins[-1]
        if (drop_last and rest < step) or (rest < processes and len(begins) > 1):
            begins.pop()
        if not begins or count < processes:
            raise InputError(
                f"at least {step if drop_last else processes} examples for {processes} processes",
                got=f"{count} examples",
                hint="a smaller batch_size, drop_last=False, or fewer processes",
            )
        last = begins[-1] + step if drop_last else count
        return list(zip(begins, [*begins[1:], last], strict=True))

    def _fits(self, device: torch.device) -> bool:
        if device.type != "cuda" or self.inputs.device.type == "cuda":
            return True
        return self.inputs.nbytes + self.targets.nbytes <= torch.cuda.mem_get_info(device)[0] / 2


def _augmented(augment: Augment, inputs: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    made = augment(inputs, generator)
    pair = made if isinstance(made, tuple) else (made, targets)
    if len(pair) != 2 or not all(isinstance(part, Tensor) and len(part) == len(targets) for part in pair):
        got = made if isinstance(made, tuple) else [made]
        raise InputError(
            f"augment(inputs, generator) to return a tensor of {len(inputs)} inputs, or a pair of inputs and targets",
            got=", ".join(f"shape {tuple(p.shape)}" if isinstance(p, Tensor) else type(p).__name__ for p in got),
            hint="return the changed inputs, one for each that came in",
        )
    return pair


def _generator(*key: int) -> Generator:
    """Return a CPU generator whose stream is a function of `key` alone."""
    digest = blake2b(repr(key).encode(), digest_size=4).digest()  # PyTorch's CPU generator takes 32 bits
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def _integer(name: str, value: Any) -> int:
    """Return `value` as a Python integer: NumPy's are written differently, which would change the order."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return to_index(value)
    except TypeError:
        raise InputError(f"{name}, an integer", got=repr(value), hint=f"{name}=64") from None


def _check(inputs: Tensor, targets: Tensor, batch_size: int, drop_last: bool) -> None:
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Tensor) or value.ndim == 0:
            raise InputError(
                f"{name} as a tensor with one entry per example",
                got="a single number" if isinstance(value, Tensor) else type(value).__name__,
                hint=f"torch.as_tensor({name})",
            )
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise InputError(
            "as many targets as inputs, at least one",
            got=f"inputs {tuple(inputs.shape)}, targets {tuple(targets.shape)}",
            hint="check how the data was split: the first dimension counts the examples",
        )
    if batch_size < 1:
        raise InputError("batch_size, an integer of at least 1", got=repr(batch_size), hint="batch_size=64")
    if drop_last and len(inputs) < batch_size:
        raise InputError(
            "at least one full batch, because drop_last=True drops the others",
            got=f"{len(inputs)} examples, batch_size {batch_size}",
            hint="drop_last=False or a smaller batch_size",
        )
