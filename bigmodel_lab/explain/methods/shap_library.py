"""SHAP's own explainers under the contract: Deep, Gradient and Partition.

Source: Lundberg & Lee (2017), NeurIPS, arXiv 1705.07874, and the `shap` library. It is imported inside the functions:
its import takes seconds, and Partition compiles for some more in each process.
Dimension letters: B examples, N background examples, P places (pixels, time steps, tokens or features).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Run, Scores, Target, running
from bigmodel_lab.explain.methods.sweeps import at_least, background_change, background_x, check_sum

LINEAR = {"Addition_Module", "Embedding", "Step"}  # plain gradients are right there; `mend` makes the sums and steps

__all__ = ["shap_deep", "shap_gradient", "shap_partition"]


class _One(nn.Module):
    """The score of one example as SHAP wants it: x (R, ...) -> (R, 1)."""

    def __init__(self, part: Run) -> None:
        super().__init__()
        self.scores: Scores = part.scores
        self.extra = part.extra

    def forward(self, x: Tensor) -> Tensor:
        target, ids = (None if one is None else one.expand(len(x), -1) for one in self.extra)
        return self.scores(x, target, ids)[:, None]


def shap_deep(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    background: Tensor | None = None,
    embedding: nn.Module | None = None,
    tolerance: float = 0.01,
) -> Explanation:
    """Return the values of `shap.DeepExplainer`: `deep_shap`'s, with rules of SHAP's own, one example at a time.

    Its check of the sum gives up at a gap of 0.01 whatever the scores; here a gap above `tolerance` of the difference
    is noted, and so are modules that SHAP has no rule for.
    """
    with running("shap_deep", forward, inputs, target, baseline, embedding=embedding) as run:
        _, others = run.model, background_x(run, background)

        def values(part: Run) -> Tensor:
            from shap.explainers._deep.deep_pytorch import PyTorchDeep

            found = PyTorchDeep(_One(part), others).shap_values(part.x.detach(), check_additivity=False)
            return torch.as_tensor(found[..., 0]).to(part.x)

        with _quiet() as seen:
            found = run.each(values, chunk=1)
        _note_unknown(run, seen)
        change = background_change(run, others)
        check_sum(run, found, change, tolerance)
        return run.explanation(found, gap=True, change=change)


def shap_gradient(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    background: Tensor | None = None,
    embedding: nn.Module | None = None,
    samples: int = 200,
    seed: int = 0,
) -> Explanation:
    """Return the values of `shap.GradientExplainer`: `gradient_shap`'s, with pairs drawn at random, one by one."""
    at_least(1, samples=samples)
    with running("shap_gradient", forward, inputs, target, baseline, embedding=embedding) as run:
        others = background_x(run, background).clone()  # shap differentiates there: no inference tensor

        def values(part: Run) -> Tensor:
            from shap.explainers._gradient import _PyTorchGradient

            found = _PyTorchGradient(_One(part), others).shap_values(part.x.detach(), nsamples=samples, rseed=seed)
            return torch.as_tensor(found[..., 0]).to(part.x)

        with _quiet():
            found = run.each(values, chunk=1)
        return run.explanation(found, gap=True, change=background_change(run, others))


def shap_partition(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
    most: int = 500,
    seed: int = 0,
) -> Explanation:
    """Return the values of `shap.PartitionExplainer`: Owen values over a tree of places, by at most `most` forwards.

    A place is a pixel, a time step, a token, or a feature; it is there, or its `baseline` is. The tree halves the
    longer side of a picture, and a sequence in the middle. Where `most` runs out, a group's value goes in equal parts
    to its places, and a place's always to its channels. Values sum to f(x) - f(x') exactly.
    """
    at_least(3, most=most)
    with running("shap_partition", forward, inputs, target, baseline, embedding=None, discrete=True) as run:
        inside = run.inputs.shape[2:] if run.inputs.ndim == 4 else run.inputs.shape[1:2]
        if prod(inside) < 2:
            raise InputError("at least 2 places to share a score", got=f"inputs of shape {tuple(run.inputs.shape)}")
        with _quiet():
            found = run.chunks(len(run.inputs), 1, lambda i, j: _partition(run, i, inside, most, seed))
        return run.explanation(torch.stack(found), gap=True)


def _partition(run: Run, example: int, inside: tuple[int, ...], most: int, seed: int) -> Tensor:
    """Return the values of one example, in its shape."""
    from shap.explainers import PartitionExplainer
    from shap.maskers import Masker

    x, base, count = run.inputs[example], run.base[example], prod(inside)

    class Masks(Masker):
        """Hands masks on as they are: what they hide is put together where the model is called."""

        shape, clustering, immutable_outputs = (1, count), _tree(inside), True

        def __call__(self, mask: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
            return (np.asarray(mask)[None],)

    def score(masks: np.ndarray) -> np.ndarray:
        shown = torch.as_tensor(masks, device=x.device).view(len(masks), *_broadcast(inside, x))
        owner = torch.full((len(masks),), example, device=x.device)
        return run.evaluate(len(masks), lambda i, j: torch.where(shown[i:j], x, base), owner).cpu().numpy()

    np.random.seed(seed)  # noqa: NPY002  (SHAP breaks ties by the global generator)
    explainer = PartitionExplainer(score, Masks())
    found = explainer(np.ones((1, count)), max_evals=most, silent=True, batch_size=64).values[0]
    found = torch.as_tensor(found).to(run.score).view(_broadcast(inside, x))
    return found.expand(x.shape) * (found.numel() / x.numel())


def _broadcast(inside: tuple[int, ...], x: Tensor) -> tuple[int, ...]:
    """Return the shape in which one number per place meets one example: (1, H, W), (T, 1), (T,) or (F,)."""
    return (1, *inside) if x.ndim == 3 else (*inside, *[1] * (x.ndim - 1))


def _tree(shape: tuple[int, ...]) -> np.ndarray:
    """Return the tree that halves the longest side again and again, as scipy's linkage matrix (P - 1, 4)."""
    rows, places = [], np.arange(prod(shape)).reshape(shape)

    def node(block: np.ndarray) -> tuple[int, int]:
        if block.size == 1:
            return int(block.item()), 1
        axis = int(np.argmax(block.shape))
        left, right = (node(half) for half in np.array_split(block, 2, axis=axis))
        size = left[1] + right[1]
        rows.append((left[0], right[0], size, size))
        return places.size + len(rows) - 1, size

    node(places)
    return np.array(rows, dtype=float)


@contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep SHAP's warnings from the screen, in a list, and leave numpy's global generator as it was."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            yield seen
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _note_unknown(run: Run, seen: list[warnings.WarningMessage]) -> None:
    """Note the modules that SHAP has no rule for, and that need one."""
    texts = {str(one.message) for one in seen}
    names = sorted({text.split(": ")[1] for text in texts if text.startswith("unrecognized nn.Module: ")} - LINEAR)
    if names:
        run.note(f"{run.method}: SHAP has no rule for {', '.join(names)} and takes plain gradients there")
