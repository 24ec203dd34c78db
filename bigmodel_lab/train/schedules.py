"""Learning-rate schedules: pure functions `(step, total) -> factor`, so they can be plotted and tested.

`step` counts optimizer steps from 0 to `total - 1`; the factor multiplies the optimizer's learning rate.
Cosine decay: Loshchilov & Hutter 2017 (arXiv 1608.03983); warm-up: Goyal et al. 2017 (arXiv 1706.02677).
"""

from collections.abc import Callable
from math import cos, pi

from bigmodel_lab.errors import InputError

Schedule = Callable[[int, int], float]


def constant(step: int, total: int) -> float:
    """Return 1: the learning rate stays as it is."""
    return 1.0


def linear_decay(step: int, total: int) -> float:
    """Return 1 at the first step, falling in equal parts to 1/total at the last."""
    return 1 - step / total


def warmup_cosine(*, warmup: float = 0.1, floor: float = 0.0) -> Schedule:
    """Return a schedule that climbs to 1 in equal parts during `warmup`, then falls along half a cosine to `floor`.

    `warmup` below 1 is a share of all steps, from 1 on a number of steps; `floor` is a factor between 0 and 1.
    """
    if warmup < 0 or not 0 <= floor <= 1:
        raise InputError(
            "warmup >= 0 and floor between 0 and 1",
            got=f"warmup={warmup}, floor={floor}",
            hint="warmup_cosine(warmup=0.1, floor=0.01)",
        )

    def schedule(step: int, total: int) -> float:
        rise = round(warmup * total) if warmup < 1 else round(warmup)
        if step < rise:
            return (step + 1) / rise
        return floor + (1 - floor) * (1 + cos(pi * (step - rise) / max(1, total - rise))) / 2

    return schedule
