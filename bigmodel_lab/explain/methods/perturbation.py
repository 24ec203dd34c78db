"""Methods that switch parts of the input off and look at the score: no gradients, any function, token ids as they are.

All examples and all changes go through the model together, in chunks.
Sources: Zeiler & Fergus (2014), arXiv 1311.2901 (occlusion); Ribeiro et al. (2016), arXiv 1602.04938 (LIME).
Dimension letters: B examples, C channels, H height, W width, T tokens or time steps, n players, M changes.
"""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Run, Target, running
from bigmodel_lab.explain.players import Players

__all__ = ["ablation", "lime", "occlusion"]

PENALTIES = {"ridge": 1.0, "lasso": 0.01}  # how strong where nothing is said


def ablation(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    groups: Tensor | None = None,
) -> Explanation:
    """Return how much the score falls when one player alone is replaced by the baseline: f(x) - f(x without i).

    Every element carries its player's whole value, as in Captum's FeatureAblation; `Players.mean` reads them out.
    Groups are those of `players.Players`; `embedding` is not needed.
    """
    with running("ablation", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        others = ~torch.eye(players.count, dtype=torch.bool, device=run.x.device)  # (n, n): all but one
        values = run.score[:, None] - _scores(run, len(others), players.rows(run.inputs, run.base, others))
        return run.explanation(players.whole(values), gap=False)


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

    The window has a size for each place, not for channels or features: H and W of images (B, C, H, W), T of texts
    (B, T) and series (B, T, D). Without one: a quarter of each side of an image, by half a window; one token or step.
    The last window may reach over the edge (Zeiler & Fergus 2014; Captum's Occlusion). `embedding` is not needed.
    """
    with running("occlusion", forward, inputs, target, baseline, discrete=True) as run:
        sides = tuple(inputs.shape[1:2] if inputs.ndim < 4 else inputs.shape[2:])
        covered = _windows(sides, window, stride).to(run.x.device)  # (M, *sides)
        behind = inputs.ndim - 1 - len(sides)  # dimensions that the window covers whole: C of images, D of series
        shape = (*[1] * behind, *sides) if inputs.ndim > 3 else (*sides, *[1] * behind)
        masks = covered.view(-1, *shape)

        def make(start: int, stop: int) -> Tensor:
            row = torch.arange(start, stop, device=run.x.device)
            example = row // len(masks)
            return torch.where(masks[row % len(masks)], run.base[example], run.inputs[example])

        falls = run.score[:, None] - _scores(run, len(masks), make)  # (B, M)
        flat = covered.flatten(1).to(falls.dtype)  # (M, places)
        values = falls @ flat / flat.sum(0)
        return run.explanation(values.view(-1, *shape).expand(inputs.shape).clone(), gap=False)


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
    penalty: str = "ridge",
    alpha: float | None = None,
    seed: int = 0,
) -> Explanation:
    """Return the coefficients of a linear model of the score around x, over which players are present (LIME).

    `budget` coalitions are drawn, each player present with probability 1/2, the full one first; examples share them.
    Their weight is exp(-D² / `width`²), D the cosine distance from the full one (Ribeiro et al. 2016, section
    3.3; the authors' package takes its square root). The fit is scikit-learn's, with `penalty` "ridge" or "lasso" of
    strength `alpha`; None: 1 and 0.01. Every element carries its player's whole coefficient, as in Captum.
    Groups are those of `players.Players`; `embedding` is not needed.
    """
    if penalty not in PENALTIES:
        raise InputError('penalty="ridge" or penalty="lasso"', got=repr(penalty))
    alpha = PENALTIES[penalty] if alpha is None else alpha
    if budget < 2 or width <= 0 or alpha < 0:
        raise InputError("a budget of at least 2, width > 0, alpha >= 0", got=f"{budget}, {width}, {alpha}")
    with running("lime", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        some = _coalitions(players.count, budget, seed)[1:].to(run.x.device)  # f(x) is known
        scores = _scores(run, len(some), players.rows(run.inputs, run.base, some))
        scores = torch.cat([run.score[:, None], scores], dim=1)  # (B, M)
        some = torch.cat([torch.ones_like(some[:1]), some]).double().cpu()
        values = _fit(some, scores.double().cpu(), width, penalty, alpha).to(scores)
        return run.explanation(players.whole(values), gap=False)


def _scores(run: Run, count: int, make: Callable[[int, int], Tensor]) -> Tensor:
    """Return the score of `count` changes of every example, (B, M); row r is change r % M of example r // M."""
    owner = torch.arange(len(run.inputs), device=run.x.device).repeat_interleave(count)
    return run.evaluate(len(owner), make, owner).view(len(run.inputs), count)


def _windows(sides: tuple[int, ...], window: int | tuple | None, stride: int | tuple | None) -> Tensor:
    """Return what each position of the window covers, (M, *sides) bool."""
    if window is None:
        window = tuple(max(1, side // 4) for side in sides) if len(sides) > 1 else 1
    sizes = (window,) * len(sides) if isinstance(window, int) else tuple(window)
    if stride is None:
        stride = tuple(max(1, size // 2) for size in sizes)
    steps = (stride,) * len(sides) if isinstance(stride, int) else tuple(stride)
    fits = len(sizes) == len(steps) == len(sides) and all(
        1 <= step <= size <= side for step, size, side in zip(steps, sizes, sides, strict=True)
    )
    if not fits:
        raise InputError(
            f"a window within {' × '.join(map(str, sides))}, and a stride from 1 to the window: no gaps between",
            got=f"window={window}, stride={stride}",
        )
    covered = torch.ones(1, *[1] * len(sides), dtype=torch.bool)
    for place, (step, size, side) in enumerate(zip(steps, sizes, sides, strict=True)):
        first = step * torch.arange(ceil((side - size) / step) + 1)[:, None]
        inside = (torch.arange(side) >= first) & (torch.arange(side) < first + size)  # (positions, side)
        shape = [len(first), *[1] * len(sides)]
        shape[1 + place] = side
        covered = (covered[:, None] & inside.view(shape)).flatten(0, 1)  # (M, *sides so far)
    return covered


def _coalitions(n: int, budget: int, seed: int) -> Tensor:
    """Return who is present in each sample, (M, n) bool; all in the first."""
    drawn = torch.rand(budget, n, generator=torch.Generator().manual_seed(seed)) < 0.5
    drawn[0] = True
    return drawn


def _fit(present: Tensor, scores: Tensor, width: float, penalty: str, alpha: float) -> Tensor:
    """Return the weighted linear model's coefficients, (B, n): present (M, n), scores (B, M), float64."""
    from sklearn.linear_model import Lasso, Ridge

    distance = 1 - (present.mean(1)).sqrt()  # cosine between a coalition and the full one: sqrt(|S| / n)
    weight = (-(distance**2) / width**2).exp()
    model = (Ridge if penalty == "ridge" else Lasso)(alpha=alpha)
    model.fit(present.numpy(), scores.T.numpy(), sample_weight=weight.numpy())
    return torch.as_tensor(model.coef_).reshape(len(scores), -1)
