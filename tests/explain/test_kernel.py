"""KernelSHAP's mathematics: which coalitions are drawn, and regressions held against exact values and Lagrange's."""

from itertools import permutations
from math import comb

import pytest
import torch

from bigmodel_lab.explain import kernel


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def mass(n):
    """The kernel's mass of each size s and n - s together, 1 <= s <= n / 2."""
    return {s: (n - 1) / (s * (n - s)) / (2 if 2 * s == n else 1) for s in range(1, n // 2 + 1)}


def keys(half):
    return [tuple(row) for row in half.tolist()]


class TestDraw:
    @pytest.mark.parametrize("n", range(2, 41))
    def test_no_coalition_twice_none_with_its_complement_none_empty_or_full(self, n):
        for pairs in {max(1, n - 1), min(2 ** (n - 1) - 1, 3 * n), min(2 ** (n - 1) - 1, 150)}:
            half, weight = kernel.draw(n, pairs, generator())
            assert 1 <= len(half) <= pairs
            assert half.dtype == torch.bool
            assert weight.dtype == torch.float64
            assert len({*keys(half), *keys(~half)}) == 2 * len(half)
            assert half.any(1).all()
            assert not half.all(1).any()
            assert (weight > 0).all()
            assert weight.sum() == pytest.approx(sum(mass(n).values()))

    @pytest.mark.parametrize("n", range(2, 12))
    def test_with_all_pairs_every_coalition_comes_with_the_kernel_as_its_weight(self, n):
        half, weight = kernel.draw(n, 2 ** (n - 1) - 1, generator())
        assert len(half) == 2 ** (n - 1) - 1
        size = half.sum(1)
        expected = [(n - 1) / (comb(n, s) * s * (n - s)) for s in size.tolist()]
        torch.testing.assert_close(weight, torch.tensor(expected).double(), rtol=1e-6, atol=0)

    @pytest.mark.parametrize(("n", "pairs"), [(12, 49), (12, 99), (20, 99), (40, 199), (9, 100)])
    def test_sizes_have_their_share_of_the_kernel(self, n, pairs):
        half, weight = kernel.draw(n, pairs, generator())
        size = half.sum(1).minimum(n - half.sum(1))
        have = {s: weight[size == s].sum().item() for s in size.unique().tolist()}
        scale = sum(mass(n).values()) / sum(mass(n)[s] for s in have)  # the sizes too rare to be drawn
        for s, share in have.items():
            assert share == pytest.approx(mass(n)[s] * scale)
        assert scale < 1.15

    def test_drawn_sizes_are_as_frequent_as_their_mass(self):
        half, _ = kernel.draw(30, 300, generator())
        size = half.sum(1).minimum(30 - half.sum(1))
        assert (size == 1).sum() == 30  # listed
        left = {s: m for s, m in mass(30).items() if s > 1}
        for s, m in left.items():
            assert abs((size == s).sum().item() - 270 * m / sum(left.values())) < 1

    def test_players_take_turns(self):
        half, _ = kernel.draw(20, 200, generator())
        for s in (2, 3, 4):
            count = half[half.sum(1) == s].sum(0)
            assert count.max() - count.min() <= 3

    def test_the_seed_decides(self):
        one, same, other = (kernel.draw(12, 60, generator(seed))[0] for seed in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    @pytest.mark.parametrize("n", [2, 3, 4, 5, 12, 40])
    def test_the_smallest_budget_tells_all_players_apart(self, n):
        half, _ = kernel.draw(n, max(1, n - 1), generator())
        known = torch.cat([2.0 * half - 1, torch.ones(1, n)])
        assert torch.linalg.matrix_rank(known) == n

    @pytest.mark.parametrize("pairs", [199, 210, 400, 1000, 1500, 2040, 2046])
    def test_nearly_all_of_a_size_do_not_keep_it_waiting(self, pairs):
        for seed in range(3):
            half, _ = kernel.draw(12, pairs, generator(seed))
            assert 0.98 * pairs <= len(half) <= pairs
            assert len({*keys(half), *keys(~half)}) == 2 * len(half)

    def test_many_players_with_few_pairs(self):
        half, weight = kernel.draw(784, 783, generator())
        assert 0 < len(half) <= 783
        assert weight.isfinite().all()


def game(n, sizes, seed=0, examples=3):
    """A random game with Walsh products of the given numbers of players: v(x), x (M, n) of ±1, and its shares."""
    g = generator(seed)
    codes = torch.arange(2**n)
    sets = (codes[:, None] >> torch.arange(n) & 1).bool()
    sets = sets[torch.isin(sets.sum(1), torch.tensor(sizes))]  # (T, n)
    weights = torch.randn(examples, len(sets), generator=g, dtype=torch.float64)

    def value(x):
        chi = torch.where(sets, x[:, None, :], 1.0).prod(2)  # (M, T)
        return weights @ chi.double().T

    odd = sets.sum(1) % 2 == 1
    shares = 2 * (weights * odd / sets.sum(1).clamp_min(1)) @ sets.double()  # χ_T changes by 2 from nobody to all
    return value, shares


def answers(value, half):
    """values (B, 2, M), ends (B, 2) as `kernel.regress` takes them."""
    x = 2.0 * half.double() - 1
    ends = torch.cat([value(-torch.ones_like(x[:1])), value(torch.ones_like(x[:1]))], dim=1)
    return torch.stack([value(x), value(-x)], dim=1), ends


def lagrange(half, weight, difference, change):
    """Weighted least squares with a multiplier for the sum: the (n + 1)-square system solved at once."""
    x, n = 2.0 * half.double() - 1, half.shape[1]
    square = torch.zeros(n + 1, n + 1).double()
    square[:n, :n] = x.T @ (weight[:, None] * x)
    square[:n, n] = square[n, :n] = 1
    right = torch.cat([(difference * weight) @ x, change[:, None]], dim=1)
    return torch.linalg.solve(square, right.T).T[:, :n]


def relative(found, exact):
    return ((found - exact).norm(dim=1) / exact.norm(dim=1)).mean().item()


class TestRegress:
    @pytest.mark.parametrize(("n", "pairs"), [(2, 1), (3, 2), (4, 5), (8, 20), (12, 49), (30, 100)])
    def test_alone_it_is_constrained_weighted_least_squares(self, n, pairs):
        half, weight = kernel.draw(n, pairs, generator(1))
        values = torch.randn(4, 2, len(half), dtype=torch.float64, generator=generator(2))
        ends = torch.randn(4, 2, dtype=torch.float64, generator=generator(3))
        found = kernel.regress(half, weight, values, ends, interactions=False)
        change = ends[:, 1] - ends[:, 0]
        torch.testing.assert_close(found, lagrange(half, weight, values[:, 0] - values[:, 1], change))
        torch.testing.assert_close(found.sum(1), change)

    @pytest.mark.parametrize("interactions", [True, False])
    @pytest.mark.parametrize("n", [2, 3, 4, 5, 9])
    def test_additive_games_are_exact_from_few_pairs(self, n, interactions):
        value, exact = game(n, [0, 1])
        half, weight = kernel.draw(n, max(1, n - 1), generator())
        found = kernel.regress(half, weight, *answers(value, half), interactions=interactions)
        torch.testing.assert_close(found, exact, atol=2e-3 if interactions else 1e-8, rtol=0)

    @pytest.mark.parametrize("interactions", [True, False])
    def test_even_products_cancel_in_pairs(self, interactions):
        value, exact = game(8, [1, 2, 4])
        half, weight = kernel.draw(8, 30, generator())
        found = kernel.regress(half, weight, *answers(value, half), interactions=interactions)
        torch.testing.assert_close(found, exact, atol=1e-3 if interactions else 1e-8, rtol=0)

    @pytest.mark.parametrize("interactions", [True, False])
    @pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
    def test_all_pairs_are_exact(self, n, interactions):
        value, exact = game(n, list(range(n + 1)))
        half, weight = kernel.draw(n, 2 ** (n - 1) - 1, generator())
        found = kernel.regress(half, weight, *answers(value, half), interactions=interactions)
        torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)

    def test_interactions_of_three_are_found_once_there_are_pairs_enough(self):
        value, exact = game(9, [1, 3])  # 9 + 84 unknowns
        few, many = {}, {}
        for interactions in (True, False):
            for store, pairs in ((few, 60), (many, 200)):
                half, weight = kernel.draw(9, pairs, generator())
                found = kernel.regress(half, weight, *answers(value, half), interactions=interactions)
                store[interactions] = relative(found, exact)
        assert few[True] < few[False]
        assert many[True] < 0.02
        assert many[True] < 0.2 * many[False]

    @pytest.mark.parametrize("interactions", [True, False])
    def test_the_sum_holds_and_examples_do_not_meet(self, interactions):
        value, _ = game(10, [1, 2, 3, 5], examples=5)
        half, weight = kernel.draw(10, 40, generator())
        values, ends = answers(value, half)
        values *= torch.tensor([1, 1e-6, 1e6, 0, -3]).view(-1, 1, 1)
        ends = ends * torch.tensor([1, 1e-6, 1e6, 0, -3]).view(-1, 1)
        found = kernel.regress(half, weight, values, ends, interactions=interactions)
        torch.testing.assert_close(found.sum(1), ends[:, 1] - ends[:, 0])
        alone = [
            kernel.regress(half, weight, values[i : i + 1], ends[i : i + 1], interactions=interactions)
            for i in range(5)
        ]
        torch.testing.assert_close(found, torch.cat(alone))
        assert torch.equal(found[3], torch.zeros(10).double())

    def test_renamed_players_keep_their_shares(self):
        value, _ = game(6, [1, 2, 3, 5])
        half, weight = kernel.draw(6, 20, generator())
        values, ends = answers(value, half)
        order = torch.randperm(6, generator=generator(4))
        for interactions in (True, False):
            found = kernel.regress(half, weight, values, ends, interactions=interactions)
            renamed = kernel.regress(half[:, order], weight, values, ends, interactions=interactions)
            torch.testing.assert_close(renamed, found[:, order])

    def test_shares_of_products_are_those_of_permutations(self):
        g = generator(5)
        x = torch.where(torch.rand(3, 4, generator=g) < 0.5, -1.0, 1.0).double()
        r = torch.rand(2, 4, generator=g).double()
        found = kernel._shares_of_products(x, r)

        def value(b, m, s):
            return (1 + r[b] * x[m] * s).prod() - (1 - r[b] * x[m] * s).prod()

        for b in range(2):
            for m in range(3):
                exact = torch.zeros(4).double()
                for order in permutations(range(4)):
                    s = -torch.ones(4).double()
                    for player in order:
                        before, s = value(b, m, s), s.clone()
                        s[player] = 1
                        exact[player] += (value(b, m, s) - before) / 24
                ratio = found[b, m] / exact
                torch.testing.assert_close(ratio, ratio[:1].expand(4))  # equal but for the one factor of all
