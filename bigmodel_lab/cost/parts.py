"""A result with parts: named amounts of one unit, which add up to the whole."""

from dataclasses import dataclass, fields

__all__ = ["Parts"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Base of results whose fields are amounts of one unit. The whole is their sum, and nothing else."""

    def parts(self) -> dict[str, float]:
        """Return each part by its name, in the order in which the class lists them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return sum(self.parts().values())
