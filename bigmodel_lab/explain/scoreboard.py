"""What a board holds: scores with intervals, costs, reasons, agreement; as a table and as JSON.

Dimension letters: M methods, K metrics, C cases.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.agreement import kendall, ranks

__all__ = ["Board"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """What was measured. Numbers are arrays (M, K, C) in the order of the names; NaN where a cell is empty."""

    methods: tuple[str, ...]  # controls last
    metrics: tuple[str, ...]
    cases: tuple[str, ...]
    controls: tuple[str, ...]  # those of the methods that do not look at the model
    higher: tuple[bool, ...]  # (K,) whether more is better
    mean: np.ndarray
    low: np.ndarray  # ends of the bootstrap interval
    high: np.ndarray
    examples: np.ndarray  # how many examples stand behind each mean
    forwards: np.ndarray  # (M, C) rows sent through the model for all of a case's examples
    backwards: np.ndarray  # (M, C)
    seconds: np.ndarray  # (M, C) wall time
    reasons: Mapping[str, str]  # "method / metric / case" or "method / case" -> why the cell is empty
    notes: Mapping[str, str]  # "method / case" -> what the method did to make it work
    about: Mapping[str, Any] = field(default_factory=dict)  # level, resamples, seed, versions

    def scores(self, metric: str, case: str) -> dict[str, tuple[float, float, float]]:
        """Return mean, low and high of each method that has a score."""
        k, c = self._at("metrics", metric), self._at("cases", case)
        rows = {
            name: (self.mean[m, k, c], self.low[m, k, c], self.high[m, k, c]) for m, name in enumerate(self.methods)
        }
        return {name: tuple(map(float, row)) for name, row in rows.items() if np.isfinite(row[0])}

    def ranks(self, metric: str, case: str, *, controls: bool = True) -> dict[str, float]:
        """Return the rank of each method that has a score, the best first; 1 is best, ties share the mean."""
        k, c = self._at("metrics", metric), self._at("cases", case)
        rows = self._rows(controls)
        found = ranks(self.mean[rows, k, c], higher_is_better=self.higher[k])
        pairs = [(self.methods[m], float(rank)) for m, rank in zip(rows, found, strict=True) if np.isfinite(rank)]
        return dict(sorted(pairs, key=lambda pair: pair[1]))

    def metric_agreement(self, case: str, *, controls: bool = False) -> np.ndarray:
        """Return Kendall's tau (K, K) between the metrics' rankings of the methods in one case."""
        signed = self._signed()[self._rows(controls), :, self._at("cases", case)]
        return np.array([[kendall(a, b) for b in signed.T] for a in signed.T])

    def case_agreement(self, metric: str, *, controls: bool = False) -> np.ndarray:
        """Return Kendall's tau (C, C) between the cases' rankings of the methods by one metric."""
        signed = self._signed()[self._rows(controls), self._at("metrics", metric)]
        return np.array([[kendall(a, b) for b in signed.T] for a in signed.T])

    def table(self, *, case: str | None = None, metric: str | None = None, intervals: bool = False) -> str:
        """Return a Markdown table, methods down: of one case the metrics across, of one metric the cases across.

        The best score of each column, controls left out, is bold. Reasons for empty cells stand below.
        """
        if (case is None) == (metric is None):
            raise InputError("case=... or metric=..., one of them", got=f"case={case!r}, metric={metric!r}")
        if case is not None:
            columns, cut = self.metrics, (slice(None), slice(None), self._at("cases", case))
            higher = self.higher
        else:
            k = self._at("metrics", metric)
            columns, cut, higher = self.cases, (slice(None), k), (self.higher[k],) * len(self.cases)
        mean, low, high = self.mean[cut], self.low[cut], self.high[cut]
        best, own = [], self._rows(controls=False)
        for column, up in zip(mean.T, higher, strict=True):
            known = [m for m in own if np.isfinite(column[m])]
            best.append((max if up else min)(known, key=lambda m: column[m]) if known else None)
        arrows = [f"{name} {'↑' if up else '↓'}" for name, up in zip(columns, higher, strict=True)]
        lines = [f"| {case or metric} | {' | '.join(arrows)} |", f"|---|{'---|' * len(columns)}"]
        for m, name in enumerate(self.methods):
            cells = [
                _cell(mean[m, j], low[m, j], high[m, j], intervals=intervals, bold=best[j] == m)
                for j in range(len(columns))
            ]
            shown = name.replace("|", "\\|")
            lines.append(f"| {f'*{shown}*' if name in self.controls else shown} | {' | '.join(cells)} |")
        wanted = [
            f"{key}: {why.partition(' try: ')[0]}"
            for key, why in self.reasons.items()
            if (case or metric) in key.split(" / ") or (metric is not None and key.count(" / ") == 1)
        ]
        return "\n".join(lines + [""] * bool(wanted) + [f"- – {line}" for line in wanted])

    def arrays(self, case: str) -> dict[str, Any]:
        """Return one case as `plot.scoreboard` takes it: `plot.scoreboard(**board.arrays("CNN"))`."""
        names = {name: getattr(self, name) for name in ("methods", "metrics", "controls")}
        return names | {"scores": self.mean[:, :, self._at("cases", case)], "higher_is_better": self.higher}

    def to_json(self) -> str:
        """Return all of it as JSON text; `from_json` gives an equal board back, to the last bit."""
        parts = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            parts[name] = _plain(value) if isinstance(value, np.ndarray) else value
        return json.dumps(parts, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "Board":
        """Return the board written by `to_json`, from its text or from what `json.loads` makes of it."""
        parts = dict(json.loads(text) if isinstance(text, str) else text)
        fields = cls.__dataclass_fields__
        if missing := [name for name in fields if name not in parts]:
            raise InputError("a board as to_json writes it", got=f"no {', '.join(missing)} in it")
        for name, kind in fields.items():
            if kind.type is np.ndarray:
                parts[name] = np.array(parts[name], dtype=float)
            elif isinstance(parts[name], list):
                parts[name] = tuple(parts[name])
        return cls(**{name: parts[name] for name in fields})

    def __eq__(self, other: object) -> bool:
        """Say whether both hold the same names and the same numbers."""
        return isinstance(other, Board) and self.to_json() == other.to_json()

    __hash__ = None

    def __repr__(self) -> str:
        """Say how large it is and how much of it is filled."""
        filled = f"{np.isfinite(self.mean).sum()} of {self.mean.size} cells"
        sizes = f"{len(self.methods)} methods × {len(self.metrics)} metrics × {len(self.cases)} cases"
        return f"Board({sizes}, {filled})"

    def _at(self, names: str, name: str) -> int:
        known = getattr(self, names)
        if name not in known:
            raise InputError(f"one of the board's {names}: {', '.join(known)}", got=repr(name))
        return known.index(name)

    def _rows(self, controls: bool) -> list[int]:
        return [m for m, name in enumerate(self.methods) if controls or name not in self.controls]

    def _signed(self) -> np.ndarray:
        """Means (M, K, C), all of them the higher the better."""
        return self.mean * np.where(self.higher, 1.0, -1.0)[None, :, None]


def _cell(mean: float, low: float, high: float, *, intervals: bool, bold: bool) -> str:
    if not np.isfinite(mean):
        return "–"
    text = f"{mean:.2f} [{low:.2f}, {high:.2f}]" if intervals else f"{mean:.2f}"
    return f"**{text}**" if bold else text


def _plain(array: np.ndarray) -> list:
    """Nested lists, None for NaN: JSON has no word for it."""
    return np.where(np.isfinite(array), array, None).tolist()
