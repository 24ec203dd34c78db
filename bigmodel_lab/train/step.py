"""One optimizer step on a window of batches, and the losses of many.

Letters: W processes. The loss is a mean over examples; a batch counts in its window by its share of the examples, so
several small batches, or several processes, give the gradient of one big batch, whatever their sizes.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from bigmodel_lab.train.checks import LossCheck, check_loss_value
from bigmodel_lab.train.setup import prepare
from bigmodel_lab.train.source import Window


class Stepper:
    """Takes one optimizer step per window; holds what a step needs."""

    def __init__(self, accelerator, model: nn.Module, optimizer, loss: Callable, check: LossCheck, clip_norm) -> None:
        """Let Accelerate prepare `model` and `optimizer`."""
        self.accelerator, self.loss, self.check, self.clip_norm = accelerator, loss, check, clip_norm
        self.model, prepared = prepare(accelerator, model, optimizer)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # Accelerate's wrappers cost a third of a small model's step; where they would do nothing, they are left out.
        kinds = ("NO", "MULTI_CPU", "MULTI_GPU", "FSDP")
        plain = accelerator.scaler is None and accelerator.distributed_type.value in kinds
        self.backward = Tensor.backward if plain else accelerator.backward
        self.update = optimizer.step if plain else prepared.step
        self.checked = False

    def __call__(self, window: Window, examples: int) -> Tensor:
        """Step on `window`, this process's part of a big batch of `examples`; return the loss, detached, on device.

        Over several processes the mean of what they return is the loss of the big batch.
        """
        total, last, device = None, len(window) - 1, self.accelerator.device
        for i, (inputs, targets) in enumerate(window):
            with nullcontext() if i == last else self.accelerator.no_sync(self.model):
                outputs = self.model(inputs.to(device, non_blocking=True))
                self.check(outputs, targets)  # before they move: a look at them on a GPU would make it wait
                value = self.loss(outputs, targets.to(device, non_blocking=True))
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
        for parameter in self.parameters:
            parameter.grad = None
        return total


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
