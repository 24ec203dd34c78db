"""Trains in the processes that torchrun started; each writes what it ended with to FOLDER/<rank>.json.

torchrun --nproc-per-node 2 processes.py FOLDER EPOCHS
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import nn

from bigmodel_lab import runtime
from bigmodel_lab.errors import LabError
from bigmodel_lab.train import Batches, evaluate, fit
from bigmodel_lab.train.divided import whole


def main(folder: Path, epochs: int) -> None:
    torch.set_num_threads(1)
    runtime.device = lambda prefer=None: torch.device("cpu")
    torch.manual_seed(0)
    data = torch.Generator().manual_seed(1)
    x, y = torch.randn(61, 6, generator=data), torch.randint(0, 3, (61,), generator=data)
    held_out = Batches(x[:15], y[:15], batch_size=4)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    history = fit(
        model,
        Batches(x, y, batch_size=8 // world, shuffle=False),
        epochs=epochs,
        validation=held_out,
        accumulate=2,
        clip_norm=1.0,
        checkpoint=folder / f"run{world}",
        progress=False,
    )
    result = {
        "weights": torch.cat([whole(p).flatten() for p in model.parameters()]).tolist(),
        "losses": history.step_losses,
        "validation": [history.last("validation_loss"), history.last("validation_accuracy")],
        "accuracy": evaluate(model, held_out)["accuracy"],
        "refused": "",
    }
    again = fit(model, Batches(x, y, batch_size=32 // world, shuffle=False), epochs=1, progress=False)
    result["again"] = again.step_losses
    try:
        fit(model, [(x, y)], epochs=1, progress=False)
    except LabError as error:
        result["refused"] = str(error)
    (folder / f"{world}-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(result))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
