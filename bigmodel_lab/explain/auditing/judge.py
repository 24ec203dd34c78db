"""Is one function call passed rightly by a method that has no rule for it? Measured on the call itself, in float64.

Methods that hook modules send everything else back by its plain gradient. Three questions decide whether that is right:

- DeepLIFT's rescale rule (Shrikumar et al. 2017, arXiv 1704.02685) is the gradient where f(a + d) - f(a) = J d for any
  d, so where the call is affine in what depends on the input;
- guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806) has to change every call that equals a ReLU;
- LRP's ε-rule (Bach et al. 2015, doi 10.1371/journal.pone.0130140) sends relevance R back as a ⊙ Jᵀ(R / f(a)), which is
  the gradient Jᵀ R where each output is one of the inputs, or constant.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """What one call is to the methods."""

    affine: bool  # the gradient is DeepLIFT's multiplier
    relu: bool  # it is max(a, 0)
    selects: bool  # the gradient is LRP's ε-rule
    cut: bool  # its values depend on the input, its gradient does not
    constant: bool = False  # its values do not depend on the input: x.new_zeros(3)


def judge(function: Callable, args: tuple, kwargs: dict[str, Any], depends: set[int], in_place: bool) -> Verdict:
    """Judge `function(*args, **kwargs)`, of whose tensors those with an id in `depends` depend on the input."""
    leaves, spec = tree_flatten((args, kwargs))
    at = [i for i, leaf in enumerate(leaves) if id(leaf) in depends]
    numbers = [i for i in at if leaves[i].is_floating_point()]
    if not numbers:  # a mask as numbers: the call that uses it will be judged
        return Verdict(True, False, True, False)
    for kind in (torch.float64, None):
        try:
            found = _measure(function, leaves, spec, numbers, in_place, kind, len(numbers) < len(at))
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            continue
        # A mask or an index that depends on the input jumps with it: x * (x > 0) is not linear.
        return found if len(numbers) == len(at) else replace(found, affine=False, constant=False)
    return Verdict(False, False, False, False)


def _measure(function, leaves, spec, at, in_place, kind, jumps) -> Verdict:
    """Compare differences and gradients of the call, at its own values and far from them."""
    ready = [_own(leaf, kind) for leaf in leaves]
    grad = torch.is_grad_enabled()

    def call(values: list[Tensor]) -> Tensor:
        mine = [leaf.clone() if in_place and isinstance(leaf, Tensor) else leaf for leaf in ready]
        for i, value in zip(at, values, strict=True):
            mine[i] = value.clone() if in_place else value
        args, kwargs = tree_unflatten(mine, spec)
        with torch.set_grad_enabled(grad):
            found = function(*args, **kwargs)
        return _join(args[0] if found is None else found)  # x[index] = y returns nothing

    generator = torch.Generator().manual_seed(0)

    def noise(like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64)
        return drawn.to(like.device, like.dtype)

    a = [ready[i].requires_grad_() for i in at]
    with torch.enable_grad():
        here = call(a)
    d = [noise(one) * (10 + one.detach().abs().max()) for one in a]
    there = call([one.detach() + step for one, step in zip(a, d, strict=True)]).detach()
    u = noise(here)
    tight = 1e-7 if here.dtype == torch.float64 and all(one.dtype == torch.float64 for one in a) else 1e-3
    back = _gradients(here, a, u)
    cut = all(one is None for one in back)
    moved, told = there - here.detach(), sum((g * s).sum() for g, s in zip(back, d, strict=True) if g is not None)
    size = (u * moved).abs().sum() + 1e-12
    affine = bool(((u * moved).sum() - told).abs() <= tight * size)
    with torch.no_grad():
        relu = len(a) == 1 and here.shape == a[0].flatten().shape and bool((a[0] < 0).any())
        relu = relu and bool((here - a[0].clamp(min=0).flatten()).abs().max() <= tight)
        if relu and not jumps:  # ReLU6 is the same near 0 only
            relu = bool((there - (a[0] + d[0]).clamp(min=0).flatten()).abs().max() <= tight * (1 + there.max()))
    z = here.detach()
    u = u * (z != 0)  # what is 0 has no relevance
    back, ruled = _gradients(here, a, u), _gradients(here, a, u / torch.where(z == 0, torch.ones_like(z), z))
    selects = not cut
    for value, plain, rule in zip(a, back, ruled, strict=True):
        if plain is not None:
            off = (plain - value.detach() * rule).abs().max()
            selects = selects and bool(off <= 10 * tight * (1 + plain.abs().max()))
    constant = not bool(moved.any())
    return Verdict(affine, relu, selects or constant, cut and not constant, constant)


def _own(leaf: Any, kind: torch.dtype | None) -> Any:
    """Copy a tensor, its numbers in `kind`; leave all else."""
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().clone().to(kind if leaf.is_floating_point() and kind else leaf.dtype)


def _join(found: Any) -> Tensor:
    """Return every number of what a call returned as one vector."""
    numbers = [one.flatten() for one in tree_flatten(found)[0] if isinstance(one, Tensor) and one.is_floating_point()]
    if not numbers:
        raise TypeError("no numbers returned")
    return torch.cat([one.to(numbers[0].dtype) for one in numbers])


def _gradients(out: Tensor, a: list[Tensor], u: Tensor) -> tuple[Tensor | None, ...]:
    if not out.requires_grad:
        return (None,) * len(a)
    return torch.autograd.grad(out, a, u, retain_graph=True, allow_unused=True)
