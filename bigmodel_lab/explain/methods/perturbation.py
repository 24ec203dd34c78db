r"""Methods that switch parts of the input off and look at the score: no gradients, any function, token ids as they are.

All examples and all changes go through the model together, in chunks.
Sources: Zeiler & Fergus (2014), arXiv 1311.2901 (occlusion); Ribeiro et al. (2016), arXiv 1602.04938 (LIME).
Dimension letters: B examples, C channels, H height, W width, T tokens or time steps, D features, n players, M changes.
"""

from math import ceil, prod

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Target, running
from bigmodel_lab.explain.players import Players

__all__ = ["ablation", "lime", "occlusion"]

SIDE = 8  # of the window over an image, in pixels


def ablation(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    groups: Tensor | None = None,
) -> Explanation:
    """Return how much the score falls when one player alone is replaced by the baseline: f(x) - f(x without it).

    The fall is spread evenly over the player's elements, and `Players.collect` sums it up again; Captum's
    FeatureAblation gives it whole to each. Groups are those of `players.Players`; `embedding` is not needed.
    """
    with running("ablation", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        others = ~torch.eye(players.count, dtype=torch.bool, device=run.x.device)  # (n, n): all but one
        falls = run.score[:, None] - run.changed(len(others), players.rows(run.inputs, run.base, others))
        return run.explanation(players.spread(falls), gap=False)


def occlusion(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
) -> Explanation:
    """Slide a window of the baseline over the input; an element's value is the mean fall of the score under it.

    `window` and `stride` have a size for each dimension of one example, as in Captum's Occlusion: (C, H, W) of images,
    (T,) of texts, (T, D) of series. One integer is the size along H and W, or along T; channels and features go
    together. Without a window: 8 × 8 pixels, one token, one step. Without a stride: half the window. The last window
    may be cut off by the edge. `embedding` is not needed.
    """
    with running("occlusion", forward, inputs, target, baseline, discrete=True) as run:
        inside = [one.to(run.x.device) for one in _windows(tuple(inputs.shape[1:]), window, stride)]
        places = [len(one) for one in inside]  # of the window, in each dimension
        count = prod(places)

        numbers, shared = inputs.is_floating_point(), run.base.stride(0) == 0 or len(inputs) == 1
        masks = [one.to(inputs.dtype) if numbers else one for one in inside]

        def make(start: int, stop: int) -> Tensor:
            row = torch.arange(start, stop, device=run.x.device)
            example, which = row // count, torch.unravel_index(row % count, places)
            covered = torch.ones(1, dtype=masks[0].dtype, device=run.x.device)
            for dimension, (one, place) in enumerate(zip(masks, which, strict=True)):
                if len(one) > 1 or not inside[dimension].all():  # else it covers the whole dimension
                    shape = [1] * len(masks)
                    shape[dimension] = -1
                    covered = covered * one[place].view(len(row), *shape)  # (r, 1, ..., size, ..., 1)
            there = run.inputs.index_select(0, example)
            absent = run.base[:1] if shared else run.base.index_select(0, example)
            # lerp by 0 or 1 is exact, and faster than where
            return torch.lerp(there, absent, covered) if numbers else torch.where(covered, absent, there)

        falls = (run.score[:, None] - run.changed(count, make)).view(-1, *places)
        times = torch.ones(1, *places).to(falls)
        for one in inside:  # sums over all windows on an element, dimension by dimension
            falls, times = (torch.tensordot(some, one.to(falls), ([1], [0])) for some in (falls, times))
        return run.explanation(falls / times, gap=False)


def lime(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    groups: Tensor | None = None,
    budget: int = 200,
    width: float = 0.25,
    penalty: float = 1.0,
    seed: int = 0,
) -> Explanation:
    r"""Return the slopes φ of a linear model of the score around x, over which players are present (LIME).

    With $z \in \{0, 1\}^n$ for who is present, drawn by fair coins `budget` times (the first z is all ones), they solve

    $\min_{φ, c} \sum_z π(z) (v(z) - c - φ \cdot z)^2 + λ |φ|^2$ with $π(z) = \sqrt{\exp(-d(z)^2 / σ^2)}$,

    $d(z) = 1 - \sqrt{\sum_i z_i / n}$ the cosine distance to all ones, σ `width` and λ `penalty`. This is the authors'
    package, where π has a root that the paper's section 3.3 lacks. All examples share the z, and scikit-learn's Ridge
    fits them at once; a z met twice is evaluated once and counts twice. Slopes promise no sum, so there is no gap.
    They are spread evenly over a player's elements. Groups are those of `players.Players`; `embedding` is not needed.
    """
    if not (width > 0 and penalty > 0):
        raise InputError("width and penalty above 0", got=f"width={width}, penalty={penalty}")
    with running("lime", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        n = players.count
        if budget < n + 1:
            hint = "more forwards, or fewer players by groups="
            raise InputError(f"a budget of at least {n + 1} forwards for {n} players", got=repr(budget), hint=hint)
        drawn = torch.rand(budget, n, generator=torch.Generator().manual_seed(seed)) < 0.5  # (M, n)
        drawn[0] = True
        some, which = torch.unique(drawn, dim=0, return_inverse=True)  # sorted: all ones come last, f(x) is known
        make = players.rows(run.inputs, run.base, some[:-1].to(run.x.device))
        scores = torch.cat([run.changed(len(some) - 1, make), run.score[:, None]], dim=1)[:, which.to(run.x.device)]
        slopes = _fit(drawn.double(), scores.double().cpu(), width, penalty)
        return run.explanation(players.spread(slopes.to(scores)), gap=False)


def _windows(sides: tuple[int, ...], window: int | tuple | None, stride: int | tuple | None) -> list[Tensor]:
    """Return for each dimension what each place of the window covers, (places, side) bool."""
    channels = len(sides) > 2  # the whole dimension that one integer leaves out: C before H and W, D after T
    whole = {0} if channels else {1}
    if window is None:
        window = SIDE if channels else 1
        window = tuple(side if d in whole else min(window, side) for d, side in enumerate(sides))
    sizes = tuple(side if d in whole else window for d, side in enumerate(sides)) if _whole(window) else window
    expected = f"a window within the example's {' × '.join(map(str, sides))}: one integer, or {len(sides)} of them"
    if not _fit_in(sizes, sides):
        raise InputError(expected, got=f"window={window!r}")
    if stride is None:
        stride = tuple(max(1, size // 2) for size in sizes)
    steps = tuple(size if d in whole else stride for d, size in enumerate(sizes)) if _whole(stride) else stride
    if not _fit_in(steps, sizes):
        expected = f"a stride from 1 to the window's {' × '.join(map(str, sizes))}, so that nothing is left out"
        raise InputError(expected, got=f"stride={stride!r}")
    inside = []
    for side, size, step in zip(sides, sizes, steps, strict=True):
        first = step * torch.arange(ceil((side - size) / step) + 1)[:, None]  # (places, 1)
        inside.append((torch.arange(side) >= first) & (torch.arange(side) < first + size))
    return inside


def _whole(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool)


def _fit_in(sizes: object, limits: tuple[int, ...]) -> bool:
    return (
        isinstance(sizes, tuple | list)
        and len(sizes) == len(limits)
        and all(_whole(size) and 1 <= size <= limit for size, limit in zip(sizes, limits, strict=True))
    )


def _fit(present: Tensor, scores: Tensor, width: float, penalty: float) -> Tensor:
    """Return the weighted linear model's slopes, (B, n): present (M, n), scores (B, M), all float64."""
    from sklearn.linear_model import Ridge

    distance = 1 - present.mean(1).sqrt()  # cosine of a coalition and all ones: sqrt(|S| / n)
    weight = (-(distance**2) / width**2).exp().sqrt()
    model = Ridge(alpha=penalty).fit(present.numpy(), scores.T.numpy(), sample_weight=weight.numpy())
    return torch.as_tensor(model.coef_).reshape(len(scores), -1)
