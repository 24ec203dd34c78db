"""Evaluation and prediction: no gradient, evaluation mode, and the mode restored whatever happens."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import fsum

import torch
from torch import Tensor, nn

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train.batches import Batches
from bigmodel_lab.train.checks import Loss, LossCheck, check_batch, check_input_type, check_output
from bigmodel_lab.train.metrics import accuracy, class_dimension

Metric = Callable[[Tensor, Tensor], Tensor]
Metrics = Mapping[str, Metric]


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put `model` in training or evaluation mode; afterwards every module has the mode it had."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def evaluate(
    model: nn.Module, batches: Iterable, *, metrics: Metrics | None = None, loss: Loss | None = None
) -> dict[str, float]:
    """Return the mean over all examples of each metric, and of `loss` (as "loss") if given.

    A metric maps (outputs, targets) to one score per example, shape (B,); the default is accuracy when targets are
    classes. `loss` must be a mean over the examples. Batches are taken in order, without shuffling or augmentation.
    """
    result = scores(model, batches, metrics=metrics, loss=loss, device=model_device(model))
    if not result:
        raise InputError(
            "something to measure", got="no metrics, no loss, and targets that are not classes", hint="loss=F.mse_loss"
        )
    return result


def predict(model: nn.Module, inputs: Tensor, *, batch_size: int = 512) -> Tensor:
    """Return the outputs (N, ...), on the CPU, of `model` in evaluation mode for `inputs` (N, ...)."""
    if not isinstance(inputs, Tensor) or inputs.ndim == 0 or len(inputs) == 0:
        raise InputError(
            "inputs as a tensor with at least one example", got=type(inputs).__name__, hint="torch.as_tensor(inputs)"
        )
    if batch_size < 1:
        raise InputError("batch_size of at least 1", got=repr(batch_size), hint="batch_size=512")
    check_input_type(model, inputs)
    device = model_device(model)
    with mode(model, training=False), torch.no_grad():
        return torch.cat([check_output(model(part.to(device, copy=True))).cpu() for part in inputs.split(batch_size)])


def model_device(model: nn.Module) -> torch.device:
    """Return where the model's parameters are, or the device that the course would take if it has none."""
    return next((p.device for p in model.parameters()), runtime.device())


def scores(
    model: nn.Module,
    batches: Iterable,
    *,
    metrics: Metrics | None,
    loss: Loss | None,
    device: torch.device,
    channels_last: bool = False,
    share: tuple[int, int] = (0, 1),
    add: Callable[[list[float]], list[float]] = lambda totals: totals,
) -> dict[str, float]:
    """`evaluate` for process `share[0]` of `share[1]`; `add` sums a list of numbers over the processes.

    Scores stay on the device until the end, so that a GPU is not made to wait after every batch.
    """
    if isinstance(batches, Batches) and len(batches.targets) >= share[1]:
        source = batches.to(device, channels_last=channels_last).in_order(process=share[0], processes=share[1])
    else:
        source, add = batches, lambda totals: totals  # every process goes through all of it
    theirs = not isinstance(batches, Batches)  # the caller's tensors: a model may change its inputs in place
    check = LossCheck(loss) if loss else None
    rows: list[Tensor] = []  # of each batch: examples, then the sum of each score
    with mode(model, training=False), torch.no_grad():
        for batch in source:
            inputs, targets = check_batch(batch)
            check_input_type(model, inputs)
            outputs, on_device = model(inputs.to(device, copy=theirs)), targets.to(device)
            if metrics is None:
                metrics = default_metrics(outputs, targets)
            row = [_score(name, metric, outputs, on_device) for name, metric in metrics.items()]
            if check:
                check(outputs, targets)
                row.insert(0, loss(outputs, on_device).float() * len(targets))
            rows.append(torch.stack([torch.tensor(float(len(targets)), device=device), *row]))
    if not rows:
        raise TrainingError("at least one batch to evaluate", got="none", hint="was the iterator used up before?")
    count, *totals = add([fsum(column) for column in zip(*torch.stack(rows).tolist(), strict=True)])
    names = (["loss"] if loss else []) + list(metrics)
    return {name: total / count for name, total in zip(names, totals, strict=True)}


def default_metrics(outputs: Tensor, targets: Tensor) -> Metrics:
    """Return accuracy when targets are classes and outputs have one score for each, else nothing."""
    fits = isinstance(outputs, Tensor) and class_dimension(outputs, targets) is not None
    return {"accuracy": accuracy} if fits else {}


def _score(name: str, metric: Metric, outputs: Tensor, targets: Tensor) -> Tensor:
    values = metric(outputs, targets)
    if not isinstance(values, Tensor) or values.shape != (len(targets),):
        raise TrainingError(
            f"metric {name!r} to return one score per example, shape ({len(targets)},)",
            got=f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__,
            hint="no mean over the batch; scores of a whole set, such as r2_score, go with predict()",
        )
    return values.sum(dtype=torch.float32)
