"""TCAV on planted concepts: score, significance, accuracy; and Captum's accuracy, which is none."""

import warnings

import pytest
import torch
from captum.concept._utils.classifier import DefaultClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.concepts import tcav


class Planted(nn.Module):
    """Two layers; the score rises with direction 0 of the hidden layer, and falls with direction 1."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Identity(), nn.Linear(8, 2, bias=False)
        with torch.no_grad():
            self.out.weight.zero_()
            self.out.weight[0, 0], self.out.weight[0, 1] = 1.0, -1.0

    def forward(self, x):
        return self.out(self.hidden(x))


def examples(count, seed, direction=None, size=4.0):
    x = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    if direction is not None:
        x[:, direction] += size
    return x


@pytest.fixture
def model():
    return Planted().eval()


def ask(model, direction, **changes):
    options = {"layer": model.hidden, "concept": examples(60, 1, direction), "random": examples(300, 2)}
    return tcav(model, examples(40, 3), 0, **options | changes)


def test_a_concept_that_raises_the_score(model):
    found = ask(model, 0)
    assert found.score == found.low == found.high == 1.0
    assert found.p < 0.01
    assert found.accuracy > 0.9
    assert found.cav[0] > 0.9
    assert found.cav.norm().item() == pytest.approx(1, abs=1e-5)


def test_a_concept_that_lowers_it(model):
    found = ask(model, 1)
    assert found.score == 0.0
    assert found.p < 0.01


def test_random_examples_are_no_concept(model):
    """The same question with nothing planted: chance accuracy, and no significance."""
    found = ask(model, None, concept=examples(300, 1), random=examples(900, 2))
    assert found.p > 0.05
    assert abs(found.accuracy - 0.5) < 0.12
    assert abs(found.control_accuracy - 0.5) < 0.12
    assert "p 0." in repr(found)


def test_a_concept_the_layer_knows_and_the_score_ignores(model):
    """Accuracy alone is not enough: the vector is right, and the score does not follow it."""
    found = ask(model, 5)
    assert found.accuracy > 0.9
    assert found.cav[5] > 0.9
    assert found.p > 0.01


def test_captum_s_accuracy_of_a_perfect_concept_is_the_share_of_a_class(model):
    """Its classifier takes the argmax over one column. Ours is right on the same activations."""
    apart, near = examples(60, 1, 0, size=50.0), examples(60, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = DefaultClassifier()
        rows = TensorDataset(torch.cat([apart, near]), torch.tensor([0] * 60 + [1] * 60))
        theirs = classifier.train_and_eval(DataLoader(rows, batch_size=20))["accs"].item()
    assert theirs < 0.7
    assert ask(model, 0, concept=apart).accuracy == 1.0


def test_the_same_seed_gives_the_same_answer(model):
    one, again, other = ask(model, 5), ask(model, 5), ask(model, 5, seed=1)
    torch.testing.assert_close(one.cav, again.cav)
    assert one.p == again.p
    assert (one.cav - other.cav).abs().max() > 0


def test_channels_of_an_image_and_tokens_of_a_text():
    torch.manual_seed(0)
    images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    bright = torch.rand(30, 1, 8, 8) + 1
    found = tcav(
        images,
        torch.rand(20, 1, 8, 8),
        0,
        layer=images[0],
        concept=bright,
        random=torch.rand(60, 1, 8, 8),
        pool=lambda h: h.mean((2, 3)),
        repeats=4,
    )
    assert found.cav.shape == (4,)
    assert found.accuracy > 0.95
    texts = nn.Sequential(nn.Embedding(9, 24), nn.Flatten(), nn.Linear(120, 2)).eval()
    ids = torch.randint(0, 8, (60, 5))
    ones = torch.randint(0, 8, (40, 5))
    ones[:, -1] = 8
    found = tcav(texts, ids, 1, layer=texts[0], concept=ones, random=ids, pool=lambda h: h[:, -1], repeats=4)
    assert found.accuracy > 0.9
    assert found.cav.shape == (24,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concept": examples(9, 0)}, "at least 10 concept and 20 random"),
        ({"random": examples(19, 0)}, "got:      60 and 19"),
        ({"concept": torch.ones(20, 8, dtype=torch.long)}, "concept examples like the inputs"),
        ({"random": "noise"}, "random examples like the inputs"),
        ({"repeats": 1}, "at least 2 repeats"),
        ({"layer": nn.ReLU()}, "a layer of the model"),
        ({"pool": lambda h: h.sum()}, "a pool that makes"),
    ],
)
def test_says_what_is_wrong(model, changes, message):
    with pytest.raises(InputError, match=message):
        ask(model, 0, **changes)


@pytest.mark.parametrize("inputs", [[[1.0] * 8] * 4, None, torch.ones(8)], ids=["list", "nothing", "one"])
def test_inputs_that_are_no_batch(model, inputs):
    sets = {"concept": examples(20, 0), "random": examples(40, 1)}
    with pytest.raises(InputError, match="inputs as a tensor"):
        tcav(model, inputs, 0, layer=model, **sets)


def test_leaves_nothing_behind_when_it_fails_half_way(model):
    calls = []

    def breaks(hidden):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("half-way")
        return hidden

    with pytest.raises(RuntimeError, match="half-way"):
        ask(model, 0, pool=breaks)
    assert not any(module._forward_hooks for module in model.modules())
    assert model.out.weight.grad is None
