"""What stands before the first step: Accelerate for this process, the optimizer, and leaving the model as it came."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError, TrainingError


def make_accelerator():
    """Return an Accelerator for the course's device and precision, whatever was set up in this process before.

    Under `accelerate launch --mixed_precision ...` the launcher's word on precision holds.
    """
    with warnings.catch_warnings():  # it imports tqdm's widgets, which miss ipywidgets; our bar needs none
        warnings.filterwarnings("ignore", message="IProgress not found")
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

    device = runtime.device()
    wanted = os.environ.get("ACCELERATE_MIXED_PRECISION") or runtime.precision(device)
    cpu = device.type == "cpu"
    shared = AcceleratorState._shared_state
    if shared and (shared.get("_mixed_precision") != wanted or shared.get("_cpu") != cpu):
        AcceleratorState._reset_state(reset_partial_state="WORLD_SIZE" not in os.environ)
    accelerator = Accelerator(cpu=cpu, mixed_precision=wanted)
    accelerator.gradient_accumulation_steps = 1  # windows are explicit here, see source.py
    accelerator.gradient_state._set_sync_gradients(True)  # shared in the process: an earlier loop may have left False
    return accelerator


def make_optimizer(model: nn.Module, make: Callable | None, learning_rate: float | None) -> torch.optim.Optimizer:
    """Return the optimizer of the trainable parameters: AdamW, fused where that works, unless `make` is given."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise TrainingError(
            "a model with trainable parameters", got="none", hint="parameter.requires_grad_(True) for what shall learn"
        )
    if make is None:
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        return torch.optim.AdamW(parameters, lr=1e-3 if learning_rate is None else learning_rate, fused=fused or None)
    if learning_rate is not None:
        raise InputError(
            "either learning_rate (for AdamW) or optimizer",
            got=f"both, learning_rate={learning_rate}",
            hint="optimizer=partial(torch.optim.SGD, lr=0.1)",
        )
    return make(parameters)


@contextmanager
def left_as_it_came(model: nn.Module) -> Iterator[None]:
    """Afterwards `model` has no gradients and none of the attributes that Accelerate adds.

    They must go: a model marked as prepared is not wrapped for mixed precision by the next Accelerator.
    """
    before = set(vars(model))
    _drop_gradients(model)
    try:
        yield
    finally:
        for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
            if name not in before:
                vars(model).pop(name, None)
        _drop_gradients(model)


def _drop_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None
