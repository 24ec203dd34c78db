"""Evaluation is a mean over examples, prediction keeps order, and the mode comes back whatever happens."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError, TrainingError
from bigmodel_lab.train import Batches, evaluate, predict, r2_score, squared_error


def mixed_mode() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    model[1].eval()  # a frozen part
    return model


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_means_are_over_examples_not_over_batches():
    x, y = torch.randn(10, 2), torch.randint(0, 3, (10,))
    model = mixed_mode()
    whole = evaluate(model, [(x, y)], loss=F.cross_entropy)
    for batches in ([(x[:9], y[:9]), (x[9:], y[9:])], Batches(x, y, batch_size=4)):
        assert evaluate(model, batches, loss=F.cross_entropy) == pytest.approx(whole, abs=1e-6)
    model.eval()
    expected = {
        "loss": F.cross_entropy(model(x), y).item(),
        "accuracy": (model(x).argmax(1) == y).float().mean().item(),
    }
    assert whole == pytest.approx(expected, abs=1e-6)


def test_batches_are_not_augmented_or_shuffled_when_evaluated():
    x, y = torch.randn(10, 2), torch.randint(0, 3, (10,))
    model = nn.Linear(2, 3)
    wild = Batches(x, y, batch_size=4, augment=lambda inputs, g: inputs * 1e6)
    assert evaluate(model, wild, loss=F.cross_entropy) == evaluate(
        model, Batches(x, y, batch_size=4, shuffle=False), loss=F.cross_entropy
    )


def test_predict_keeps_order_and_needs_no_gradient():
    model, x = mixed_mode(), torch.randn(10, 2)
    outputs = predict(model, x, batch_size=3)
    assert not outputs.requires_grad
    before = modes(model)
    torch.testing.assert_close(outputs, model.eval()(x).detach())
    assert before == [True, True, False, True, True]


class Failing(nn.Module):
    def forward(self, x):
        raise ArithmeticError


@pytest.mark.parametrize("call", [evaluate, predict])
def test_mode_is_restored_after_success_and_failure(call):
    x, y = torch.randn(4, 2), torch.zeros(4).long()
    data = x if call is predict else [(x, y)]
    model = mixed_mode()
    before = modes(model)
    call(model, data)
    assert modes(model) == before
    model.append(Failing())
    before = modes(model)
    with pytest.raises(ArithmeticError):
        call(model, data)
    assert modes(model) == before
    assert True in before
    assert False in before


def test_default_metric_only_for_classes():
    x, y = torch.randn(4, 2), torch.randn(4, 3)
    with pytest.raises(InputError, match="something to measure"):
        evaluate(nn.Linear(2, 3), [(x, y)])
    assert list(evaluate(nn.Linear(2, 3), [(x, y)], metrics={"error": squared_error})) == ["error"]
    assert list(evaluate(nn.Linear(2, 3), [(x, torch.zeros(4).long())])) == ["accuracy"]


def test_metric_must_score_each_example():
    with pytest.raises(TrainingError, match="one score per example"):
        evaluate(nn.Linear(2, 3), [(torch.randn(4, 2), torch.randn(4, 3))], metrics={"r2": r2_score})


@pytest.mark.parametrize("batches", [[], [(torch.zeros(2, 2), torch.zeros(3))], [torch.zeros(2, 2)]])
def test_no_batches_or_no_pairs_are_refused(batches):
    with pytest.raises(TrainingError, match=r"batch") as caught:
        evaluate(nn.Linear(2, 3), batches)
    assert caught.value.got
    assert caught.value.hint


def test_predict_refuses_nothing_and_wrong_types():
    model = nn.Linear(2, 3)
    for inputs in ([[1.0, 2.0]], torch.zeros(0, 2)):
        with pytest.raises(InputError, match="at least one example"):
            predict(model, inputs)
    with pytest.raises(InputError, match="batch_size"):
        predict(model, torch.zeros(1, 2), batch_size=0)
    with pytest.raises(TrainingError, match="float64"):
        predict(model, torch.zeros(1, 2, dtype=torch.float64))
