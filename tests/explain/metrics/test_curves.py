"""Deletion, insertion, comprehensiveness, sufficiency: by hand, on planted truth, and what they refuse."""

import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.metrics import METRICS, comprehensiveness, deletion, insertion, sufficiency
from bigmodel_lab.explain.metrics.places import order
from tests.explain.metrics.planted import planted, spread

CURVES = ["deletion", "insertion", "comprehensiveness", "sufficiency"]
FUNCTIONS = [METRICS[name].function for name in CURVES]


def linear(x):
    """One score per example: the sum of 4, 3, 2, 1 times the places of (B, 4)."""
    return x @ torch.tensor([4.0, 3.0, 2.0, 1.0])


def test_by_hand_on_a_linear_score():
    x = torch.ones(1, 4)
    values = torch.tensor([[3.0, 1.0, 2.0, -9.0]])  # order 0, 2, 1, 3: the sign counts
    area = (10 / 2 + 6 + 4 + 1 + 0 / 2) / 4  # deletion: 10, 6, 4, 1, 0
    assert deletion(values, linear, x).tolist() == pytest.approx([area])
    area = (0 / 2 + 4 + 6 + 9 + 10 / 2) / 4
    assert insertion(values, linear, x).tolist() == pytest.approx([area])
    # ceil of 1, 5, 10, 20, 50 % of 4 places: 1, 1, 1, 1, 2
    assert comprehensiveness(values, linear, x).tolist() == pytest.approx([(4 * 4 + 6) / 5])
    assert sufficiency(values, linear, x).tolist() == pytest.approx([(4 * 6 + 4) / 5])


def test_fewer_steps_take_more_places_at_once():
    x, values = torch.ones(1, 4), torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    assert deletion(values, linear, x, steps=2).tolist() == pytest.approx([(10 / 2 + 3 + 0 / 2) / 2])
    assert deletion(values, linear, x, steps=1).tolist() == pytest.approx([5.0])


def test_a_probability_is_asked_for_by_default():
    def two(x):
        return torch.stack([0 * x[:, 0], x[:, 0]], dim=1)

    x = torch.tensor([[2.0, 0.0]])
    up, down = torch.sigmoid(torch.tensor(2.0)).item(), 0.5
    values = torch.tensor([[1.0, 0.0]])
    assert deletion(values, two, x, 1).tolist() == pytest.approx([(up / 2 + down + down / 2) / 2])
    assert insertion(values, two, x, 1).tolist() == pytest.approx([(down / 2 + up + up / 2) / 2])
    assert deletion(values, two, x, 1, probability=False).tolist() == pytest.approx([(2 / 2) / 2])
    assert comprehensiveness(values, two, x, 1).tolist() == pytest.approx([up - down])
    assert sufficiency(values, two, x, 1).tolist() == pytest.approx([0.0])


def test_a_language_model_is_asked_for_one_token_at_one_position():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)).eval()  # ids (B, T) -> (B, T, V)
    ids, values = torch.randint(1, 7, (2, 5)), torch.tensor([[0.0, 0, 9, 0, 0], [0, 0, 9, 0, 0]])
    p = [model(i).softmax(-1)[:, 2, 4] for i in (ids, torch.zeros_like(ids))]  # only position 2 matters to itself
    expected = (p[0] / 2 + p[1] * 4.5) / 5
    torch.testing.assert_close(deletion(values, model, ids, (2, 4), 0).float(), expected.detach())


@pytest.mark.parametrize("kind", ["images", "ids", "steps"])
@pytest.mark.parametrize("name", CURVES)
def test_the_truth_is_best_its_inverse_worst_and_noise_between(name, kind):
    model, inputs, target, baseline, truth = planted(kind)
    about, scores = METRICS[name], {}
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(3))
    for which, places in (("truth", truth.float()), ("noise", noise), ("inverse", 1 - truth.float())):
        scores[which] = about.function(spread(places, inputs), model, inputs, target, baseline)
        assert scores[which].shape == (8,)
        assert ((scores[which] >= about.low) & (scores[which] <= about.high)).all()
    sign = 1 if about.higher_is_better else -1
    means = {which: sign * score.mean().item() for which, score in scores.items()}
    assert means["truth"] > means["noise"] + 0.02 > means["noise"] > means["inverse"] + 0.02


@pytest.mark.parametrize("metric", FUNCTIONS)
def test_neither_scale_nor_other_examples_nor_their_number_count(metric):
    model, inputs, target, baseline, _ = planted("images")
    values = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0)).round()  # with ties
    scores = metric(values, model, inputs, target, baseline)
    torch.testing.assert_close(metric(100 * values, model, inputs, target, baseline), scores)
    torch.testing.assert_close(metric(values[3:4], model, inputs[3:4], target, baseline), scores[3:4])
    many = [one.repeat(5, 1, 1, 1) for one in (values, inputs)]
    torch.testing.assert_close(metric(many[0], model, many[1], target, baseline), scores.repeat(5))


def test_ties_are_broken_alike_each_time_and_not_by_position():
    flat = torch.zeros(3, 1, 8, 8)
    turns = order(flat, seed=0)
    assert torch.equal(turns, order(5 + flat, seed=0))
    assert not torch.equal(turns, order(flat, seed=1))
    assert torch.equal(turns[0], turns[2])
    assert turns[0].sort().values.tolist() == list(range(64))
    assert turns[0].tolist() != list(range(64))
    assert order(torch.tensor([[1.0, 5.0, -2.0]]), seed=0).tolist() == [[1, 0, 2]]


def test_a_constant_map_is_a_random_order():
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    score = deletion(torch.ones_like(x), lambda x: x.mean((1, 2, 3)), x)
    torch.testing.assert_close(score.float(), x.mean((1, 2, 3)) / 2, rtol=0.1, atol=0)


def test_the_model_is_left_as_it_was_and_asked_in_chunks():
    model, inputs, target, baseline, _ = planted("ids")
    rows, mode, values = [], model.head.training, torch.rand(8, 12)
    handle = model.register_forward_hook(lambda module, args, output: rows.append(len(args[0])))
    hooks = len(model._forward_hooks)
    deletion(values.repeat(10, 1), model, inputs.repeat(10, 1), target, baseline, steps=12)
    handle.remove()
    assert sum(rows) == 80 + 80 * 13  # f(x), and each step
    assert max(rows) <= 128
    assert hooks == 1
    assert model.head.training is mode
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize("metric", FUNCTIONS)
def test_what_does_not_fit_is_refused(metric):
    model, inputs, target, baseline, _ = planted("ids")
    values = torch.rand(8, 12)
    with pytest.raises(InputError, match="values in the shape of the inputs"):
        metric(values[:, :5], model, inputs, target, baseline)
    with pytest.raises(InputError, match="finite values"):
        metric(values * torch.nan, model, inputs, target, baseline)
    with pytest.raises(InputError, match="a baseline for token ids"):
        metric(values, model, inputs, target)
    with pytest.raises(InputError, match="a target: which of the model's 2 scores"):
        metric(values, model, inputs, None, baseline)
    with pytest.raises(InputError, match="evaluation mode"):
        metric(values, model.train(), inputs, target, baseline)
    with pytest.raises(InputError, match="forward as a module or a function"):
        metric(values, "a model", inputs, target, baseline)
    with pytest.raises(InputError, match="finite scores"):
        metric(values, lambda ids: ids.sum(1) * torch.nan, inputs, None, baseline)


@pytest.mark.parametrize("steps", [0, 1.5])
def test_steps_are_counted(steps):
    with pytest.raises(InputError, match="at least 1 step"):
        deletion(torch.ones(1, 4), linear, torch.ones(1, 4), steps=steps)
