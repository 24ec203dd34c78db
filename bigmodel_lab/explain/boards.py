"""Methods × metrics × cases: each explanation method scored by each metric on each model, with controls.

No single number ranks explanations, so a board shows them all: mean scores with bootstrap intervals, what each method
cost, how far the metrics agree with one another, and whether a ranking carries over from one model to the next.
Dimension letters: B examples, M methods, K metrics, C cases.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.agreement import bootstrap
from bigmodel_lab.explain.contract import Explanation
from bigmodel_lab.explain.controls import CONTROLS
from bigmodel_lab.explain.scoreboard import Board
from bigmodel_lab.explain.scoring import Case, NotApplicable, call, needs, quiet, score

__all__ = ["Board", "Case", "board"]

PACKAGES = ("captum", "numpy", "torch")


def board(
    methods: Mapping[str, Callable[..., Explanation]],
    metrics: Sequence[str] | Mapping[str, Any],
    cases: Mapping[str, Case],
    *,
    controls: Mapping[str, Callable[..., Explanation]] | None = None,
    few: int = 8,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> Board:
    """Score every method by every metric on every case.

    - `methods`: by name, functions of `explain.contract`; set their arguments by `functools.partial`, and those that
      differ from case to case in `Case.options`.
    - `metrics`: names among `explain.metrics.METRICS`, or `Metric`s by name.
    - `controls`: scored as the methods are; None takes noise, an edge filter, |input|, and the planted truth.
    - `few`: examples for the metrics that call the method again (they ask for `explain`); all others take all.
    - `resamples`, `level`: of the bootstrap interval over examples. `seed`: of each cell, so that its numbers do not
      depend on which others there are.

    A cell that cannot be filled is empty and keeps its reason: what the case lacks, or the error that was raised.
    """
    metrics = _metrics(metrics)
    controls = CONTROLS if controls is None else controls
    if not methods or not metrics or not cases:
        raise InputError("methods, metrics and cases, at least one of each", got="none of one")
    if twice := methods.keys() & controls.keys():
        raise InputError("methods that are not called as controls are", got=", ".join(sorted(twice)))
    if few < 1 or resamples < 1 or not 0 < level < 1:
        got = f"few={few}, resamples={resamples}, level={level}"
        raise InputError("few and resamples >= 1, and a level between 0 and 1", got=got)
    everything = {**methods, **controls}
    shape = (len(everything), len(metrics), len(cases))
    numbers = {name: np.full(shape, np.nan) for name in ("mean", "low", "high")} | {"examples": np.zeros(shape)}
    costs = {name: np.full(shape[::2], np.nan) for name in ("forwards", "backwards", "seconds")}
    reasons, notes = {}, {}
    for c, (place, case) in enumerate(cases.items()):
        rows = {metric: {} for metric in metrics}
        for m, (name, method) in enumerate(_shown(everything, place, progress)):
            found, whys = _explain(name, method, case, seed)
            if found is None:
                reasons[f"{name} / {place}"] = whys
                continue
            for cost, column in costs.items():
                column[m, c] = getattr(found, cost)
            if found.notes:
                notes[f"{name} / {place}"] = "; ".join(found.notes)
            for metric, about in metrics.items():
                row, why = _score(about.function, name, method, case, found, few, seed)
                if row is None:
                    reasons[f"{name} / {metric} / {place}"] = why
                else:
                    rows[metric][m] = row
        for k, metric in enumerate(metrics):
            if rows[metric]:
                at, scores = list(rows[metric]), np.stack(list(rows[metric].values()))
                ends = bootstrap(scores, resamples=resamples, level=level, seed=seed)
                for name, values in zip(("mean", "low", "high"), ends, strict=True):
                    numbers[name][at, k, c] = values
                numbers["examples"][at, k, c] = np.isfinite(scores).sum(1)
    return Board(
        methods=tuple(everything),
        metrics=tuple(metrics),
        cases=tuple(cases),
        controls=tuple(controls),
        higher=tuple(bool(about.higher_is_better) for about in metrics.values()),
        **numbers,
        **costs,
        reasons=reasons,
        notes=notes,
        about={
            "few": few,
            "level": level,
            "resamples": resamples,
            "seed": seed,
            "versions": {name: version(name) for name in PACKAGES},
        },
    )


def _metrics(metrics: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(metrics, Mapping):
        return dict(metrics)
    from bigmodel_lab.explain.metrics import METRICS

    if unknown := [name for name in metrics if name not in METRICS]:
        raise InputError(f"metrics among {', '.join(sorted(METRICS))}", got=", ".join(map(repr, unknown)))
    return {name: METRICS[name] for name in metrics}


def _explain(name: str, method: Callable, case: Case, seed: int) -> tuple[Explanation | None, str]:
    with quiet(seed):
        try:
            found = call(name, method, case)
        except Exception as error:
            return None, _why(error)
    if found.values.shape != case.inputs.shape:
        return None, f"values of shape {tuple(found.values.shape)}, not of the inputs' {tuple(case.inputs.shape)}"
    return found, ""


def _score(
    metric: Callable, name: str, method: Callable, case: Case, found: Explanation, few: int, seed: int
) -> tuple[np.ndarray | None, str]:
    """Return one score per example (B,), NaN beyond the first `few` where the metric calls the method again."""
    asked = needs(metric)
    again = "explain" in asked
    part = case.first(few) if again else case
    with quiet(seed):
        try:
            if again:
                found = call(name, method, part) if asked.keys() & {"values", "explanation"} else None
            scores = score(metric, name, method, part, found, seed)
        except Exception as error:
            return None, _why(error)
    row = np.full(len(case), np.nan)
    row[: len(part)] = scores.numpy()
    return (row, "") if np.isfinite(row).any() else (None, "no example that the metric judges")


def _why(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, NotApplicable) else f"{type(error).__name__}: {text}"


def _shown(methods: Mapping[str, Callable], case: str, progress: bool):
    from tqdm import tqdm

    return tqdm(methods.items(), desc=case, unit="method", ascii=True, leave=False, delay=1, disable=not progress)
