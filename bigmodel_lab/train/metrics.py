"""Scores of predictions: one number per example, so that means over any subset and any split are exact."""

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError

IGNORED = -100  # the target value that `F.cross_entropy` ignores by default


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of right answers of each example, shape (B,); higher is better, from 0 to 1.

    `outputs` are scores of C classes: (B, C), (B, C, ...) as in `F.cross_entropy`, or (B, ..., C);
    `targets` are classes (B,) or (B, ...). Positions with target -100 do not count; an example without any is NaN.
    """
    dim = class_dimension(outputs, targets)
    if dim is None:
        raise InputError(
            "outputs (B, C, ...) or (B, ..., C) for integer targets (B, ...)",
            got=f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)} of {targets.dtype}",
            hint="one score per class; for numbers use squared_error or absolute_error",
        )
    counted = (targets.long() != IGNORED).reshape(len(targets), -1)
    right = (outputs.argmax(dim) == targets.long()).reshape(len(targets), -1) & counted
    return right.sum(1) / counted.sum(1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error of each example, shape (B,); lower is better. Shapes must be equal."""
    return _per_example((outputs - _same_shape(outputs, targets)) ** 2)


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute error of each example, shape (B,); lower is better. Shapes must be equal."""
    return _per_example((outputs - _same_shape(outputs, targets)).abs())


def r2_score(outputs: Tensor, targets: Tensor) -> float:
    """Return 1 - (squared error) / (squared error of always saying the mean target); 1 is perfect, 0 is the mean.

    A property of the whole set, not of one example: give it all predictions, not `fit(metrics=...)`.
    """
    targets = _same_shape(outputs, targets).double()
    spread = ((targets - targets.mean(0)) ** 2).sum()
    if spread == 0:
        raise InputError("targets that differ", got="the same value everywhere", hint="use squared_error")
    return (1 - ((outputs.double() - targets) ** 2).sum() / spread).item()


def class_dimension(outputs: Tensor, targets: Tensor) -> int | None:
    """Return which dimension of `outputs` holds the classes of integer `targets`, or None if none fits.

    Where both 1 and the last fit, it is 1, as in `F.cross_entropy`.
    """
    integer = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    if not integer or outputs.ndim != targets.ndim + 1:
        return None
    if outputs.shape[:1] + outputs.shape[2:] == targets.shape:
        return 1
    return outputs.ndim - 1 if outputs.shape[:-1] == targets.shape else None


def _same_shape(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.shape != targets.shape:
        raise InputError(
            "outputs and targets of the same shape",
            got=f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}",
            hint="(B, 1) against (B,) would be broadcast to (B, B): use .squeeze(1) or .unsqueeze(1)",
        )
    return targets


def _per_example(scores: Tensor) -> Tensor:
    return scores.reshape(len(scores), -1).mean(1)
