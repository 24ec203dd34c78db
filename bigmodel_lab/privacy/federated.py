"""Federated averaging: clients train where their data is, a server averages weights; and what a gradient gives away.

Sources: McMahan et al. (2017), arXiv 1602.05629; Dirichlet split, Yurochkin et al. (2019), arXiv 1905.12022, after
Hsu et al. (2019), arXiv 1909.06335; inputs read from gradients, Zhu et al. (2019), arXiv 1906.08935, for the first
layer exactly by Phong et al. (2018), doi 10.1109/TIFS.2017.2787987.
Dimension letters: N examples, D features, U units.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from bigmodel_lab.errors import InputError

__all__ = ["dirichlet_split", "federated_average", "input_from_gradient"]


def federated_average(weights: Sequence[Mapping[str, Tensor]], sizes: Sequence[float]) -> dict[str, Tensor]:
    r"""Return $\sum_k n_k w_k / \sum_k n_k$, the mean of the clients' `state_dict`s, weighted by their `sizes`.

    Sums run in float64 and come back in the type that they had; whole numbers, such as batch normalisation's counter,
    are rounded. Raises `InputError` where names or shapes differ, a weight is not finite, or no client has data.
    """
    weights, sizes = list(weights), [float(size) for size in sizes]
    if not weights or len(weights) != len(sizes):
        raise InputError("one size per client, at least one client", got=f"{len(weights)} clients, {len(sizes)} sizes")
    if not all(isfinite(size) and size >= 0 for size in sizes) or sum(sizes) == 0:
        raise InputError("finite sizes >= 0, not all 0", got=repr(sizes))
    shapes = [{name: tuple(value.shape) for name, value in one.items()} for one in weights]
    for client, other in enumerate(shapes):
        if other != shapes[0]:
            differing = sorted(name for name in shapes[0].keys() | other if shapes[0].get(name) != other.get(name))
            raise InputError("equal names and shapes from every client", got=f"client {client} differs in {differing}")
    mean = {}
    for name, first in weights[0].items():
        total = sum(n * one[name].detach().cpu().double() for n, one in zip(sizes, weights, strict=True))
        total = total / sum(sizes)
        if not total.isfinite().all():
            raise InputError("finite weights", got=f"NaN or infinity in {name}", hint="leave the failed client out")
        mean[name] = (total if first.is_floating_point() else total.round()).to(first.dtype).to(first.device)
    return mean


def dirichlet_split(labels: Tensor, clients: int, *, alpha: float, seed: int = 0, least: int = 1) -> list[Tensor]:
    """Divide examples with `labels` (N,) among clients: indices (n_k,) of each, disjoint, together all N.

    The examples of each class go to the clients in shares drawn from a symmetric Dirichlet(`alpha`): the smaller it is,
    the fewer classes a client has (0.1: one or two); at 100 all clients look alike. Drawn anew until every client has
    `least` examples. The same arguments give the same split.
    """
    labels = torch.as_tensor(labels).cpu()
    if labels.ndim != 1 or labels.is_floating_point() or len(labels) == 0:
        raise InputError("labels of shape (N,), whole numbers", got=f"{labels.dtype} of shape {tuple(labels.shape)}")
    if clients < 1 or not isfinite(alpha) or alpha <= 0 or least < 0 or clients * least > len(labels):
        got = f"{clients} clients, alpha={alpha!r}, least={least!r}, {len(labels)} examples"
        raise InputError("clients >= 1, a finite alpha > 0, and enough examples", got=got)
    generator = np.random.default_rng(seed)
    for _ in range(1000):
        parts: list[list[Tensor]] = [[] for _ in range(clients)]
        for label in labels.unique():
            rows = generator.permutation((labels == label).nonzero().flatten().numpy())
            cuts = np.cumsum(generator.dirichlet(np.full(clients, alpha)))[:-1] * len(rows)
            for part, piece in zip(parts, np.split(rows, cuts.round().astype(int)), strict=True):
                part.append(torch.from_numpy(piece))
        split = [torch.cat(part).sort().values for part in parts]
        if min(map(len, split)) >= least:
            return split
    raise InputError(
        f"a split with {least} examples for every client",
        got="none in 1000 draws",
        hint="a larger alpha",
    )


def input_from_gradient(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Return the input x (D,) of a linear layer from its gradients `weight` (U, D) and `bias` (U,) for *one* example.

    With $z = W x + b$, $\partial \ell / \partial W = \partial\ell/\partial z \; x^\top$ and
    $\partial \ell / \partial b = \partial\ell/\partial z$, so each row of the first divided by its entry of the second
    is x. The unit with the largest |bias gradient| is read. For a batch the same quotient is a mixture of its inputs.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or not (weight.isfinite().all() and bias.isfinite().all()):
        raise InputError("finite gradients (U, D) and (U,)", got=f"{tuple(weight.shape)} and {tuple(bias.shape)}")
    unit = bias.abs().argmax()
    if bias[unit] == 0:
        raise InputError("a gradient that is not zero", got="zero for every bias", hint="the loss is flat here")
    return weight[unit] / bias[unit]
