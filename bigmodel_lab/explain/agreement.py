"""How sure a mean score is, and how far two rankings agree.

Percentile bootstrap: Efron (1979), doi 10.1214/aos/1176344552. Rank correlation tau-b: Kendall (1945),
doi 10.1093/biomet/33.3.239. Dimension letters: B examples, M methods, R resamples.
"""

import numpy as np

__all__ = ["bootstrap", "kendall", "ranks"]


def bootstrap(
    scores: np.ndarray, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, low and high (M,) of scores (M, B): the percentile interval over `resamples` draws of B examples.

    NaN marks an example that a metric does not judge; it is left out. All rows are resampled alike, so that two
    methods are compared on the same examples.
    """
    valid = np.isfinite(scores)
    clean = np.where(valid, scores, 0.0)
    count = scores.shape[1]
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)  # (R, B)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (clean @ weights.T) / (valid @ weights.T)  # (M, B) · (B, R) -> (M, R)
        mean = clean.sum(1) / valid.sum(1)
    tail = (1 - level) / 2
    ends = np.full((2, len(scores)), np.nan)
    known = valid.any(1)
    if known.any():
        ends[:, known] = np.nanquantile(means[known], (tail, 1 - tail), axis=1)
    return mean, ends[0], ends[1]


def ranks(scores: np.ndarray, *, higher_is_better: bool) -> np.ndarray:
    """Return the rank (M,) of each score, 1 the best, ties sharing the mean of their ranks; NaN stays NaN."""
    from scipy.stats import rankdata

    return rankdata(-scores if higher_is_better else scores, nan_policy="omit")


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Return tau-b of two score lists (M,) over the methods that both judge: 1 the same order, -1 the reverse.

    NaN where fewer than three methods are judged by both, or one list is constant.
    """
    from scipy.stats import kendalltau

    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if both.sum() < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(kendalltau(first, second).statistic)
