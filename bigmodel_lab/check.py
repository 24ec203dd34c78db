"""Checks of exercise answers: each says what was expected, what came, and gives a hint.

A check prints one line when the answer is right and raises `ExerciseError` when it is wrong. An answer that is still
`...` is neither: the check says so and goes on, so that a notebook with open exercises runs to its end.
The checks are for the learner's own benefit; grades are made elsewhere, in a process the learner cannot touch.
"""

import copy
import linecache
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from bigmodel_lab.errors import ExerciseError, InputError

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


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def _same(first: Any, second: Any) -> bool:
    """Say whether two values are equal, arrays and tensors inside lists, tuples and dicts included; NaN equals NaN."""
    if _is_array(first) or _is_array(second):
        if type(first) is not type(second) or first.shape != second.shape or first.dtype != second.dtype:
            return False
        first, second = (value.detach().cpu() if hasattr(value, "detach") else value for value in (first, second))
        both_nan = (first != first) & (second != second)
        return bool(((first == second) | both_nan).all())
    for kind in (list, tuple):
        if isinstance(first, kind) and isinstance(second, kind):
            return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    return bool(first == second)


def equal(answer: Any, expected: Any, *, what: str = "your answer", hint: str = "") -> None:
    """Check that `answer` equals `expected`, in type as well (True is not 1, and 1.0 is not 1).

    Arrays and tensors must agree in shape, dtype and every value.
    """
    if _open(answer, what):
        return
    if type(answer) is not type(expected) or not _same(answer, expected):
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
    """Return numbers, arrays, tensors, or lists of them as float64; raise one of `_NO_NUMBERS` for anything else."""
    if isinstance(value, Real):
        return np.asarray(float(value))
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value  # NumPy has no bfloat16
        value = value.numpy()
    elif isinstance(value, list | tuple):
        value = [_array(part) for part in value]
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"numbers of dtype {array.dtype}")
    return array.astype(np.float64)


_NO_NUMBERS = (TypeError, ValueError, OverflowError, RuntimeError)


def _reference(expected: Any) -> np.ndarray:
    """Return what an answer is compared with; it is the exercise's author who is told when it cannot be."""
    try:
        want = _array(expected)
    except _NO_NUMBERS:
        want = np.asarray(np.nan)
    if not np.isfinite(want).all():
        hint = "the exercise itself is wrong here, not the answer"
        raise InputError("a reference of finite numbers", got=_show(expected), hint=hint)
    return want


def _texts(got: float, want: float) -> tuple[str, str]:
    """Print two numbers, with more digits where few would not tell them apart."""
    texts = f"{got:.6g}", f"{want:.6g}"
    return texts if texts[0] != texts[1] else (f"{got:.10g}", f"{want:.10g}")


def _mismatch(answer: Any, expected: Any, tolerance: float) -> str:
    """Return what is wrong with `answer`, or an empty string."""
    want = _reference(expected)
    if answer is None:
        return "None; did you forget to return it?"
    try:
        got = _array(answer)
    except _NO_NUMBERS:
        return f"{_show(answer)}, which is not a number or an array of numbers"
    if got.shape != want.shape:
        return f"shape {got.shape} where {want.shape} was expected"
    if not np.isfinite(got).all():
        return "values that are not finite (NaN or infinity)"
    excess = np.abs(got - want) - tolerance * np.maximum(1.0, np.abs(want))
    if got.size and (excess > 0).any():
        at = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
        texts = _texts(got[at], want[at])
        return f"{texts[0]} at index {at}, where {texts[1]} was expected" if at else texts[0]
    return ""


def close(answer: Any, expected: Any, *, tolerance: float = 1e-6, what: str = "your answer", hint: str = "") -> None:
    """Check that numbers agree with `expected` within `tolerance` (relative above 1, absolute below)."""
    if _open(answer, what):
        return
    if problem := _mismatch(answer, expected, tolerance):
        want = _reference(expected)
        shown = f"{want[()]:.6g}" if want.ndim == 0 else f"an array of shape {want.shape}"
        if want.ndim == 0 and problem.startswith(shown):  # so near that six digits do not tell them apart
            shown = f"{want[()]:.10g}"
        raise ExerciseError(f"{what} to be {shown} (within {tolerance:g})", got=problem, hint=hint)
    _right(f"{what} agrees within {tolerance:g}")


def between(answer: Any, low: float, high: float, *, what: str = "your answer", hint: str = "") -> None:
    """Check that one number lies in [`low`, `high`]."""
    if _open(answer, what):
        return
    try:
        value = _array(answer).item()
    except _NO_NUMBERS:
        value = float("nan")
    if not low <= value <= high:
        raise ExerciseError(f"{what} to lie between {low:g} and {high:g}", got=_show(answer), hint=hint)
    _right(f"{what} = {value:.4g} lies between {low:g} and {high:g}")


def _copied(case: tuple) -> list:
    """Copy the arguments of one case; what cannot be copied (an iterator, say) is passed on as it is."""
    copies = []
    for value in case:
        try:
            copies.append(copy.deepcopy(value))
        except (TypeError, RuntimeError, NotImplementedError):
            copies.append(value)
    return copies


def _differ(given: Any, original: Any) -> bool:
    """Say whether an argument was changed; objects that equal only themselves (a generator, a model) are not judged."""
    if type(given).__eq__ is object.__eq__:
        return False
    try:
        return not _same(given, original)
    except Exception:
        return False


def function(
    answer: Callable[..., Any],
    reference: Callable[..., Any],
    cases: Sequence[tuple],
    *,
    tolerance: float = 1e-6,
    hint: str = "",
) -> None:
    """Check that `answer(*case)` agrees with `reference(*case)` for every case of arguments.

    Each of the two gets a copy of the arguments, and `answer` must leave its own as they were.
    """
    if len(cases) == 0:
        raise InputError("at least one case", got="none", hint="check.function(answer, reference, [(1,), (2,)])")
    if _open(answer, "your function"):
        return
    name = getattr(answer, "__name__", "your function")
    if not callable(answer):
        raise ExerciseError(f"{name} to be a function", got=_show(answer), hint=hint)
    for number, case in enumerate(cases, start=1):
        label, want = f"case {number} of {len(cases)}", reference(*_copied(case))
        given = _copied(case)
        try:
            got = answer(*given)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ExerciseError(f"{name} to return a value in {label}", got=what, hint=hint) from error
        if _open(got, name):
            return
        if problem := _mismatch(got, want, tolerance):
            raise ExerciseError(f"{name} to agree with the reference in {label}", got=problem, hint=hint)
        if changed := [at for at, pair in enumerate(zip(given, case, strict=True), start=1) if _differ(*pair)]:
            what = f"argument {changed[0]} changed from {_show(case[changed[0] - 1])} to {_show(given[changed[0] - 1])}"
            raise ExerciseError(f"{name} to leave its arguments as they are in {label}", got=what, hint=hint)
    _right(f"{name} agrees with the reference in {len(cases)} cases")


def _frames(error: BaseException) -> Iterator[str]:
    """Yield the lines of the caller's own code that led to `error`; frames inside installed packages are left out."""
    for frame in traceback.extract_tb(error.__traceback__):
        installed = "site-packages" in frame.filename or "dist-packages" in frame.filename  # the latter: Debian, Colab
        if not installed and frame.filename != __file__:
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
