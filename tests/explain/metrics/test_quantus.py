"""Against Quantus 0.6.0: equal where it follows the paper; where it does not, what it does instead, by hand.

Quantus: Hedström et al. (2023), arXiv 2202.06861.
"""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from bigmodel_lab.explain import metrics
from bigmodel_lab.explain.metrics.faithfulness import _removals
from bigmodel_lab.explain.metrics.robustness import AWAY

pytestmark = pytest.mark.filterwarnings("ignore")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

QUIET = {"disable_warnings": True, "display_progressbar": False}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def case():
    """A model that is not linear, images, targets, values with two signs, and masks."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    truth = torch.rand(5, 6, 6) < 0.3
    return model, torch.rand(5, 1, 6, 6), torch.tensor([0, 1, 2, 1, 0]), torch.randn(5, 1, 6, 6), truth


def theirs(metric, case, values=None, **more):
    model, x, y, a, truth = case
    a = a if values is None else values
    s = truth.unsqueeze(1).numpy()
    found = metric(model=model, x_batch=x.numpy(), y_batch=y.numpy(), a_batch=a.numpy().copy(), s_batch=s, **more)
    return torch.tensor(np.array(found, dtype=float))


@pytest.mark.parametrize(
    ("ours", "their"),
    [
        (metrics.relevance_mass, "RelevanceMassAccuracy"),
        (metrics.relevance_rank, "RelevanceRankAccuracy"),
        (metrics.pointing_game, "PointingGame"),
        (metrics.pixel_auc, "AUC"),
    ],
)
def test_truth(case, ours, their):
    found = theirs(getattr(quantus, their)(abs=True, **QUIET), case)
    torch.testing.assert_close(ours(case[3], case[4]), found, **CLOSE)


def test_ties_in_the_roc_curve(case):
    coarse = case[3].round()
    found = theirs(quantus.AUC(abs=True, **QUIET), case, coarse)
    torch.testing.assert_close(metrics.pixel_auc(coarse, case[4]), found, **CLOSE)


def test_gini(case):
    torch.testing.assert_close(metrics.gini(case[3]), theirs(quantus.Sparseness(**QUIET), case), **CLOSE)


def test_the_deletion_curve_where_quantus_leaves_out_its_first_point_and_the_width_of_its_steps(case, monkeypatch):
    model, x, y, a, _ = case
    first = model(x).softmax(1).gather(1, y[:, None]).detach().double()
    found = theirs(quantus.PixelFlipping(perturb_baseline=0.0, **QUIET), case, softmax=True)
    curve = torch.cat([first, found], 1)
    torch.testing.assert_close(metrics.deletion(a, model, x, y, steps=36), torch.trapezoid(curve, dim=1) / 36, **CLOSE)
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which NumPy has no longer: their area fails
    area = theirs(quantus.PixelFlipping(perturb_baseline=0.0, return_auc_per_sample=True, **QUIET), case, softmax=True)
    torch.testing.assert_close(area, torch.trapezoid(curve[:, 1:], dim=1), **CLOSE)


def test_infidelity_of_one_removal(case):
    model, x, y, a, _ = case
    metric = quantus.Infidelity(perturb_baseline=0.0, perturb_patch_sizes=[6], n_perturb_samples=1, **QUIET)
    whole = x.flatten(2).transpose(1, 2)  # (B, T = 36, D = 1): removals are subsets, and one of them is everything
    flat = nn.Sequential(nn.Flatten(1), *model[1:]).eval()
    seed = next(s for s in range(1000) if _removals(torch.Size([36]), 1, s).all())
    contributions = (a * x).flatten(2).transpose(1, 2)  # Quantus takes slopes and multiplies by x - x'
    ours = metrics.infidelity(contributions, flat, whole, y, samples=1, scaled=False, seed=seed)
    torch.testing.assert_close(ours, theirs(metric, case), rtol=1e-4, atol=1e-5)


def test_infidelity_where_quantus_piles_its_removals_up():
    """The paper draws each removal anew from x; here the second patch is removed from what the first left."""

    class Product(nn.Module):
        def forward(self, x):
            return (x[:, 0, 0, 0] * x[:, 0, 0, 1])[:, None] + 0 * x.flatten(1)[:, :1]

    x, a = torch.tensor([[[[2.0, 3.0], [0.0, 0.0]]]]), torch.tensor([[[[3.0, 2.0], [0.0, 0.0]]]])  # slopes
    metric = quantus.Infidelity(perturb_baseline=0.0, perturb_patch_sizes=[1], n_perturb_samples=1, **QUIET)
    found = metric(model=Product().eval(), x_batch=x.numpy(), y_batch=np.array([0]), a_batch=a.numpy())
    # anew: losing either place costs 6 and is said to cost 6, losing one of the others nothing: 0
    # piled up: (6 - 6)², then three times (12 - 6)²
    assert found[0] == pytest.approx((0 + 36 + 36 + 36) / 4)
    ours = [
        metrics.infidelity(a * x, Product().eval(), x, 0, samples=1, scaled=False, seed=seed).item()
        for seed in range(4)
    ]
    assert ours == pytest.approx([0.0] * 4)  # in 2 × 2 images the squares are single places


def slopes(model, x, y):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, y[:, None]).sum(), x)[0]


def explainer(model, inputs, targets, **_):
    return slopes(model, torch.as_tensor(inputs), torch.as_tensor(targets)).numpy()


def test_max_sensitivity_on_the_same_noise(case):
    model, x, y, *_ = case
    generator = torch.Generator().manual_seed(0)
    noise = iter([(0.1 * (2 * torch.rand(1, 1, 6, 6, generator=generator) - 1)).numpy() for _ in range(10)])
    metric = quantus.MaxSensitivity(
        nr_samples=10, perturb_func=lambda arr, **_: arr + next(noise).reshape(1, -1), **QUIET
    )
    values = slopes(model, x, y)
    found = theirs(metric, case, values, explain_func=explainer)
    ours = metrics.max_sensitivity(values, lambda model, x: slopes(model, x, y), model, x)
    torch.testing.assert_close(ours, found, rtol=1e-4, atol=1e-5)


def test_randomisation_of_the_top_layer(case):
    model, x, y, *_ = case
    values = slopes(model, x, y).abs()
    metric = quantus.MPRT(
        similarity_func=quantus.similarity_func.correlation_spearman, layer_order="independent", seed=AWAY + 6, **QUIET
    )
    arrays = {"x_batch": x.numpy(), "y_batch": y.numpy(), "a_batch": values.numpy()}
    found = metric(model=model, **arrays, explain_func=lambda **given: np.abs(explainer(**given)))
    ours = metrics.randomisation(values, lambda model, x: slopes(model, x, y), model, x, layers="top", seed=7)
    torch.testing.assert_close(ours, torch.tensor(np.array(found["3"])), **CLOSE)


def test_where_quantus_gives_every_layer_the_same_random_numbers():
    """The seed is set before each layer: two layers of one shape get one weight matrix. Ours differ."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    *_, (_, copy) = quantus.helpers.model.pytorch_model.PyTorchModel(model).get_random_layer_generator()
    assert torch.equal(copy[0].weight, copy[1].weight)
    ours = metrics.randomised(model, torch.rand(1, 4))
    assert not torch.equal(ours[0].weight, ours[1].weight)


def test_where_quantus_counts_an_empty_truth_and_any_tied_place_as_a_hit(case):
    model, x, y, _, truth = case
    truth = truth.clone()
    truth[0] = False
    flat = torch.ones(5, 1, 6, 6)
    flat[0, 0, 0, 0] = 2  # it refuses a batch of nothing but ones
    found = theirs(quantus.PointingGame(abs=True, **QUIET), (model, x, y, flat, truth))
    assert found.tolist() == [1.0] * 5  # its NaN for an empty truth becomes True in an array of booleans
    ours = metrics.pointing_game(flat, truth)
    assert ours[0].isnan()
    torch.testing.assert_close(ours[1:], truth[1:].double().mean((1, 2)))


def test_where_quantus_lets_position_decide_between_tied_places(case):
    model, x, y, _, _ = case
    flat = torch.ones(5, 1, 6, 6)
    flat[0, 0, 0, 0] = 2  # it refuses a batch of nothing but ones
    rows = [torch.zeros(5, 6, 6, dtype=torch.bool).index_fill(1, torch.tensor([row]), True) for row in range(6)]
    metric = quantus.RelevanceRankAccuracy(abs=True, **QUIET)
    found = torch.stack([theirs(metric, (model, x, y, flat, row)) for row in rows])[:, 1:]
    assert (found - 1 / 6).abs().max() > 0.1  # a map without content points somewhere
    for row in rows:
        assert metrics.relevance_rank(flat, row)[1:].tolist() == pytest.approx([1 / 6] * 4)


def test_where_quantus_lets_negative_values_pay_for_positive_ones():
    """Its default is no absolute value: a share of mass can then be anything. Arras et al. take heat >= 0."""
    values, truth = torch.tensor([[[[3.0, -2.0]]]]), torch.tensor([[[True, False]]])
    metric = quantus.RelevanceMassAccuracy(**QUIET)
    arrays = {"x_batch": np.zeros((1, 1, 1, 2)), "y_batch": np.zeros(1, int), "s_batch": truth[:, None].numpy()}
    found = metric(model=nn.Flatten().eval(), **arrays, a_batch=values.numpy(), channel_first=True)
    assert found[0] == pytest.approx(3.0)  # 300 %
    assert metrics.relevance_mass(values, truth).item() == pytest.approx(0.6)


def test_where_quantus_calls_nothing_complete_that_is_not_equal_bit_by_bit(case):
    model, x, *rest = case
    change, y = (model(x) - model(torch.zeros_like(x))).detach().max(1)
    values = change.view(-1, 1, 1, 1).expand(-1, 1, 6, 6) / 36 * (1 + 1e-5)
    metric = quantus.Completeness(abs=False, normalise=False, **QUIET)
    assert not theirs(metric, (model, x, y, *rest[1:]), values).any()  # yes or no, and no for 0.001 %
    assert metrics.completeness(values, model, x, y).max().item() == pytest.approx(1e-5, rel=0.1)
