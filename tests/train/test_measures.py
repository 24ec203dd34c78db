"""Metrics against hand-computed values and scikit-learn, schedules at known steps, the history's answers."""

import json
import math

import pytest
import torch
from sklearn.metrics import r2_score as sklearn_r2

from bigmodel_lab.errors import InputError
from bigmodel_lab.train import (
    History,
    absolute_error,
    accuracy,
    constant,
    linear_decay,
    r2_score,
    squared_error,
    warmup_cosine,
)


def test_accuracy_of_classes_pixels_and_tokens():
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert accuracy(scores, torch.tensor([1, 0, 0])).tolist() == [1, 1, 0]
    classes = torch.tensor([[0, 1, 2, -100], [1, 1, 1, 1]])
    right = torch.nn.functional.one_hot(torch.tensor([[0, 1, 0, 0], [1, 1, 1, 0]]), 3).float()  # (B, T, C)
    assert accuracy(right, classes).tolist() == pytest.approx([2 / 3, 3 / 4])
    assert accuracy(right.transpose(1, 2), classes).tolist() == pytest.approx([2 / 3, 3 / 4])  # (B, C, T)


@pytest.mark.parametrize("targets", [torch.zeros(3), torch.zeros(3, 1, dtype=torch.long), torch.zeros(2).long()])
def test_accuracy_refuses_what_is_no_class(targets):
    with pytest.raises(InputError, match=r"expected: outputs \(B, C"):
        accuracy(torch.zeros(3, 2), targets)


def test_errors_are_one_number_per_example():
    outputs, targets = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 4.0], [3.0, 0.0]])
    assert squared_error(outputs, targets).tolist() == [2, 4.5]
    assert absolute_error(outputs, targets).tolist() == [1, 1.5]
    assert squared_error(outputs[:, 0], targets[:, 0]).tolist() == [0, 9]


@pytest.mark.parametrize("score", [squared_error, absolute_error, r2_score])
def test_scores_refuse_to_broadcast(score):
    with pytest.raises(InputError, match="same shape"):
        score(torch.zeros(3, 1), torch.zeros(3))


def test_r2_is_scikit_learns():
    targets = torch.randn(50, generator=torch.Generator().manual_seed(0))
    outputs = targets + 0.5 * torch.randn(50, generator=torch.Generator().manual_seed(1))
    assert r2_score(outputs, targets) == pytest.approx(sklearn_r2(targets.numpy(), outputs.numpy()), abs=1e-6)
    assert r2_score(targets, targets) == 1
    assert r2_score(targets.mean().expand(50), targets) == pytest.approx(0)
    with pytest.raises(InputError, match="differ"):
        r2_score(outputs, torch.ones(50))


def test_schedules_at_known_steps():
    assert [constant(step, 10) for step in (0, 9)] == [1, 1]
    assert [linear_decay(step, 4) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    schedule = warmup_cosine(warmup=4, floor=0.2)
    assert [schedule(step, 24) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert schedule(14, 24) == pytest.approx(0.6)  # half-way down
    assert schedule(24, 24) == pytest.approx(0.2)
    assert schedule(23, 24) == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi * 19 / 20)))
    assert [warmup_cosine(warmup=0.5)(step, 4) for step in range(4)] == pytest.approx([0.5, 1, 1, 0.5])
    assert warmup_cosine(warmup=0)(0, 10) == 1
    assert all(0 < warmup_cosine(warmup=20)(step, 10) <= 0.5 for step in range(10))  # longer than the run


@pytest.mark.parametrize("settings", [{"warmup": -1}, {"floor": 2}, {"floor": -0.1}])
def test_schedule_refuses_impossible_settings(settings):
    with pytest.raises(InputError, match="floor between 0 and 1"):
        warmup_cosine(**settings)


def history(epochs: int = 3) -> History:
    rows = [
        {"epoch": e, "train_loss": 1 / e, "validation_accuracy": (e % 3) / 2, "size": e} for e in range(1, epochs + 1)
    ]
    return History(rows, [1.0, 0.5])


def test_history_answers():
    assert history().column("epoch") == [1, 2, 3]
    assert history().last("train_loss") == 1 / 3 == history().best("train_loss")
    assert history().best("validation_accuracy") == 1
    assert history().best("size", higher=True) == 3
    assert history().best("size", higher=False) == 1
    assert History.from_dict(json.loads(json.dumps(history().to_dict()))) == history()


def test_history_refuses_what_it_cannot_answer():
    with pytest.raises(InputError, match="one of epoch, train_loss"):
        history().last("loss")
    with pytest.raises(InputError, match="higher"):
        history().best("size")
    with pytest.raises(InputError, match="finished epoch"):
        History().last("train_loss")


def test_history_shows_a_small_table():
    assert "train_loss" in repr(history())
    assert repr(history()).count("\n") == 3
    assert history()._repr_html_().count("<tr>") == 4
    assert history(100)._repr_html_().count("<tr>") == 8
    assert "no epoch" in repr(History())
    assert "no epoch" in History()._repr_html_()


def test_history_whose_rows_have_different_columns():
    mixed = History([{"epoch": 1, "seconds": 1.0}, {"epoch": 2, "validation_loss": 0.5, "seconds": 1.0}])
    assert "nan" in repr(mixed)
    assert math.isnan(mixed.column("validation_loss")[0])
    assert mixed.last("validation_loss") == 0.5 == mixed.best("validation_loss")


def test_accuracy_of_small_integers():
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 1], dtype=torch.uint8)).tolist() == [1, 1, 0]
