"""TCAV: does a concept that people can name, given by examples, raise a score?

Source: Kim et al. (2018), Interpretability beyond feature attribution: quantitative testing with concept activation
vectors, arXiv 1711.11279. Captum has a TCAV too; the accuracy that it reports is the share of one class (its issue
1122), which a test here documents. Dimension letters: B examples, N numbers that a layer puts out, R repeats.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import ROWS, Forward, Run, Target, checks, running
from bigmodel_lab.explain.methods.layers import at_layer, check_layer

__all__ = ["Concept", "Pool", "tcav"]

Pool = Callable[[Tensor], Tensor]  # a layer's output (B, ...) -> (B, N), linear: a mean, or the choice of a place
FEWEST, HELD_OUT = 10, 1 / 3  # examples of a concept; the share of them that its classifier does not see
STRENGTH = 0.01  # sklearn's C: there are often fewer examples than numbers, and a firm hand is right more often


@dataclass(frozen=True, kw_only=True, eq=False)
class Concept:
    """What a concept does to a score, and whether that is more than a random set of examples does."""

    score: float  # share of examples whose score rises along the concept's vector, mean over the repeats
    low: float  # 95 % interval of that mean
    high: float
    p: float  # two-sided, Welch's t-test: the concept's scores against those of random vectors
    accuracy: float  # held-out: how well the layer tells the concept from random examples, mean over the repeats
    control: float  # score of random against random
    control_accuracy: float  # about 0.5 unless something is wrong
    cav: Tensor  # (N,) unit length, the mean of the concept's vectors
    scores: Tensor  # (R,)
    controls: Tensor  # (R,)

    def __repr__(self) -> str:
        """Say the score, its interval, and the two things that it is worth nothing without."""
        interval = f"{self.score:.2f} [{self.low:.2f}, {self.high:.2f}], random {self.control:.2f}, p {self.p:.1g}"
        return f"Concept({interval}, accuracy {self.accuracy:.2f})"


def tcav(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: None = None,
    *,
    layer: nn.Module,
    concept: Tensor,
    random: Tensor,
    pool: Pool | None = None,
    repeats: int = 20,
    seed: int = 0,
    embedding: nn.Module | None = None,
) -> Concept:
    """Return in what share of `inputs` the score rises when `layer` moves towards the concept.

    A linear classifier (logistic regression) tells the layer's outputs for `concept` examples from those for `random`
    ones; its normal is the concept's vector. This is done `repeats` times, each time with another two thirds of the
    concept and other random examples, and as often for random against random: p says how likely a difference as large
    is by chance, and a score with a large p or an accuracy near 0.5 says nothing. Give several times as many `random`
    as `concept` examples: repeats that share them are not independent, and p is then too small.
    `pool` makes (B, N) of the layer's output, None flattens it: `lambda h: h[:, -1]` for the last token of (B, T, C),
    `lambda h: h.mean((2, 3))` for channels of (B, C, H, W). Token ids need no embedding here, and nothing a baseline.
    """
    pool = pool or (lambda hidden: hidden.flatten(1))
    checks.check_inputs("tcav", inputs, None, discrete=True)
    count = _check_sets(inputs, concept, random, repeats)
    ids = not inputs.is_floating_point()
    with running("tcav", forward, inputs, target, 0 if ids else None, discrete=True) as run:
        check_layer(run, layer)
        of_concept, of_random = (_activations(run, layer, examples, pool) for examples in (concept, random))
        if of_concept.shape[1:] != of_random.shape[1:]:
            raise InputError(
                "as many numbers of the layer for concept and random examples",
                got=f"{of_concept.shape[1]} and {of_random.shape[1]}",
                hint="pool=lambda h: h.mean(1), or examples of equal length",
            )
        generator = torch.Generator().manual_seed(seed)
        found, controls = [], []
        for _ in range(repeats):
            some = of_concept[torch.randperm(len(concept), generator=generator)[:count]]
            first, second = of_random[torch.randperm(len(random), generator=generator)[: 2 * count]].split(count)
            found.append(_vector(some, first))
            controls.append(_vector(second, first))
        vectors = torch.stack([vector for vector, _ in found + controls]).to(inputs.device)  # (2 R, N)
        rises = run.each(lambda part: _slopes(part, layer, pool, vectors) > 0)  # (B, 2 R)
    scores, random_scores = rises.double().mean(0).cpu().split(repeats)
    cav = vectors[:repeats].mean(0)
    mean, half, p = _compare(scores, random_scores)
    accuracy, control_accuracy = (sum(right for _, right in pairs) / repeats for pairs in (found, controls))
    return Concept(
        score=mean,
        low=max(0.0, mean - half),
        high=min(1.0, mean + half),
        p=p,
        accuracy=accuracy,
        control=random_scores.mean().item(),
        control_accuracy=control_accuracy,
        cav=cav / cav.norm(),
        scores=scores,
        controls=random_scores,
    )


def _check_sets(inputs: Tensor, concept: Tensor, random: Tensor, repeats: int) -> int:
    """Return how many examples of each kind a classifier gets."""
    for name, examples in (("concept", concept), ("random", random)):
        if not isinstance(examples, Tensor) or examples.dtype != inputs.dtype or examples.ndim != inputs.ndim:
            got = f"{examples.dtype} of {examples.ndim} dimensions" if isinstance(examples, Tensor) else f"{examples!r}"
            raise InputError(f"{name} examples like the inputs: {inputs.dtype}, {inputs.ndim} dimensions", got=got)
    if len(concept) < FEWEST or len(random) < 2 * FEWEST:
        raise InputError(
            f"at least {FEWEST} concept and {2 * FEWEST} random examples", got=f"{len(concept)} and {len(random)}"
        )
    if repeats < 2:
        raise InputError("at least 2 repeats, for the test against chance", got=f"{repeats}")
    return min(2 * len(concept) // 3, len(random) // 2)


@torch.no_grad()
def _activations(run: Run, layer: nn.Module, examples: Tensor, pool: Pool) -> Tensor:
    """Return what the layer puts out for `examples`, pooled: (n, N)."""
    found = []
    for rows in examples.split(ROWS):
        hidden, _ = at_layer(layer, len(rows), lambda rows=rows: run.scores.output(rows))
        found.append(_pooled(pool, hidden))
    return torch.cat(found).cpu()


def _pooled(pool: Pool, hidden: Tensor) -> Tensor:
    pooled = pool(hidden)
    if not isinstance(pooled, Tensor) or pooled.ndim != 2 or len(pooled) != len(hidden):
        got = f"{tuple(pooled.shape)}" if isinstance(pooled, Tensor) else type(pooled).__name__
        raise InputError(f"a pool that makes ({len(hidden)}, N) of {tuple(hidden.shape)}", got=got)
    return pooled


def _vector(ones: Tensor, zeros: Tensor) -> tuple[Tensor, float]:
    """Return the unit normal (N,) that tells `ones` (n, N) from `zeros` (n, N), and its accuracy on held-out thirds."""
    from sklearn.linear_model import LogisticRegression

    held = round(len(ones) * HELD_OUT)
    seen, unseen = (torch.cat(pair).double() for pair in ((ones[held:], zeros[held:]), (ones[:held], zeros[:held])))
    centre, size = seen.mean(0), seen.std().clamp(min=1e-12)  # one scale for all: the direction stays
    labels = (torch.arange(len(seen)) < len(seen) // 2).numpy()
    line = LogisticRegression(C=STRENGTH, max_iter=1000).fit(((seen - centre) / size).numpy(), labels)
    guess = line.predict(((unseen - centre) / size).numpy())
    vector = torch.from_numpy(line.coef_[0])
    right = (guess == (torch.arange(2 * held) < held).numpy()).mean().item()
    return (vector / vector.norm().clamp(min=1e-12)).to(ones.dtype), right


def _slopes(part: Run, layer: nn.Module, pool: Pool, vectors: Tensor) -> Tensor:
    """Return the slope of the score along each vector (V, N), at each example: (b, V)."""
    hidden, score = at_layer(layer, len(part.x), lambda: part.scores(part.x, part.target))
    slope = torch.autograd.grad(score.sum(), hidden)[0]  # (b, ...)
    pooled = _pooled(pool, hidden)
    along = []
    for vector in vectors:  # where the vector points in the layer's own shape
        step = torch.autograd.grad(pooled, hidden, vector.expand_as(pooled), retain_graph=True)[0]
        along.append((slope * step).flatten(1).sum(1))
    return torch.stack(along, 1)


def _compare(scores: Tensor, controls: Tensor) -> tuple[float, float, float]:
    """Return the mean of scores (R,), half of its 95 % interval, and Welch's two-sided p against `controls` (R,)."""
    from scipy.stats import t as student

    count = len(scores)
    error, other = scores.var().item() / count, controls.var().item() / count
    apart = (scores.mean() - controls.mean()).abs().item()
    half = student.ppf(0.975, count - 1) * error**0.5
    if error + other == 0:
        return scores.mean().item(), 0.0, 0.0 if apart else 1.0
    freedom = (error + other) ** 2 * (count - 1) / (error**2 + other**2)
    return scores.mean().item(), float(half), float(2 * student.sf(apart / (error + other) ** 0.5, freedom))
