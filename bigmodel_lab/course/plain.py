"""Plain data in the judge's process: what came from a student's kernel is read, shown and compared here.

Nothing of it is trusted: it is JSON, of limited size, and becomes numbers, texts, lists, dictionaries and arrays.
"""

import base64
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodel_lab.course.inside import encode
from bigmodel_lab.errors import DataError, InputError

__all__ = ["as_plain", "decode", "pack", "printable", "same", "shown"]

EXACT = 1e-6  # the tolerance of a probe that names none: whole numbers then have to be equal
WHOLE = 1e-9  # where a whole number is wanted and a number with decimals came: what rounding leaves
LETTERS_SHOWN = 200
LARGEST_TABLE = 20_000_000  # letters of the array that lists of texts would become


def pack(inputs: Mapping[str, Any]) -> str:
    """Return a probe's inputs as JSON; arrays go as files of NumPy in base64. Raises `InputError` for other objects."""
    for name in inputs:
        if not name.isidentifier():
            raise InputError("inputs with names that Python allows", got=repr(name))
    try:
        return json.dumps(dict(inputs), default=_packed)
    except (TypeError, ValueError) as error:
        got, hint = f"{sorted(inputs)}: {error}", "give tensors as arrays, and torch.from_numpy(x) in the expression"
        raise InputError(
            "inputs of numbers, texts, lists, dictionaries and NumPy arrays", got=got, hint=hint
        ) from error


def _packed(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} cannot be sent")
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return {"__npy__": base64.b64encode(file.getvalue()).decode()}


def decode(text: str) -> Any:
    """Return the answer that `text` (JSON, as `inside.encode` writes it) holds. Raises `DataError` for other texts."""
    try:
        value = json.loads(text)
        if _letters_as_array(value) > LARGEST_TABLE:
            raise ValueError("texts of very unequal lengths")
        return _decoded(value)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, MemoryError) as error:
        raise DataError("an answer as JSON", got=f"{type(error).__name__}: {error}"[:LETTERS_SHOWN]) from error


def _letters_as_array(value: Any) -> int:
    """How large NumPy would make it: each text takes the room of the longest."""
    count, longest, todo = 0, 0, [value]
    while todo:
        part = todo.pop()
        if isinstance(part, list | dict):
            todo += part.values() if isinstance(part, dict) else part
        else:
            count, longest = count + 1, max(longest, len(part) if isinstance(part, str) else 0)
    return count * longest


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "__complex__" in value:
        return complex(*map(float, value["__complex__"]))
    if "__set__" in value:
        return {"set": _decoded(value["__set__"])}
    if "__pairs__" in value:
        return {"pairs": _decoded(value["__pairs__"])}
    if "__array__" not in value:
        return {key: _decoded(part) for key, part in value.items()}
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "biufcU":
        raise ValueError(f"an array of {dtype}")
    if dtype.kind == "U":  # as long as its words are, not as it says
        return np.array(value["__array__"], dtype=str).reshape(value["shape"])
    if dtype.kind == "c":
        parts = np.array(value["__array__"], dtype=float)
        return (parts[..., 0] + 1j * parts[..., 1]).astype(dtype).reshape(value["shape"])
    return np.array(value["__array__"]).astype(dtype).reshape(value["shape"])


def as_plain(value: Any) -> Any:
    """Return `value` as it would come from a student's kernel: tuples as lists, tensors as arrays."""
    return decode(encode(value))


def same(got: Any, want: Any, tolerance: float = EXACT) -> bool:
    """Whether two pieces of plain data are equal; numbers within a relative and absolute `tolerance`.

    True and 1 differ, 2 and 2.0 do not. NaN equals NaN. Whole numbers must be equal, unless the tolerance is wider
    than the default. Arrays need the same shape; a nested list counts as the array it spells.
    """
    if isinstance(want, np.ndarray) or isinstance(got, np.ndarray):
        return _same_arrays(got, want, tolerance)
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want, [tolerance] * len(want)))
    if isinstance(want, dict):
        return (
            isinstance(got, dict) and got.keys() == want.keys() and all(same(got[k], want[k], tolerance) for k in want)
        )
    if isinstance(want, bool) or isinstance(got, bool) or want is None or isinstance(want, str):
        return type(got) is type(want) and got == want
    if not isinstance(got, int | float | complex):
        return False
    return _close(got, want, tolerance)


def _same_arrays(got: Any, want: Any, tolerance: float) -> bool:
    if not isinstance(got, np.ndarray | list) or not isinstance(want, np.ndarray | list):
        return False
    try:
        got, want = np.asarray(got), np.asarray(want)
    except (ValueError, TypeError, OverflowError, RecursionError):  # lists of unequal lengths
        return False
    kinds = {got.dtype.kind, want.dtype.kind}
    if got.shape != want.shape or (kinds & set("bUO") and len(kinds) > 1 and got.size):
        return False
    if kinds & set("bUO"):
        return bool((got == want).all())
    if want.dtype.kind in "iu" and tolerance <= EXACT:
        tolerance = 0 if got.dtype.kind in "iu" else WHOLE
    return bool(np.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True).all())


def _close(got: complex, want: complex, tolerance: float) -> bool:
    if isinstance(want, int) and tolerance <= EXACT:
        if isinstance(got, int):
            return got == want
        tolerance = WHOLE
    try:
        if isinstance(got, complex) or isinstance(want, complex):
            return bool(np.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True))
        if math.isnan(got) or math.isnan(want):
            return math.isnan(got) and math.isnan(want)
        return math.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # a whole number too large for a float
        return got == want


def shown(value: Any) -> str:
    """Return `value` in short, for a message."""
    if isinstance(value, np.ndarray):
        text = f"an array of shape {value.shape}: {np.array2string(value.ravel()[:8], precision=4, separator=', ')}"
        text = text[:-1] + ", …]" if value.size > 8 else text
    else:
        try:
            text = repr(value)
        except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
            text = f"a {type(value).__name__} that cannot be shown ({error})"
    return printable(text, LETTERS_SHOWN)


def printable(text: str, letters: int) -> str:
    """Return `text` on one line, cut to so many letters, without what would confuse a file or a terminal."""
    text = "".join(letter if letter.isprintable() else "�" for letter in " ".join(text[: 10 * letters].split()))
    return text if len(text) <= letters else text[: letters - 1] + "…"
