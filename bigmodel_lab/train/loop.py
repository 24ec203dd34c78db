"""`fit`: the training loop, one code path for a CPU, a GPU and several processes, on Hugging Face Accelerate.

Batches do not pass through Accelerate's prepared `DataLoader`: from tensors in memory they are faster and their order
is known in advance. Accelerate does device placement, mixed precision, and the averaging of gradients over processes.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import fsum
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train.checkpoint import Checkpoint
from bigmodel_lab.train.checks import Loss, LossCheck
from bigmodel_lab.train.evaluation import Metrics, mode, scores
from bigmodel_lab.train.fingerprint import fingerprint, schedule_values
from bigmodel_lab.train.history import History
from bigmodel_lab.train.resume import Progress, Store
from bigmodel_lab.train.schedules import Schedule, constant, warmup_cosine
from bigmodel_lab.train.setup import left_as_it_came, make_accelerator, make_optimizer
from bigmodel_lab.train.source import Source
from bigmodel_lab.train.step import Losses, NotFinite, Stepper


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
    - `learning_rate`: of AdamW, 0.001 if None; `optimizer`: another one, such as `partial(torch.optim.SGD, lr=0.1)`.
    - `schedule(step, total)`: a factor on the learning rate, `step` from 0; see `schedules.py`.
    - `validation`: batches to score after each epoch, by `loss` and `metrics` (see `evaluate`).
    - `accumulate`: batches per optimizer step; together they count as one batch, also where the last are fewer.
    - `clip_norm`: the largest norm of the gradient of all parameters together.
    - `checkpoint`: a folder, or `Checkpoint(folder, every_steps=...)`. A run found there is resumed; with `Batches` it
      ends with the bits, on a CPU, of a run never stopped; in another number of processes, within rounding. With other
      batches, saving is after each epoch only, and resuming is exact if their order depends on nothing but the global
      random generators.
    - `progress`: show a progress bar once the run has taken a second.

    With `Batches`, convolutional models get images with the channel as the fastest index in memory, where they can;
    on Apple's MPS the first outputs are compared with the CPU's, and a difference warns (`runtime.parity`).
    The model may be a compiled one, `torch.compile(model)`. In the processes of `torchrun` or `accelerate launch` each
    holds the whole model (DDP), or a part that it keeps afterwards (FSDP2: `--use_fsdp --fsdp_version 2`).
    The model ends on the device where it trained, in the mode it had. Raises `TrainingError` when the loss is not
    finite (up to 64 steps late: looking at each step would make a GPU wait) or when shapes do not fit.
    """
    _check_arguments(epochs, accumulate, clip_norm)
    _check_recipe(loss, optimizer, schedule, metrics)
    accelerator = make_accelerator()
    device = accelerator.device
    share = (accelerator.process_index, accelerator.num_processes)
    source = Source(batches, accumulate=accumulate, process=share[0], processes=share[1])
    total = None if source.steps is None else source.steps * epochs
    _check_combinations(source, schedule, checkpoint)
    with torch.enable_grad(), mode(model, training=True), left_as_it_came(model):
        source.place(model.to(device), device)
        made = make_optimizer(model, optimizer, learning_rate)
        marks = {}
        if checkpoint is not None:  # before FSDP2 divides the model
            marks = fingerprint(
                model,
                batches,
                made,
                loss=loss,
                accumulate=accumulate,
                clip_norm=clip_norm,
                schedule=schedule_values(schedule, total),
                processes=share[1],
                precision=accelerator.mixed_precision,
            )
        stepper = Stepper(accelerator, model, made, loss, LossCheck(loss, source.targets), clip_norm)
        store, state = None, Progress()
        if checkpoint is not None:
            checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
            store = Store(checkpoint, accelerator=accelerator, model=model, optimizer=made, fingerprint=marks)
            state = store.load(epochs)
        validate = partial(
            scores,
            model,
            validation,
            metrics=metrics,
            loss=loss,
            device=device,
            channels_last=source.channels_last,
            share=share,
            add=partial(_add, accelerator),
        )
        main = accelerator.is_main_process
        if state.total_steps and main:
            print(f"resumed from {store.file}: {state.epochs} epochs and {state.steps} steps were done")
        rates = [group["lr"] for group in made.param_groups]
        with _bar(total, state.total_steps, progress and main) as bar:
            run = _Run(
                epochs=epochs,
                total=total,
                source=source,
                stepper=stepper,
                optimizer=made,
                rates=rates,
                schedule=schedule or constant,
                validate=None if validation is None else validate,
                store=store,
                state=state,
                bar=bar,
            )
            while state.epochs < epochs:
                run.epoch()
    return state.history


@dataclass
class _Run:
    """The parts of one run, and what it does in an epoch."""

    epochs: int
    total: int | None  # optimizer steps
    source: Source
    stepper: Stepper
    optimizer: torch.optim.Optimizer
    rates: list[float]  # learning rate of each parameter group, before the schedule
    schedule: Schedule
    validate: Callable[[], dict[str, float]] | None
    store: Store | None
    state: Progress
    bar: Any

    def epoch(self) -> None:
        """Train an epoch, or the rest of one; then validate, add a row to the history and save."""
        state = self.state
        start = time.perf_counter() - state.seconds
        self._train(start)
        if not state.sizes:
            raise TrainingError(
                "at least one batch in each epoch",
                got=f"none in epoch {state.epochs + 1}",
                hint="give something that can be iterated again and again, such as a list or a DataLoader",
            )
        losses = state.history.step_losses[-len(state.sizes) :]
        mean = fsum(value * size for value, size in zip(losses, state.sizes, strict=True)) / sum(state.sizes)
        rate = self.rates[0] * self.schedule(state.total_steps - 1, self.total)
        row = {"epoch": state.epochs + 1, "train_loss": mean, "learning_rate": rate}
        if self.validate:
            row |= {f"validation_{name}": value for name, value in self.validate().items()}
        state.history.rows.append(row | {"seconds": time.perf_counter() - start})
        state.epochs, state.steps, state.seconds, state.sizes = state.epochs + 1, 0, 0.0, []
        if self.store:
            self.store.save(state)

    def _train(self, start: float) -> None:
        """Take the remaining steps of this epoch, which began at `start` on the clock."""
        state, every = self.state, self.store and self.store.every_steps
        losses = Losses(self.stepper.accelerator, state.history.step_losses)
        step = state.total_steps
        try:
            for window, examples in self.source.windows(state.epochs, state.steps):
                factor = self.schedule(step, self.total)
                for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                    group["lr"] = rate * factor
                self._show(losses.add(self.stepper(window, examples)))
                step, state.steps = step + 1, state.steps + 1
                state.sizes.append(examples)
                if every and step % every == 0:
                    self._show(losses.look())
                    state.seconds = time.perf_counter() - start
                    self.store.save(state)
            self._show(losses.look())
        except NotFinite as stop:
            rate = self.rates[0] * self.schedule(stop.step - 1, self.total)
            of = f" of {self.total}" if self.total else ""
            raise TrainingError(
                "a finite loss",
                got=f"{stop.value} in epoch {state.epochs + 1} of {self.epochs}, at step {stop.step}{of} (from 1)",
                hint=f"a learning rate below {rate:.3g}, clip_norm=1.0, inputs of about unit size and without NaN, "
                "and build the model anew: its weights are not finite now",
            ) from None

    def _show(self, steps: int) -> None:
        """Move the bar by the steps whose losses were looked at just now."""
        if not steps or self.bar.disable:
            return
        history = self.state.history
        last = history.rows[-1] if history.rows else {}
        parts = [f"{name} {value:.4g}" for name, value in last.items() if name.startswith("validation_")]
        self.bar.set_postfix_str(", ".join([f"loss {history.step_losses[-1]:.4g}", *parts]), refresh=False)
        self.bar.update(steps)


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


def _check_arguments(epochs: int, accumulate: int, clip_norm: float | None) -> None:
    for name, value in (("epochs", epochs), ("accumulate", accumulate)):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name}, an integer of at least 1", got=repr(value), hint=f"{name}=1")
    if clip_norm is not None and not clip_norm > 0:
        raise InputError("clip_norm above 0, or None", got=repr(clip_norm), hint="clip_norm=1.0")


def _check_recipe(loss: Any, optimizer: Any, schedule: Any, metrics: Any) -> None:
    """Refuse what is easily given by mistake, before anything is trained."""
    if isinstance(optimizer, torch.optim.Optimizer):
        made = type(optimizer).__name__
        raise InputError(
            "optimizer, a function of the parameters", got=f"a {made} already made", hint=f"partial({made}, lr=0.1)"
        )
    if isinstance(loss, type):
        raise InputError(
            "loss, a function of (outputs, targets)", got=f"the class {loss.__name__}", hint=f"{loss.__name__}()"
        )
    if schedule is warmup_cosine:
        raise InputError("a schedule", got="warmup_cosine, which makes one", hint="warmup_cosine(warmup=0.1)")
    if metrics is not None and not isinstance(metrics, Mapping):
        raise InputError("metrics by name", got=f"a {type(metrics).__name__}", hint='metrics={"accuracy": accuracy}')


def _check_combinations(source: Source, schedule: Schedule | None, checkpoint: Any) -> None:
    kind = type(source.batches).__name__
    if schedule is not None and source.steps is None:
        raise InputError(
            "a known number of batches, because the schedule depends on it",
            got=f"a {kind} without len()",
            hint="Batches(inputs, targets, batch_size=64), or schedule=None",
        )
    if isinstance(checkpoint, Checkpoint) and checkpoint.every_steps and source.sizes is None:
        raise InputError(
            "Batches, to save in the middle of an epoch",
            got=f"a {kind} and every_steps={checkpoint.every_steps}",
            hint="Batches(inputs, targets, batch_size=64), or a checkpoint after each epoch: every_steps=None",
        )
