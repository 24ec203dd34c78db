"""What a model card reports, measured: results with intervals, by group and under changed inputs, hashes, sizes, cost.

Shares have Wilson's interval (1927, doi 10.1080/01621459.1927.10502953), other means the bootstrap's.
Groups and conditions: "disaggregated evaluation" of Mitchell et al. (2019), arXiv 1810.03993.
Dimension letters: N examples.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.agreement import bootstrap
from bigmodel_lab.explain.card_text import check_name, plain

__all__ = ["HeldOut", "about_board", "about_data", "about_model", "cost_of", "digest", "interval", "measure", "shared"]

LEVEL = 0.95  # of every interval
MANY = 10_000  # examples
ALL, UNDER = "all", "under"  # names of the results on all examples, and on changed ones


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """What a model is measured on: examples that it has not seen, their groups, and the conditions it must stand."""

    name: str
    inputs: Tensor  # (N, ...)
    targets: Tensor  # (N, ...)
    classes: Sequence[str] = ()  # the names of the targets, where these are classes; they make a group of their own
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by factor: each example's group, N names
    conditions: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = field(default_factory=dict)
    metrics: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(
        default_factory=lambda: {"accuracy": train.accuracy}
    )
    seed: int = 0  # of the generator that each condition gets

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, or cannot be named in a table."""
        if not len(self.inputs) or len(self.inputs) != len(self.targets) or not self.metrics:
            got = f"{len(self.inputs)} inputs, {len(self.targets)} targets, {len(self.metrics)} metrics"
            raise InputError("as many targets as inputs, at least one, and a metric", got=got)
        if self.classes and (
            self.targets.ndim != 1 or not 0 <= self.targets.min() <= self.targets.max() < len(self.classes)
        ):
            got = f"shape {tuple(self.targets.shape)}, {self.targets.min()} to {self.targets.max()}"
            raise InputError(f"targets (N,) from 0 to {len(self.classes) - 1}, one for each class", got=got)
        if "class" in self.groups or UNDER in self.groups:
            raise InputError(f'groups of other names than "class" and "{UNDER}"', got=", ".join(self.groups))
        for factor, names in self.groups.items():
            if len(names) != len(self.inputs):
                raise InputError(f"{factor}: a name for each of {len(self.inputs)} examples", got=f"{len(names)}")
        used = [self.name, *self.classes, *self.groups, *self.conditions, *self.metrics]
        for name in used + [str(one) for names in self.groups.values() for one in set(names)]:
            check_name(name)

    def parts(self) -> dict[str, Tensor]:
        """Return the examples of each group, booleans (N,), under "factor: group"."""
        groups = dict(self.groups)
        if self.classes:
            groups = {"class": [self.classes[int(label)] for label in self.targets]} | groups
        return {
            f"{factor}: {group}": torch.tensor([str(name) == str(group) for name in names])
            for factor, names in groups.items()
            for group in (self.classes if factor == "class" else sorted(set(names), key=str))
            if any(str(name) == str(group) for name in names)
        }


def interval(scores: Tensor, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the confidence interval of the mean of `scores` (N,).

    Scores of 0 and 1 get Wilson's, which keeps its promise for few examples and for shares near 1, where the bootstrap
    of 40 right answers out of 40 would say "exactly 1"; others the percentile bootstrap (1000 resamples, seed 0), and
    beyond 10 000 examples the normal interval, which is the same there and needs no memory.
    """
    scores = scores.detach().cpu().double()
    if scores.ndim != 1 or not len(scores) or not scores.isfinite().all():
        raise InputError("finite scores (N,), one per example", got=f"shape {tuple(scores.shape)}, NaN or infinity")
    n, mean, z = len(scores), scores.mean().item(), NormalDist().inv_cdf(0.5 + level / 2)
    if not ((scores == 0) | (scores == 1)).all():
        if n > MANY:
            half = z * scores.std().item() / sqrt(n)
            return mean - half, mean + half
        _, low, high = bootstrap(scores.numpy()[None], level=level)
        return float(low[0]), float(high[0])
    centre, half = mean + z**2 / (2 * n), z * sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    return (0.0 if mean == 0 else low), (1.0 if mean == 1 else high)


def measure(model: nn.Module, test: HeldOut) -> dict[str, dict[str, dict[str, float]]]:
    """Return value, low, high and number of examples of each metric: on all, on each group, under each condition."""
    scores = _scores(model, test.inputs, test)
    found = {ALL: {name: _summary(one) for name, one in scores.items()}}
    for part, which in test.parts().items():
        found[part] = {name: _summary(one[which]) for name, one in scores.items()}
    for name, change in test.conditions.items():
        changed = change(test.inputs.clone(), torch.Generator().manual_seed(test.seed))
        again = _scores(model, changed, test)
        found[f"{UNDER}: {name}"] = {metric: _summary(one) for metric, one in again.items()}
    return found


def _scores(model: nn.Module, inputs: Tensor, test: HeldOut) -> dict[str, Tensor]:
    outputs = train.predict(model, inputs)
    found = {name: metric(outputs, test.targets) for name, metric in test.metrics.items()}
    for name, scores in found.items():
        if scores.shape != (len(inputs),):
            raise InputError(f"{name}: one score per example, ({len(inputs)},)", got=f"shape {tuple(scores.shape)}")
    return found


def _summary(scores: Tensor) -> dict[str, float]:
    low, high = interval(scores)
    return {"value": scores.double().mean().item(), "low": low, "high": high, "examples": len(scores)}


def about_model(model: nn.Module) -> dict[str, Any]:
    """Return class, size, configuration (a dataclass or Hugging Face's) and the hash of weights and buffers."""
    state, config = model.state_dict(), getattr(model, "config", None)
    sizes = asdict(config) if is_dataclass(config) else config.to_diff_dict() if hasattr(config, "to_diff_dict") else {}
    return {
        "class": type(model).__name__,
        "parameters": sum(one.numel() for one in model.parameters()),
        "configuration": {key: plain(value) for key, value in sizes.items()},
        "weights": digest(*(part for name, value in sorted(state.items()) for part in (name, value))),
    }


def about_data(inputs: Tensor, targets: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Return number, shape and hash of the examples, and how many there are of each class."""
    facts = {"examples": len(inputs), "shape": " × ".join(map(str, inputs.shape[1:])), "hash": digest(inputs, targets)}
    if classes:
        counts = Counter(targets.flatten().tolist())
        facts["classes"] = {str(name): counts[label] for label, name in enumerate(classes)}
    return facts


def shared(training: Tensor, held_out: Tensor) -> int:
    """Count held-out inputs that are, bit by bit, among those of the training."""
    seen = {digest(one) for one in training}
    return sum(digest(one) in seen for one in held_out)


def cost_of(model: nn.Module, one: Tensor) -> dict[str, float]:
    """Return what the weights take in memory and what one example takes in operations (matrix products and the like).

    A multiplication and an addition count as two, as PyTorch's own counter has it.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        train.predict(model, one)
    weights = sum(part.numel() * part.element_size() for part in model.parameters())
    return {"bytes of weights": weights, "operations per example": counter.get_total_flops()}


def about_board(board: Any) -> dict[str, dict[str, Any]]:
    """Return a board's numbers as method -> metric -> value, or value with its interval; plain ones are taken over."""
    if isinstance(board, Mapping):
        return {check_name(str(name)): {key: plain(one) for key, one in row.items()} for name, row in board.items()}
    found: dict[str, dict[str, Any]] = {}
    for case in board.cases:
        for metric in board.metrics:
            for method, (value, low, high) in board.scores(metric, case).items():
                row = found.setdefault(method if len(board.cases) == 1 else f"{method} on {case}", {})
                row[metric] = {"value": value, "low": low, "high": high}
    return found


def digest(*parts: Any) -> str:
    """Return 16 hexadecimal digits that stand for tensors (type, shape, every bit) and, as texts, for anything else."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            found.update(f"{part.dtype}{tuple(part.shape)}".encode())
            part = part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        found.update(part if isinstance(part, bytes) else str(part).encode())
    return found.hexdigest()[:16]
