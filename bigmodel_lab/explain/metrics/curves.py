"""Metrics that take places away, the most supporting first, and watch the score of the target.

They need no truth, and they ask the model about inputs that it has never seen: half an image, a text of masks.
Places are taken in the order of their signed value, summed over channels: evidence against the target goes last.
Dimension letters: B examples, P places, S steps, R rows sent through the model.
"""

from math import ceil

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Forward, Run, Target, running
from bigmodel_lab.explain.metrics.places import check_values, order, over

__all__ = ["comprehensiveness", "deletion", "insertion", "sufficiency"]

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the places: ERASER's


def deletion(
    values: Tensor,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    steps: int = 16,
    probability: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return the mean score of the target while its best places are replaced by the baseline, (B,); lower is better.

    Area under the curve from none to all places replaced, by the trapezoid rule (Petsiuk et al. 2018, RISE,
    arXiv 1806.07421). `values` and `inputs` (B, C, H, W), (B, T, D) or (B, T); token ids need a baseline id. The score
    is the target's softmax probability, from 0 to 1, or with `probability=False` what the model puts out (also where
    that is one number per example). `seed` breaks ties. A place whose baseline is what stands there never changes.
    """
    return _area("deletion", values, (forward, inputs, target, baseline), steps, probability, seed, keep=False)


def insertion(
    values: Tensor,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    steps: int = 16,
    probability: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return the mean score of the target while its best places are put into the baseline, (B,); higher is better.

    As `deletion`, the other way round. RISE starts from a blurred image: give that as the baseline to have it.
    """
    return _area("insertion", values, (forward, inputs, target, baseline), steps, probability, seed, keep=True)


def comprehensiveness(
    values: Tensor,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    probability: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return how far the score falls without the best places, (B,) from -1 to 1; higher is better.

    f(x) - f(x without the best k), mean over k = 1, 5, 10, 20 and 50 % of the places, rounded up (DeYoung et al.
    2020, ERASER, arXiv 1911.03429; its k = 0, which adds a zero to the mean, is left out). What is taken away becomes
    the baseline: ERASER drops tokens, which moves all that follow. Arguments as in `deletion`.
    """
    return _fall("comprehensiveness", values, (forward, inputs, target, baseline), probability, seed, keep=False)


def sufficiency(
    values: Tensor,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    probability: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return how far the score falls with the best places alone, (B,) from -1 to 1; lower is better.

    f(x) - f(the best k alone), mean over the same k as `comprehensiveness`.
    """
    return _fall("sufficiency", values, (forward, inputs, target, baseline), probability, seed, keep=True)


def _area(name: str, values: Tensor, asked: tuple, steps: int, probability: bool, seed: int, *, keep: bool) -> Tensor:
    if not isinstance(steps, int) or steps < 1:
        raise InputError("at least 1 step", got=repr(steps))
    with _running(name, values, asked, probability) as run:
        turns = order(check_values(values), seed).to(run.inputs.device)
        places = turns.shape[1]
        counts = sorted({round(places * step / steps) for step in range(steps + 1)})
        curve = _scores(run, turns, counts, keep)
        return torch.trapezoid(curve, torch.tensor(counts).double() / places, dim=1)


def _fall(name: str, values: Tensor, asked: tuple, probability: bool, seed: int, *, keep: bool) -> Tensor:
    with _running(name, values, asked, probability) as run:
        turns = order(check_values(values), seed).to(run.inputs.device)
        counts = [ceil(round(share * turns.shape[1], 9)) for share in SHARES]  # 0.1 · 30 is 3, not 3.0000000000000004
        return (run.score.cpu().double()[:, None] - _scores(run, turns, counts, keep)).mean(1)


def _running(name: str, values: Tensor, asked: tuple, probability: bool):
    forward, inputs, target, baseline = asked
    check_values(values, inputs)
    forward = _Probability(forward) if probability and callable(forward) else forward
    return running(name, forward, inputs, target, baseline, discrete=True)


def _scores(run: Run, turns: Tensor, counts: list[int], keep: bool) -> Tensor:
    """Return the score (B, S) where the first counts[s] places in `turns` (B, P) are replaced, or alone kept."""
    steps, limit = len(counts), torch.tensor(counts, device=turns.device)

    def make(start: int, stop: int) -> Tensor:
        row = torch.arange(start, stop, device=turns.device)
        mine = row // steps
        gone = (turns[mine] < limit[row % steps, None]) ^ keep  # (R, P)
        return torch.where(over(gone, run.inputs.shape), run.base[mine], run.inputs[mine])

    return run.changed(steps, make).cpu().double()


class _Probability(nn.Module):
    """The model followed by a softmax over its last dimension, where there is more than one score."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.model = forward
        self.training = False  # the model's own mode stays, and is checked

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities in the shape of the scores."""
        scores = self.model(x)
        return scores.softmax(-1) if scores.ndim > 1 and scores.shape[-1] > 1 else scores
