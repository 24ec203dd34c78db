"""Trains a small model in child processes that kill themselves at chosen points; prints what each run ended with.

    python killed.py CASE FOLDER          forks: one child is never stopped, the others are killed and then resumed
    python killed.py CASE FOLDER POINT    one process, killed at POINT ("" for never)

Prints one JSON object {point: [how the first process ended, digest after it was resumed]}.
"""

import hashlib
import json
import os
import random
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

import bigmodel_lab.train.resume as resume
from bigmodel_lab import runtime
from bigmodel_lab.train import Batches, Checkpoint, fit, warmup_cosine

EPOCHS, EVERY = 3, 3
# What the process is doing when it dies, and for the how-many-th time. 60 examples in batches of 8: 8 steps an epoch.
POINTS = [
    "step 1", "step 2", "step 5", "step 8", "step 9", "step 13", "step 16", "step 17", "step 23", "step 24",
    "before save 3", "after save 3", "after save 6", "half written 1", "half written 4", "half written 6",
    "before fsync 3", "before replace 1", "before replace 3", "before replace 5", "after replace 1", "after replace 3",
    "before save 11", "before replace 11",
]  # fmt: skip


class Noisy(nn.Module):
    """Draws from all three global generators while it trains."""

    def forward(self, x):
        scale = 1 + 0.01 * (random.random() + np.random.rand()) if self.training else 1  # noqa: NPY002
        return F.dropout(x, 0.2, self.training) * scale


def images(inputs, generator):
    shift = int(torch.randint(-1, 2, (1,), generator=generator))
    return inputs.roll(shift, 3) + 0.1 * torch.randn(inputs.shape, generator=generator)


CASES = {
    "adamw": lambda: {"schedule": warmup_cosine(warmup=5), "clip_norm": 1.0},
    "momentum": lambda: {"optimizer": partial(torch.optim.SGD, lr=0.05, momentum=0.9), "accumulate": 3},
    "plain": lambda: {"optimizer": partial(torch.optim.SGD, lr=0.05)},
}


def train(case: str, folder: Path) -> str:
    """Train to the end; return a digest of the weights, the history and the generators."""
    torch.set_num_threads(1)
    runtime.device = lambda prefer=None: torch.device("cpu")  # bits are promised there
    runtime.seed_everything(0)
    data = torch.Generator().manual_seed(5)
    x, y = torch.randn(60, 2, 6, 6, generator=data), torch.randint(0, 3, (60,), generator=data)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Noisy(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    history = fit(
        model,
        Batches(x, y, batch_size=8, seed=3, augment=images),
        epochs=EPOCHS,
        validation=Batches(x[:20], y[:20], batch_size=8),
        checkpoint=Checkpoint(folder, every_steps=EVERY),
        progress=False,
        **CASES[case](),
    )
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    parts = [value.numpy().tobytes() for value in model.state_dict().values()]
    parts += [repr((rows, history.step_losses, torch.rand(3).tolist(), random.random(), np.random.rand())).encode()]  # noqa: NPY002
    return hashlib.sha256(b"".join(parts)).hexdigest()


def die_at(point: str) -> None:
    """Make this process kill itself at `point`."""
    what, number = point.rsplit(" ", 1)
    calls = [0]

    def counted(function, when):
        def wrapper(*arguments, **settings):
            calls[0] += 1
            hit = calls[0] == int(number)
            if hit and when == "half":
                Path(arguments[1]).write_bytes(b"\x10\0\0\0\0\0\0\0half of it")
            if hit and when != "after":
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **settings)
            if hit:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapper

    if what == "step":  # the backward pass of the n-th batch
        torch.Tensor.backward = counted(torch.Tensor.backward, "before")
    elif what.endswith("save"):
        resume.Store.save = counted(resume.Store.save, what.split()[0])
    elif what == "half written":
        safetensors.torch.save_file = counted(safetensors.torch.save_file, "half")
    else:
        when, name = what.split()
        setattr(os, name, counted(getattr(os, name), when))


def forked(case: str, folder: Path, point: str) -> tuple[int, str]:
    """Train in a child process; return how it ended and the digest that it wrote."""
    result = folder.with_suffix(".result")
    result.write_text("")
    child = os.fork()
    if child == 0:
        try:
            if point:
                die_at(point)
            result.write_text(train(case, folder))
        finally:
            sys.stdout.flush()
            os._exit(0 if result.read_text() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), result.read_text()


def main(case: str, folder: Path) -> None:
    sys.stdout = sys.stderr  # lines of fit
    train(case, folder / "warm")  # what is imported now need not be imported in every child
    ends = {"never": forked(case, folder / "never", "")}
    for point in POINTS:
        run = folder / point.replace(" ", "_")
        ended, _ = forked(case, run, point)
        ends[point] = (ended, forked(case, run, "")[1])
    # killed again and again: every process dies after five steps or so, or in the middle of a write
    again = [forked(case, folder / "again", point)[0] for point in ("step 5", "before replace 2", "half written 1") * 2]
    ends["again and again"] = (min(again), forked(case, folder / "again", "")[1])
    sys.__stdout__.write(json.dumps(ends))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(sys.argv[1], Path(sys.argv[2]))
    else:
        if sys.argv[3]:
            die_at(sys.argv[3])
        print(train(sys.argv[1], Path(sys.argv[2])))
