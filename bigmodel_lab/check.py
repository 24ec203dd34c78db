"""Checks of exercise answers: each says what was expected, what came, and gives a hint.

A check prints one line when the answer is right and raises `ExerciseError` when it is wrong. An answer that is still
`...` is neither: the check says so and goes on, so that a notebook with open exercises runs to its end.
The checks are for the learner's own benefit; grades are made elsewhere, in a process the learner cannot touch.
"""

import linecache
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from bigmodel_lab.errors import ExerciseError

__all__ = ["between", "close", "equal", "function", "raises", "shape"]


def _right(what: str) -> None:
    print(f"✓ {what}")


def _open(answer: Any, what: str) -> bool:
    """Say whether `answer` is still the placeholder `...`, and tell the learner if it is."""
    if answer is ...:
        print(f"✎ {what}: not answered yet; put it in place of the dots and run this cell again")
    return answer is ...


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


def equal(answer: Any, expected: Any, *, what: str = "your answer", hint: str = "") -> None:
    """Check that `answer` equals `expected`, in type as well (True is not 1, and 1.0 is not 1)."""
    if _open(answer, what):
        return
    if type(answer) is not type(expected) or answer != expected:
        raise ExerciseError(f"{what} to be {_show(expected)}", got=_show(answer), hint=hint)
    _right(f"{what} is {_show(expected)}")


def shape(answer: Any, expected: Sequence[int], *, what: str = "your answer", hint: str = "") -> None:
    """Check that `answer` has a `.shape` equal to `expected`."""
    if _open(answer, what):
        return
    got = tuple(getattr(answer, "shape", ()))
    if not hasattr(answer, "shape") or got != tuple(expected):
        shown = f"shape {got}" if hasattr(answer, "shape") else f"a {type(answer).__name__} without a shape"
        raise ExerciseError(f"{what} to have shape {tuple(expected)}", got=shown, hint=hint)
    _right(f"{what} has shape {tuple(expected)}")


def _array(value: Any) -> np.ndarray:
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return np.asarray(value, dtype=np.float64)


def _mismatch(answer: Any, expected: Any, tolerance: float) -> str:
    """Return what is wrong with `answer`, or an empty string."""
    if answer is None:
        return "None; did you forget to return it?"
    try:
        got = _array(answer)
    except (TypeError, ValueError):
        return f"{_show(answer)}, which is not a number or an array of numbers"
    want = _array(expected)
    if got.shape != want.shape:
        return f"shape {got.shape} where {want.shape} was expected"
    if not np.isfinite(got).all():
        return "values that are not finite (NaN or infinity)"
    error = np.abs(got - want)
    if got.size and (error > tolerance * np.maximum(1.0, np.abs(want))).any():
        at = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
        return f"{got[at]:.6g} at index {at}, where {want[at]:.6g} was expected" if at else f"{got[()]:.6g}"
    return ""


def close(answer: Any, expected: Any, *, tolerance: float = 1e-6, what: str = "your answer", hint: str = "") -> None:
    """Check that numbers agree with `expected` within `tolerance` (relative above 1, absolute below)."""
    if _open(answer, what):
        return
    if problem := _mismatch(answer, expected, tolerance):
        want = _array(expected)
        shown = f"{want[()]:.6g}" if want.ndim == 0 else f"an array of shape {want.shape}"
        raise ExerciseError(f"{what} to be {shown} (within {tolerance:g})", got=problem, hint=hint)
    _right(f"{what} agrees within {tolerance:g}")


def between(answer: Any, low: float, high: float, *, what: str = "your answer", hint: str = "") -> None:
    """Check that one number lies in [`low`, `high`]."""
    if _open(answer, what):
        return
    try:
        value = float(answer)
    except (TypeError, ValueError):
        value = float("nan")
    if not low <= value <= high:
        raise ExerciseError(f"{what} to lie between {low:g} and {high:g}", got=_show(answer), hint=hint)
    _right(f"{what} = {value:.4g} lies between {low:g} and {high:g}")


def function(
    answer: Callable[..., Any],
    reference: Callable[..., Any],
    cases: Sequence[tuple],
    *,
    tolerance: float = 1e-6,
    hint: str = "",
) -> None:
    """Check that `answer(*case)` agrees with `reference(*case)` for every case of arguments."""
    name = getattr(answer, "__name__", "your function")
    if not callable(answer):
        raise ExerciseError(f"{name} to be a function", got=_show(answer), hint=hint)
    for number, case in enumerate(cases, start=1):
        label, want = f"case {number} of {len(cases)}", reference(*case)
        try:
            got = answer(*case)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ExerciseError(f"{name} to return a value in {label}", got=what, hint=hint) from error
        if _open(got, name):
            return
        if problem := _mismatch(got, want, tolerance):
            raise ExerciseError(f"{name} to agree with the reference in {label}", got=problem, hint=hint)
    _right(f"{name} agrees with the reference in {len(cases)} cases")


def _frames(error: BaseException) -> Iterator[str]:
    """Yield the lines of the caller's own code that led to `error`; frames inside installed packages are left out."""
    for frame in traceback.extract_tb(error.__traceback__):
        if "site-packages" not in frame.filename and frame.filename != __file__:
            line = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
            yield f"  in {frame.name}, line {frame.lineno}:  {line}"


@contextmanager
def raises(kind: type[Exception]) -> Iterator[None]:
    """Run a block that must fail with `kind`; print the traceback as a learner would meet it, and go on.

    A block that does not fail, or fails with another exception, raises `ExerciseError`: so an error that a lesson
    shows is also a claim that it tests.
    """
    try:
        yield
    except kind as error:
        print("Traceback (most recent call last):", *_frames(error), f"{type(error).__name__}: {error}", sep="\n")
    except Exception as error:
        raise ExerciseError(f"{kind.__name__} to be raised", got=f"{type(error).__name__}: {error}") from error
    else:
        raise ExerciseError(f"{kind.__name__} to be raised", got="no error")
