"""ROAR, remove and retrain: if an explanation is right, a model trained without what it points at must do worse.

Source: Hooker, Erhan, Kindermans & Kim (2019), arXiv 1806.10758. Retraining answers the objection to deletion curves
that a model has never seen images with holes. What it leaves open: the form of the holes can itself tell the class
(Rong et al. 2022, arXiv 2202.00449), so the predicted class is explained, never the label.
Dimension letters: N images, C channels, H height, W width, M methods, S shares, R seeds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation
from bigmodel_lab.explain.controls import random
from bigmodel_lab.explain.scoring import quiet
from bigmodel_lab.train import predict

__all__ = ["Roar", "remove", "roar"]

CHUNK = 256  # images that are explained at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Roar:
    """Test accuracy after removing and retraining; the lower, the more the removed places were worth."""

    methods: tuple[str, ...]
    shares: tuple[float, ...]  # of the places removed
    seeds: tuple[int, ...]
    whole: np.ndarray  # (R,) test accuracy with nothing removed
    accuracy: np.ndarray  # (M, S, R)

    def drop(self, than: str = "random") -> dict[str, float]:
        """Return by how much more accuracy falls than where `than` chose the places, mean over shares and seeds."""
        if than not in self.methods:
            raise InputError(f"one of {', '.join(self.methods)}", got=repr(than))
        mean = self.accuracy.mean((1, 2))
        return {name: float(mean[self.methods.index(than)] - mean[m]) for m, name in enumerate(self.methods)}

    def table(self) -> str:
        """Return the mean accuracy over seeds as a Markdown table, methods down and shares across."""
        lines = [
            f"| removed | {' | '.join(f'{share:.0%}' for share in self.shares)} |",
            f"|---|{'---|' * len(self.shares)}",
        ]
        for name, row in zip(self.methods, self.accuracy.mean(2), strict=True):
            shown = name.replace("|", "\\|")
            lines.append(f"| {shown} | {' | '.join(f'{value:.3f}' for value in row)} |")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return all of it as JSON text."""
        arrays = {"whole": self.whole.tolist(), "accuracy": self.accuracy.tolist()}
        return json.dumps({"methods": self.methods, "shares": self.shares, "seeds": self.seeds} | arrays)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "Roar":
        """Return what `to_json` wrote, from its text or from what `json.loads` makes of it."""
        parts = json.loads(text) if isinstance(text, str) else text
        names = {name: tuple(parts[name]) for name in ("methods", "shares", "seeds")}
        return cls(**names, whole=np.array(parts["whole"]), accuracy=np.array(parts["accuracy"]))


def remove(inputs: Tensor, values: Tensor, share: float, filling: Tensor) -> Tensor:
    """Return images (N, C, H, W) with the `share` of places of highest value (N, C, H, W) set to `filling`.

    A place's value is |sum over channels|; all channels go together. `filling` broadcasts to the images.
    """
    heat = values.sum(1).abs().flatten(1)  # (N, C, H, W) -> (N, H·W)
    gone = torch.zeros_like(heat, dtype=torch.bool)
    gone.scatter_(1, heat.topk(round(share * heat.shape[1]), dim=1).indices, True)
    holes = gone.view(len(inputs), 1, *inputs.shape[2:])  # -> (N, 1, H, W)
    return torch.where(holes, filling.expand(inputs.shape), inputs)


def roar(
    methods: Mapping[str, Callable[..., Explanation]],
    fit: Callable[[Tensor, Tensor, int], nn.Module],
    train_set: tuple[Tensor, Tensor],
    test_set: tuple[Tensor, Tensor],
    *,
    shares: Sequence[float] = (0.1, 0.3, 0.5),
    seeds: Sequence[int] = (0,),
    controls: Mapping[str, Callable[..., Explanation]] | None = None,
) -> Roar:
    """Remove what each method holds for important from all images, train anew, and measure.

    - `fit(images, labels, seed)`: returns a trained model, the same way each time.
    - `train_set`, `test_set`: images (N, C, H, W) and labels (N,).
    - `controls`: methods to hold the others against; None: random places.

    For each seed one model is trained on whole images and explained on both sets, towards the class that it predicts;
    then one model per method and share. Removed places get each channel's mean over the training set.
    """
    controls = {"random": random} if controls is None else controls
    everything = {**methods, **controls}
    _check(everything, train_set, test_set, shares, seeds)
    filling = train_set[0].mean((0, 2, 3), keepdim=True)  # (1, C, 1, 1)
    whole = np.zeros(len(seeds))
    accuracy = np.zeros((len(everything), len(shares), len(seeds)))
    for r, seed in enumerate(seeds):
        model = fit(*train_set, seed).eval()
        whole[r] = _accuracy(model, *test_set)
        for m, method in enumerate(everything.values()):
            with quiet(seed):
                heat, test_heat = _values(method, model, train_set[0]), _values(method, model, test_set[0])
            for s, share in enumerate(shares):
                again = fit(remove(train_set[0], heat, share, filling), train_set[1], seed).eval()
                accuracy[m, s, r] = _accuracy(again, remove(test_set[0], test_heat, share, filling), test_set[1])
    names = {"methods": tuple(everything), "shares": tuple(map(float, shares)), "seeds": tuple(seeds)}
    return Roar(**names, whole=whole, accuracy=accuracy)


def _values(method: Callable[..., Explanation], model: nn.Module, images: Tensor) -> Tensor:
    parts = images.split(CHUNK)
    return torch.cat([method(model, part, predict(model, part).argmax(1)).values for part in parts])


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (predict(model, images).argmax(1) == labels).double().mean().item()


def _check(methods: Mapping, train_set: tuple, test_set: tuple, shares: Sequence[float], seeds: Sequence[int]) -> None:
    if not methods or not len(shares) or not len(seeds):
        raise InputError("methods, shares and seeds, at least one of each", got="none of one")
    if not all(0 < share < 1 for share in shares):
        raise InputError("shares between 0 and 1", got=repr(tuple(shares)), hint="shares=(0.1, 0.3, 0.5)")
    for name, (images, labels) in (("train_set", train_set), ("test_set", test_set)):
        if images.ndim != 4 or len(images) != len(labels):
            got = f"shapes {tuple(images.shape)} and {tuple(labels.shape)}"
            raise InputError(f"{name} as images (N, C, H, W) and labels (N,)", got=got)
