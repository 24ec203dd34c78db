"""A run killed at any point ends with the same bits as one that was never stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed.py")
KILLED = -9


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::UserWarning:bigmodel_lab"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment, timeout=300
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize("case", ["adamw", "momentum"])
def test_killed_anywhere_it_ends_with_the_same_bits(case, tmp_path):
    done = run(case, str(tmp_path))
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    ended, expected = ends.pop("never")
    assert ended == 0
    assert len(expected) == 64
    killed = {point for point, (ended, _) in ends.items() if ended == KILLED}
    reached = set(ends) if case == "adamw" else {point for point in ends if not point.startswith(("after", "before"))}
    assert reached <= killed
    assert {point: digest for point, (_, digest) in ends.items() if digest != expected} == {}
    assert done.stderr.count("resumed from") > len(reached) / 2


@pytest.mark.slow
def test_another_process_ends_with_the_same_bits(tmp_path):
    expected = run("plain", str(tmp_path / "a"), "")
    killed = run("plain", str(tmp_path / "b"), "step 13")
    resumed = run("plain", str(tmp_path / "b"), "")
    assert killed.returncode == KILLED
    assert "resumed from" not in expected.stdout
    assert "1 epochs and 4 steps were done" in resumed.stdout
    assert resumed.stdout.splitlines()[-1] == expected.stdout.strip()
    assert len(expected.stdout.strip()) == 64
