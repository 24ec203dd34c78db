"""One optimizer step on a window of batches, and the set-up that Accelerate does for it.

Letters: W processes. The loss is a mean over examples; a batch counts in its window by its share of the examples, so
several small batches, or several processes, give the gradient of one big batch, whatever their sizes.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice

import torch
from torch import Tensor, nn

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train.checks import LossCheck, check_loss_value
from bigmodel_lab.train.resume import generators, set_generators

Window = list[tuple[Tensor, Tensor]]


def make_accelerator():
    """Return an Accelerator for the course's device and precision, whatever was set up in this process before.

    Under `accelerate launch --mixed_precision ...` the launcher's word on precision holds.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    device = runtime.device()
    wanted = os.environ.get("ACCELERATE_MIXED_PRECISION") or runtime.precision(device)
    cpu = device.type == "cpu"
    shared = AcceleratorState._shared_state
    if shared and (shared.get("_mixed_precision") != wanted or shared.get("_cpu") != cpu):
        AcceleratorState._reset_state(reset_partial_state=not os.environ.get("WORLD_SIZE"))
    accelerator = Accelerator(cpu=cpu, mixed_precision=wanted)
    accelerator.gradient_accumulation_steps = 1  # windows are explicit here
    accelerator.sync_gradients = True  # a state shared in the process: an earlier loop may have left it False
    return accelerator


def make_optimizer(model: nn.Module, make: Callable | None, learning_rate: float | None) -> torch.optim.Optimizer:
    """Return the optimizer of the trainable parameters: AdamW, fused where that works, unless `make` is given."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise TrainingError(
            "a model with trainable parameters", got="none", hint="parameter.requires_grad_(True) for what shall learn"
        )
    if make is not None:
        if learning_rate is not None:
            raise InputError(
                "either learning_rate (for AdamW) or optimizer",
                got=f"both, learning_rate={learning_rate}",
                hint="optimizer=partial(torch.optim.SGD, lr=0.1)",
            )
        return make(parameters)
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(parameters, lr=1e-3 if learning_rate is None else learning_rate, fused=fused or None)


class Stepper:
    """Takes one optimizer step per window; holds what a step needs."""

    def __init__(self, accelerator, model: nn.Module, optimizer, loss: Callable, check: LossCheck, clip_norm) -> None:
        """Let Accelerate prepare `model` and `optimizer`."""
        self.accelerator, self.loss, self.check, self.clip_norm = accelerator, loss, check, clip_norm
        self.model, prepared = accelerator.prepare(model, optimizer)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # Accelerate's wrappers cost a third of a small model's step; where they would do nothing, they are left out.
        plain = accelerator.scaler is None and accelerator.distributed_type.value in ("NO", "MULTI_CPU", "MULTI_GPU")
        self.backward = Tensor.backward if plain else accelerator.backward
        self.update = optimizer.step if plain else prepared.step
        self.checked = False

    def __call__(self, window: Window, examples: int) -> Tensor:
        """Step on `window`, this process's part of a big batch of `examples`; return the loss, detached, on device.

        Over several processes the mean of what they return is the loss of the big batch.
        """
        total, last = None, len(window) - 1
        for i, (inputs, targets) in enumerate(window):
            with nullcontext() if i == last else self.accelerator.no_sync(self.model):
                outputs = self.model(inputs)
                self.check(outputs, targets)
                value = self.loss(outputs, targets)
                if not self.checked:
                    check_loss_value(value)
                    self.checked = True
                share = len(targets) * self.accelerator.num_processes / examples
                if share != 1:
                    value = value * share
                self.backward(value)
            total = value.detach() if total is None else total + value.detach()
        if self.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.clip_norm)
        self.update()
        self.forget()
        return total

    def forget(self) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None


class Losses:
    """Collects step losses on the device and looks at them now and then: a look makes a GPU wait, a step does not.

    A look comes every 64 steps, or sooner when a quarter of a second has passed (in one process; several must look
    at the same step). So a loss that is not finite stops the run up to 64 steps late, but the step named is exact.
    """

    EVERY, SECONDS = 64, 0.25

    def __init__(self, accelerator, losses: list[float]) -> None:
        """Take the list that grows at each look."""
        self.accelerator, self.losses = accelerator, losses
        self.waiting: list[Tensor] = []
        self.timed = accelerator.num_processes == 1
        self.next = time.perf_counter() + self.SECONDS

    def add(self, loss: Tensor) -> int:
        """Keep one loss; return how many steps were looked at just now (0 if none)."""
        self.waiting.append(loss)
        if len(self.waiting) >= self.EVERY or (self.timed and time.perf_counter() > self.next):
            return self.look()
        return 0

    def look(self) -> int:
        """Move the waiting losses to the list; raise `TrainingError` at the first that is not finite."""
        if not self.waiting:
            return 0
        stacked = torch.stack(self.waiting).float()
        if self.accelerator.num_processes > 1:
            stacked = self.accelerator.reduce(stacked, "mean")
        values = stacked.tolist()
        self.waiting.clear()
        self.next = time.perf_counter() + self.SECONDS
        for value in values:
            self.losses.append(value)
            if not math.isfinite(value):
                raise NotFinite(len(self.losses), value)
        return len(values)


class NotFinite(Exception):
    """Step `step` (from 1) had the loss `value`; `fit` turns it into a `TrainingError`."""

    def __init__(self, step: int, value: float) -> None:
        """Keep both."""
        super().__init__(step, value)
        self.step, self.value = step, value


def windows(batches: Iterable, size: int) -> Iterator[Window]:
    """Group batches by `size`; the last group has what is left."""
    iterator = iter(batches)
    while window := list(islice(iterator, size)):
        yield window


def likes_channels_last(model: nn.Module, inputs: Tensor) -> bool:
    """Return whether `model` convolves images and gives the same outputs for `inputs` (B, C, H, W) in that layout.

    Tried on two examples in evaluation mode, because a model may call `.view` on activations, which only works in the
    usual layout. Nothing is changed: not the mode, the random generators, the buffers, or the parameters' layout.
    """
    if inputs.ndim != 4 or inputs.device.type == "mps" or not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        return False
    before, buffers = generators(), [b.clone() for b in model.buffers()]
    training = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            usual = model(inputs)
            with channels_last(model, True):
                other = model(inputs.contiguous(memory_format=torch.channels_last))
        scale = usual.abs().max().item()
        return torch.allclose(usual, other, rtol=1e-2, atol=1e-2 * scale, equal_nan=True)
    except (RuntimeError, AttributeError, TypeError):
        return False
    finally:
        set_generators(before)
        for buffer, value in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(value)
        for module, was in training:
            module.training = was


@contextmanager
def channels_last(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Lay the 4-D weights of `model` out channels-last; afterwards they are as they were."""
    changed = []
    if wanted:
        changed = [p for p in (*model.parameters(), *model.buffers()) if p.ndim == 4 and p.is_contiguous()]
    for tensor in changed:
        tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for tensor in changed:
            tensor.data = tensor.data.contiguous()
