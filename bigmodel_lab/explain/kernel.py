r"""The mathematics of KernelSHAP: which coalitions to ask about, and the regression that turns answers into shares.

Each coalition S stands beside its complement, and only d(S) = v(S) - v(N without S) is kept: Shapley values depend on
nothing else. With $x_i = 1$ for i in S and -1 otherwise, additive games have $d(S) = \sum_i x_i φ_i$.
Other games are modelled with their interactions first, and the regression corrects what the model gets wrong.
Sources: Lundberg & Lee (2017), arXiv 1705.07874; Covert & Lee (2021), arXiv 2012.01536 (pairs, the constraint);
Owen (1972), Management Science 18 (shares from the multilinear extension); Rasmussen & Williams (2006), Gaussian
Processes for Machine Learning, chapters 2 and 5 (the fit and its likelihood).
Dimension letters: B examples, n players, M pairs of a coalition and its complement.
"""

from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor

__all__ = ["draw", "regress"]

MOST = 512  # pairs for which interactions are modelled: the time grows with their cube
# Of the interactions: those of three players weigh t² / 6 times the single players. The first: additive games.
STRENGTHS = (0.03, 0.3, 1.0, 2.0, 4.0)
NOISE = 1e-5  # of the variance of d(N)
ROOM = 2**22  # numbers in one array


def draw(n: int, pairs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return coalitions S (M, n) bool, M <= `pairs`, and their weights (M,); none twice, and none with its complement.

    The kernel gives all coalitions of one size together the mass (n - 1) / (s (n - s)). Single players
    come first, whatever the budget: n - 1 pairs then tell all players apart, as fewer drawn ones may not. From two
    players on, all are listed as long as the budget pays for them; of the other sizes a share is drawn, and players
    take turns.
    """
    mass = {size: (n - 1) / (size * (n - size)) for size in range(1, n // 2 + 1)}  # with its complement: twice
    if n % 2 == 0:
        mass[n // 2] /= 2
    count = {size: comb(n, size) // (2 if 2 * size == n else 1) for size in mass}  # pairs there are
    drawn, left = {}, dict(mass)
    for size in mass:
        few = count[size] > pairs or (pairs * left[size] / sum(left.values()) < count[size] and len(left) > 1)
        if few and size > 1:
            break
        drawn[size] = _all(n, size)[: min(count[size], pairs)]
        pairs -= len(drawn[size])
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
    there = comb(n, size) // (2 if 2 * size == n else 1)
    if 2 * number > there:  # then draw those that are left out, or the last ones would be waited for
        rows, out = _all(n, size)[:there], set()
        if number < there:
            out = {_key(row) for row in _some(n, size, there - number, generator)}
        return rows[[_key(row) not in out for row in rows]]
    seen, turns, wide = {}, torch.zeros(n), 1.0
    while len(seen) < number:
        chosen = (turns + wide * torch.rand(n, generator=generator)).argsort()[:size]
        row = torch.zeros(n, dtype=torch.bool)
        row[chosen] = True
        if (key := _key(row)) in seen:
            wide *= 2  # turns count for less, else it might come for ever
            continue
        seen[key], wide = row, 1.0
        turns[chosen] += 1
    return torch.stack(list(seen.values()))


def _key(row: Tensor) -> tuple[bool, ...]:
    """Name a coalition (n,); of half the players, it and its complement have one name."""
    return tuple((row if row[0] or 2 * row.sum() < len(row) else ~row).tolist())


def regress(half: Tensor, weight: Tensor, values: Tensor, ends: Tensor, *, interactions: bool = True) -> Tensor:
    """Turn what coalitions are worth into shares (B, n) that sum to v(N) - v(∅), all float64.

    `values` (B, 2, M) are v(S) of the coalitions `half` (M, n) and v(N without S), `ends` (B, 2) are v(∅) and v(N).
    """
    x, n = (2.0 * half.double() - 1).to(values.device), half.shape[1]  # (M, n) of ±1
    weight = weight.to(x.device)
    difference, change = values[:, 0] - values[:, 1], ends[:, 1] - ends[:, 0]  # (B, M), (B,)
    shares = _additive(x, weight, difference, change)
    if not interactions or n < 4 or not n <= len(x) <= MOST or len(x) == 2 ** (n - 1) - 1:
        return shares
    size = _importance(half, values, ends, shares)
    step = max(1, ROOM // (len(x) * max(len(x), 8 * n)))
    parts = [slice(i, i + step) for i in range(0, len(size), step)]
    found = [_interactions(x, difference[part], change[part], size[part]) for part in parts]
    model, fit, fit_change = (torch.cat(part) for part in zip(*found, strict=True))
    return model + _additive(x, weight, difference - fit, change - fit_change)


def _additive(x: Tensor, weight: Tensor, difference: Tensor, change: Tensor) -> Tensor:
    """Weighted least squares for d = x φ with Σ φ = change: the last player gets what the others leave."""
    design = x[:, :-1] - x[:, -1:]  # (M, n - 1)
    scaled = design * weight[:, None]
    solve = torch.linalg.pinv(scaled.T @ design) @ scaled.T  # (n - 1, M)
    first = (difference - change[:, None] * x[:, -1]) @ solve.T
    return torch.cat([first, change[:, None] - first.sum(1, keepdim=True)], dim=1)


def _importance(half: Tensor, values: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Return how large each player's part in the game is expected to be, (B, n), summing to 1.

    Where each player was tried alone and missing alone: the root mean square of what it adds in those two cases.
    """
    alone = (half.sum(1) == 1).nonzero()[:, 0].to(values.device)
    size = shares.abs()
    if len(alone) == half.shape[1]:
        first, last = values[:, 0, alone] - ends[:, :1], ends[:, 1:] - values[:, 1, alone]  # (B, n)
        size = torch.empty_like(size)
        size[:, half.to(values.device)[alone].long().argmax(1)] = ((first**2 + last**2) / 2).sqrt()
    size = size.clamp_min(1e-9 * size.amax(1, keepdim=True)).clamp_min(1e-150)
    return size / size.sum(1, keepdim=True)


def _interactions(x: Tensor, difference: Tensor, change: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Model d as a Gaussian process in which players interact: its shares (B, n), its d(S) (B, M) and d(N) (B,).

    Its covariance is the odd part of $\prod_i (1 + r_i x_i x'_i)$, a sum over all sets of players, in which important
    players interact more. With $r_i = \tanh θ_i$ it is $\sinh(\sum_i θ_i x_i x'_i)$ but for a factor: one product of
    matrices. θ is t times `size`, (B, n); each example takes the t under which its data are likeliest.
    Shares are $\int_0^1$ of d's derivative along the diagonal (Owen 1972), by Gauss and Legendre's rule.
    """
    known = torch.cat([x, torch.ones_like(x[:1])])  # (M + 1, n): d(N) is known too
    data = torch.cat([difference, change[:, None]], dim=1)  # (B, M + 1)
    noise = torch.full_like(data[0], NOISE)
    noise[-1] /= 100  # d(N) holds nearly exactly
    best, chosen = torch.full_like(change, -torch.inf), torch.full_like(change, STRENGTHS[0])
    solved, fit = torch.zeros_like(data), torch.zeros_like(data)
    for strength in STRENGTHS:
        theta = strength * size
        covariance = torch.sinh((known * theta[:, None]) @ known.T)  # (B, M + 1, M + 1)
        covariance /= torch.sinh(theta.sum(1))[:, None, None]
        factor = torch.linalg.cholesky(covariance + noise.diag())
        found = torch.cholesky_solve(data[..., None], factor)[..., 0]  # (B, M + 1)
        variance = (data * found).sum(1).clamp_min(1e-300) / len(known)
        likelihood = -0.5 * len(known) * variance.log() - factor.diagonal(dim1=1, dim2=2).log().sum(1)
        better = likelihood > best
        best, chosen = torch.where(better, likelihood, best), torch.where(better, strength, chosen)
        solved = torch.where(better[:, None], found, solved)
        fit = torch.where(better[:, None], data - noise * found, fit)  # covariance times found
    theta = chosen[:, None] * size
    factor = theta.cosh().prod(1) / torch.sinh(theta.sum(1))
    gives = _shares_of_products(known, theta.tanh()) * factor[:, None, None]
    return torch.einsum("bm,bmn->bn", solved, gives), fit[:, :-1], fit[:, -1]


def _shares_of_products(x: Tensor, r: Tensor) -> Tensor:
    """Return the shares, (B, M, n), of the games that are the odd part of S -> Π (1 + r_i x_i s_i): x (M, n), r (B, n).

    The integral over [-1, 1] leaves out the even part by itself.
    """
    n = x.shape[1]
    places, weights = np.polynomial.legendre.leggauss(min((n + 1) // 2, 12))
    rx = r[:, None] * x  # (B, M, n)
    found = torch.zeros_like(rx)
    for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
        each = 1 + place * rx
        found += weight / 2 * each.prod(2, keepdim=True) / each
    return rx * found
