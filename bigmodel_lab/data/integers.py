"""Whole numbers that a caller gives: Python's and NumPy's become Python's, everything else is refused."""

from operator import index
from typing import Any

from bigmodel_lab.errors import InputError


def integer(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return `value` as a Python integer if it is an integer from `least` to `most`; no truth value is one."""
    number = None
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        number = index(value)
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name}, an integer {bounds}", got=repr(value), hint=f"{name}={least}")
    return number


def seeded(seed: Any) -> int:
    """Return `seed` as a Python integer that every random generator takes."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not -(2**63) <= index(seed) < 2**64:
        raise InputError("seed, an integer of at most 64 bits", got=repr(seed), hint="seed=0")
    return index(seed)
