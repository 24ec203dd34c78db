r"""Shapley values: exact, by a paired and constrained regression (KernelSHAP), and by antithetic permutations.

A player's value is the mean of what it adds to $v(S)$, the score with the players S present and the others at the
baseline (Shapley 1953; Lundberg & Lee 2017, arXiv 1705.07874). All examples share their coalitions, so everything is
one batch of changed inputs and one product of matrices.
Dimension letters: B examples, n players, M coalitions.
"""

from math import factorial

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Run, Target, running
from bigmodel_lab.explain.kernel import draw, regress
from bigmodel_lab.explain.players import Players

__all__ = ["exact_shapley", "kernel_shap", "shapley_sampling"]

MOST = 12  # players whose 2^n coalitions are all tried


def exact_shapley(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    groups: Tensor | None = None,
) -> Explanation:
    """Return the Shapley values of at most 12 players, by trying all 2^n coalitions; `embedding` is not needed.

    A player's value is spread evenly over its elements. Groups are those of `players.Players`.
    """
    with running("exact_shapley", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        n = players.count
        if n > MOST:
            raise InputError(
                f"at most {MOST} players for exact values: every player doubles the forwards",
                got=f"{n} players, {2**n:,} forwards for each example",
                hint="kernel_shap, or fewer players by groups=",
            )
        codes = torch.arange(2**n)
        coalitions = (codes[:, None] >> torch.arange(n) & 1).bool()  # (2^n, n)
        values = _values(run, players, coalitions[1:-1])
        score, change = run.score.double(), run.change()
        ends = (score - change.double())[:, None], score[:, None]
        values = torch.cat([ends[0], values, ends[1]], dim=1)  # (B, 2^n)
        size = coalitions.sum(1)
        share = [factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)] + [0.0]
        share = torch.tensor(share, dtype=torch.float64)
        joins, stays = share[(size - 1).clamp_min(0)], share[size]  # of a coalition that i is in, and of one without
        weight = torch.where(coalitions, joins[:, None], -stays[:, None])  # (2^n, n)
        shares = values @ weight.to(values.device)
        return run.explanation(players.spread(shares.to(run.score.dtype)), gap=True, change=change)


def kernel_shap(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    groups: Tensor | None = None,
    budget: int = 200,
    interactions: bool = True,
    seed: int = 0,
) -> Explanation:
    """Estimate Shapley values from `budget` forwards per example, the full and the empty coalition among them.

    The regression of Lundberg & Lee (2017), theorem 2, with each coalition beside its complement and the sum as a
    constraint that is eliminated (Covert & Lee 2021, arXiv 2012.01536). With `interactions`, a model of what players
    do together takes out most of the sampling error first (see `kernel`); without, it is KernelSHAP alone. With 2^n
    forwards the values are exact. `embedding` is not needed; a player's value is spread evenly over its elements.
    """
    with running("kernel_shap", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        n = players.count
        least = min(2 * n, 2**n)
        if budget < least:
            hint = "more forwards, or fewer players by groups="
            raise InputError(f"a budget of at least {least} forwards for {n} players", got=repr(budget), hint=hint)
        change = run.change()
        shares = change.double()[:, None]  # of one player
        if n > 1:
            half, weight = draw(n, (budget - 2) // 2, torch.Generator().manual_seed(seed))
            values = _values(run, players, torch.cat([half, ~half])).unflatten(1, (2, len(half)))  # (B, 2, M)
            ends = torch.stack([run.score.double() - shares[:, 0], run.score.double()], dim=1)
            shares = regress(half, weight, values, ends, interactions=interactions)
        return run.explanation(players.spread(shares.to(run.score.dtype)), gap=True, change=change)


def shapley_sampling(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    groups: Tensor | None = None,
    permutations: int = 26,
    seed: int = 0,
) -> Explanation:
    """Estimate Shapley values from random orders in which players join (Castro et al. 2009), n forwards an order.

    Orders come in pairs, each with its reverse (antithetic; Mitchell et al. 2022, arXiv 2104.12199); an odd number is
    rounded up. Each order sums to f(x) - f(x'), so the mean does. A coalition met twice is evaluated once.
    `embedding` is not needed; a player's value is spread evenly over its elements.
    """
    if permutations < 1:
        raise InputError("at least 1 permutation", got=repr(permutations))
    with running("shapley_sampling", forward, inputs, target, baseline, discrete=True) as run:
        players = Players(run.inputs, groups)
        n, generator = players.count, torch.Generator().manual_seed(seed)
        orders = torch.stack([torch.randperm(n, generator=generator) for _ in range((permutations + 1) // 2)])
        orders = torch.cat([orders, orders.flip(1)])  # (P, n): the k-th to join
        place = orders.argsort(1)  # (P, n): when a player joins
        met = place[:, None, :] <= torch.arange(n - 1)[:, None]  # (P, n - 1, n): after k + 1 have joined
        coalitions, which = torch.unique(met.reshape(-1, n), dim=0, return_inverse=True)
        score, change = run.score.double(), run.change()
        steps = _values(run, players, coalitions)[:, which.to(run.x.device)]
        steps = steps.view(len(score), len(orders), n - 1)
        ends = (score - change.double())[:, None, None], score[:, None, None]
        first, last = (end.expand(-1, len(orders), 1) for end in ends)
        path = torch.cat([first, steps, last], dim=2)  # (B, P, n + 1)
        adds = path.diff(dim=2).gather(2, place.to(path.device).expand(len(score), -1, -1))  # (B, P, n) by player
        return run.explanation(players.spread(adds.mean(1).to(run.score.dtype)), gap=True, change=change)


def _values(run: Run, players: Players, coalitions: Tensor) -> Tensor:
    """Return v(S) of every coalition (M, n) for every example, (B, M) float64."""
    coalitions = coalitions.to(run.x.device)
    return run.changed(len(coalitions), players.rows(run.inputs, run.base, coalitions)).double()
