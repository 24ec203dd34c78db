"""Where data is placed on Apple's MPS, the model's outputs are compared with the CPU's first."""

import pytest
import torch
from torch import nn

from bigmodel_lab import runtime
from bigmodel_lab.train import Batches, source


@pytest.mark.parametrize(("kind", "asked"), [("mps", [(8, 3)]), ("cpu", []), ("cuda", [])])
def test_on_mps_and_only_there_outputs_are_compared_with_the_cpu(monkeypatch, kind, asked):
    shapes = []
    monkeypatch.setattr(runtime, "parity", lambda model, inputs, on: shapes.append(tuple(inputs.shape)))
    monkeypatch.setattr(source, "likes_channels_last", lambda model, inputs: False)
    monkeypatch.setattr(Batches, "to", lambda self, device, channels_last: self)  # this machine has no such device
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self)
    batches = Batches(torch.zeros(20, 3), torch.zeros(20).long(), batch_size=4)
    placed = source.Source(batches, accumulate=1, process=0, processes=1)
    placed.place(nn.Linear(3, 2), torch.device(kind))
    assert shapes == asked
