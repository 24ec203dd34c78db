"""What stands before the first step: Accelerate for this process, the optimizer, and leaving the model as it came."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train.divided import bare, is_divided


def make_accelerator():
    """Return an Accelerator for the course's device and precision, whatever was set up in this process before.

    Under `accelerate launch --mixed_precision ...` the launcher's word on precision holds, under
    `accelerate launch --use_fsdp --fsdp_version 2` several processes divide the model, on CPUs too.
    """
    with warnings.catch_warnings():  # it imports tqdm's widgets, which miss ipywidgets; our bar needs none
        warnings.filterwarnings("ignore", message="IProgress not found")
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

    device = runtime.device()
    if device.type == "mps" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = torch.device("cpu")  # MPS cannot send anything to another process
    wanted = os.environ.get("ACCELERATE_MIXED_PRECISION") or runtime.precision(device)
    cpu = device.type == "cpu"
    shared = AcceleratorState._shared_state
    if shared and (shared.get("_mixed_precision") != wanted or shared.get("_cpu") != cpu):
        AcceleratorState._reset_state(reset_partial_state="WORLD_SIZE" not in os.environ)
    accelerator = Accelerator(cpu=cpu, mixed_precision=wanted)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        _divide(accelerator)
    accelerator.gradient_accumulation_steps = 1  # windows are explicit here, see source.py
    accelerator.gradient_state._set_sync_gradients(True)  # shared in the process: an earlier loop may have left False
    return accelerator


def _divide(accelerator) -> None:
    """Turn FSDP2 on, also between CPUs, where Accelerate leaves it off; with float32 sums in mixed precision."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import MixedPrecisionPolicy

    plugin = FullyShardedDataParallelPlugin()  # as the launcher says
    if plugin.fsdp_version != 2:
        raise InputError("FSDP2", got="FSDP1", hint="accelerate launch --use_fsdp --fsdp_version 2 ...")
    plugin.cpu_ram_efficient_loading = False  # the launcher's default; it unties tied weights and trains them apart
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    if kind:
        plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32)
    if accelerator.distributed_type in (DistributedType.MULTI_CPU, DistributedType.FSDP):
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin


def prepare(accelerator, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
    """Return Accelerate's `model` and `optimizer`; in several processes all start with the weights of the first."""
    if accelerator.is_fsdp2 and not any(is_divided(p) for p in model.parameters()):  # DDP does it itself
        for value in model.state_dict().values():
            first = value.contiguous()
            torch.distributed.broadcast(first, src=0)
            value.copy_(first)
        model.register_forward_hook(_in_float32)
    return accelerator.prepare(model, optimizer)


def _in_float32(model: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Return the outputs as mixed precision gives them elsewhere."""
    return outputs.float() if isinstance(outputs, torch.Tensor) and outputs.is_floating_point() else outputs


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
    parts = [vars(part) for part in dict.fromkeys([model, bare(model)])]
    added = ("forward", "_original_forward", "_is_accelerate_prepared")
    before = [{name: part[name] for name in added if name in part} for part in parts]
    _drop_gradients(model)
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=True):
            for name in added:
                part.pop(name, None)
            part.update(own)
        _drop_gradients(model)


def _drop_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None
