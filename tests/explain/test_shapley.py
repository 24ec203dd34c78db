"""Shapley values: games known by hand, axioms, brute force, Captum, every kind of input, cost, and what is refused."""

import warnings
from itertools import permutations

import pytest
import torch
from captum.attr import KernelShap

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.players import Players, grid
from bigmodel_lab.explain.shapley import exact_shapley, kernel_shap, shapley_sampling
from tests.explain.toys import Linear

METHODS = [exact_shapley, kernel_shap, shapley_sampling]


def close(got, expected, atol=1e-4):
    torch.testing.assert_close(got, torch.as_tensor(expected).to(got), rtol=0, atol=atol)


def lemonade(x):
    """Ann sells 10 alone, Bob 20, both 60; the third brings nothing."""
    ann, bob = x[:, 0], x[:, 1]
    return 10 * ann + 20 * bob + 30 * ann * bob


def gloves(x):
    """6 for a pair: the first player has the left glove, the others a right one each."""
    return 6 * x[:, 0] * x[:, 1:].amax(1)


def table(n, seed=0, examples=1, dtype=torch.float64):
    """A game of n players with any worth for each coalition: inputs (B, n) of 1, f looks the worth up."""
    worth = torch.randn(2**n, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return lambda x: worth[(x.long() * 2 ** torch.arange(n)).sum(1)], torch.ones(examples, n, dtype=dtype)


def brute_force(f, inputs, base):
    """The mean over all orders of what each player adds, (n,), of the first example (B, n)."""
    n = inputs.shape[1]
    orders = list(permutations(range(n)))
    total = torch.zeros(n, dtype=torch.float64)
    for order in orders:
        x = base.clone()
        before = f(x)
        for player in order:
            x[:, player] = inputs[:, player]
            total[player] += (f(x) - before)[0] / len(orders)
            before = f(x)
    return total


class TestByHand:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_lemonade(self, method, dtype):
        found = method(lemonade, torch.ones(1, 3, dtype=dtype))
        assert found.values.dtype == dtype
        given = {} if method is not shapley_sampling else {"atol": 1e-4}
        close(found.values, [[25, 35, 0]], **given)
        close(found.gap, [0])

    @pytest.mark.parametrize("method", [exact_shapley, kernel_shap])
    def test_gloves(self, method):
        close(method(gloves, torch.ones(1, 3)).values, [[4, 1, 1]])

    @pytest.mark.parametrize("method", METHODS)
    def test_one_player_and_two(self, method):
        two = torch.tensor([[2.0, 3.0]])
        close(method(lambda x: x[:, 0] * x[:, 1], two).values, [[3, 3]])
        one = method(lambda x: x.sum(1), two, groups=torch.tensor([0, 0]))
        close(one.values, [[2.5, 2.5]])
        close(one.gap, [0])

    @pytest.mark.parametrize("method", METHODS)
    def test_of_a_linear_score(self, method):
        torch.manual_seed(0)
        model, x = Linear(6).eval(), torch.randn(4, 6)
        base = torch.randn(6)
        close(method(model, x, 1, base).values, model.weights(1, x) * (x - base))


class TestExact:
    @pytest.mark.parametrize("n", [2, 3, 4, 5])
    def test_is_the_mean_over_all_orders(self, n):
        f, x = table(n)
        close(exact_shapley(f, x).values[0], brute_force(f, x, torch.zeros_like(x)), atol=1e-10)

    def test_axioms(self):
        f, x = table(5)
        g, _ = table(5, seed=1)
        phi, psi = exact_shapley(f, x).values, exact_shapley(g, x).values
        close(phi.sum(), f(x)[0] - f(torch.zeros_like(x))[0], atol=1e-10)
        both = exact_shapley(lambda x: 2 * f(x) - 3 * g(x), x).values
        close(both, 2 * phi - 3 * psi, atol=1e-10)
        idle = exact_shapley(lambda x: f(x * torch.tensor([1, 1, 0, 1, 1])), x).values  # the third changes nothing
        close(idle[0, 2], 0, atol=1e-10)

        def alike(x):  # the first two can be exchanged
            return f(x) + f(x[:, [1, 0, 2, 3, 4]])

        values = exact_shapley(alike, x).values
        close(values[0, 0], values[0, 1], atol=1e-10)

    def test_twelve_players_and_not_thirteen(self):
        f, x = table(12)
        found = exact_shapley(f, x)
        assert found.forwards == 2**12
        close(found.gap, [0], atol=1e-8)
        with pytest.raises(InputError, match="8,192 forwards") as caught:
            exact_shapley(*table(13))
        assert "kernel_shap" in str(caught.value)


class TestKernelShap:
    @pytest.mark.parametrize("n", [2, 3, 4, 7, 10])
    @pytest.mark.parametrize("interactions", [True, False])
    def test_with_all_coalitions_it_is_exact(self, n, interactions):
        f, x = table(n)
        found = kernel_shap(f, x, budget=2**n, interactions=interactions)
        close(found.values, exact_shapley(f, x).values)
        assert found.forwards == 2**n

    @pytest.mark.parametrize("n", [2, 3, 4, 13, 30])
    @pytest.mark.parametrize("extra", [0, 1, 40])
    def test_never_more_forwards_than_the_budget_and_the_sum_holds(self, n, extra):
        model, x = Linear(n).double().eval(), torch.randn(3, n, dtype=torch.float64)
        budget = min(2 * n, 2**n) + extra
        found = kernel_shap(lambda x: model(x).tanh(), x, 0, budget=budget)
        assert found.forwards <= 3 * budget
        if 2**n > budget:
            assert found.forwards >= 3 * (budget - 1)
        close(found.gap, [0, 0, 0], atol=1e-8)

    def test_the_seed_decides(self):
        f, x = table(10)
        one, same, other = (kernel_shap(f, x, budget=60, seed=seed).values for seed in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_a_budget_too_small(self):
        with pytest.raises(InputError, match="at least 14 forwards for 7 players"):
            kernel_shap(*table(7), budget=13)


@pytest.fixture(scope="module")
def trained():
    """A small CNN trained on shapes, six images and their labels, and exact values of twelve superpixels (B, 12)."""
    from bigmodel_lab import train
    from bigmodel_lab.data.images import shapes
    from bigmodel_lab.models.cnn import CNN, CNNConfig

    torch.manual_seed(0)
    some, held = shapes(train=600, test=6, size=16, difficulty=0.3)
    model = CNN(CNNConfig(outputs=10, widths=(8, 16)))
    batches = train.Batches(some.images, some.labels, batch_size=32)
    train.fit(model, batches, epochs=6, learning_rate=1e-2, progress=False)
    model.eval().cpu()
    groups, grey = grid(16, 16, 3, 4), some.images.mean((0, 2, 3)).view(3, 1, 1).expand(3, 16, 16)
    exact = exact_shapley(model, held.images, held.labels, grey, groups=groups).values
    return model, held.images, held.labels, grey, groups, Players(held.images, groups).collect(exact)


class TestOnATrainedNetwork:
    @pytest.mark.parametrize("budget", [100, 200])
    def test_interactions_beat_the_regression_alone_and_that_beats_captum(self, trained, budget):
        model, images, labels, grey, groups, exact = trained
        players = Players(images, groups)

        def error(values):
            return ((players.collect(values) - exact).norm(dim=1) / exact.norm(dim=1)).mean().item()

        def ours(interactions, seed):
            given = {"groups": groups, "budget": budget, "interactions": interactions, "seed": seed}
            return kernel_shap(model, images, labels, grey, **given).values

        def captums(seed):
            torch.manual_seed(seed)
            mask = groups.expand(1, 3, 16, 16)
            given = {"feature_mask": mask, "n_samples": budget, "baselines": grey[None], "perturbations_per_eval": 64}
            with torch.no_grad(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="You are providing multiple inputs")
                whole = KernelShap(model).attribute(images, target=labels, **given)
            return players.spread(players.mean(whole))

        best, plain = (sum(error(ours(kind, seed)) for seed in range(5)) / 5 for kind in (True, False))
        theirs = sum(error(captums(seed)) for seed in range(2)) / 2
        assert best < 0.9 * plain
        assert plain < 0.7 * theirs
        assert best < 0.12

    def test_sampling_comes_nearer_with_more_orders(self, trained):
        model, images, labels, grey, groups, exact = trained
        players, errors = Players(images, groups), []
        for orders in (4, 64):
            found = shapley_sampling(model, images, labels, grey, groups=groups, permutations=orders)
            errors.append((players.collect(found.values) - exact).norm() / exact.norm())
            close(found.gap, torch.zeros(6), atol=1e-4)
        assert errors[1] < 0.7 * errors[0]


class TestSampling:
    @pytest.mark.parametrize("orders", [1, 2, 3, 26])
    @pytest.mark.parametrize("n", [1, 2, 3, 6])
    def test_the_sum_is_exact_and_an_odd_number_is_rounded_up(self, orders, n):
        f, x = table(n, examples=2)
        found = shapley_sampling(f, x, permutations=orders)
        close(found.gap, [0, 0], atol=1e-10)
        assert found.forwards <= 2 * (2 + (orders + orders % 2) * max(0, n - 1))
        assert found.forwards <= 2 * 2**n
        even = shapley_sampling(f, x, permutations=orders + orders % 2)
        assert torch.equal(found.values, even.values)

    def test_the_mean_over_seeds_is_the_exact_value(self):
        f, x = table(5)
        exact = exact_shapley(f, x).values
        found = torch.cat([shapley_sampling(f, x, permutations=2, seed=seed).values for seed in range(400)])
        error = found.std(0) / 20
        assert ((found.mean(0) - exact[0]).abs() < 4 * error).all()

    def test_of_two_players_a_pair_of_orders_is_exact(self):
        f, x = table(2)
        close(shapley_sampling(f, x, permutations=1).values, exact_shapley(f, x).values, atol=1e-10)

    def test_refuses_no_permutation(self):
        with pytest.raises(InputError, match="at least 1 permutation"):
            shapley_sampling(*table(3), permutations=0)


@pytest.mark.parametrize("method", METHODS)
class TestInputs:
    @pytest.mark.parametrize("kind", ["cnn", "lstm", "text", "bert", "gpt2", "audio", "vit"])
    def test_every_model_one_by_one_as_together_and_without_its_embedding(self, samples, method, kind):
        s, base = samples[kind], 1 if samples[kind].embedding is not None else 0.0
        given = {} if kind not in ("cnn", "vit") else {"groups": grid(16, 16, 2, 3)}
        if method is kernel_shap:
            given["budget"] = 40
        found = method(s.model, s.inputs, s.target, base, embedding=s.embedding, **given)
        assert found.values.shape == s.inputs.shape
        assert found.values.isfinite().all()
        close(found.gap, torch.zeros(2))
        target = [s.target if isinstance(s.target, int | tuple) else s.target[i : i + 1] for i in range(2)]
        alone = [method(s.model, s.inputs[i : i + 1], target[i], base, **given).values for i in range(2)]
        close(found.values, torch.cat(alone))

    def test_series_go_by_time_steps(self, method):
        x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
        found = method(lambda x: (x[:, :, 0] * torch.tensor([1.0, 2, 3, 4])).sum(1), x)
        each = x[:, :, 0] * torch.tensor([1.0, 2, 3, 4]) / 3
        close(found.values, each[:, :, None].expand(2, 4, 3))

    def test_each_image_has_its_own_groups(self, samples, method):
        s, one = samples["cnn"], grid(16, 16, 2, 2)
        groups = torch.stack([one, one.T.flip(0)])[:, None]  # (B, 1, H, W)
        found = method(s.model, s.inputs, s.target, groups=groups).values
        for i in range(2):
            alone = method(s.model, s.inputs[i : i + 1], s.target[i : i + 1], groups=groups[i, 0]).values
            close(found[i : i + 1], alone)

    def test_double_stays_double(self, method):
        f, x = table(4, dtype=torch.float64)
        assert method(f, x).values.dtype == torch.float64

    def test_a_baseline_for_each_example(self, method):
        torch.manual_seed(0)
        model, x, base = Linear(5).eval(), torch.randn(3, 5), torch.randn(3, 5)
        close(method(model, x, 0, base).values, model.weights(0, x) * (x - base))

    def test_rows_that_do_not_fit_into_memory(self, samples, method):
        s, groups = samples["cnn"], grid(16, 16, 2, 3)

        def tight(x):
            if len(x) > 10:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
            return s.model(x)

        with pytest.warns(UserWarning, match="do not fit into memory"):
            found = method(tight, s.inputs, s.target, groups=groups)
        assert any("rows at once do not fit" in note for note in found.notes)
        whole = method(s.model, s.inputs, s.target, groups=groups)
        close(found.values, whole.values, atol=1e-5)
        assert found.forwards == whole.forwards
        assert not whole.notes

    def test_ids_need_a_baseline(self, samples, method):
        s = samples["lstm"]
        with pytest.raises(InputError, match="a baseline for token ids"):
            method(s.model, s.inputs, s.target, embedding=s.embedding)

    @pytest.mark.parametrize(
        ("groups", "message"),
        [(torch.tensor([0, 2, 2]), "every number from 0"), (torch.zeros(3), "float32"), (torch.arange(2), "broadcast")],
    )
    def test_wrong_groups(self, method, groups, message):
        with pytest.raises(InputError, match=message):
            method(lemonade, torch.ones(1, 3), groups=groups)
