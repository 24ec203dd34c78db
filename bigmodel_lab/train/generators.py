"""The states of the global random generators of Python, NumPy and PyTorch, in a form that JSON can hold."""

import base64
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def save_generators() -> dict[str, Any]:
    """Return the states."""
    numpy = np.random.get_state()  # noqa: NPY002 - the global generator is what must be saved
    states = {"python": random.getstate(), "numpy": [numpy[0], numpy[1].tolist(), *numpy[2:]]}
    states["cpu"] = _text(torch.get_rng_state())
    if torch.cuda.is_available():
        states["cuda"] = _text(torch.cuda.get_rng_state())
    if torch.backends.mps.is_available():
        states["mps"] = _text(torch.mps.get_rng_state())
    return states


def restore_generators(states: dict[str, Any]) -> None:
    """Set the generators of this machine to the states that `save_generators` returned."""
    version, key, gauss = states["python"]
    random.setstate((version, tuple(key), gauss))
    name, key, *rest = states["numpy"]
    np.random.set_state((name, np.array(key, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(_tensor(states["cpu"]))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(_tensor(states["cuda"]))
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(_tensor(states["mps"]))


def _text(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
