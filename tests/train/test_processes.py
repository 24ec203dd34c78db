"""Two processes train as one does, with whole weights (DDP) or divided ones (FSDP2): same losses and scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("processes.py")


DIVIDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}  # what `accelerate launch --use_fsdp` sets


def train(folder: Path, processes: int, epochs: int, kind: dict[str, str]) -> str:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*(launch if processes > 1 else [sys.executable]), str(SCRIPT), str(folder), str(epochs)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **kind},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, DIVIDED], ids=["DDP", "FSDP2"])
def test_two_processes_train_as_one_does(kind, tmp_path):
    train(tmp_path, 1, 3, kind)
    assert "resumed" not in train(tmp_path, 2, 2, kind)
    assert train(tmp_path, 2, 3, kind).count("resumed") == 1  # the main process says it
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"]
    assert first["weights"] == pytest.approx(alone["weights"], abs=1e-5)
    assert first["losses"] == pytest.approx(alone["losses"], abs=1e-5)
    assert first["validation"] == second["validation"] == pytest.approx(alone["validation"], abs=1e-5)
    assert first["validation"][1] == pytest.approx(first["accuracy"])
    assert first["again"] == second["again"] == pytest.approx(alone["again"], abs=1e-5)
    assert "Batches, which divide the data" in first["refused"]
    assert "Batches, which divide" not in alone["refused"]
