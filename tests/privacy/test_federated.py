"""Averages by hand and against training in one place; splits; the input that a gradient gives away."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.privacy import dirichlet_split, federated_average, input_from_gradient


class TestFederatedAverage:
    def test_by_hand(self):
        mean = federated_average([{"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([5.0, 10.0])}], [3, 1])
        torch.testing.assert_close(mean["w"], torch.tensor([2.0, 4.0]))

    def test_one_step_of_each_client_is_a_step_on_all_data(self):
        torch.manual_seed(0)
        model, x, y = nn.Linear(4, 3), torch.randn(30, 4), torch.randint(3, (30,))

        def step(rows):
            mine = copy.deepcopy(model)
            F.cross_entropy(mine(x[rows]), y[rows]).backward()
            torch.optim.SGD(mine.parameters(), lr=0.5).step()
            return mine.state_dict()

        parts = torch.arange(30).split([5, 20, 5])
        mean, central = federated_average([step(p) for p in parts], [5, 20, 5]), step(torch.arange(30))
        equal = federated_average([step(p) for p in parts], [1, 1, 1])
        for name in central:
            torch.testing.assert_close(mean[name], central[name])
        assert not torch.allclose(equal["weight"], central["weight"])

    def test_keeps_types_and_inputs(self):
        models = [nn.BatchNorm1d(2) for _ in range(2)]
        models[1].num_batches_tracked += 3
        before = copy.deepcopy(models[0].state_dict())
        mean = federated_average([m.state_dict() for m in models], [1, 1])
        assert {k: v.dtype for k, v in mean.items()} == {k: v.dtype for k, v in before.items()}
        assert mean["num_batches_tracked"] == 2  # 1.5 rounded
        assert all(torch.equal(before[k], v) for k, v in models[0].state_dict().items())
        models[0].load_state_dict(mean)
        half = federated_average([{"w": torch.ones(2, dtype=torch.float16)}] * 3, [1, 1, 1])
        assert half["w"].dtype == torch.float16

    def test_a_client_without_data_does_not_count(self):
        mean = federated_average([{"w": torch.ones(1)}, {"w": torch.full((1,), 9.0)}], [4, 0])
        assert mean["w"] == 1

    @pytest.mark.parametrize(
        ("weights", "sizes"),
        [
            ([], []),
            ([{"w": torch.ones(2)}], [1, 2]),
            ([{"w": torch.ones(2)}], [0]),
            ([{"w": torch.ones(2)}], [-1]),
            ([{"w": torch.ones(2)}], [float("nan")]),
            ([{"w": torch.ones(2)}, {"v": torch.ones(2)}], [1, 1]),
            ([{"w": torch.ones(2)}, {"w": torch.ones(3)}], [1, 1]),
            ([{"w": torch.ones(2)}, {"w": torch.tensor([1.0, float("nan")])}], [1, 1]),
        ],
        ids=["empty", "sizes", "zero", "negative", "nan size", "keys", "shapes", "nan weight"],
    )
    def test_refuses(self, weights, sizes):
        with pytest.raises(InputError):
            federated_average(weights, sizes)

    def test_says_which_client_differs_and_where(self):
        with pytest.raises(InputError, match=r"client 1 differs in \['v', 'w'\]"):
            federated_average([{"w": torch.ones(2)}, {"v": torch.ones(2)}], [1, 1])


class TestDirichletSplit:
    labels = torch.arange(10).repeat_interleave(60)

    @pytest.mark.parametrize("alpha", [0.1, 1.0, 100.0])
    def test_every_example_goes_to_one_client(self, alpha):
        split = dirichlet_split(self.labels, 8, alpha=alpha, least=5)
        assert torch.equal(torch.cat(split).sort().values, torch.arange(600))
        assert min(map(len, split)) >= 5

    def test_alpha_says_how_different_clients_are(self):
        def largest_share(alpha):
            split = dirichlet_split(self.labels, 8, alpha=alpha, seed=3)
            return torch.stack([self.labels[s].bincount(minlength=10).max() / len(s) for s in split]).mean()

        assert largest_share(0.05) > 0.5 > largest_share(1.0) > largest_share(1000.0)
        assert largest_share(1000.0) < 0.15

    def test_seed_decides(self):
        first, again, other = (dirichlet_split(self.labels, 4, alpha=0.5, seed=seed) for seed in (0, 0, 1))
        assert all(map(torch.equal, first, again))
        assert not all(len(a) == len(b) and torch.equal(a, b) for a, b in zip(first, other, strict=True))

    @pytest.mark.parametrize(
        ("labels", "clients", "options"),
        [
            (torch.zeros(0, dtype=torch.long), 2, {"alpha": 1.0}),
            (torch.rand(5), 2, {"alpha": 1.0}),
            (torch.zeros(5, dtype=torch.long), 0, {"alpha": 1.0}),
            (torch.zeros(5, dtype=torch.long), 2, {"alpha": 0.0}),
            (torch.zeros(5, dtype=torch.long), 2, {"alpha": float("nan")}),
            (torch.zeros(5, dtype=torch.long), 6, {"alpha": 1.0}),
            (torch.zeros(20, dtype=torch.long), 10, {"alpha": 1e-3, "least": 2}),
        ],
        ids=["empty", "floats", "no clients", "alpha 0", "alpha nan", "too many", "never found"],
    )
    def test_refuses(self, labels, clients, options):
        with pytest.raises(InputError):
            dirichlet_split(labels, clients, **options)


class TestInputFromGradient:
    def gradients(self, x):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))
        F.cross_entropy(model(x), torch.arange(len(x)) % 4).backward()
        return model[0].weight.grad, model[0].bias.grad

    def test_finds_the_input_of_one_example_and_not_of_two(self):
        x = torch.rand(2, 12, generator=torch.Generator().manual_seed(5))
        torch.testing.assert_close(input_from_gradient(*self.gradients(x[:1])), x[0], atol=1e-5, rtol=1e-4)
        both = input_from_gradient(*self.gradients(x))
        assert min((both - x[0]).norm(), (both - x[1]).norm()) > 0.1

    def test_refuses(self):
        weight, bias = self.gradients(torch.rand(1, 12))
        with pytest.raises(InputError, match="zero"):
            input_from_gradient(weight * 0, bias * 0)
        with pytest.raises(InputError, match="finite"):
            input_from_gradient(weight * float("nan"), bias)
        with pytest.raises(InputError):
            input_from_gradient(weight, bias[:3])
