"""Metrics that explain again: another input nearby, or another model.

Both take `explain(forward, inputs) -> values`, so that one function serves them all:
`explain=lambda model, x: saliency(model, x, target).values`. It is called with all B examples at once.
Dimension letters: B examples, T tokens, C embedding width, P places.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Forward
from bigmodel_lab.explain.contract.checks import check_inputs, check_model
from bigmodel_lab.explain.metrics.places import check_same, check_values, heat, midranks

__all__ = ["max_sensitivity", "randomisation", "randomised"]

AWAY = 1_000_003  # from the seeds that people give their models
Explain = Callable[[Forward, Tensor], Tensor]  # (model, inputs (B, ...)) -> values (B, ...)


def max_sensitivity(
    values: Tensor,
    explain: Explain,
    forward: Forward,
    inputs: Tensor,
    *,
    embedding: nn.Module | None = None,
    radius: float = 0.1,
    samples: int = 10,
    seed: int = 0,
) -> Tensor:
    r"""Return the largest \(\|\phi(x + e) - \phi(x)\| / \|\phi(x)\|\) with \(\|e\|_\infty\) <= `radius`, (B,) >= 0.

    Yeh et al. (2019), arXiv 1901.09392, by `samples` uniform draws of e, the same for every example;
    divided by the size of the values, as Captum and Quantus do. Lower is better, yet a map that ignores the model
    scores 0. NaN where the values are all zeros and do not stay so.

    Token ids have no neighbours: with `embedding`, e is added to what that module puts out, the same for every
    example, and `radius` is in standard deviations of its weights. Without one, integers are refused.
    """
    values = check_values(values, inputs)
    check_inputs("max_sensitivity", inputs, embedding, discrete=False)
    check_model(forward, inputs, embedding)
    if not isinstance(samples, int) or samples < 1 or not 0 < radius < float("inf"):
        raise InputError("at least 1 sample, and a radius above 0", got=f"samples={samples}, radius={radius}")
    generator, shape, scale = torch.Generator().manual_seed(seed), inputs.shape[1:], radius
    if embedding is not None:
        with torch.no_grad():
            shape = embedding(inputs[:1]).shape[1:]
        scale = radius * next(embedding.parameters()).std().item()
    size = _length(values)
    largest = torch.zeros(len(values), dtype=torch.float64)
    for _ in range(samples):
        noise = (scale * (2 * torch.rand(1, *shape, generator=generator) - 1)).to(inputs.device)
        if embedding is None:
            again = explain(forward, inputs + noise.to(inputs.dtype))
        else:
            with _shifted(embedding, noise):
                again = explain(forward, inputs)
        largest = largest.maximum(_length(check_same(again, values) - values))
    return torch.where(largest == 0, 0.0, torch.where(size > 0, largest / size, torch.nan))


def randomisation(
    values: Tensor,
    explain: Explain,
    forward: nn.Module,
    inputs: Tensor,
    *,
    layers: str = "all",
    seed: int = 0,
) -> Tensor:
    """Return how alike the heat stays when the model forgets what it learnt, (B,) from -1 to 1; lower is better.

    Spearman's rank correlation between the values and those of a copy with new random weights (Adebayo et al. 2018,
    arXiv 1810.03292). `layers="top"` draws anew only the last layer that runs: an explanation that does not change
    with it does not depend on the class (Sixt et al. 2020, arXiv 1912.09818). The model itself is not touched. Two maps
    that are the same everywhere score 1, one of them 0. Noise scores 0 too: a low score alone says little.
    """
    values = check_values(values, inputs)
    copy = randomised(forward, inputs, layers=layers, seed=seed)
    again = check_same(explain(copy, inputs), values)
    one, other = (_centred(heat(found).flatten(1).cpu().double()) for found in (values, again))
    sizes = one.norm(dim=1), other.norm(dim=1)
    flat = torch.where((sizes[0] == 0) & (sizes[1] == 0), 1.0, 0.0).double()
    product = sizes[0] * sizes[1]
    return torch.where(product > 0, (one * other).sum(1) / product, flat)


def randomised(forward: nn.Module, inputs: Tensor, *, layers: str = "all", seed: int = 0) -> nn.Module:
    """Return a copy of the model with weights drawn anew: in "all" layers, or in the "top" one, the last that runs.

    Layers draw as they do when they are made (`reset_parameters`); other weights draw from a normal distribution with
    their own mean and standard deviation. Drawn on the CPU: `seed` gives the same copy on every machine. It is moved by
    `AWAY`: a model made after `torch.manual_seed(0)` would otherwise get the very weights that its training began with.
    """
    if not isinstance(forward, nn.Module):
        raise InputError("an nn.Module as forward, whose weights can be drawn anew", got=type(forward).__name__)
    if layers not in ("all", "top"):
        raise InputError('layers "all" or "top"', got=repr(layers))
    check_model(forward, inputs, None)
    copy = deepcopy(forward)
    own = [module for module in copy.modules() if list(module.parameters(recurse=False))]
    if not own:
        raise InputError("a model with weights", got=f"a {type(forward).__name__} without any")
    place = next(copy.parameters()).device
    chosen = own if layers == "all" else [_last(copy, own, inputs)]
    copy.cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(AWAY + seed)
        for module in chosen:
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
                continue
            for weights in module.parameters(recurse=False):
                spread = weights.std(correction=0) if weights.numel() else 0.0
                weights.copy_(weights.mean() + spread * torch.randn_like(weights))
    return copy.to(place)


def _last(model: nn.Module, modules: list[nn.Module], inputs: Tensor) -> nn.Module:
    """Return the one of `modules` that runs last."""
    ran: list[nn.Module] = []
    handles = [module.register_forward_hook(lambda module, args, output: ran.append(module)) for module in modules]
    try:
        with torch.no_grad():
            model(inputs[:1])
    finally:
        for handle in handles:
            handle.remove()
    return ran[-1] if ran else modules[-1]


@contextmanager
def _shifted(embedding: nn.Module, noise: Tensor) -> Iterator[None]:
    """Add noise (1, T, C) to whatever the module puts out."""
    handle = embedding.register_forward_hook(lambda module, args, output: output + noise.to(output.dtype))
    try:
        yield
    finally:
        handle.remove()


def _length(values: Tensor) -> Tensor:
    return values.flatten(1).cpu().double().norm(dim=1)


def _centred(values: Tensor) -> Tensor:
    ranks = midranks(values)
    return ranks - ranks.mean(1, keepdim=True)
