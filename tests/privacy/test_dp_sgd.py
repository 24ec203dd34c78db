"""The written-out step of DP-SGD against a loop, against Opacus, and against what it must hide."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.privacy import clipped_sum, dp_step, per_example_gradients


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator)


def one_by_one(model, x, y):
    rows = []
    for i in range(len(x)):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        rows.append(torch.autograd.grad(loss, model.parameters()))
    columns = zip(*rows, strict=True)
    return {name: torch.stack(g) for (name, _), g in zip(model.named_parameters(), columns, strict=True)}


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-6, rtol=1e-4)


class TestPerExampleGradients:
    def test_equal_a_loop_over_examples(self, model, batch):
        same(per_example_gradients(model, F.cross_entropy, *batch), one_by_one(model, *batch))

    def test_a_frozen_parameter_has_none_and_the_model_is_left_alone(self, model, batch):
        model[0].bias.requires_grad_(False)
        before = copy.deepcopy(model.state_dict())
        assert "0.bias" not in per_example_gradients(model, F.cross_entropy, *batch)
        assert all(p.grad is None for p in model.parameters())
        same(before, model.state_dict())

    def test_an_empty_batch(self, model, batch):
        x, y = batch
        assert per_example_gradients(model, F.cross_entropy, x[:0], y[:0])["0.weight"].shape == (0, 5, 6)

    def test_refuses_batch_normalisation_and_unequal_lengths(self, model, batch):
        x, y = batch
        with pytest.raises(InputError, match="batch normalisation"):
            per_example_gradients(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), F.cross_entropy, x, y)
        with pytest.raises(InputError, match="as many targets"):
            per_example_gradients(model, F.cross_entropy, x, y[:3])


class TestClippedSum:
    def test_by_hand(self):
        gradients = {"a": torch.tensor([[3.0, 0.0], [0.1, 0.0]]), "b": torch.tensor([4.0, 0.0])}  # norms 5 and 0.1
        total = clipped_sum(gradients, 1.0)
        same(total, {"a": torch.tensor([0.7, 0.0]), "b": torch.tensor(0.8)})

    def test_one_example_moves_it_by_at_most_the_clip(self, model, batch):
        x, y = batch
        everything = clipped_sum(per_example_gradients(model, F.cross_entropy, 100 * x, y), 0.5)
        without = clipped_sum(per_example_gradients(model, F.cross_entropy, 100 * x[1:], y[1:]), 0.5)
        moved = torch.cat([(everything[k] - without[k]).flatten() for k in without]).norm()
        assert 0.1 < moved <= 0.5 + 1e-5

    @pytest.mark.parametrize("clipped", [0, 4, 8])
    def test_equals_opacus(self, model, batch, clipped):
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        x, y = batch
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in one_by_one(model, x, y).values()]).norm(dim=0)
        clip = {0: 2 * norms.max(), 4: norms.sort().values[3:5].mean(), 8: norms.min() / 2}[clipped].item()
        assert (norms > clip).sum() == clipped
        ours = clipped_sum(per_example_gradients(model, F.cross_entropy, x, y), clip)
        sgd = torch.optim.SGD(model.parameters(), lr=1.0)
        optimizer = DPOptimizer(sgd, noise_multiplier=0.0, max_grad_norm=clip, expected_batch_size=8)
        loss = F.cross_entropy(GradSampleModule(model)(x), y)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
            loss.backward()
        optimizer.clip_and_accumulate()
        same(ours, {name: p.summed_grad for name, p in model.named_parameters()})

    @pytest.mark.parametrize(
        ("gradients", "clip"),
        [
            ({}, 1.0),
            ({"a": torch.zeros(2, 3), "b": torch.zeros(3, 3)}, 1.0),
            ({"a": torch.zeros(2, 3)}, 0.0),
            ({"a": torch.zeros(2, 3)}, float("nan")),
            ({"a": torch.full((2, 3), float("nan"))}, 1.0),
        ],
        ids=["none", "unequal", "clip 0", "clip nan", "gradient nan"],
    )
    def test_refuses(self, gradients, clip):
        with pytest.raises(InputError):
            clipped_sum(gradients, clip)


class TestStep:
    recipe = {"loss": F.cross_entropy, "lot": 8, "learning_rate": 0.1}  # noqa: RUF012

    def test_without_noise_and_clip_is_a_step_of_sgd(self, model, batch):
        x, y = batch
        other = copy.deepcopy(model)
        F.cross_entropy(other(x), y).backward()
        torch.optim.SGD(other.parameters(), lr=0.1).step()
        dp_step(model, x, y, clip=1e6, noise=0.0, **self.recipe)
        same(model.state_dict(), other.state_dict())

    def test_noise_has_the_size_it_says_also_for_an_empty_batch(self, batch):
        x, y = batch
        torch.manual_seed(0)
        model = nn.Linear(6, 2000)
        before = model.weight.detach().clone()
        dp_step(model, x[:0], y[:0], clip=2.0, noise=3.0, generator=torch.Generator().manual_seed(0), **self.recipe)
        assert (model.weight - before).std().item() == pytest.approx(0.1 / 8 * 3 * 2, rel=0.03)

    def test_generator_decides(self, model, batch):
        results = []
        for seed in (0, 0, 1):
            mine = copy.deepcopy(model)
            dp_step(mine, *batch, clip=1.0, noise=1.0, generator=torch.Generator().manual_seed(seed), **self.recipe)
            results.append(mine[0].weight.detach())
        assert torch.equal(results[0], results[1])
        assert not torch.equal(results[0], results[2])

    @pytest.mark.parametrize("wrong", [{"noise": -1.0}, {"lot": 0}, {"learning_rate": float("nan")}], ids=str)
    def test_refuses(self, model, batch, wrong):
        with pytest.raises(InputError):
            dp_step(model, *batch, **{"clip": 1.0, "noise": 1.0, **self.recipe, **wrong})
