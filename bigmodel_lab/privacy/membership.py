"""Was this example in the training set? Attacks from losses, how well an attack does, and the exposure of a secret.

Sources: loss threshold, Yeom et al. (2018), arXiv 1709.01604; likelihood ratio (LiRA) and the true positive rate at a
low false positive rate, Carlini et al. (2022), arXiv 2112.03570; exposure, Carlini et al. (2019), arXiv 1802.08232;
interval of an AUC, DeLong et al. (1988), doi 10.2307/2531595, and Newcombe (2006), doi 10.1002/sim.2324.
A score is larger the more it speaks for membership; Yeom's score is minus the loss.
Dimension letters: N examples, M members, K non-members, R reference models.
"""

from dataclasses import dataclass
from math import exp, log, log2, sqrt
from statistics import NormalDist

import numpy as np

from bigmodel_lab.errors import InputError

__all__ = ["AttackReport", "attack_report", "confidence", "exposure", "lira"]


@dataclass(frozen=True)
class AttackReport:
    """How well scores tell members from non-members."""

    auc: float  # chance that a random member scores higher than a random non-member, ties half; 0.5 is guessing
    low: float  # interval of the AUC
    high: float
    tpr: float  # largest share of members found with at most the share `fpr` of non-members accused
    fpr: float
    members: int
    non_members: int

    def __str__(self) -> str:
        """Say it in one line."""
        return f"AUC {self.auc:.3f} [{self.low:.3f}, {self.high:.3f}], TPR {self.tpr:.3f} at {self.fpr:.0%} FPR"


def attack_report(members, non_members, *, fpr: float = 0.01, level: float = 0.95) -> AttackReport:
    """Judge an attack by its scores of members (M,) and of non-members (K,): AUC with interval, TPR at `fpr`.

    The AUC is scikit-learn's `roc_auc_score`; the TPR is the largest of `roc_curve` whose false positive rate is at
    most `fpr`, so with K < 1 / `fpr` no non-member may be accused at all. The interval is DeLong's, on the logit scale,
    so that it stays inside (0, 1); for perfect separation, where DeLong's variance is zero, Newcombe's score interval.
    Raises `InputError` for scores that are not finite, fewer than two of a kind, or a share outside (0, 1).
    """
    members, non_members = _vector("members", members), _vector("non_members", non_members)
    if not (0 < fpr < 1 and 0 < level < 1):
        raise InputError("fpr and level between 0 and 1", got=f"fpr={fpr!r}, level={level!r}")
    low, high = np.sort(members), np.sort(non_members)
    # of each member, the share of non-members below it; of each non-member, the share of members above it; ties half
    beats = (np.searchsorted(high, members, "left") + np.searchsorted(high, members, "right")) / (2 * len(high))
    beaten = 1 - (np.searchsorted(low, non_members, "left") + np.searchsorted(low, non_members, "right")) / (
        2 * len(low)
    )
    auc = float(beats.mean())
    variance = beats.var(ddof=1) / len(members) + beaten.var(ddof=1) / len(non_members)
    z = NormalDist().inv_cdf((1 + level) / 2)
    if 0 < auc < 1 and variance > 0:
        middle, half = log(auc / (1 - auc)), z * sqrt(variance) / (auc * (1 - auc))
        ends = (1 / (1 + exp(-middle + half)), 1 / (1 + exp(-middle - half)))
    else:
        ends = _newcombe(auc, len(members), len(non_members), z)
    # the lowest threshold that accuses at most `allowed` non-members is just above the next one's score
    allowed = int(fpr * len(non_members) + 1e-9)
    tpr = float((members > high[-1 - allowed]).mean())
    return AttackReport(auc, *ends, tpr, fpr, len(members), len(non_members))


def confidence(losses) -> np.ndarray:
    r"""Return the logit $\ln(p / (1 - p))$ of $p = e^{-\ell}$, the probability of the right class, losses (N,) >= 0.

    Carlini et al. (2022), section IV: unlike $\ell$ itself it is close to normal over models. Computed in float64;
    losses below 1e-12, where float32 says 0, count as 1e-12.
    """
    losses = np.maximum(_array("losses", losses), 1e-12)
    return -(losses + np.log(-np.expm1(-losses)))


def lira(losses, reference, inside) -> np.ndarray:
    r"""Return the likelihood ratio score (N,): how much better "trained on it" explains a loss than "not".

    `losses` (N,) of the attacked model; `reference` (R, N) of models trained in the same way on known examples, where
    `inside` (R, N) says whether model r was trained on example n. In the scale of `confidence`, each example gets two
    normal distributions, with and without it, and the score is $\ln N(c; \mu_1, \sigma_1) - \ln N(c; \mu_0, \sigma_0)$.
    The two variances are shared by all examples, as the paper advises below some 64 models. Needs at least two
    reference models with each example and two without it.
    """
    inside, here = np.asarray(inside), confidence(losses)
    there = confidence(reference)
    if here.ndim != 1 or there.ndim != 2 or there.shape[1:] != here.shape or inside.shape != there.shape:
        got = f"{here.shape}, {there.shape}, {inside.shape}"
        raise InputError("losses (N,), reference (R, N) and inside (R, N)", got=got)
    if inside.dtype != bool:
        raise InputError("inside as booleans", got=str(inside.dtype))
    fewest = min((int(which.sum(0).min()) for which in (inside, ~inside)), default=0)
    if fewest < 2:
        expected = "at least two reference models with each example and two without it"
        raise InputError(expected, got=str(fewest), hint="train more reference models on random halves")
    score = np.zeros(len(here))
    for sign, which in ((1, inside), (-1, ~inside)):
        count = which.sum(0)
        mean = np.where(which, there, 0).sum(0) / count
        variance = (np.where(which, there - mean, 0) ** 2).sum() / (count - 1).sum() + 1e-12
        score += sign * (-((here - mean) ** 2) / (2 * variance) - 0.5 * log(variance))
    return score


def exposure(loss: float, candidates) -> float:
    r"""Return $\log_2 |R| - \log_2 \mathrm{rank}$ in bits: how far a secret's loss stands out among all candidates.

    `loss` is the planted secret's, `candidates` (|R| - 1,) are those of all other secrets of its format. It is
    $\log_2 |R|$ when the model holds the secret the likeliest of all, and 1 on the median if it was never seen.
    Equal losses count against the secret.
    """
    others = _array("candidates", candidates)
    loss = float(_array("loss", loss))
    if others.ndim != 1 or not len(others):
        raise InputError("candidates of shape (|R| - 1,), at least one", got=f"shape {others.shape}")
    return log2(len(others) + 1) - log2(1 + int((others <= loss).sum()))


def _newcombe(auc: float, members: int, non_members: int, z: float) -> tuple[float, float]:
    """Return the values a with |auc - a| <= z sd(a), sd as Hanley & McNeil (1982) with both groups of the mean size."""
    a = np.linspace(0, 1, 20001)
    size = (members + non_members) / 2
    spread = a * (1 - a) * (1 + (size - 1) * ((1 - a) / (2 - a) + a / (1 + a))) / (members * non_members)
    inside = a[(auc - a) ** 2 <= z**2 * spread + 1e-15]
    return float(inside[0]), float(inside[-1])


def _array(name: str, values) -> np.ndarray:
    """Return finite numbers as float64."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} as numbers", got=str(error)) from error
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(f"{name} that are finite", got=f"{count} of {array.size} NaN or infinite")
    if name in ("losses", "loss", "candidates") and array.size and array.min() < 0:
        raise InputError(f"{name} that are not negative", got=f"{array.min():.4g}", hint="cross-entropy")
    return array


def _vector(name: str, values) -> np.ndarray:
    array = _array(name, values)
    if array.ndim != 1 or len(array) < 2:
        raise InputError(f"{name} of shape (N,), at least two scores", got=f"shape {array.shape}")
    return array
