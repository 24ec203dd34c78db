"""What is easily given by mistake is refused before anything is trained, and the message says what to write."""

import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.train import Batches, accuracy, fit, warmup_cosine


@pytest.mark.parametrize(
    ("recipe", "hint"),
    [
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)}, r"partial\(SGD, lr=0.1\)"),
        ({"loss": nn.CrossEntropyLoss}, r"CrossEntropyLoss\(\)"),
        ({"schedule": warmup_cosine}, r"warmup_cosine\(warmup=0.1\)"),
        ({"metrics": accuracy}, r"metrics=\{"),
        ({"metrics": [accuracy]}, r"metrics=\{"),
    ],
)
def test_a_slip_in_the_recipe_is_named(recipe, hint):
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    with pytest.raises(InputError, match=hint):
        fit(model, Batches(torch.zeros(4, 2), torch.zeros(4).long(), batch_size=2), epochs=1, **recipe)
    assert torch.equal(model.weight, before)
