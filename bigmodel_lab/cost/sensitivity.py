"""Which input of a calculation matters most: each is moved through its range alone, the others stay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bigmodel_lab.errors import InputError

__all__ = ["Swing", "swings"]


@dataclass(frozen=True, kw_only=True)
class Swing:
    """What one input does to the result."""

    name: str
    low: float  # the result at the lower end of the input's range
    high: float  # the result at the upper end

    @property
    def factor(self) -> float:
        """The larger result over the smaller, at least 1."""
        return max(self.low, self.high) / min(self.low, self.high)


def swings(
    result: Callable[..., float], centre: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> list[Swing]:
    """Return a swing for each input in `ranges`, the largest first: the bars of a tornado diagram.

    `result` takes the inputs of `centre` by name and returns a positive number. One input at a time: what two of them
    do together is not seen.
    """
    unknown = sorted(set(ranges) - set(centre))
    if unknown or not ranges:
        raise InputError(f"ranges of inputs among {', '.join(centre)}", got=", ".join(unknown) or "none")
    found = []
    for name, ends in ranges.items():
        low, high = (result(**{**centre, name: end}) for end in ends)
        if not (low > 0 and high > 0):
            raise InputError("a result above 0", got=f"{low}, {high} for {name} = {ends}")
        found.append(Swing(name=name, low=low, high=high))
    return sorted(found, key=lambda swing: -swing.factor)
