"""Checks that turn a wrong shape, type or target into an error that says so, before PyTorch broadcasts it silently."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import TrainingError
from bigmodel_lab.train.metrics import IGNORED

Loss = Callable[[Tensor, Tensor], Tensor]

_ELEMENTWISE = {
    F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits,
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss,
}  # fmt: skip
_CLASSES = {F.cross_entropy, F.nll_loss, nn.CrossEntropyLoss, nn.NLLLoss}


class LossCheck:
    """Checks outputs (B, ...) against targets (B, ...) for `loss`; each pair of shapes is looked at once."""

    def __init__(self, loss: Loss, targets: Tensor | None = None) -> None:
        """Take the targets (N, ...) of the whole run if they are known: their range is then looked at only once."""
        _check_reduction(loss)
        self.kind, self.ignored = _kind(loss)
        self.name = getattr(loss, "__name__", type(loss).__name__)
        self.targets = targets
        self.seen: set = set()

    def __call__(self, outputs: Any, targets: Tensor) -> None:
        """Raise `TrainingError` if the loss of these would be wrong or undefined."""
        check_output(outputs)
        key = (outputs.shape, targets.shape, targets.dtype)
        if key not in self.seen:
            if self.kind is F.mse_loss:
                self._same_shape(outputs, targets)
            elif self.kind is F.cross_entropy:
                self._class_shape(outputs, targets)
            self.seen.add(key)
            if self.targets is not None:
                self._class_range(outputs, self.targets)
        if self.targets is None:
            self._class_range(outputs, targets)

    def _same_shape(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.shape != targets.shape:
            raise TrainingError(
                f"outputs and targets of the same shape for {self.name}",
                got=f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}",
                hint="(B, 1) against (B,) would be broadcast to (B, B): targets.unsqueeze(1), or outputs.squeeze(1)",
            )
        if not targets.is_floating_point():
            raise TrainingError(
                f"targets of a floating-point type for {self.name}", got=f"{targets.dtype}", hint="targets.float()"
            )

    def _class_shape(self, outputs: Tensor, targets: Tensor) -> None:
        if targets.is_floating_point() and targets.shape == outputs.shape:
            return  # probabilities of the classes
        if targets.is_floating_point() or outputs.shape[:1] + outputs.shape[2:] != targets.shape or outputs.ndim < 2:
            raise TrainingError(
                f"outputs (B, C, ...) and integer targets (B, ...) for {self.name}, C classes",
                got=f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)} of {targets.dtype}",
                hint="targets are class numbers: targets.long(), without a dimension of size 1; "
                "outputs (B, T, C) of a sequence need a loss that moves C to place 1; for numbers use F.mse_loss",
            )
        if targets.dtype != torch.int64:
            raise TrainingError(f"int64 targets for {self.name}", got=f"{targets.dtype}", hint="targets.long()")

    def _class_range(self, outputs: Tensor, targets: Tensor) -> None:
        if self.kind is not F.cross_entropy or targets.is_floating_point():
            return
        counted = targets[targets != self.ignored]
        low, high = (counted.min().item(), counted.max().item()) if len(counted) else (0, 0)
        if low < 0 or high >= outputs.shape[1]:
            raise TrainingError(
                f"targets from 0 to {outputs.shape[1] - 1}, because the model has {outputs.shape[1]} outputs",
                got=f"targets from {low} to {high}",
                hint=f"a last layer with {high + 1} outputs, or classes numbered from 0",
            )


def check_output(outputs: Any) -> Tensor:
    """Return `outputs` if they are a tensor, else raise `TrainingError`."""
    if not isinstance(outputs, Tensor):
        raise TrainingError(
            "a model that returns a tensor",
            got=type(outputs).__name__,
            hint="wrap the model in a module whose forward returns the tensor, such as `.logits`",
        )
    return outputs


def check_loss_value(value: Any) -> None:
    """Raise `TrainingError` unless `value` is one number that depends on trainable parameters."""
    if not isinstance(value, Tensor) or value.ndim != 0:
        raise TrainingError(
            "loss(outputs, targets) to return one number, the mean over the examples",
            got=f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__,
            hint='.mean(), or reduction="mean"',
        )
    if not value.requires_grad:
        raise TrainingError(
            "a loss that depends on trainable parameters",
            got="a loss without a gradient",
            hint="no .detach(), .item(), argmax or torch.no_grad() between the parameters and the loss",
        )


def check_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the pair (inputs (B, ...), targets (B, ...)) or raise `TrainingError`."""
    if (
        not isinstance(batch, (tuple, list))
        or len(batch) != 2
        or not all(isinstance(part, Tensor) and part.ndim for part in batch)
        or len(batch[0]) != len(batch[1])
        or len(batch[0]) == 0
    ):
        parts = batch if isinstance(batch, (tuple, list)) else [batch]
        got = ", ".join(str(tuple(p.shape)) if isinstance(p, Tensor) else type(p).__name__ for p in parts)
        raise TrainingError(
            "batches that are pairs of tensors, inputs (B, ...) and targets (B, ...), with B at least 1",
            got=f"a {type(batch).__name__} of {got}",
            hint="Batches(inputs, targets, batch_size=64), or a DataLoader of such pairs",
        )
    return batch[0], batch[1]


def check_input_type(model: nn.Module, inputs: Tensor) -> None:
    """Raise `TrainingError` for float64 inputs of a float32 model, what NumPy arrays become."""
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), inputs.dtype)
    if inputs.dtype == torch.float64 and kind != torch.float64:
        raise TrainingError(f"inputs of the model's type, {kind}", got=f"{inputs.dtype}", hint="inputs.float()")


def _check_reduction(loss: Loss) -> None:
    found = None
    if isinstance(loss, functools.partial):
        found = loss.keywords.get("reduction")
    elif isinstance(loss, nn.Module) and type(loss).__module__.startswith("torch.nn"):
        found = loss.reduction if hasattr(loss, "reduction") else None
    if found in ("sum", "none"):
        raise TrainingError(
            "a loss that is the mean over the examples", got=f'reduction="{found}"', hint='reduction="mean"'
        )


def _kind(loss: Loss) -> tuple[Callable | None, int]:
    """Return what family a known loss belongs to, mse_loss or cross_entropy, and the target that it ignores."""
    ignored = IGNORED
    while isinstance(loss, functools.partial):
        ignored = loss.keywords.get("ignore_index", ignored)
        loss = loss.func
    key = type(loss) if isinstance(loss, nn.Module) else loss
    if key in _ELEMENTWISE:
        return F.mse_loss, ignored
    return (F.cross_entropy if key in _CLASSES else None), getattr(loss, "ignore_index", ignored)
