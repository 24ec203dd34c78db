"""What the judge sends into a student's kernel with each question, as text: it asks, and turns the answer into JSON.

It needs nothing but Python, trusts nothing, and knows no answer: whoever patches it there, or `json`, or `repr`, only
garbles what he says himself. Arrays of NumPy and PyTorch become {"__array__": nested lists, "dtype", "shape"}.
"""

import base64
import io
import json
import sys

__all__ = ["ask", "encode", "say"]

MOST_NUMBERS = 100_000  # in one array
MOST_LETTERS = 1_000_000  # of JSON
DEEPEST = 40


def ask(space, expression, inputs):
    """Evaluate `expression` among the names of `space`, with `inputs` (JSON) under theirs; return JSON."""
    given = _received(json.loads(inputs))
    before = {name: space[name] for name in given if name in space}
    space.update(given)
    try:
        return encode(eval(compile(f"(\n{expression}\n)", "<question>", "eval"), space))
    finally:
        for name in given:
            space.pop(name, None)
        space.update(before)


def say(space, expression, inputs):
    """As `ask`, but in base64: its `repr` is the same between quotes, so nobody has to parse it."""
    return base64.b64encode(ask(space, expression, inputs).encode()).decode()


def encode(value):
    """Return `value` as JSON in ASCII. Raises `TypeError` or `ValueError` for what is not plain data, or too large."""
    text = json.dumps(_plain(value, 0))
    if len(text) > MOST_LETTERS:
        raise ValueError(f"the answer is too large: {len(text)} letters as JSON, {MOST_LETTERS} at most")
    return text


def _received(value):
    """Undo what the judge did to arrays: they come as files of NumPy, in base64."""
    if isinstance(value, list):
        return [_received(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "__npy__" in value:
        import numpy

        return numpy.load(io.BytesIO(base64.b64decode(value["__npy__"])), allow_pickle=False)
    return {key: _received(part) for key, part in value.items()}


def _plain(value, depth):
    if depth > DEEPEST:
        raise ValueError(f"the answer is nested deeper than {DEEPEST}")
    if value is ...:
        raise TypeError("there is no answer yet, only ...")
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind) and type(value).__module__ != "numpy":
            return kind(value)
    if isinstance(value, complex):
        return {"__complex__": [float(value.real), float(value.imag)]}
    if isinstance(value, (list, tuple)):
        return [_plain(part, depth + 1) for part in value]
    if isinstance(value, (set, frozenset)):
        return {"__set__": sorted((_plain(part, depth + 1) for part in value), key=json.dumps)}
    if isinstance(value, dict):
        if all(type(key) is str and not key.startswith("__") for key in value):
            return {key: _plain(part, depth + 1) for key, part in value.items()}
        return {"__pairs__": [[_plain(key, depth + 1), _plain(part, depth + 1)] for key, part in value.items()]}
    return _plain_array(value, depth)


def _plain_array(value, depth):
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.to_dense() if value.layout != torch.strided else value
        value = (value.float() if value.dtype == torch.bfloat16 else value).resolve_conj().resolve_neg().numpy()
    if not numpy or not isinstance(value, (numpy.ndarray, numpy.generic)):
        raise TypeError(f"an answer of type {type(value).__name__} cannot be judged: numbers, texts, lists, arrays can")
    if value.size > MOST_NUMBERS:
        raise ValueError(f"the answer is too large: {value.size} numbers, {MOST_NUMBERS} at most")
    if value.dtype.kind not in "biufcU":
        raise TypeError(f"an array of {value.dtype} cannot be judged")
    if value.ndim == 0:
        return _plain(value.item(), depth + 1)
    flat = value.view(float) if value.dtype.kind == "c" and value.dtype.itemsize == 16 else value
    if value.dtype.kind == "c":
        flat = numpy.stack([value.real, value.imag], axis=-1).astype(float)
    return {"__array__": flat.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
