"""What a training run measured: one row per epoch, one loss per optimizer step."""

from dataclasses import asdict, dataclass, field
from html import escape
from math import nan

from bigmodel_lab.errors import InputError

_LOWER = ("loss", "error", "perplexity", "seconds")  # endings of names where less is better
_HIGHER = ("accuracy", "score")


@dataclass(frozen=True)
class History:
    """The rows and step losses of one run.

    Each row has `epoch` (from 1), `train_loss` (mean over the examples of the epoch, measured while the weights
    were changing), `learning_rate` (of its last step), `seconds`, and `validation_...` for each score.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """Return one number per epoch; NaN for an epoch in which it was not measured."""
        if self.rows and name not in self._names():
            raise InputError(f"one of {', '.join(self._names())}", got=repr(name), hint="print(history)")
        return [row.get(name, nan) for row in self.rows]

    def last(self, name: str) -> float:
        """Return the value after the last epoch."""
        return self._column_with_values(name)[-1]

    def best(self, name: str, *, higher: bool | None = None) -> float:
        """Return the best value over the epochs; `higher` says whether more is better where the name does not."""
        if higher is None and not name.endswith(_LOWER + _HIGHER):
            raise InputError(
                f"to know whether a higher {name} is better", got="higher=None", hint=f'best("{name}", higher=True)'
            )
        values = self._column_with_values(name)
        values = [value for value in values if value == value] or values  # without NaN
        return max(values) if (name.endswith(_HIGHER) if higher is None else higher) else min(values)

    def to_dict(self) -> dict[str, list]:
        """Return plain lists and dicts, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, list]) -> "History":
        """Return the history that `to_dict` described."""
        return cls([dict(row) for row in data["rows"]], list(data["step_losses"]))

    def _column_with_values(self, name: str) -> list[float]:
        if not self.rows:
            raise InputError("at least one finished epoch", got="none", hint="call fit(..., epochs=1) first")
        return self.column(name)

    def _names(self) -> list[str]:
        """Return the columns of all rows: a resumed run may measure more than before."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def _cells(self) -> list[list[str]]:
        """Header and rows as text; of a long run the first three and the last three epochs."""
        rows = self.rows if len(self.rows) <= 8 else [*self.rows[:3], {}, *self.rows[-3:]]
        names = self._names()
        return [names] + [[_number(name, row.get(name, nan)) if row else "…" for name in names] for row in rows]

    def __repr__(self) -> str:
        """Show the rows as a small table."""
        if not self.rows:
            return f"History(no epoch finished, {len(self.step_losses)} steps)"
        cells = self._cells()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells)

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{escape(repr(self))}</p>"
        head, *body = self._cells()
        line = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in head)
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
        return f"<table><thead><tr>{line}</tr></thead><tbody>{rows}</tbody></table>"


def _number(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "seconds" else f"{value:.4g}"
