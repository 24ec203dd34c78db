"""One cell of a board: call a method on a case, hand its values to a metric, and keep the reason where that fails.

Dimension letters: B examples, H height, W width, T tokens.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Target

__all__ = ["Case", "NotApplicable", "arguments", "call", "needs", "score"]


class NotApplicable(Exception):
    """A method or a metric that this case cannot have, and why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A model with the inputs to explain and, where it is known, the truth about them."""

    forward: Forward
    inputs: Tensor  # (B, ...)
    target: Target
    baseline: Tensor | float | None = None
    truth: Tensor | None = None  # (B, H, W) or (B, T) bool: the places that decide
    distractor: Tensor | None = None  # likewise: places that stand out and do not decide
    embedding: nn.Module | None = None  # where inputs are token ids
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by method: arguments it has here alone
    skip: Mapping[str, str] = field(default_factory=dict)  # methods that this case cannot have -> why

    def __post_init__(self) -> None:
        """Refuse a truth of another shape than the inputs' places."""
        shape = self.inputs.shape
        places = (shape[0], *shape[2:]) if self.inputs.ndim == 4 else tuple(shape[:2])
        for name in ("truth", "distractor"):
            marked = getattr(self, name)
            if marked is not None and (marked.dtype != torch.bool or tuple(marked.shape) != places):
                got = f"{marked.dtype} of shape {tuple(marked.shape)}"
                raise InputError(f"{name} as booleans of shape {places}", got=got)

    def __len__(self) -> int:
        """Return B, the number of examples."""
        return len(self.inputs)

    def first(self, count: int) -> "Case":
        """Return the case with its first `count` examples only."""
        whole = len(self)
        cut = {
            name: value[:count]
            for name in ("inputs", "target", "baseline", "truth", "distractor")
            if isinstance(value := getattr(self, name), Tensor) and value.ndim and len(value) == whole
        }
        return self if count >= whole else replace(self, **cut)


def arguments(name: str, method: Callable, case: Case) -> dict[str, Any]:
    """Return the keyword arguments that `method`, called `name`, gets in this case.

    The embedding, the truth and whatever else of the case it names; and `case.options[name]`. Raises `NotApplicable`
    where it asks for more.
    """
    if name in case.skip:
        raise NotApplicable(case.skip[name])
    asked = inspect.signature(method).parameters
    own = {one.name for one in fields(case)} - {"forward", "inputs", "target", "baseline", "options", "skip"}
    given = {key: getattr(case, key) for key in own if key in asked and getattr(case, key) is not None}
    given |= case.options.get(name, {})
    first = ("forward", "inputs", "target", "baseline")
    lacking = [
        key
        for key, parameter in asked.items()
        if key not in first
        and key not in given
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if lacking:
        raise NotApplicable(f"needs {' and '.join(lacking)}, which this case does not give")
    return given


def call(name: str, method: Callable, case: Case) -> Explanation:
    """Explain the case's inputs by `method`."""
    return method(case.forward, case.inputs, case.target, case.baseline, **arguments(name, method, case))


def needs(metric: Callable) -> dict[str, bool]:
    """Return what a metric asks for by name, and whether it must have it."""
    asked = inspect.signature(metric).parameters.values()
    return {one.name: one.default is one.empty for one in asked if one.kind is not one.VAR_KEYWORD}


def score(metric: Callable, name: str, method: Callable, case: Case, found: Explanation | None, seed: int) -> Tensor:
    """Return what `metric` (a function of what its arguments are called) says of each example, (B,)."""
    have = {one.name: getattr(case, one.name) for one in fields(case)}
    have |= {"explanation": found, "values": None if found is None else found.values, "seed": seed}
    have["explain"] = partial(_again, name, method, case)
    asked = needs(metric)
    given = {key: have[key] for key in asked if have.get(key) is not None}
    if lacking := [key for key, must in asked.items() if must and key not in given]:
        raise NotApplicable(f"needs {' and '.join(lacking)}, which this case does not give")
    scores = metric(**given)
    if not isinstance(scores, Tensor) or scores.shape != (len(case),):
        got = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"one score per example, shape ({len(case)},)", got=got)
    return scores.detach().double().cpu()


def _again(name: str, method: Callable, case: Case, *changed: Any) -> Tensor:
    """Return the method's values for other inputs, `explain(inputs)`, or another model too, `explain(forward, inputs)`.

    A copy of the model has its own embedding and layers: modules among the arguments are looked up in the copy.
    """
    *model, inputs = changed
    forward = model[0] if model else case.forward
    given = getattr(method, "keywords", {}) | arguments(name, method, case)  # of functools.partial
    if forward is not case.forward and isinstance(case.forward, nn.Module) and isinstance(forward, nn.Module):
        names = {id(module): place for place, module in case.forward.named_modules()}
        given = {key: _counterpart(value, names, forward) for key, value in given.items()}
    return method(forward, inputs, case.target, case.baseline, **given).values


def _counterpart(value: Any, names: Mapping[int, str], copy: nn.Module) -> Any:
    """Return the module of `copy` that has the place of `value` in the original; what is no such module as it is."""
    if isinstance(value, partial):  # such as a function of the model that reads its attention weights
        return partial(value.func, *(_counterpart(one, names, copy) for one in value.args), **value.keywords)
    return copy.get_submodule(names[id(value)]) if id(value) in names else value


@contextmanager
def quiet(seed: int) -> Iterator[None]:
    """Run a cell with its own random numbers, whatever ran before, and without its warnings."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield
