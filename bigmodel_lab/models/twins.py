"""One network in several frameworks: weights carried from layout to layout, and a twin run where its framework lives.

A twin is a file beside this one, `keras_twin.py` or `jax_twin.py`, that reads arrays, computes and writes arrays. It is
run as a program by a Python that has its framework, so two frameworks never share a process.
Sources: the layouts are those of the PyTorch, Keras and JAX documentation.
Dimension letters: B batch, C channels, H height, W width, O outputs, I inputs, h and w sides of a kernel.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bigmodel_lab.errors import InputError, LabError, MissingExtraError

__all__ = ["HOW_TO_GET", "find", "from_keras", "images_to_keras", "listing", "run", "sample", "to_keras"]

HERE = Path(__file__).resolve().parent
VARIABLE = "BIGMODEL_LAB_TENSORFLOW"  # may name the Python that has TensorFlow
TWINS = {"keras": "tensorflow", "jax": "jax"}  # twin -> the package that it needs
HOW_TO_GET = f"make tensorflow   (a folder of its own, .venv-tensorflow; or {VARIABLE}=a Python that has TensorFlow)"


def images_to_keras(images: np.ndarray) -> np.ndarray:
    """Return images (B, C, H, W) as Keras wants them, channels last: (B, H, W, C)."""
    if np.ndim(images) != 4:
        raise InputError("images of shape (B, C, H, W)", got=f"shape {np.shape(images)}")
    return np.ascontiguousarray(np.transpose(images, (0, 2, 3, 1)))


def to_keras(weights: Sequence[np.ndarray], *, features: tuple[int, int, int]) -> list[np.ndarray]:
    """Return the weights of a plain CNN, in PyTorch's order and layout, as Keras wants them.

    Kernels (O, I, h, w) become (h, w, I, O), matrices (O, I) become (I, O), vectors stay. The first matrix reads
    flattened features of shape (C, H, W) = `features`; Keras flattens (H, W, C), so its inputs change places too.
    Raises `InputError` for an array of another kind and for a first matrix whose inputs are not C · H · W.
    """
    return _carried(weights, features, _kernel_to_keras, _matrix_to_keras)


def from_keras(weights: Sequence[np.ndarray], *, features: tuple[int, int, int]) -> list[np.ndarray]:
    """Return what `to_keras` was given: weights, or their gradients, back in PyTorch's layout."""
    return _carried(weights, features, _kernel_from_keras, _matrix_from_keras)


def _carried(weights, features, kernel, matrix) -> list[np.ndarray]:
    done, first = [], True
    for at, array in enumerate(map(np.asarray, weights)):
        if array.ndim == 4:
            done.append(kernel(array))
        elif array.ndim == 2:
            done.append(matrix(array, features if first else None))
            first = False
        elif array.ndim == 1:
            done.append(array.copy())
        else:
            hint = "kernels, matrices and vectors, in the order of the layers"
            raise InputError("weights of 1, 2 or 4 dimensions", got=f"shape {array.shape} at {at}", hint=hint)
    return done


def _kernel_to_keras(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(2, 3, 1, 0).copy()


def _kernel_from_keras(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1).copy()


def _matrix_to_keras(matrix: np.ndarray, features: tuple[int, int, int] | None) -> np.ndarray:
    if features is None:
        return matrix.T.copy()
    _check_features(matrix.shape[1], features)
    return matrix.reshape(-1, *features).transpose(2, 3, 1, 0).reshape(-1, len(matrix))  # (O, C, H, W) -> (HWC, O)


def _matrix_from_keras(matrix: np.ndarray, features: tuple[int, int, int] | None) -> np.ndarray:
    if features is None:
        return matrix.T.copy()
    _check_features(len(matrix), features)
    channels, height, width = features
    return matrix.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(matrix.shape[1], -1)


def _check_features(inputs: int, features: tuple[int, int, int]) -> None:
    if inputs != np.prod(features):
        got = f"a matrix of {inputs} inputs and features {tuple(features)}"
        raise InputError(
            "as many inputs as flattened features, C · H · W", got=got, hint="the last feature map's shape"
        )


def sample(array: np.ndarray, count: int = 64) -> np.ndarray:
    """Return `count` values of an array, evenly spaced in its flat order (all of them if it has no more): float64."""
    flat = np.ravel(array).astype(np.float64)
    return flat if flat.size <= count else flat[np.linspace(0, flat.size - 1, count).astype(int)]


def find(twin: str) -> Path | None:
    """Return a Python that has the framework of `twin` ("keras" or "jax"), or None.

    Looked for in this order: this interpreter; the one that the variable BIGMODEL_LAB_TENSORFLOW names; the folder
    `.venv-tensorflow` in the course's repository, in the working folder or above it.
    """
    package = TWINS[_known(twin)]
    if find_spec(package) is not None:
        return Path(sys.executable)
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise InputError(f"a Python in {VARIABLE}", got=f"no file {named!r}", hint="…/bin/python, or unset it")
        places = [Path(named)]
    else:
        roots = dict.fromkeys((HERE.parents[1], Path.cwd(), Path.cwd().parent))
        tails = ("bin/python", "Scripts/python.exe")
        places = [root / ".venv-tensorflow" / tail for root in roots for tail in tails]
    return next((python for python in places if python.is_file() and _has(python, package)), None)


def _known(twin: str) -> str:
    if twin not in TWINS:
        raise InputError(f"a twin among {', '.join(TWINS)}", got=repr(twin))
    return twin


def _has(python: Path, package: str) -> bool:
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def run(twin: str, task: str, arrays: Mapping[str, np.ndarray] | None = None, *, timeout: float = 300) -> dict:
    """Run one task of a twin, or several joined by commas, and return the arrays that it wrote, by name.

    The tasks are the functions named in the twin's `TASKS`; `arrays` are what they read. The twin computes on the CPU.
    Raises `MissingExtraError` where no Python has its framework, and `LabError` with its last words if it fails.
    """
    python = find(twin)
    if python is None:
        raise MissingExtraError(f"a Python with {TWINS[twin]}", got="none", hint=HOW_TO_GET)
    with tempfile.TemporaryDirectory() as folder:
        program = shutil.copy(HERE / f"{twin}_twin.py", folder)  # away from here, where files hide packages
        shutil.copy(Path(__file__).with_name("twin_program.py"), folder)
        given, written = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, **(arrays or {}))
        command = [python, program, task, given, written]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise LabError(f"{twin} to do {task!r}", got=done.stderr.strip()[-800:] or f"exit code {done.returncode}")
        with np.load(written) as results:
            return dict(results)


def listing(twin: str, *functions: str) -> str:
    """Return the source of `functions` of a twin, as they stand in its file: what is shown is what is run."""
    source = (HERE / f"{_known(twin)}_twin.py").read_text(encoding="utf-8")
    found = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    if missing := [name for name in functions if name not in found]:
        raise InputError(f"functions of the {twin} twin among {', '.join(found)}", got=", ".join(missing))
    return "\n\n\n".join(_source(source, found[name]) for name in functions)


def _source(source: str, node: ast.FunctionDef) -> str:
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(source.splitlines()[start - 1 : node.end_lineno])
