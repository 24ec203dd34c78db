"""What all metrics share: places instead of channels, ranks, orders, and the checks of what comes in.

A place is what can be pointed at: a pixel, a token, a time step, a feature.
Dimension letters: B examples, C channels, H height, W width, T tokens or time steps, D features of a step, P places.
"""

import torch
from torch import Tensor

from bigmodel_lab.errors import InputError

__all__ = ["check_same", "check_values", "heat", "marked", "midranks", "order", "over", "summed"]


def summed(values: Tensor) -> Tensor:
    """Return one signed number per place: values summed over channels.

    (B, C, H, W) -> (B, H, W), (B, T, D) -> (B, T), (B, T) -> (B, T).
    """
    if values.ndim == 4:
        return values.sum(1)
    return values.sum(-1) if values.ndim == 3 else values


def heat(values: Tensor) -> Tensor:
    """Return how strongly each place counts, whatever its sign: |sum over channels|, >= 0."""
    return summed(values).abs()


def over(mask: Tensor, shape: torch.Size) -> Tensor:
    """Return a mask of places (R, P) as (R, 1, H, W), (R, T, 1) or (R, T), whatever fits inputs of `shape`."""
    if len(shape) == 4:
        return mask.view(-1, 1, *shape[2:])
    return mask.unsqueeze(-1) if len(shape) == 3 else mask


def check_values(values: Tensor, inputs: Tensor | None = None) -> Tensor:
    """Return the values without their graph; refuse what is no explanation of a batch (of these inputs)."""
    if not isinstance(values, Tensor) or values.ndim not in (2, 3, 4) or not values.numel():
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise InputError("values (B, C, H, W), (B, T, D) or (B, T) of at least one example", got=got)
    if inputs is not None and (not isinstance(inputs, Tensor) or values.shape != inputs.shape):
        got = f"{tuple(values.shape)} for {tuple(getattr(inputs, 'shape', ()))}"
        raise InputError("values in the shape of the inputs", got=got, hint="explanation.values")
    if not values.isfinite().all():
        bad = int((~values.isfinite()).flatten(1).any(1).sum())
        raise InputError("finite values", got=f"NaN or infinity in {bad} of {len(values)} examples")
    return values.detach()


def check_same(again: Tensor, values: Tensor) -> Tensor:
    """Return what `explain` said the second time; refuse another shape than the first time's."""
    again = check_values(again)
    if again.shape != values.shape:
        raise InputError(f"explain to return values of shape {tuple(values.shape)}", got=f"{tuple(again.shape)}")
    return again


def marked(values: Tensor, mask: Tensor, name: str = "truth") -> tuple[Tensor, Tensor]:
    """Return heat (B, P) and `mask` (B, P) as float64 and bool on the CPU.

    The mask marks places, (B, H, W) or (B, T); one in the shape of the values marks entries, which then count alone.
    """
    values = check_values(values)
    places = values.abs() if isinstance(mask, Tensor) and mask.shape == values.shape else heat(values)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != places.shape:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{name} as booleans of shape {tuple(places.shape)}", got=got, hint=f"{name} > 0")
    return places.flatten(1).cpu().double(), mask.flatten(1).cpu()


def order(values: Tensor, seed: int) -> Tensor:
    """Return each place's turn (B, P), 0 for the largest value; ties in one shuffled order, the same for all examples.

    Shuffled, because an order by position would make a map without any content a map of the upper left corner.
    """
    flat = summed(values).flatten(1)
    shuffle = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed)).to(flat.device)
    first = shuffle[flat[:, shuffle].argsort(dim=1, descending=True, stable=True)]  # (B, P) places, largest first
    turns = torch.arange(flat.shape[1], device=flat.device).expand_as(first)
    return torch.empty_like(first).scatter_(1, first, turns)


def midranks(values: Tensor) -> Tensor:
    """Return ranks (B, P) from 1 for the smallest, ties sharing the mean of theirs."""
    values = values.contiguous()
    ascending = values.sort(1).values
    below = torch.searchsorted(ascending, values)
    return (below + torch.searchsorted(ascending, values, right=True) + 1).double() / 2
