"""Remove and retrain: taking away what decides costs accuracy, taking away the rest does not."""

import pytest
import torch
from torch import nn

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation
from bigmodel_lab.explain.methods.gradients import saliency
from bigmodel_lab.explain.roar import Roar, remove, roar


def planted(count, seed):
    """Images (N, 1, 6, 6) of noise in which two pixels tell the class."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.rand(count, 1, 6, 6, generator=generator)
    labels = torch.arange(count) % 2
    images[:, 0, 2, 1] += labels
    images[:, 0, 4, 4] += 1 - labels
    return images, labels


def fit(images, labels, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    train.fit(model, train.Batches(images, labels, batch_size=50), epochs=5, learning_rate=0.05, progress=False)
    return model


def corner(forward, inputs, target=None, baseline=None):
    """Point at the last row, which decides nothing."""
    values = torch.zeros_like(inputs)
    values[:, :, 5] = 1
    return Explanation(method="corner", values=values, gap=None, forwards=0, backwards=0, seconds=0.0)


@pytest.fixture(scope="module")
def found():
    sets = planted(200, 0), planted(100, 1)
    return roar({"saliency": saliency, "corner": corner}, fit, *sets, shares=(2 / 36, 6 / 36), seeds=(0, 1))


def test_what_decides_is_missed_and_the_rest_is_not(found):
    assert found.whole.min() > 0.98
    accuracy = found.accuracy.mean(2)  # (M, S)
    assert accuracy[0].max() < 0.7  # saliency finds the two pixels
    assert accuracy[1].min() > 0.98
    assert accuracy[2, 0] > 0.9
    assert found.drop()["saliency"] > 0.2 > found.drop()["corner"]
    assert found.drop()["random"] == 0


def test_it_is_reproducible_and_comes_back_from_json(found):
    again = roar({"corner": corner}, fit, planted(200, 0), planted(100, 1), shares=(2 / 36, 6 / 36), seeds=(0, 1))
    assert (again.accuracy == found.accuracy[1:]).all()  # noise included: each cell has its own random numbers
    back = Roar.from_json(found.to_json())
    assert back.to_json() == found.to_json()
    assert back.methods == ("saliency", "corner", "random")


def test_the_table_has_a_column_for_each_share(found):
    lines = found.table().split("\n")
    assert lines[0] == "| removed | 6% | 17% |"
    assert lines[3].startswith("| corner | 1.000 |")


def test_the_highest_places_get_the_filling_in_all_channels():
    inputs = torch.ones(1, 2, 2, 2)
    values = torch.tensor([[[[1.0, -9], [0, 2]], [[1.0, -1], [0, -2]]]])  # |sums|: 2, 10, 0, 0
    changed = remove(inputs, values, 0.5, torch.tensor([0.5, 0.25]).view(1, 2, 1, 1))
    assert changed[0, 0].tolist() == [[0.5, 0.5], [1, 1]]
    assert changed[0, 1].tolist() == [[0.25, 0.25], [1, 1]]
    assert inputs.min() == 1


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"shares": (0.0,)}, "between 0 and 1"), ({"seeds": ()}, "at least one"), ({"labels": 3}, "train_set as images")],
)
def test_bad_arguments_are_refused(wrong, match):
    images, labels = planted(10, 0)
    sets = (images, labels[: wrong.pop("labels", None)]), (images, labels)
    with pytest.raises(InputError, match=match):
        roar({"corner": corner}, fit, *sets, **wrong)
