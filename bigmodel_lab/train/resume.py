"""Saving and resuming a run, so that a killed run ends with the same bits as one that was never stopped.

What it takes: (1) the order of batches is a function of (seed, epoch, process); (2) batches that are done are skipped;
(3) the states of the global random generators are restored *after* the skipping; (4) augmentation draws from a
generator of its own. `Batches` gives 1, 2 and 4. Accelerate's `save_state` and `load_state` alone do not.
"""

import base64
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bigmodel_lab.errors import CheckpointError
from bigmodel_lab.train.batches import Batches
from bigmodel_lab.train.checkpoint import Checkpoint, copy_into, model_tensors, own, read, summary, write
from bigmodel_lab.train.history import History

VERSION = 1


@dataclass
class Progress:
    """How far a run is: finished epochs, steps and seconds of the epoch under way, and what was measured."""

    epochs: int = 0
    steps: int = 0  # optimizer steps of the unfinished epoch
    seconds: float = 0.0  # spent in the unfinished epoch
    sizes: list[int] = field(default_factory=list)  # examples in each of these steps
    history: History = field(default_factory=History)


def save(
    checkpoint: Checkpoint,
    progress: Progress,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Any,
    fingerprint: dict[str, str],
    generators: list[dict],
) -> None:
    """Write the run to its file; `generators` holds the random states of each process."""
    tensors = {f"model.{name}": value for name, value in model_tensors(model).items()}
    numbers = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = own(value)
            else:
                numbers[f"{index}.{name}"] = value
    tensors["step_losses"] = torch.tensor(progress.history.step_losses, dtype=torch.float64)
    header = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "generators": generators,
        "optimizer": numbers,
        "scaler": scaler.state_dict() if scaler else None,
        "rows": progress.history.rows,
        "epochs": progress.epochs,
        "steps": progress.steps,
        "seconds": progress.seconds,
        "sizes": progress.sizes,
    }
    write(checkpoint.file, tensors, header)


def load(
    checkpoint: Checkpoint,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Any,
    fingerprint: dict[str, str],
    process: int,
    epochs: int,
) -> Progress:
    """Put the saved run into `model`, `optimizer` and the random generators, and return how far it is."""
    path = checkpoint.file
    tensors, header = read(path)
    _check(header, fingerprint, epochs, path)
    copy_into(model, {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}, path)
    _load_optimizer(optimizer, tensors, header["optimizer"])
    if scaler:
        scaler.load_state_dict(header["scaler"])
    set_generators(header["generators"][process])
    history = History(header["rows"], tensors["step_losses"].tolist())
    return Progress(header["epochs"], header["steps"], header["seconds"], header["sizes"], history)


def fingerprint(model: nn.Module, batches: Any, optimizer: torch.optim.Optimizer, **settings: Any) -> dict[str, str]:
    """Return what makes a run this run: two runs with equal fingerprints may share a checkpoint."""
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in model.state_dict().items()]
    kind, count = type(model).__name__, sum(p.numel() for p in model.parameters())
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    marks = {
        "model": f"{kind}, {count} parameters, structure {_digest(_clean(repr(model)), repr(shapes))}",
        "optimizer": f"{type(optimizer).__name__} {_clean(repr(groups))}",
        **{name: describe(value) for name, value in settings.items()},
    }
    if isinstance(batches, Batches):
        for name in ("inputs", "targets"):
            value = getattr(batches, name)
            marks[name] = f"{tuple(value.shape)} {value.dtype}, content {_digest(_bytes(value))}"
        for name in ("batch_size", "seed", "shuffle", "drop_last", "augment"):
            marks[name] = describe(getattr(batches, name))
    else:
        marks["batches"] = type(batches).__name__
    return marks


def describe(value: Any) -> str:
    """Return a text that is the same in every process that runs the same program."""
    if isinstance(value, partial):
        arguments = [describe(a) for a in value.args] + [f"{k}={describe(v)}" for k, v in value.keywords.items()]
        return f"{describe(value.func)}({', '.join(arguments)})"
    if isinstance(value, Callable) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return _clean(repr(value))


def generators() -> dict[str, Any]:
    """Return the states of the global random generators of Python, NumPy and PyTorch, as JSON can hold them."""
    numpy = np.random.get_state()  # noqa: NPY002 - the global generator is what must be saved
    states = {"python": random.getstate(), "numpy": [numpy[0], numpy[1].tolist(), *numpy[2:]]}
    states["cpu"] = _text(torch.get_rng_state())
    if torch.cuda.is_available():
        states["cuda"] = _text(torch.cuda.get_rng_state())
    if torch.backends.mps.is_available():
        states["mps"] = _text(torch.mps.get_rng_state())
    return states


def set_generators(states: dict[str, Any]) -> None:
    """Restore what `generators` returned."""
    version, key, gauss = states["python"]
    random.setstate((version, tuple(key), gauss))
    name, key, *rest = states["numpy"]
    np.random.set_state((name, np.array(key, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(_tensor(states["cpu"]))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(_tensor(states["cuda"]))
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(_tensor(states["mps"]))


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Fill the optimizer's state; the settings of parameter groups are this run's own."""
    state: dict[int, dict] = {}
    values = {n.removeprefix("optimizer."): t for n, t in tensors.items() if n.startswith("optimizer.")}
    for key, value in {**values, **numbers}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():  # fused optimizers want the memory layout of the parameter
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _check(header: Any, fingerprint: dict[str, str], epochs: int, path: Any) -> None:
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} to be a checkpoint of fit()",
            got="a safetensors file of something else (perhaps of save_model), or of another version",
            hint="choose another folder, or move the file away; nothing was overwritten",
        )
    there = header["fingerprint"]
    keys = [key for key in {**there, **fingerprint} if there.get(key) != fingerprint.get(key)]
    differing = [f"{key}: {there.get(key, 'none')} in the file, {fingerprint.get(key, 'none')} now" for key in keys]
    if header["epochs"] > epochs:
        differing.append(f"epochs: {header['epochs']} done in the file, {epochs} asked for now")
    if differing:
        raise CheckpointError(
            f"{path} to belong to this run",
            got="another run's: " + summary(differing),
            hint="choose another folder, delete this one to start anew, or undo the change; nothing was overwritten",
        )


def _text(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _bytes(value: Tensor) -> memoryview:
    return memoryview(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _digest(*parts: str | memoryview) -> str:
    digest = blake2b(digest_size=6)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def _clean(text: str) -> str:
    """Drop memory addresses, which change from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)
