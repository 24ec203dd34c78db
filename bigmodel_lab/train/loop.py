"""`fit`: the training loop, one code path for a CPU, a GPU and several processes, on Hugging Face Accelerate.

Batches do not pass through Accelerate's prepared `DataLoader`: from tensors in memory they are faster and their order
is known in advance. Accelerate does device placement, mixed precision, and the averaging of gradients over processes.
"""

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from math import ceil, fsum
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import CheckpointError, InputError, TrainingError
from bigmodel_lab.train import resume
from bigmodel_lab.train.batches import Batches
from bigmodel_lab.train.checkpoint import Checkpoint
from bigmodel_lab.train.checks import Loss, LossCheck, check_batch, check_input_type
from bigmodel_lab.train.evaluation import Metrics, mode, scores
from bigmodel_lab.train.history import History
from bigmodel_lab.train.schedules import Schedule
from bigmodel_lab.train.step import (
    Losses,
    NotFinite,
    Stepper,
    channels_last,
    likes_channels_last,
    make_accelerator,
    make_optimizer,
    windows,
)


def fit(
    model: nn.Module,
    batches: Iterable,
    *,
    epochs: int,
    loss: Loss = F.cross_entropy,
    learning_rate: float | None = None,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    schedule: Schedule | None = None,
    validation: Iterable | None = None,
    metrics: Metrics | None = None,
    accumulate: int = 1,
    clip_norm: float | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
    progress: bool = True,
) -> History:
    """Train `model` on `batches` and return what was measured.

    - `batches`: `Batches`, or anything that can be iterated once per epoch over pairs of inputs (B, ...) and targets
      (B, ...), such as a `DataLoader` (then in one process only).
    - `loss(outputs, targets)`: the mean over the examples.
    - `learning_rate`: of AdamW, 0.001 if None; `optimizer`: another, such as `partial(torch.optim.SGD, lr=0.1)`.
    - `schedule(step, total)`: a factor on the learning rate, `step` from 0; see `schedules.py`.
    - `validation`: batches to score after each epoch, by `loss` and `metrics` (see `evaluate`).
    - `accumulate`: batches per optimizer step; together they count as one batch, also where the last are fewer.
    - `clip_norm`: the largest norm of the gradient of all parameters together.
    - `checkpoint`: a folder, or `Checkpoint(folder, every_steps=...)`. A run found there is resumed; with `Batches` it
      ends with the bits, on a CPU, of a run never stopped. With other batches, saving is after each epoch only, and
      resuming is exact if their order depends on nothing but the global random generators.
    - `progress`: show a progress bar once the run has taken a second.

    Convolutional models run with the channel as the fastest index in memory where they can (1.5 times as fast). The
    model ends on the device where it trained, in the mode it had. Raises `TrainingError` when the loss is not finite
    (up to 64 steps late: looking at each step would make a GPU wait) or when shapes do not fit.
    """
    _check_arguments(batches, epochs, accumulate, clip_norm, schedule)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint)
    run = _Run(make_accelerator(), model, batches, epochs, accumulate)
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(mode(model, training=True))
        stack.callback(run.release)
        run.set_up(loss, make_optimizer_from=(optimizer, learning_rate), clip_norm=clip_norm, stack=stack)
        run.schedule, run.validation, run.metrics = schedule, validation, metrics
        if checkpoint is not None:
            run.resume(checkpoint)
        run.bar = stack.enter_context(_bar(run.total, run.done, progress and run.accelerator.is_main_process))
        while run.state.epochs < epochs:
            run.epoch()
    return run.state.history


class _Run:
    """The parts of one run, and what it does in an epoch."""

    def __init__(self, accelerator, model: nn.Module, batches: Iterable, epochs: int, accumulate: int) -> None:
        self.accelerator, self.model, self.epochs, self.accumulate = accelerator, model, epochs, accumulate
        self.device, self.process = accelerator.device, accelerator.process_index
        self.processes = accelerator.num_processes
        self.given = batches
        if not isinstance(batches, Batches) and self.processes > 1:
            raise TrainingError(
                f"Batches, which divide the data between {self.processes} processes",
                got=type(batches).__name__,
                hint="Batches(inputs, targets, batch_size=64)",
            )
        self.total = self._total()
        self.state = resume.Progress()
        self.checkpoint: Checkpoint | None = None
        self.fingerprint: dict[str, str] = {}

    def _total(self) -> int | None:
        """Optimizer steps of the whole run, if the number of batches is known."""
        count = (
            len(self.given.sizes(processes=self.processes)) if isinstance(self.given, Batches) else _length(self.given)
        )
        return None if count is None else ceil(count / self.accumulate) * self.epochs

    def set_up(self, loss: Loss, *, make_optimizer_from: tuple, clip_norm: float | None, stack: ExitStack) -> None:
        """Place model and data on the device, choose the memory layout, make the optimizer."""
        model = self.model.to(self.device)
        self.batches, self.channels_last, targets = self.given, False, None
        if isinstance(self.given, Batches):
            check_input_type(model, self.given.inputs)
            self.channels_last = likes_channels_last(model, self.given.inputs[:2].to(self.device))
            self.batches, targets = self.given.to(self.device, channels_last=self.channels_last), self.given.targets
        stack.enter_context(channels_last(model, self.channels_last))
        self.optimizer = make_optimizer(model, *make_optimizer_from)
        self.base = [group["lr"] for group in self.optimizer.param_groups]
        self.loss, self.clip_norm = loss, clip_norm
        self.stepper = Stepper(self.accelerator, model, self.optimizer, loss, LossCheck(loss, targets), clip_norm)
        self.stepper.forget()  # gradients that the caller left

    def release(self) -> None:
        """Take Accelerate's wrapping off the caller's model, and drop gradients."""
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.accelerator.free_memory()
        for parameter in self.model.parameters():
            parameter.grad = None

    @property
    def done(self) -> int:
        """Optimizer steps done."""
        return len(self.state.history.step_losses)

    def epoch(self) -> None:
        """Train one epoch, or the rest of one; then validate, add a row to the history and save."""
        state, losses = self.state, Losses(self.accelerator, self.state.history.step_losses)
        start, step = time.perf_counter() - state.seconds, self.done
        try:
            for window, examples in self._windows():
                rate = self._set_learning_rate(step)
                loss = self.stepper(window, examples)
                step, state.steps = step + 1, state.steps + 1
                state.sizes.append(examples)
                self._show(losses.add(loss))
                if self.checkpoint and self.checkpoint.every_steps and step % self.checkpoint.every_steps == 0:
                    self._show(losses.look())
                    state.seconds = time.perf_counter() - start
                    self._save()
            self._show(losses.look())
        except NotFinite as stop:
            raise self._not_finite(stop) from None
        if not state.sizes:
            raise TrainingError(
                "at least one batch in each epoch",
                got=f"none in epoch {state.epochs + 1}",
                hint="give something that can be iterated again and again, such as a list or a DataLoader",
            )
        rate = self.optimizer.param_groups[0]["lr"]
        self._finish(rate, start)

    def _windows(self):
        """Yield the batches of each remaining step of this epoch, and how many examples they have in all processes."""
        state, n = self.state, self.accumulate
        if isinstance(self.batches, Batches):
            sizes = self.batches.sizes(processes=self.processes)
            first = state.steps * n
            epoch = self.batches.epoch(state.epochs, first, process=self.process, processes=self.processes)
            for window in windows(epoch, n):
                yield window, sum(sizes[first : first + n])
                first += n
        else:
            for window in windows(self.batches, n):
                pairs = [check_batch(batch) for batch in window]
                check_input_type(self.model, pairs[0][0])
                moved = [(x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)) for x, y in pairs]
                yield moved, sum(len(y) for _, y in pairs)

    def _set_learning_rate(self, step: int) -> None:
        if self.schedule is not None:
            factor = self.schedule(step, self.total)
            for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
                group["lr"] = base * factor

    def _finish(self, rate: float, start: float) -> None:
        state = self.state
        losses = state.history.step_losses[-len(state.sizes) :]
        mean = fsum(value * size for value, size in zip(losses, state.sizes, strict=True)) / sum(state.sizes)
        row: dict[str, float] = {"epoch": state.epochs + 1, "train_loss": mean, "learning_rate": float(rate)}
        if self.validation is not None:
            found = scores(
                self.model,
                self.validation,
                metrics=self.metrics,
                loss=self.loss,
                device=self.device,
                channels_last=self.channels_last,
                share=(self.process, self.processes),
                add=partial(_add, self.accelerator),
            )
            row |= {f"validation_{name}": value for name, value in found.items()}
        row["seconds"] = time.perf_counter() - start
        state.history.rows.append(row)
        state.epochs, state.steps, state.seconds, state.sizes = state.epochs + 1, 0, 0.0, []
        if self.checkpoint:
            self._save()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue the run in the checkpoint's folder if there is one; from now on save there."""
        from accelerate.utils import gather_object

        if checkpoint.every_steps and not isinstance(self.given, Batches):
            raise InputError(
                "Batches, to save in the middle of an epoch",
                got=f"{type(self.given).__name__} and every_steps={checkpoint.every_steps}",
                hint="Batches(...), or a checkpoint without every_steps, saved after each epoch",
            )
        if self.accelerator.distributed_type.value in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
            raise CheckpointError(
                "whole weights on every process",
                got=f"weights divided by {self.accelerator.distributed_type.value}",
                hint="leave checkpoint out and save with Accelerator.save_state",
            )
        self.checkpoint = checkpoint
        self.fingerprint = resume.fingerprint(
            self.model,
            self.given,
            self.optimizer,
            loss=self.loss,
            accumulate=self.accumulate,
            clip_norm=self.clip_norm,
            schedule=self._schedule_values(),
            processes=self.processes,
            precision=self.accelerator.mixed_precision,
        )
        seen = gather_object([checkpoint.file.exists()])
        if not all(seen):
            if any(seen):
                raise CheckpointError(
                    f"{checkpoint.file} to be seen by every process", got="only by some", hint="use a shared folder"
                )
            return
        self.state = resume.load(
            checkpoint,
            model=self.model,
            optimizer=self.optimizer,
            scaler=self.accelerator.scaler,
            fingerprint=self.fingerprint,
            process=self.process,
            epochs=self.epochs,
        )
        if self.accelerator.is_main_process:
            of = f" of {self.total}" if self.total else ""
            print(f"resumed from {checkpoint.file}: {self.state.epochs} epochs done, step {self.done}{of}")

    def _schedule_values(self) -> list[float] | None:
        """A schedule is known by its values; they depend on the length of the run."""
        if self.schedule is None:
            return None
        return [self.schedule(self.total * i // 16, self.total) for i in range(16)] + [self.total]

    def _save(self) -> None:
        from accelerate.utils import gather_object

        states = gather_object([resume.generators()])
        if self.accelerator.is_main_process:
            resume.save(
                self.checkpoint,
                self.state,
                model=self.model,
                optimizer=self.optimizer,
                scaler=self.accelerator.scaler,
                fingerprint=self.fingerprint,
                generators=states,
            )
        self.accelerator.wait_for_everyone()

    def _show(self, steps: int) -> None:
        """Move the bar by the steps just looked at."""
        if not steps or self.bar.disable:
            return
        history = self.state.history
        text = f"loss {history.step_losses[-1]:.4g}"
        if history.rows:
            text += "".join(f", {k} {v:.4g}" for k, v in history.rows[-1].items() if k.startswith("validation_"))
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(steps)

    def _not_finite(self, stop: NotFinite) -> TrainingError:
        of = f" of {self.total}" if self.total else ""
        return TrainingError(
            "a finite loss",
            got=f"{stop.value} in epoch {self.state.epochs + 1} of {self.epochs}, at step {stop.step}{of} (from 1)",
            hint=f"a smaller learning rate (it was {self.optimizer.param_groups[0]['lr']:.3g}), clip_norm=1.0, "
            "and inputs of about unit size without NaN",
        )


def _add(accelerator, totals: list[float]) -> list[float]:
    """Sum each number over the processes."""
    if accelerator.num_processes == 1:
        return totals
    return accelerator.reduce(torch.tensor(totals, dtype=torch.float64, device=accelerator.device), "sum").tolist()


def _bar(total: int | None, done: int, wanted: bool):
    """Return a bar that shows after a second, is gone at the end, and writes little where nobody watches."""
    from tqdm import tqdm

    rest = 0.2 if sys.stderr.isatty() else 2.0  # seconds
    return tqdm(
        total=total, initial=done, unit="step", ascii=True, leave=False, delay=1, mininterval=rest, disable=not wanted
    )


def _length(batches: Any) -> int | None:
    try:
        return len(batches)
    except TypeError:
        return None


def _check_arguments(batches: Any, epochs: int, accumulate: int, clip_norm: float | None, schedule: Any) -> None:
    for name, value in (("epochs", epochs), ("accumulate", accumulate)):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name}, an integer of at least 1", got=repr(value), hint=f"{name}=1")
    if clip_norm is not None and not clip_norm > 0:
        raise InputError("clip_norm above 0, or None", got=repr(clip_norm), hint="clip_norm=1.0")
    if isinstance(batches, Tensor) or not hasattr(batches, "__iter__") or hasattr(batches, "__next__"):
        raise InputError(
            "batches that can be iterated once per epoch",
            got=f"a {type(batches).__name__}" + (", used up after one epoch" if hasattr(batches, "__next__") else ""),
            hint="Batches(inputs, targets, batch_size=64), a DataLoader, or a list of pairs",
        )
    if schedule is not None and _length(batches) is None:
        raise InputError(
            "a known number of batches, because the schedule depends on it",
            got=f"a {type(batches).__name__} without len()",
            hint="Batches(inputs, targets, batch_size=64), or schedule=None",
        )
