"""How few places carry the explanation. Dimension letters: B examples, P places."""

import torch
from torch import Tensor

from bigmodel_lab.explain.metrics.places import check_values, heat

__all__ = ["gini"]


def gini(values: Tensor) -> Tensor:
    r"""Return the Gini index of the heat h, (B,) from 0 (all places alike) to 1 - 1/P (one place has all).

    Chalasani et al. (2020), arXiv 1810.06583: \(\sum_k (2k - P - 1) h_k / (P \sum_k h_k)\) with h ascending.
    Short explanations are easier to read; whether they are right this cannot tell. A map of zeros scores 0.
    """
    hot = heat(check_values(values)).flatten(1).cpu().double().sort(1).values
    count = hot.shape[1]
    weights = 2 * torch.arange(1, count + 1, dtype=torch.float64) - count - 1
    total = hot.sum(1)
    return torch.where(total > 0, hot @ weights / (count * total), 0.0)
