"""Methods that need one or many gradients of the score with respect to the inputs.

Sources are named by each function. Captum's where it is as good; integrated gradients and SmoothGrad are swept here,
over examples and points at once. Dimension letters: B examples, S points per example, T tokens, C embedding width.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from captum.attr import InputXGradient, Saliency
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import ROWS, Explanation, Forward, Run, Target, running
from bigmodel_lab.explain.methods.sweeps import at_least, only, sweep, tolerated

__all__ = [
    "input_x_gradient",
    "integrated_gradients",
    "saliency",
    "smoothgrad",
    "smoothgrad_squared",
    "smoothgrads",
    "vargrad",
]


def saliency(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return |∂f/∂x|, how steep the score is at each input (Simonyan et al. 2014, arXiv 1312.6034); no baseline.

    For token ids: the length (2-norm) of each token's gradient.
    """
    with running("saliency", forward, inputs, target, baseline, embedding=embedding) as run:
        method, signed = Saliency(run.scores), run.ids is not None
        values = run.each(
            lambda part: method.attribute(part.x, abs=not signed, additional_forward_args=part.extra), chunk=ROWS
        )
        return run.explanation(values.norm(dim=-1) if signed else values, gap=False)


def input_x_gradient(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return x · ∂f/∂x, the change to zero if the score were linear (Shrikumar et al. 2016, arXiv 1605.01713).

    No baseline: it is zero, also for embeddings.
    """
    with running("input_x_gradient", forward, inputs, target, baseline, embedding=embedding) as run:
        method = InputXGradient(run.scores)
        values = run.each(lambda part: method.attribute(part.x, additional_forward_args=part.extra), chunk=ROWS)
        return run.explanation(values, gap=False)


def integrated_gradients(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    steps: int = 32,
    tolerance: float = 0.01,
    most: int = 1024,
) -> Explanation:
    r"""Return $(x - x') \int_0^1 ∂f/∂x (x' + α (x - x')) dα$ (Sundararajan et al. 2017, arXiv 1703.01365).

    The integral is a Gauss-Legendre sum of `steps` gradients, Captum's. Where the values miss f(x) - f(x') by more than
    `tolerance` of it, an example runs again with the line cut into twice as many pieces of `steps` each, up to `most`
    gradients. For token ids the line runs between embeddings; without a baseline it starts at zero.
    """
    at_least(1, steps=steps, most=most)
    with running("integrated_gradients", forward, inputs, target, baseline, embedding=embedding) as run:
        change = run.change()
        limit = tolerated(run, change, tolerance)
        values, pieces = torch.zeros_like(run.x), 1
        left = torch.arange(len(values), device=values.device)
        while True:
            values[left] = _line(only(run, left), steps, pieces)
            gap = (values.flatten(1).sum(1) - change).abs()
            left = (gap > limit).nonzero().squeeze(1)
            if not len(left) or 2 * pieces * steps > most:
                break
            pieces *= 2
        if len(left):
            run.note(
                f"integrated_gradients: {len(left)} of {len(gap)} examples still miss {100 * tolerance:.3g}% of f(x) - "
                f"f(x') after {pieces * steps} steps, at worst by {gap[left].max():.3g}; raise `most`, or take a "
                f"baseline with another score"
            )
        return run.explanation(values, gap=True, change=change)


def _line(run: Run, steps: int, pieces: int) -> Tensor:
    """Return (x - x') times the mean gradient on the line between them, (B, ...)."""
    share, weight = (torch.as_tensor(one, dtype=run.x.dtype, device=run.x.device) for one in _legendre(steps))
    first = torch.arange(pieces, dtype=share.dtype, device=share.device)[:, None]  # (P, 1)
    share, weight = ((first + share) / pieces).flatten(), (weight / pieces).repeat(pieces)  # (P, S) -> (P · S,)
    total, way = torch.zeros_like(run.x), run.x - run.x0
    sweep(
        run,
        steps * pieces,
        lambda example, point: run.x0[example] + _wide(share[point], way) * way[example],
        lambda example, point, gradient: total.index_add_(0, example, gradient * _wide(weight[point], way)),
    )
    return way * total


@lru_cache(maxsize=8)
def _legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where in [0, 1] to look and how much each place counts, both (S,)."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (1 + places) / 2, weights / 2


def _wide(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.view(-1, *[1] * (like.ndim - 1))  # (R,) -> (R, 1, ...)


def smoothgrads(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> dict[str, Explanation]:
    """Return SmoothGrad, SmoothGrad² and VarGrad by name, of one set of noisy gradients; each names the whole cost.

    Normal noise, `noise` times the range (maximum - minimum) of an example wide, is added to it `samples` times.
    The draws are the same for all examples: an explanation does not depend on what else is in the batch.
    """
    kinds = ("smoothgrad", "smoothgrad_squared", "vargrad")
    given = {"embedding": embedding, "samples": samples, "noise": noise, "seed": seed}
    return _smooth(kinds, forward, inputs, target, baseline, **given)


def smoothgrad(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Explanation:
    """Return the mean gradient over noisy copies, with its sign (Smilkov et al. 2017, arXiv 1706.03825); no baseline.

    For token ids: the length of each token's mean gradient. See `smoothgrads`.
    """
    given = {"embedding": embedding, "samples": samples, "noise": noise, "seed": seed}
    return _smooth(("smoothgrad",), forward, inputs, target, baseline, **given)["smoothgrad"]


def smoothgrad_squared(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Explanation:
    """Return the mean squared gradient over noisy copies (Hooker et al. 2019, arXiv 1806.10758). See `smoothgrads`."""
    given = {"embedding": embedding, "samples": samples, "noise": noise, "seed": seed}
    return _smooth(("smoothgrad_squared",), forward, inputs, target, baseline, **given)["smoothgrad_squared"]


def vargrad(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Explanation:
    """Return the variance of the gradient over noisy copies (Adebayo et al. 2018, arXiv 1810.03307).

    Large where the gradient is not the same around x; zero for a linear score. See `smoothgrads`.
    """
    given = {"embedding": embedding, "samples": samples, "noise": noise, "seed": seed}
    return _smooth(("vargrad",), forward, inputs, target, baseline, **given)["vargrad"]


def _smooth(
    kinds: tuple[str, ...],
    forward: Forward,
    inputs: Tensor,
    target: Target,
    baseline: Tensor | float | None,
    *,
    embedding: nn.Module | None,
    samples: int,
    noise: float,
    seed: int,
) -> dict[str, Explanation]:
    at_least(1, samples=samples)
    if not noise > 0:
        raise InputError("noise above 0, a share of an example's range", got=repr(noise), hint="noise=0.15")
    name = kinds[0] if len(kinds) == 1 else "smoothgrads"
    with running(name, forward, inputs, target, baseline, embedding=embedding) as run:
        x, flat = run.x, run.x.flatten(1)
        width = _wide(noise * (flat.amax(1) - flat.amin(1)), x)
        generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a GPU gets the same draws
        draws = torch.randn(samples, *x.shape[1:], generator=generator).to(x)
        # In double: a variance is the difference of two large sums.
        total, squares = (torch.zeros(x.shape, dtype=torch.float64, device=x.device) for _ in range(2))

        def add(example: Tensor, point: Tensor, gradient: Tensor) -> None:
            gradient = gradient.double()
            total.index_add_(0, example, gradient)
            squares.index_add_(0, example, gradient.square())

        sweep(run, samples, lambda example, point: x[example] + width[example] * draws[point], add)
        mean, square = total / samples, squares / samples
        values = {"smoothgrad": mean, "smoothgrad_squared": square, "vargrad": (square - mean.square()).clamp(min=0)}
        if run.ids is not None:
            values["smoothgrad"] = mean.norm(dim=-1)
        return {kind: replace(run.explanation(values[kind].to(x.dtype), gap=False), method=kind) for kind in kinds}
