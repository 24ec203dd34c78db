"""Two processes train as one does: same weights on both, same losses and scores as in a single process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("processes.py")


def train(folder: Path, processes: int, epochs: int) -> str:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*(launch if processes > 1 else [sys.executable]), str(SCRIPT), str(folder), str(epochs)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    train(tmp_path, 1, 3)
    assert "resumed" not in train(tmp_path, 2, 2)
    assert train(tmp_path, 2, 3).count("resumed") == 1  # the main process says it
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"]
    assert first["weights"] == pytest.approx(alone["weights"], abs=1e-5)
    assert first["losses"] == pytest.approx(alone["losses"], abs=1e-5)
    assert first["validation"] == second["validation"] == pytest.approx(alone["validation"], abs=1e-5)
    assert first["validation"][1] == pytest.approx(first["accuracy"])
    assert "Batches, which divide the data" in first["refused"]
    assert "Batches, which divide" not in alone["refused"]
