"""Devices, seeds and glue: what they give, and what they refuse."""

import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from bigmodel_lab import runtime
from bigmodel_lab.errors import InputError


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the global generator is the point


def test_a_seed_repeats_every_global_generator():
    runtime.seed_everything(5)
    first = draws()
    runtime.seed_everything(5)
    assert draws() == first
    runtime.seed_everything(6)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@pytest.mark.parametrize("wrong", [-1, 2**32, 1.5, "0", True])
def test_a_seed_that_is_none_is_refused(wrong):
    with pytest.raises(InputError, match="seed"):
        runtime.seed_everything(wrong)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")]
)
def test_the_best_device_is_taken(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert runtime.device().type == best
    assert runtime.device("cpu").type == "cpu"
    assert runtime.device(torch.device("cpu")) == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"cpu(.|\n)*cuda:1"):
        runtime.device("cuda:1")
    with pytest.raises(InputError, match="toaster"):
        runtime.device("toaster")
    with pytest.raises(InputError, match="cuda"):
        runtime.device(torch.device("cuda"))


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_precision_follows_the_gpu(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runtime.precision(torch.device("cuda")) == precision
    assert runtime.precision(torch.device("cpu")) == runtime.precision(torch.device("mps")) == "no"


def test_parity_of_a_device_with_itself_is_exact_and_leaves_the_model_as_it_was():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout()).train()
    assert runtime.parity(model, torch.randn(4, 3), on=torch.device("cpu")) == 0
    assert model.training


def test_parity_leaves_frozen_parts_and_inputs_as_they_were():
    model = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.BatchNorm1d(3))
    model[1].eval()
    inputs = -torch.ones(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.parity(model, inputs, on=torch.device("cpu"))
    assert [part.training for part in model.modules()] == [True, True, False]
    assert torch.equal(inputs, -torch.ones(2, 3))


class Drifting(torch.nn.Module):
    """Gives other outputs in its second call, as a device with a faulty kernel would."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1 if self.calls == 1 else float("nan") if self.calls == 4 else 1.1)


def test_parity_warns_where_outputs_differ():
    model = Drifting()
    with pytest.warns(UserWarning, match=r"differ from the CPU's by 0\.1"):
        assert runtime.parity(model, torch.ones(2, 2), on=torch.device("cpu")) == pytest.approx(0.1)
    with pytest.warns(UserWarning, match="nan"):
        runtime.parity(model, torch.ones(2, 2), on=torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.parity(torch.nn.Identity(), torch.ones(2, 2), on=torch.device("cpu"))


def test_describe_is_one_line_with_device_and_versions():
    line = runtime.describe()
    assert "\n" not in line
    assert torch.__version__ in line
    assert runtime.device().type in line


def test_glue_writes_what_the_book_reads():
    """Compare with myst-nb's own glue, in a process where what is displayed can be caught."""
    code = """
import IPython.display, json
shown = []
IPython.display.display = lambda data, metadata, raw: shown.append((data, metadata, raw))
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance()
from bigmodel_lab import runtime
runtime.glue("accuracy", 0.97)
import myst_nb.ext.glue as theirs
theirs.ipy_display = IPython.display.display
theirs.glue("accuracy", 0.97, display=False)
print("same:", json.dumps(shown[0]) == json.dumps(shown[1]), shown)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "same: True" in run.stdout, run.stdout + run.stderr


def test_a_saved_result_is_found_beside_its_script(tmp_path, monkeypatch):
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "sizes.json").write_text('{"loss": 1.5}')
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "bigmodel_lab" / "runtime.py"))
    assert runtime.results("sizes") == {"loss": 1.5}
    with pytest.raises(InputError, match=r"among sizes\n.*'costs'"):
        runtime.results("costs")


def test_a_saved_result_is_found_where_the_library_is_installed(tmp_path, monkeypatch):
    (tmp_path / "bigmodel_lab" / "results").mkdir(parents=True)
    (tmp_path / "bigmodel_lab" / "results" / "sizes.json").write_text('{"loss": 2.5}')
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "bigmodel_lab" / "runtime.py"))
    assert runtime.results("sizes") == {"loss": 2.5}
