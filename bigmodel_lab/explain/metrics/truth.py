"""Metrics that know which places decide: how much of the explanation lies on them.

The truth is planted, so these scores need no model. A map that is the same everywhere, zeros included, gets the score
that chance gives: where a metric ranks places, tied ones share. An example without a marked place scores NaN.
Dimension letters: B examples, C channels, H height, W width, T tokens or time steps, D features of a step, P places.
"""

import torch
from torch import Tensor

from bigmodel_lab.explain.metrics.places import marked, midranks

__all__ = ["distractor_mass", "pixel_auc", "pointing_game", "relevance_mass", "relevance_rank"]


def relevance_mass(values: Tensor, truth: Tensor) -> Tensor:
    """Return the share of the heat that lies on the truth, (B,) from 0 to 1 (Arras et al. 2022, arXiv 2003.07258).

    `values` (B, C, H, W), (B, T, D) or (B, T); `truth` (B, H, W) or (B, T) bool. Chance: the truth's share of places.
    """
    return _share(*marked(values, truth))


def relevance_rank(values: Tensor, truth: Tensor) -> Tensor:
    """Return the share of truth among the K hottest places, K the size of the truth, (B,) (Arras et al. 2022).

    Shapes as in `relevance_mass`. Places tied at rank K count by their mean. Chance: the truth's share of places.
    """
    hot, mask = marked(values, truth)
    count = mask.sum(1, keepdim=True)  # (B, 1) K
    least = hot.sort(1, descending=True).values.gather(1, (count - 1).clamp(min=0))
    above, tied = hot > least, hot == least
    places = count - above.sum(1, keepdim=True)  # left for the tied ones
    share = places * (tied & mask).sum(1, keepdim=True) / tied.sum(1, keepdim=True)
    return _known((((above & mask).sum(1, keepdim=True) + share) / count)[:, 0], mask)


def pointing_game(values: Tensor, truth: Tensor) -> Tensor:
    """Return 1 where the hottest place lies on the truth, else 0, (B,) (Zhang et al. 2018, arXiv 1608.00507).

    Shapes as in `relevance_mass`. Without the paper's tolerance of 15 pixels around the truth: the truth is exact here.
    Of several hottest places the share on the truth. Chance: the truth's share of places.
    """
    hot, mask = marked(values, truth)
    hottest = hot == hot.amax(1, keepdim=True)
    return _known((hottest & mask).sum(1) / hottest.sum(1), mask)


def pixel_auc(values: Tensor, truth: Tensor) -> Tensor:
    """Return how often a place on the truth is hotter than one beside it, (B,): the area under the ROC curve.

    Ties count one half (Fawcett 2006, doi 10.1016/j.patrec.2005.10.010). Shapes as in `relevance_mass`. Chance: 0.5.
    NaN also where the truth is everywhere.
    """
    hot, mask = marked(values, truth)
    inside = mask.sum(1).double()
    outside = mask.shape[1] - inside
    above = (midranks(hot) * mask).sum(1) - inside * (inside + 1) / 2  # pairs that are in the right order
    return above / (inside * outside)  # 0/0 is NaN


def distractor_mass(values: Tensor, distractor: Tensor) -> Tensor:
    """Return the share of the heat on places that stand out and do not decide, (B,) from 0 to 1; lower is better.

    `relevance_mass` of a mask that should get nothing. Chance: the distractor's share of places.
    """
    return _share(*marked(values, distractor, "distractor"))


def _share(hot: Tensor, mask: Tensor) -> Tensor:
    total = hot.sum(1, keepdim=True)
    hot = torch.where(total > 0, hot / total, 1 / hot.shape[1])  # nothing anywhere is the same everywhere
    return _known((hot * mask).sum(1), mask)


def _known(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the scores as float64, NaN where nothing is marked."""
    return scores.double().masked_fill(~mask.any(1), torch.nan)
