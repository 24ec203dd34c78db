"""Metrics that hold the size of the values against what the model's score does.

Values are read as contributions, in units of the score: what is lost when that part becomes the baseline. Slopes
become contributions by a multiplication with x - x' (Captum's `multiply_by_inputs`).
Dimension letters: B examples, H height, W width, T tokens, P places, S samples, R rows sent through the model.
"""

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Forward, Target, running
from bigmodel_lab.explain.metrics.places import check_values, over, summed

__all__ = ["completeness", "infidelity"]


def infidelity(
    values: Tensor,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    samples: int = 32,
    scaled: bool = True,
    seed: int = 0,
) -> Tensor:
    r"""Return \(\mathbb{E}_S (\beta\sum_{i \in S}\phi_i - (f(x) - f(x \setminus S)))^2\), (B,) >= 0; lower is better.

    Yeh et al. (2019), arXiv 1901.09392, with the removal of places S. In images S is a square with a
    side of up to half the image (the paper's square removal), elsewhere any subset of the tokens, steps or features;
    what is removed becomes the baseline. The `samples` sets are the same for every example. f is the target's score as
    the model puts it out. `values`, `inputs` as in `deletion`.

    With `scaled`, as in the authors' code, each example's values are first multiplied by the β >= 0 that fits best, so
    that maps without a unit can be compared; the score is then at most that of a map of zeros, the mean squared change.
    """
    if not isinstance(samples, int) or samples < 1:
        raise InputError("at least 1 sample", got=repr(samples))
    values = check_values(values, inputs)
    with running("infidelity", forward, inputs, target, baseline, discrete=True) as run:
        parts = summed(values).cpu().double()
        masks = _removals(parts.shape[1:], samples, seed)  # (S, P)
        gone = masks.to(inputs.device)

        def make(start: int, stop: int) -> Tensor:
            row = torch.arange(start, stop, device=inputs.device)
            mine, removed = row // samples, over(gone[row % samples], inputs.shape)
            return torch.where(removed, run.base[mine], run.inputs[mine])

        change = (run.score[:, None].double() - run.changed(samples, make).double()).cpu()  # (B, S)
        claimed = parts.flatten(1) @ masks.T.double()  # (B, P) · (P, S)
        if scaled:
            square = claimed.square().sum(1, keepdim=True)
            best = ((claimed * change).sum(1, keepdim=True) / square).clamp(min=0)
            claimed = torch.where(square > 0, best * claimed, 0.0)
        return (claimed - change).square().mean(1)


def completeness(
    values: Tensor,
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Tensor:
    r"""Return \(|\sum\phi - \Delta| / \max(|\sum\phi|, |\Delta|)\) with Δ = f(x) - f(x'), (B,); lower is better.

    From 0 to 2: the axiom that contributions add up to what they explain, as a share (Sundararajan et al. 2017,
    arXiv 1703.01365, proposition 1). 0: they do; 1: a map of zeros, or one without any measure; 2: right size and
    wrong sign. 0 also where neither the values nor the score change. Arguments as in `deletion`; token ids with an
    `embedding` and no baseline are compared with embeddings of zeros, as the gradient methods do.
    """
    values = check_values(values, inputs)
    with running(
        "completeness", forward, inputs, target, baseline, embedding=embedding, discrete=embedding is None
    ) as run:
        change = run.change().cpu().double()
    total = values.flatten(1).cpu().double().sum(1)
    size = total.abs().maximum(change.abs())
    return torch.where(size > 0, (total - change).abs() / size, 0.0)


def _removals(places: torch.Size, samples: int, seed: int) -> Tensor:
    """Return which places are removed in each sample, (S, P) bool: squares (H, W), subsets (T,)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    gone = torch.zeros(samples, *places, dtype=torch.bool)
    for mask in gone:
        if mask.ndim == 2:
            height, width = places
            side = 1 + draw(max(1, min(height, width) // 2))
            top, left = draw(height - side + 1), draw(width - side + 1)
            mask[top : top + side, left : left + side] = True
        else:
            mask[torch.randperm(len(mask), generator=generator)[: 1 + draw(len(mask))]] = True
    return gone.flatten(1)
