"""Saving and resuming a run, so that a killed run ends with the same bits as one that was never stopped.

What it takes: (1) the order of batches is a function of (seed, epoch, process); (2) batches that are done are skipped;
(3) the states of the global random generators are restored *after* the skipping; (4) augmentation draws from a
generator of its own. `Batches` gives 1, 2 and 4. Accelerate's `save_state` and `load_state` alone do not.

The file is the same whether one process trained, several with the whole model each (DDP), or several that divide it
(FSDP2); each of them can go on from it. Then the sums over a batch are added in another order: equal within rounding.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import CheckpointError, TrainingError
from bigmodel_lab.train.checkpoint import Checkpoint, copy_into, model_tensors, own, read, summary, write
from bigmodel_lab.train.divided import like, named_tensors, part
from bigmodel_lab.train.generators import restore_generators, save_generators
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

    @property
    def total_steps(self) -> int:
        """Optimizer steps since the start of the run."""
        return len(self.history.step_losses)


class Store:
    """The file of one run: saves all that the run is, and puts it back. Only the main process writes."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        accelerator: Any,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        fingerprint: dict[str, str],
    ) -> None:
        """Keep what will be saved: `model` and `optimizer` as they are without Accelerate's wrapping."""
        if accelerator.distributed_type.value in ("DEEPSPEED", "MEGATRON_LM"):
            raise CheckpointError(
                "weights that are whole, or divided by FSDP2",
                got=f"weights divided by {accelerator.distributed_type.value}",
                hint="leave checkpoint out and save with Accelerator.save_state",
            )
        self.file, self.every_steps = checkpoint.file, checkpoint.every_steps
        self.accelerator, self.model, self.optimizer = accelerator, model, optimizer
        self.fingerprint = fingerprint
        self.never_finite = set(self._not_finite())  # such as a mask of -inf

    def save(self, progress: Progress) -> None:
        """Write the run to its file; called by every process, at the same step."""
        from accelerate.utils import gather_object

        if wrong := [name for name in self._not_finite() if name not in self.never_finite]:
            raise TrainingError(
                f"finite weights, to save them in {self.file}",
                got=f"NaN or infinity in {summary(wrong)}; the last good file was kept",
                hint="a lower learning rate, clip_norm=1.0; build the model anew: its weights are not finite now",
            )
        generators, main = gather_object([save_generators()]), self.accelerator.is_main_process
        tensors, numbers = _optimizer_tensors(self.optimizer, keep=main)
        tensors |= {f"model.{name}": value for name, value in model_tensors(self.model, keep=main).items()}
        if main:
            tensors["step_losses"] = torch.tensor(progress.history.step_losses, dtype=torch.float64)
            scaler = self.accelerator.scaler
            header = {
                "version": VERSION,
                "fingerprint": self.fingerprint,
                "generators": generators,
                "optimizer": numbers,
                "scaler": scaler.state_dict() if scaler else None,
                "rows": progress.history.rows,
                "epochs": progress.epochs,
                "steps": progress.steps,
                "seconds": progress.seconds,
                "sizes": progress.sizes,
            }
            write(self.file, tensors, header)
        self.accelerator.wait_for_everyone()

    def load(self, epochs: int) -> Progress:
        """Put the saved run, if there is one, into the model, the optimizer and the random generators.

        Refuses a file of another run, or of one that is already longer than `epochs`, and changes nothing then.
        Another number of processes goes on with the same run, if a batch has as many examples in all of them together.
        """
        from accelerate.utils import gather_object

        seen = gather_object([self.file.exists()])
        if not any(seen):
            return Progress()
        if not all(seen):
            raise CheckpointError(
                f"{self.file} to be seen by every process", got="only by some", hint="use a folder that they share"
            )
        tensors, header = read(self.file)
        _check(header, self.fingerprint, epochs, self.file)
        copy_into(self.model, _part(tensors, "model."), self.file)
        _load_optimizer(self.optimizer, _part(tensors, "optimizer."), header["optimizer"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(header["scaler"])
        states, index = header["generators"], self.accelerator.process_index
        if index < len(states):  # a process that was not there before keeps what it has
            restore_generators(states[index])
        if len(states) != self.accelerator.num_processes and self.accelerator.is_main_process:
            print(
                f"{self.file} was written by {len(states)} process{'es' * (len(states) > 1)}, now there are "
                f"{self.accelerator.num_processes}: the same run within rounding, apart from what is drawn at random"
            )
        history = History(header["rows"], tensors["step_losses"].tolist())
        return Progress(header["epochs"], header["steps"], header["seconds"], header["sizes"], history)

    def _not_finite(self) -> list[str]:
        """Return the names of weights that are not finite, here or in the part of another process."""
        from accelerate.utils import gather_object

        tensors = named_tensors(self.model).items()
        floats = [(name, part(v)) for name, v in tensors if isinstance(v, Tensor) and v.is_floating_point()]
        here = [name for name, value in floats if not torch.isfinite(value).all()]
        return list(dict.fromkeys(gather_object(here)))


def _optimizer_tensors(
    optimizer: torch.optim.Optimizer, *, keep: bool = True
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimizer's state by name, "optimizer.<parameter>.<entry>": tensors, and apart from them numbers.

    As with `model_tensors`, a process with `keep=False` only helps to make divided tensors whole.
    """
    tensors, numbers = {}, {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                value = own(value, keep=keep)
                if keep:
                    tensors[f"optimizer.{index}.{name}"] = value
            elif value is None or isinstance(value, (bool, int, float, str)):
                numbers[f"{index}.{name}"] = value
            else:
                raise CheckpointError(
                    "an optimizer whose state is tensors and numbers",
                    got=f"{type(optimizer).__name__} with a {type(value).__name__} as {name}",
                    hint="another optimizer, or no checkpoint",
                )
    return tensors, numbers


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Fill the optimizer's state; the settings of parameter groups are this run's own."""
    state: dict[int, dict] = {}
    for key, value in {**tensors, **numbers}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():  # fused optimizers want the memory layout of the parameter
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value = entries[name] = like(value, parameter.detach())
                if value.stride() != parameter.stride():
                    entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check(header: Any, fingerprint: dict[str, str], epochs: int, path: Path) -> None:
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} to be a checkpoint of fit()",
            got="a safetensors file of something else (perhaps of save_model), or of another version",
            hint="choose another folder, or move the file away; nothing was overwritten",
        )
    there = header["fingerprint"]
    keys = [key for key in {**there, **fingerprint} if there.get(key) != fingerprint.get(key) and key != "processes"]
    differing = [f"{key}: {there.get(key, 'none')} in the file, {fingerprint.get(key, 'none')} now" for key in keys]
    done, unfinished = header["epochs"], header["steps"] > 0
    if done + unfinished > epochs:
        differing.append(f"epochs: {done} done in the file, {epochs} asked for now")
    if differing:
        raise CheckpointError(
            f"{path} to belong to this run",
            got="another run's: " + summary(differing),
            hint="choose another folder, delete this one to start anew, or undo the change; nothing was overwritten",
        )
