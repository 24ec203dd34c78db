"""Weights whatever wraps the model: whole where FSDP2 divides them, and under the names they have without a compiler.

A weight that FSDP2 divides is a `DTensor`: its shape is the whole one, its memory holds this process's part.
Source: Zhao et al. 2023, PyTorch FSDP (arXiv 2304.11277); `torch.distributed.fsdp.fully_shard`.
"""

from typing import Any

import torch
from torch import Tensor, nn


def bare(model: nn.Module) -> nn.Module:
    """Return the model that `torch.compile(model)` wraps, or `model` itself."""
    return getattr(model, "_orig_mod", model)


def named_tensors(model: nn.Module) -> dict[str, Any]:
    """Return the state of `model` by name, each value under the name that it has in a model not compiled.

    Parameters are themselves, not views of them, so that tied ones are one object.
    """
    return {name.replace("_orig_mod.", ""): value for name, value in model.state_dict(keep_vars=True).items()}


def is_divided(value: Any) -> bool:
    """Return whether this process holds only a part of `value`."""
    return isinstance(value, Tensor) and hasattr(value, "full_tensor")


def part(value: Tensor) -> Tensor:
    """Return what this process holds of `value`."""
    return value.detach().to_local() if is_divided(value) else value.detach()


def whole(value: Tensor) -> Tensor:
    """Return all of `value`; every process must call this, for the same tensors in the same order."""
    return value.detach().full_tensor() if is_divided(value) else value.detach()


def like(value: Tensor, target: Tensor) -> Tensor:
    """Return `value`, which every process holds as a whole, divided as `target` is."""
    if not is_divided(target):
        return value
    from torch.distributed.tensor import distribute_tensor

    value = value.to(target.device, copy=True)
    return distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)


@torch.no_grad()
def fill(target: Tensor, value: Tensor) -> None:
    """Copy `value`, which every process holds as a whole, into `target`."""
    target.copy_(like(value, target))
