"""Files of tensors: written atomically, read without pickle, refused with a reason when they do not fit.

One safetensors file holds everything: tensors, and JSON in its header. A new file is written beside the old one,
flushed to the disk, and takes the old one's name in one step (`os.replace`). So at every moment, also when the
process is killed in the middle of writing, the name stands for one complete file; therefore no previous
checkpoint is kept, which would double the disk space and protect only against a failing disk.
Format: https://huggingface.co/docs/safetensors
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from glob import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.train.divided import fill, is_divided, named_tensors, whole

FORMAT = "bigmodel_lab"  # the header's key for our JSON: a file without it is foreign
ALWAYS = {"format": "pt"}  # what other readers of safetensors, such as transformers, look for
ABANDONED = 3600  # seconds after which a half-written file is taken for the rest of a killed process


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `fit` saves a run: after each epoch and, if `every_steps` is set, each that many steps."""

    path: str | Path  # a folder, made if missing; it holds one run
    _: KW_ONLY
    every_steps: int | None = None  # optimizer steps, counted from the start of the run

    def __post_init__(self) -> None:
        """Refuse what cannot be a folder or an interval."""
        if Path(self.path).is_file():
            raise InputError("a folder for checkpoints", got=f"the file {self.path}", hint='checkpoint="runs/name"')
        if self.every_steps is not None and self.every_steps < 1:
            raise InputError("every_steps of at least 1, or None", got=repr(self.every_steps), hint="every_steps=100")

    @property
    def file(self) -> Path:
        """The file that holds the run."""
        return Path(self.path) / "checkpoint.safetensors"


def save_model(model: nn.Module, path: str | Path) -> None:
    """Write the weights and buffers of `model` to the safetensors file `path`, atomically.

    Tied weights are written once, a compiled model as if it were not. Where FSDP2 divides the model, every process must
    call this, and the first one writes.
    """
    first = not _is_divided(model) or torch.distributed.get_rank() == 0
    tensors = model_tensors(model, keep=first)
    if first:
        write(Path(path), tensors, {})


def load_model(model: nn.Module, path: str | Path) -> nn.Module:
    """Copy the weights and buffers in the safetensors file `path` into `model` and return it.

    Names and shapes must be those of `model`; otherwise `CheckpointError`, and the model is left as it was.
    """
    tensors, _ = read(Path(path))
    copy_into(model, tensors, Path(path))
    return model


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write `tensors` and the JSON `header` to `path`: complete, or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    beside = path.with_name(f"{path.name}.{os.getpid()}.part")  # another process may be writing there too
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        save_file(dict(tensors), beside, metadata={**ALWAYS, FORMAT: json.dumps(header)})
        _flush(beside)
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    if os.name == "posix":
        with suppress(OSError):  # not every file system can flush a folder
            _flush(path.parent)  # the new name itself


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Return the tensors, on the CPU, and the header of `path`; the header is None in a file made elsewhere."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"the file {path}", got="no such file", hint="check the path, or save_model() first")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {}).get(FORMAT, "null"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 - not a mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} to be a complete safetensors file",
            got=str(error),
            hint="it is truncated or was made by something else: move it away, then run again",
        ) from error


def model_tensors(model: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """Return weights and buffers by name, contiguous and on the CPU, each tied tensor under its first name only.

    Where they are divided, every process must call this; one with `keep=False` helps, and gets an empty dictionary.
    """
    tensors = ((name, own(value, keep=keep)) for name, value in _unique(model).items())
    return {name: value for name, value in tensors if keep}


def own(value: Tensor, *, keep: bool = True) -> Tensor:
    """Return a contiguous copy of the whole `value`, on the CPU, that shares memory with nothing (if `keep`)."""
    value = whole(value)
    return value.to("cpu", copy=True).contiguous() if keep else value


def _unique(model: nn.Module) -> dict[str, Tensor]:
    """Return weights and buffers as they are, each tied tensor under its first name only."""
    unique: dict[tuple, tuple[str, Tensor]] = {}
    for name, value in named_tensors(model).items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                "a model whose state is tensors only", got=f"{name}: {type(value).__name__}", hint="register_buffer()"
            )
        place = id(value) if is_divided(value) else value.data_ptr() or name
        unique.setdefault((place, value.shape, value.stride(), value.dtype), (name, value))
    return dict(unique.values())


def _is_divided(model: nn.Module) -> bool:
    return any(is_divided(value) for value in model.parameters())


def copy_into(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy `tensors`, read from `path`, into the model that they must fit; check everything before the first copy."""
    mine = named_tensors(model)
    wrong = [f"{name} missing in the file" for name in _unique(model) if name not in tensors]
    wrong += [f"{name} not in the model" for name in tensors if name not in mine]
    wrong += [
        f"{name} {tuple(value.shape)} in the file, {tuple(mine[name].shape)} in the model"
        for name, value in tensors.items()
        if name in mine and value.shape != mine[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{path} to hold the weights of this {type(model).__name__}",
            got=summary(wrong),
            hint="build the model with the configuration it was saved with, or choose another file",
        )
    for name, value in tensors.items():
        fill(mine[name], value)


def summary(items: Iterable[str], limit: int = 5) -> str:
    """Join at most `limit` items and say how many more there are."""
    items = list(items)
    more = f"; and {len(items) - limit} more" if len(items) > limit else ""
    return "; ".join(items[:limit]) + more


def _unwritable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"to write {path}",
        got=str(error),
        hint="free disk space, or choose a folder that you may write to; the old file is untouched",
    )


def _sweep(path: Path) -> None:
    """Remove what killed processes left half written: an hour later nobody is writing it any more."""
    for left in path.parent.glob(f"{escape(path.name)}*.part"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
