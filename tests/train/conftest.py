"""These tests compare bits and closed forms, so they run on the CPU also where there is a GPU."""

import pytest
import torch

from bigmodel_lab import runtime


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setattr(runtime, "device", lambda prefer=None: torch.device("cpu"))
