"""The example as its own text tells to start it: alone, by DDP, divided by FSDP2; each goes on from another's file."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.train import Batches, Checkpoint, fit, load_model, save_model, setup
from bigmodel_lab.train.fingerprint import fingerprint
from bigmodel_lab.train.resume import Store

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "book" / "examples" / "train_gpt.py"
PAGE = ROOT / "book" / "scaling_out.md"
COMMANDS = re.findall(r"^ {4}((?:python|accelerate launch) .*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
ALONE, DDP, FSDP2 = COMMANDS


def python(*words: str) -> str:
    """Return what Python prints when started on CPUs with `words`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(command: str, folder: Path, epochs: int) -> tuple[list[float], dict[str, torch.Tensor], str]:
    """Start `command` with another folder; return losses and scores, weights, and what was printed."""
    program, *words = shlex.split(command.replace("runs/gpt", str(folder)))
    start = [] if program == "python" else ["-m", "accelerate.commands.accelerate_cli"]
    printed = python(*start, *words, "--epochs", str(epochs))
    history = json.loads((folder / "history.json").read_text())
    scores = [row[name] for row in history["rows"] for name in ("train_loss", "validation_loss")]
    return history["step_losses"] + scores, load_file(folder / "model.safetensors"), printed


def assert_same(one, other):
    assert one[0] == pytest.approx(other[0], abs=1e-4)
    assert one[1].keys() == other[1].keys()
    assert all((value - other[1][name]).abs().max() < 1e-3 for name, value in one[1].items())


@pytest.mark.slow
def test_started_in_three_ways_it_is_one_run(tmp_path):
    first = {command: run(command, tmp_path / str(i), 1) for i, command in enumerate(COMMANDS)}
    assert_same(first[DDP], first[ALONE])
    assert_same(first[FSDP2], first[ALONE])
    assert [what[2].split("\n")[0] for what in first.values()] == ["1 process", "2 processes", "2 processes"]
    through = run(ALONE, tmp_path / "through", 2)
    assert len(through[0]) > len(first[ALONE][0])
    written = dict(zip(COMMANDS, "012", strict=True))
    for before, after in ((ALONE, FSDP2), (FSDP2, DDP), (DDP, ALONE)):
        resumed = run(after, tmp_path / written[before], 2)
        assert_same(resumed, through)
        assert "resumed from" in resumed[2]
        assert ("within rounding" in resumed[2]) == (ALONE in (before, after))
    bfloat16 = run(FSDP2.replace("launch", "launch --mixed_precision bf16"), tmp_path / "bfloat16", 1)
    assert bfloat16[0] != first[FSDP2][0]
    assert bfloat16[0] == pytest.approx(first[FSDP2][0], abs=0.1)


def test_the_page_shows_these_commands():
    assert [command.split()[0] for command in COMMANDS] == ["python", "accelerate", "accelerate"]
    assert [command for command in COMMANDS if command not in PAGE.read_text(encoding="utf-8")] == []


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu_when_it_is_tiny():
    assert "no GPU here" in python("-m", "benchmarks.gpt_gpu")
    printed = python("-m", "benchmarks.gpt_gpu", "--tiny")
    assert "fit, compiled" in printed
    assert "Trainer, compiled" in printed


def marks(batch_size, processes, count=33):
    model, x = nn.Linear(2, 2), torch.arange(2.0 * count).view(count, 2)
    batches = Batches(x, torch.zeros(count, dtype=torch.long), batch_size=batch_size)
    return fingerprint(model, batches, torch.optim.SGD(model.parameters(), lr=0.1), processes=processes)["batch_size"]


def test_a_run_is_known_by_what_a_step_sees_in_all_processes():
    assert marks(16, 1, 32) == marks(8, 2, 32) == marks(4, 4, 32) == "16"
    assert marks(8, 2, 34) == "16"
    assert marks(8, 2) == "16, the last one 17"  # one example cannot be divided between two
    assert marks(8, 1) == "8"


def test_fsdp1_is_refused(monkeypatch):
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(InputError, match=r"FSDP2(.|\n)*--fsdp_version 2"):
        setup._divide(SimpleNamespace(mixed_precision="no"))


def test_weights_divided_by_others_are_refused(tmp_path):
    accelerator = SimpleNamespace(distributed_type=SimpleNamespace(value="DEEPSPEED"))
    with pytest.raises(CheckpointError, match="DEEPSPEED"):
        Store(Checkpoint(tmp_path), accelerator=accelerator, model=None, optimizer=None, fingerprint={})


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_in_evaluation_every_process_has_equally_many_batches(processes):
    for count in range(processes, 12):
        batches = Batches(torch.arange(count), torch.arange(count), batch_size=2, drop_last=count >= 2)
        shares = [list(batches.in_order(process=i, processes=processes)) for i in range(processes)]
        assert len({len(share) for share in shares}) == 1
        assert all(len(inputs) for share in shares for inputs, _ in share)
        seen = [torch.cat([inputs for inputs, _ in share]).tolist() for share in shares]
        assert seen == [list(range(i, count, processes)) for i in range(processes)]


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2))


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_compiled_model_is_the_same_run(precision, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    x, y = torch.randn(32, 3, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    plain, compiled = small(), small()
    compiled.load_state_dict(plain.state_dict())

    def train(model, folder, epochs):
        batches = Batches(x, y, batch_size=8)
        return fit(model, batches, epochs=epochs, checkpoint=tmp_path / folder, progress=False).step_losses

    wrapped = torch.compile(compiled, backend="eager")
    before = vars(wrapped)["forward"]
    assert train(wrapped, "a", 1) == train(plain, "b", 1)
    assert vars(wrapped)["forward"] is before
    assert not {"forward", "_original_forward", "_is_accelerate_prepared"} & set(vars(compiled))
    assert train(small(), "a", 2) == train(torch.compile(small(), backend="eager"), "b", 2)
    save_model(wrapped, tmp_path / "model")
    assert set(load_file(tmp_path / "model")) == {"0.weight", "0.bias"}
    assert torch.equal(load_model(small(), tmp_path / "model")[0].weight, compiled[0].weight)
    in_place = small()
    in_place.compile(backend="eager")
    assert train(in_place, "a", 2) == train(small(), "b", 2)
