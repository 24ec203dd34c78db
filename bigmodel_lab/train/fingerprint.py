"""What makes a run this run: a few lines of text that two runs must share to share a checkpoint."""

import re
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from bigmodel_lab.train.batches import Batches
from bigmodel_lab.train.divided import bare, named_tensors
from bigmodel_lab.train.schedules import Schedule


def fingerprint(
    model: nn.Module, batches: Any, optimizer: torch.optim.Optimizer, *, processes: int, **settings: Any
) -> dict[str, str]:
    """Describe the model's structure, the data's content, the optimizer and the other settings.

    The model's weights are no part of it: they are what changes. Functions are known by name, not by what they do.
    `batch_size` is that of all processes together: what a step sees, which another number of processes can see too.
    """
    model = bare(model)
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in named_tensors(model).items()]
    kind, count = type(model).__name__.removeprefix("FSDP"), sum(p.numel() for p in model.parameters())
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    marks = {
        "model": f"{kind}, {count} parameters, structure {_digest(_clean(repr(model)), repr(shapes))}",
        "optimizer": f"{type(optimizer).__name__} {_clean(repr(groups))}",
        "trained": _trained(model, optimizer),
        **{name: describe(value) for name, value in settings.items()},
        "processes": str(processes),
    }
    if not isinstance(batches, Batches):
        return marks | {"batches": type(batches).__name__}
    for name in ("inputs", "targets"):
        value = getattr(batches, name)
        marks[name] = describe(value)
    marks["batch_size"] = _batch_size(batches, processes)
    return marks | {name: describe(getattr(batches, name)) for name in ("seed", "shuffle", "drop_last", "augment")}


def _batch_size(batches: Batches, processes: int) -> str:
    """Return how many examples a batch has over all processes, and the last one's where the processes decide on it."""
    size, sizes = batches.batch_size * processes, batches.sizes(processes=processes)
    return f"{size}, the last one {sizes[-1]}" if sizes[-1] > size else str(size)


def schedule_values(schedule: Schedule | None, total: int | None) -> list[float] | None:
    """Return what a schedule is known by: its values over a run of `total` steps. Without one, any length will do."""
    return None if schedule is None else [schedule(total * i // 16, total) for i in range(16)] + [total]


def describe(value: Any) -> str:
    """Return a text that is the same in every process that runs the same program."""
    if isinstance(value, partial):
        arguments = [describe(a) for a in value.args] + [f"{k}={describe(v)}" for k, v in value.keywords.items()]
        return f"{describe(value.func)}({', '.join(arguments)})"
    if isinstance(value, Callable) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}, content {_digest(_bytes(value))}"
    if isinstance(value, nn.Module):
        return _module(value)
    if type(value).__repr__ is object.__repr__:
        settings = {name: _value(v) for name, v in getattr(value, "__dict__", {}).items()}
        return _clean(f"{type(value).__module__}.{type(value).__qualname__}({settings})")
    return _clean(repr(value))


def _module(module: nn.Module) -> str:
    """Describe a loss that is a module: its settings, such as label_smoothing, and its tensors, such as weight."""
    settings = [
        {name: v for name, v in vars(part).items() if not name.startswith("_") and name != "training"}
        for part in module.modules()
    ]
    state = [f"{name} {describe(value)}" for name, value in module.state_dict().items()]
    parts = [_clean(repr(settings[0])), f"structure {_digest(_clean(repr(module)), _clean(repr(settings)), *state)}"]
    return f"{type(module).__module__}.{type(module).__qualname__}({', '.join(parts)})"


def _value(value: Any) -> str:
    """Describe what an object holds; objects inside it are known by what they say of themselves."""
    return describe(value) if isinstance(value, (Tensor, partial)) else _clean(repr(value))


def _trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Describe which parameters each group of the optimizer changes: other layers may be frozen another time."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[names.get(id(p), "") for p in group["params"]] for group in optimizer.param_groups]
    return f"{' + '.join(str(len(group)) for group in groups)} tensors, names {_digest(repr(groups))}"


def _bytes(value: Tensor) -> memoryview:
    return memoryview(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _digest(*parts: str | memoryview) -> str:
    digest = blake2b(digest_size=6)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def _clean(text: str) -> str:
    """Drop memory addresses, which change from process to process, and FSDP2's mark on the names of divided modules."""
    return re.sub(r" at 0x[0-9a-f]+|\bFSDP(?=[A-Z]\w*\()", "", text)
