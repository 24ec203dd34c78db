"""The report of an audit: what was found, which methods it makes wrong, which it stops, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Audit", "Finding"]

_CAPTUM = {"captum.DeepLift": "deep_lift", "captum.DeepLiftShap": "deep_shap", "captum.LRP": "lrp"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing in the model that some methods cannot handle."""

    where: str  # path of the module, "the model" for the model's own forward
    what: str  # what is there, such as "functional relu"
    why: str  # what goes wrong
    wrong: tuple[str, ...] = ()  # methods that give wrong values, and say nothing
    loud: tuple[str, ...] = ()  # methods that raise an error
    do: str = ""  # what to do about it
    times: int = 1  # calls like this one in this place

    def __str__(self) -> str:
        """Say it in a few lines."""
        times = f", {self.times} calls" if self.times > 1 else ""
        lines = [f"{self.where}: {self.what}{times}", f"  {self.why}"]
        lines += [f"  silently wrong: {', '.join(self.wrong)}"] if self.wrong else []
        lines += [f"  raises an error: {', '.join(self.loud)}"] if self.loud else []
        return "\n".join(lines + ([f"  do: {self.do}"] if self.do else []))


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All findings in one model. Methods that no finding names were not seen to go wrong.

    Methods are called as in `explain`. Where these put right what the library below them gets wrong, the library's own
    are named: captum.DeepLift, captum.DeepLiftShap, captum.LRP. "Silently wrong" is what the library below does;
    `explain.deep_lift`, `deep_shap` and `shap_deep` note a gap in their sum, `lrp` and `guided_backprop` refuse what
    they can see.
    """

    model: str
    findings: tuple[Finding, ...]
    inputs: tuple[int, ...]  # shape of the inputs that were sent through it
    notes: tuple[str, ...] = ()

    @property
    def loud(self) -> dict[str, tuple[Finding, ...]]:
        """Return method -> why it raises an error on this model."""
        return self._by("loud")

    @property
    def wrong(self) -> dict[str, tuple[Finding, ...]]:
        """Return method -> why its values are wrong, for methods that run through and say nothing."""
        return {method: found for method, found in self._by("wrong").items() if method not in self.loud}

    def verdict(self, method: str) -> str:
        """Return "wrong" (silently), "loud" (it raises an error), or "right" as far as the audit sees."""
        both = {method, _CAPTUM.get(method, method)}
        return "loud" if both & self.loud.keys() else "wrong" if both & self.wrong.keys() else "right"

    def table(self) -> str:
        """Return the findings as a Markdown table; places that differ only in a number share a row."""
        rows = ["| where | what | silently wrong | raises an error | do |", "|---|---|---|---|---|"]
        for one in _merged(self.findings):
            times = f" ({one.times} calls)" if one.times > 1 else ""
            methods = (", ".join(names) or "–" for names in (one.wrong, one.loud))
            rows.append(f"| {one.where} | {one.what}{times} | {' | '.join(methods)} | {one.do} |")
        return "\n".join(rows)

    def __str__(self) -> str:
        """Say which methods are wrong or raise, then each finding."""
        shape = " × ".join(map(str, self.inputs))
        lines = [f"Audit of {self.model} on inputs of {shape}: {len(self.findings)} findings"]
        for title, methods in (("silently wrong", self.wrong), ("raises an error", self.loud)):
            lines.append(f"{title}: {', '.join(sorted(methods)) or 'nothing found'}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n\n".join(["\n".join(lines), *map(str, _merged(self.findings))])

    def _by(self, kind: str) -> dict[str, tuple[Finding, ...]]:
        methods = sorted({method for one in self.findings for method in getattr(one, kind)})
        return {name: tuple(one for one in self.findings if name in getattr(one, kind)) for name in methods}


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Join findings that differ only in numbers of their path: blocks.0.mlp and blocks.1.mlp are blocks.*.mlp."""
    groups: dict[tuple, list[Finding]] = {}
    for one in findings:
        path = ".".join("*" if part.isdigit() else part for part in one.where.split("."))
        groups.setdefault((path, one.what, one.why, one.wrong, one.loud, one.do), []).append(one)
    joined = []
    for (path, *_), same in groups.items():
        first = same[0]
        kept = {name: getattr(first, name) for name in first.__dataclass_fields__}
        kept |= {"where": first.where if len(same) == 1 else path, "times": sum(one.times for one in same)}
        joined.append(Finding(**kept))
    return joined
