r"""What the noise of DP-SGD promises: $(\varepsilon, \delta)$ by Opacus, noise for a budget, and the best attack left.

A training run is $(\varepsilon, \delta)$-private if for any two data sets that differ in one example, present or
absent, and any set S of outcomes, $P(S) \le e^\varepsilon P'(S) + \delta$ (Dwork et al. 2006, doi 10.1007/11761679_29).
Sources: DP-SGD, Abadi et al. (2016), arXiv 1607.00133; Rényi accountant, Mironov et al. (2019), arXiv 1908.10530;
PRV accountant, Gopi et al. (2021), arXiv 2106.02848; exact Gaussian mechanism, Balle & Wang (2018), arXiv 1805.06530;
region of attacks, Kairouz et al. (2015), arXiv 1311.0776; Opacus, Yousefpour et al. (2021), arXiv 2109.12298.
"""

import warnings
from math import exp, inf, isfinite, sqrt
from numbers import Integral, Real
from statistics import NormalDist

import numpy as np

from bigmodel_lab.errors import InputError, MissingExtraError

__all__ = ["epsilon", "gaussian_delta", "noise_for", "tpr_bound"]

ORDERS = [1 + i / 20 for i in range(1, 200)] + list(range(11, 64)) + [2**i for i in range(6, 13)]  # Rényi
_PHI = NormalDist().cdf


def epsilon(noise: float, rate: float, steps: int, delta: float, *, accountant: str = "prv") -> float:
    r"""Return an upper bound of the $\varepsilon$ of `steps` steps of DP-SGD at the given `delta`.

    - `noise`: standard deviation of the noise on the sum of clipped gradients, in units of the clipping norm.
    - `rate`: the chance of each example to be in a batch, drawn anew and independently in each step (Poisson sampling,
      not shuffled batches of one size).
    - `accountant`: "prv", exact to 0.01 from above, or "rdp", faster and looser.

    Without noise it is infinite, without steps or sampling 0. Both are computed by Opacus.
    """
    _check(rate=rate, steps=steps, delta=delta)
    if not _real(noise) or not 0 <= noise < inf:
        raise InputError("a finite noise of at least 0", got=repr(noise))
    if accountant not in ("prv", "rdp"):
        raise InputError('accountant="prv" or accountant="rdp"', got=repr(accountant))
    if steps == 0 or rate == 0:
        return 0.0
    if noise == 0:
        return inf
    counter = _accountants()[accountant]()
    counter.history = [(float(noise), float(rate), int(steps))]
    options = {"eps_error": 0.01} if accountant == "prv" else {"alphas": ORDERS}
    with (
        warnings.catch_warnings(),
        np.errstate(divide="ignore"),
    ):
        # log(0) where a density vanishes is -inf, as it should be; at the edge of the orders the bound still holds
        warnings.filterwarnings("ignore", message="Optimal order is the (largest|smallest) alpha", category=UserWarning)
        return float(counter.get_epsilon(delta, **options))


def noise_for(target: float, rate: float, steps: int, delta: float, *, accountant: str = "prv") -> float:
    """Return the least noise, to 0.1 % from above, whose `epsilon(noise, rate, steps, delta)` is at most `target`."""
    _check(rate=rate, steps=steps, delta=delta)
    if not _real(target) or not 0 < target < inf:
        raise InputError("a finite target above 0", got=repr(target))
    if steps == 0 or rate == 0:
        return 0.0

    def spent(noise: float) -> float:
        return epsilon(noise, rate, steps, delta, accountant=accountant)

    high = 1.0
    while epsilon(high, rate, steps, delta, accountant="rdp") > target:  # never less than what "prv" says
        high *= 2
        if high > 2**20:
            raise InputError("a target that some noise reaches", got=repr(target), hint="fewer steps")
    while spent(high / 2) <= target:
        high /= 2
    low = high / 2
    while high / low > 1.001:
        middle = sqrt(low * high)
        low, high = (low, middle) if spent(middle) <= target else (middle, high)
    return high


def gaussian_delta(epsilon: float, noise: float, steps: int = 1) -> float:
    r"""Return the exact $\delta(\varepsilon)$ of `steps` Gaussian steps that see every example (Balle & Wang 2018).

    $\delta = \Phi(\mu/2 - \varepsilon/\mu) - e^\varepsilon \Phi(-\mu/2 - \varepsilon/\mu)$ with
    $\mu = \sqrt{\text{steps}} / \text{noise}$: the closed form that `epsilon` with rate 1 is tested against.
    """
    if not (_real(epsilon) and _real(noise)) or not (0 <= epsilon < inf and 0 < noise < inf) or _count(steps) < 1:
        raise InputError("epsilon >= 0, noise > 0 and steps >= 1", got=f"{epsilon!r}, {noise!r}, {steps!r}")
    mu = sqrt(steps) / noise
    return _PHI(mu / 2 - epsilon / mu) - exp(epsilon) * _PHI(-mu / 2 - epsilon / mu)


def tpr_bound(fpr, epsilon: float, delta: float) -> np.ndarray:
    r"""Return the largest true positive rate that any attack can have at false positive rate `fpr`, of its shape.

    $\min(e^\varepsilon f + \delta,\; 1 - e^{-\varepsilon}(1 - \delta - f),\; 1)$ (Kairouz et al. 2015): whatever the
    attacker knows, the other examples and every step of the training included.
    """
    fpr = np.asarray(fpr, dtype=np.float64)
    if not np.isfinite(fpr).all() or (fpr.size and not 0 <= fpr.min() <= fpr.max() <= 1):
        raise InputError("false positive rates in [0, 1]", got=repr(fpr))
    if not _real(epsilon) or not epsilon >= 0 or not _real(delta) or not 0 <= delta <= 1:
        raise InputError("epsilon >= 0 and delta in [0, 1]", got=f"{epsilon!r}, {delta!r}")
    if epsilon == inf:
        return np.ones_like(fpr)
    return np.minimum(np.minimum(np.exp(epsilon) * fpr + delta, 1 - np.exp(-epsilon) * (1 - delta - fpr)), 1)


def _accountants() -> dict[str, type]:
    try:
        from opacus.accountants import PRVAccountant, RDPAccountant
    except ImportError as error:
        raise MissingExtraError("the package opacus", got=str(error), hint="pip install opacus") from error
    return {"prv": PRVAccountant, "rdp": RDPAccountant}


def _real(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def _count(value) -> int:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else -1


def _check(*, rate, steps, delta) -> None:
    if not _real(rate) or not 0 <= rate <= 1:
        raise InputError("a sampling rate in [0, 1]", got=repr(rate), hint="batch size / number of examples")
    if _count(steps) < 0:
        raise InputError("a whole number of steps, at least 0", got=repr(steps))
    if not _real(delta) or not isfinite(delta) or not 0 < delta < 1:
        raise InputError("delta in (0, 1)", got=repr(delta), hint="1 / number of examples, or less")
