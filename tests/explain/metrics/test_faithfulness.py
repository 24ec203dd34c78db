"""Infidelity and completeness: by hand, equal to Captum's where it says the same, and on planted truth."""

import pytest
import torch
from captum.metrics import infidelity as captums

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.metrics import METRICS, completeness, infidelity
from bigmodel_lab.explain.metrics.faithfulness import _removals
from bigmodel_lab.explain.metrics.places import over
from tests.explain.metrics.planted import planted, spread


def product(x):
    """One score per example: the product of the two places of (B, 2)."""
    return x[:, 0] * x[:, 1]


def test_infidelity_by_hand():
    x, values = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 1.0]])
    masks = _removals(torch.Size([2]), 50, seed=0)
    claimed = masks.double() @ torch.tensor([5.0, 1.0]).double()
    expected = (claimed - 6).square().mean()  # whatever is removed, all 6 are lost
    assert infidelity(values, product, x, samples=50, scaled=False).item() == pytest.approx(expected.item())
    beta = 6 * claimed.sum() / claimed.square().sum()
    expected = (beta * claimed - 6).square().mean()
    assert infidelity(values, product, x, samples=50).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_captums_on_the_same_removals(scaled):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 6 * 6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    net, x, target = net.eval(), torch.rand(4, 2, 6, 6), torch.tensor([0, 1, 2, 1])
    values = x * torch.autograd.grad(net(x.requires_grad_()).gather(1, target[:, None]).sum(), x)[0]
    x, values = x.detach(), values.detach()
    masks = iter(_removals(torch.Size([6, 6]), 16, seed=0))

    def remove(inputs):  # contributions: I is what is gone, of 1 each
        gone = over(next(masks)[None], x.shape).expand(x.shape)
        return gone.float(), inputs.masked_fill(gone, 0.0)

    with torch.no_grad():
        theirs = captums(
            net, remove, x, values, target=target, n_perturb_samples=16, max_examples_per_batch=4, normalize=scaled
        )
    ours = infidelity(values, net, x, target, samples=16, scaled=scaled)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-6)


def test_removals_are_squares_in_images_and_subsets_of_tokens():
    for mask in _removals(torch.Size([6, 8]), 100, seed=0).view(100, 6, 8):
        rows, columns = mask.any(1).sum().item(), mask.any(0).sum().item()
        assert 1 <= rows == columns <= 3
        assert mask.sum() == rows * columns
    sizes = _removals(torch.Size([5]), 200, seed=0).sum(1)
    assert set(sizes.tolist()) == {1, 2, 3, 4, 5}
    assert _removals(torch.Size([1, 1]), 2, seed=0).all()
    assert torch.equal(_removals(torch.Size([6, 8]), 9, 4), _removals(torch.Size([6, 8]), 9, 4))


@pytest.mark.parametrize("kind", ["images", "ids", "steps"])
def test_exact_contributions_of_an_additive_model_have_no_infidelity(kind):
    model, inputs, target, baseline, truth = planted(kind)
    contributions = spread(truth.float() * 4, inputs)
    if kind == "images":
        contributions = 8 * inputs * truth.unsqueeze(1) / (3 * 4)
    if kind == "steps":
        contributions = 8 * inputs * truth.unsqueeze(-1) / (2 * 5)
    for scaled in (False, True):
        scores = infidelity(contributions, model, inputs, target, baseline, scaled=scaled)
        torch.testing.assert_close(scores, torch.zeros(8).double(), rtol=0, atol=1e-9)
    assert completeness(contributions, model, inputs, target, baseline).max() < 1e-6


@pytest.mark.parametrize("kind", ["images", "ids", "steps"])
def test_the_truth_is_best_and_its_inverse_worst(kind):
    model, inputs, target, baseline, truth = planted(kind)
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(3))
    maps = (truth.float(), noise, 1 - truth.float(), torch.zeros_like(noise))
    best, middle, worst, nothing = (
        infidelity(spread(one, inputs), model, inputs, target, baseline, samples=64) for one in maps
    )
    assert best.mean() < 0.9 * middle.mean()
    assert middle.mean() < worst.mean()
    assert (worst <= nothing + 1e-9).all()  # β = 0 is the zero map: no scaled map is worse
    opposite = infidelity(-spread(maps[0], inputs), model, inputs, target, baseline, samples=64)
    torch.testing.assert_close(opposite, nothing)  # the wrong sign is not forgiven


def test_scale_counts_only_where_asked():
    model, inputs, target, baseline, _ = planted("images")
    values = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    arguments = (model, inputs, target, baseline)
    torch.testing.assert_close(infidelity(7 * values, *arguments), infidelity(values, *arguments))
    assert (infidelity(7 * values, *arguments, scaled=False) > infidelity(values, *arguments, scaled=False)).all()
    torch.testing.assert_close(
        infidelity(values[2:3], model, inputs[2:3], target, baseline), infidelity(values, *arguments)[2:3]
    )


def test_completeness_by_hand():
    x = torch.tensor([[2.0, 3.0]] * 5)  # f(x) - f(0) = 6
    values = torch.tensor([[2.0, 4.0], [1.0, 2.0], [0.0, 0.0], [-3.0, -3.0], [6.0, 6.0]])
    assert completeness(values, product, x).tolist() == pytest.approx([0, 0.5, 1, 2, 0.5])
    still = completeness(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), lambda x: 0 * x[:, 0], x[:2])
    assert still.tolist() == [0, 1]
    assert completeness(values[:1], product, x[:1], baseline=1.0).tolist() == pytest.approx([1 / 6])  # 6 for 5


def test_completeness_of_token_ids_with_and_without_an_embedding():
    model, ids, target, _, truth = planted("ids")
    values = truth * 4.0
    for options in ({"baseline": 0}, {"embedding": model.embedding}, {"baseline": 5, "embedding": model.embedding}):
        assert completeness(values, model, ids, target, **options).tolist() == pytest.approx([0.0] * 8)
    with pytest.raises(InputError, match="a baseline for token ids"):
        completeness(values, model, ids, target)


@pytest.mark.parametrize("name", ["infidelity", "completeness"])
def test_what_does_not_fit_is_refused(name):
    metric, (model, inputs, target, baseline, _) = METRICS[name].function, planted("images")
    values = torch.rand(inputs.shape)
    with pytest.raises(InputError, match="values in the shape of the inputs"):
        metric(values[:, :1], model, inputs, target, baseline)
    with pytest.raises(InputError, match="finite values"):
        metric(values / 0, model, inputs, target, baseline)
    with pytest.raises(InputError, match="evaluation mode"):
        metric(values, model.train(), inputs, target, baseline)
    with pytest.raises(InputError, match="a target"):
        metric(values, model.eval(), inputs)


def test_samples_are_counted():
    with pytest.raises(InputError, match="at least 1 sample"):
        infidelity(torch.ones(1, 2), product, torch.ones(1, 2), samples=0)
