r"""The mathematics of KernelSHAP: which coalitions to ask about, and the regression that turns answers into shares.

Each coalition S stands beside its complement, and only d(S) = v(S) - v(N without S) is kept: Shapley values depend on
nothing else. With $x_i = 1$ for i in S and -1 otherwise, additive games have $d(S) = \sum_i x_i φ_i$.
Sources: Lundberg & Lee (2017), arXiv 1705.07874; Covert & Lee (2021), arXiv 2012.01536 (pairs, the constraint);
O'Donnell (2014), Analysis of Boolean Functions, chapter 1 (products of x as a basis).
Dimension letters: B examples, n players, M pairs of a coalition and its complement.
"""

from itertools import combinations
from math import comb

import torch
from torch import Tensor

__all__ = ["draw", "regress"]

MOST = 1024  # pairs for which interactions are modelled: the time grows with their cube
WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # of three-player interactions, beside the additive part
NOISE = (1e-3, 1e-2, 1e-1)


def draw(n: int, pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return coalitions S (M, n) bool, M <= `pairs`, and their weights (M,); none twice, and none with its complement.

    The kernel gives all coalitions of one size together the mass (n - 1) / (s (n - s)). From the smallest size on, all
    are listed as long as the budget pays for them; of the other sizes a share is drawn, and players take turns.
    """
    mass = {size: (n - 1) / (size * (n - size)) for size in range(1, n // 2 + 1)}  # with its complement: twice
    if n % 2 == 0:
        mass[n // 2] /= 2
    count = {size: comb(n, size) // (2 if 2 * size == n else 1) for size in mass}  # pairs there are
    drawn, left = {}, dict(mass)
    for size in mass:
        if count[size] > pairs or (pairs * left[size] / sum(left.values()) < count[size] and len(left) > 1):
            break
        drawn[size] = _all(n, size)[: count[size]]
        pairs -= count[size]
        del left[size]
    for size, number in _shares(left, count, pairs).items():
        drawn[size] = _some(n, size, number, generator)
    total = sum(mass.values()) / sum(mass[size] for size in drawn)
    weights = [torch.full((len(rows),), total * mass[size] / len(rows)) for size, rows in drawn.items()]
    return torch.cat(list(drawn.values())), torch.cat(weights).double()


def _all(n: int, size: int) -> Tensor:
    """Return all coalitions of one size, (count, n); of half the players, the first half are those with player 0."""
    chosen = torch.tensor(list(combinations(range(n), size)))
    return torch.zeros(len(chosen), n, dtype=torch.bool).scatter_(1, chosen, True)


def _shares(mass: dict[int, float], count: dict[int, int], pairs: int) -> dict[int, int]:
    """Divide `pairs` among sizes by their mass, largest remainders first; none gets more than there are."""
    if not mass or pairs < 1:
        return {}
    want = {size: pairs * one / sum(mass.values()) for size, one in mass.items()}
    got = {size: int(one) for size, one in want.items()}
    for size in sorted(want, key=lambda size: got[size] - want[size])[: pairs - sum(got.values())]:
        got[size] += 1
    return {size: min(number, count[size]) for size, number in got.items() if number}


def _some(n: int, size: int, number: int, generator: torch.Generator) -> Tensor:
    """Draw different coalitions of one size (number, n) in which every player is about equally often."""
    seen, turns = {}, torch.zeros(n)
    while len(seen) < number:
        chosen = (turns + torch.rand(n, generator=generator)).argsort()[:size]
        row = torch.zeros(n, dtype=torch.bool)
        row[chosen] = True
        key = tuple(row.tolist()) if 2 * size < n or row[0] else tuple((~row).tolist())
        if key in seen:
            turns += torch.rand(n, generator=generator)  # else it might come for ever
            continue
        seen[key] = row
        turns[chosen] += 1
    return torch.stack(list(seen.values()))


def regress(half: Tensor, weight: Tensor, difference: Tensor, change: Tensor, order: int) -> Tensor:
    """Turn d(S) of the coalitions (M, n), `difference` (B, M) float64, into shares (B, n) that sum to `change` (B,)."""
    x = (2.0 * half.double() - 1).to(difference.device)  # (M, n) of ±1
    weight, n = weight.to(x.device), x.shape[1]
    if order == 1 or n < 4 or len(x) > MOST or len(x) == 2 ** (n - 1) - 1:
        return _additive(x, weight, difference, change)
    shares, fitted, fitted_change = _with_threes(x, difference, change)
    return shares + _additive(x, weight, difference - fitted, change - fitted_change)


def _additive(x: Tensor, weight: Tensor, difference: Tensor, change: Tensor) -> Tensor:
    """Weighted least squares for d = x φ with Σ φ = change: the last player gets what the others leave."""
    design = x[:, :-1] - x[:, -1:]  # (M, n - 1)
    scaled = design * weight[:, None]
    solve = torch.linalg.pinv(scaled.T @ design) @ scaled.T  # (n - 1, M)
    first = (difference - change[:, None] * x[:, -1]) @ solve.T
    return torch.cat([first, change[:, None] - first.sum(1, keepdim=True)], dim=1)


def _with_threes(x: Tensor, difference: Tensor, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Model d as a Gaussian process over products of one and of three x: its shares (B, n), fit (B, M) and d(N) (B,).

    The products $χ_T = \prod_{i \in T} x_i$ of odd size are a basis of d, and $χ_T$ gives each of its players 1 / |T|.
    Their sum over all T of one size depends on two coalitions only through $s = x · x'$, so no product is written out.
    How much the threes weigh, and the noise, are those under which each example's data are likeliest.
    """
    m, n = x.shape
    known = torch.cat([x, torch.ones(1, n).to(x)])  # all players present: d(N) is known too
    data = torch.cat([difference, change[:, None]], dim=1).T  # (M + 1, B)
    s, triples = known @ known.T, comb(n, 3)
    ones, threes = s / n, (s**3 - 3 * n * s + 2 * s) / 6 / triples
    rest = known.sum(1, keepdim=True) - known  # (M + 1, n), the sum over the other players
    share_ones, share_threes = known / n, known * (rest**2 - (n - 1)) / 2 / 3 / triples
    best = torch.full((data.shape[1],), -torch.inf).to(data)
    shares, fit = torch.zeros(data.shape[1], n).to(data), torch.zeros_like(data.T)
    for w in WEIGHTS:
        signal, gives = ones + w * threes, share_ones + w * share_threes
        for noise in NOISE:
            spread = torch.full((m + 1,), noise).to(x)
            spread[-1] = noise / 100  # d(N) holds nearly exactly
            factor = torch.linalg.cholesky(signal + spread.diag())
            solved = torch.cholesky_solve(data, factor)  # (M + 1, B)
            scale = (data * solved).sum(0).clamp_min(1e-300) / (m + 1)
            likelihood = -0.5 * ((m + 1) * scale.log() + 2 * factor.diagonal().log().sum())
            better = likelihood > best
            best = torch.where(better, likelihood, best)
            shares = torch.where(better[:, None], solved.T @ gives, shares)
            fit = torch.where(better[:, None], solved.T @ signal, fit)
    return shares, fit[:, :-1], fit[:, -1]
