"""What attention weights say: one layer's weights, and their product through all layers.

Source: Abnar & Zuidema (2020), Quantifying attention flow in Transformers, arXiv 2005.00928.
Neither looks at the values that attention carries, nor at the target: see lessons 3.4 and 7.2b for what that costs.
Dimension letters: B examples, L layers, H heads, T places, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isqrt

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Run, Target, running

__all__ = ["Maps", "attention_map", "attention_rollout", "rollout"]

Maps = Callable[[Tensor], Sequence[Tensor] | Mapping[str, Tensor]]  # inputs (B, ...) -> weights (B, H, T, T) by layer


def attention_map(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    maps: Maps | None = None,
    layer: int = -1,
    head: int | None = None,
    query: int | None = None,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return the attention weights of one `layer`, the mean over its heads or those of one `head`.

    `maps`, `query` and the shape of the values are as in `attention_rollout`.
    """

    def one_layer(weights: list[Tensor]) -> Tensor:
        if not -len(weights) <= layer < len(weights):
            raise InputError(f"a layer from 0 to {len(weights) - 1}", got=f"{layer}")
        heads = weights[layer]
        if head is not None and not 0 <= head < heads.shape[1]:
            raise InputError(f"a head from 0 to {heads.shape[1] - 1}, or None for their mean", got=f"{head}")
        return heads.mean(1) if head is None else heads[:, head]

    return _read("attention_map", one_layer, forward, inputs, target, baseline, maps, query)


def attention_rollout(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    maps: Maps | None = None,
    query: int | None = None,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return how much of each input arrives at the end if attention only mixed: the product of all layers' weights.

    `maps` returns the weights (B, H, T, T) of every layer, first layer first: for the course's models
    `lambda x: models.attention.attention_maps(model, x)`, for Hugging Face's with `attn_implementation="eager"`
    `lambda x: model(x, output_attentions=True).attentions`.

    `query` is the place that looks: 0 where the answer is read at a first [CLS]. Left out, it is the position in a
    target (position, token); otherwise the mean over all places, as in models that average them. Values (B, T) sum
    to one; for images (T patches, row by row) and for features (B, T, C) a place's weight is spread evenly over its
    numbers, so that they sum to one as well. Target, baseline and embedding change nothing.
    """
    return _read("attention_rollout", rollout, forward, inputs, target, baseline, maps, query)


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """Return A_L ... A_1 (B, T, T) of `weights`, L tensors (B, H, T, T): A is the heads' mean, half of it the identity.

    The identity stands for the residual connection: section 3 of the paper. Rows sum to one.
    """
    product = None
    for layer in weights:
        mixed = layer.mean(1) + torch.eye(layer.shape[-1], dtype=layer.dtype, device=layer.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)  # = (A + 1) / 2; a row that looks nowhere keeps itself
        product = mixed if product is None else mixed @ product
    return product


def _read(
    method: str,
    join: Callable[[list[Tensor]], Tensor],
    forward: Forward,
    inputs: Tensor,
    target: Target,
    baseline: Tensor | float | None,
    maps: Maps | None,
    query: int | None,
) -> Explanation:
    if maps is None:
        raise InputError(
            f"maps=, a function from inputs to the attention weights of each layer: {method} reads them",
            got="none",
            hint="maps=lambda x: models.attention.attention_maps(model, x), or for Hugging Face's models "
            "maps=lambda x: model(x, output_attentions=True).attentions",
        )
    ids = isinstance(inputs, Tensor) and not inputs.is_floating_point()
    baseline = 0 if ids and baseline is None else baseline  # nothing is replaced
    with running(method, forward, inputs, target, baseline, discrete=True) as run:

        def look(part: Run) -> Tensor:
            run.scores.forwards += len(part.inputs)
            weights = _weights(maps(part.inputs), len(part.inputs))
            return _spread(_row(join(weights), part.target, query), part.inputs)

        return run.explanation(run.each(look, grad=False), gap=False)


def _weights(found: object, count: int) -> list[Tensor]:
    """Return what `maps` found as a list of (B, H, T, T), or say what is wrong with it."""
    eager = 'from_pretrained(..., attn_implementation="eager"): fused attention (SDPA) keeps no weights'
    layers = list(found.values()) if isinstance(found, Mapping) else found
    if not isinstance(layers, Sequence) or not layers or any(layer is None for layer in layers):
        got = f"{len(layers)} layers, None among them" if isinstance(layers, Sequence) and layers else repr(layers)
        raise InputError("attention weights of at least one layer from maps", got=got, hint=eager)
    for layer in layers:
        square = isinstance(layer, Tensor) and layer.ndim == 4 and layer.shape[2:] == layers[0].shape[2:]
        if not square or len(layer) != count or layer.shape[2] != layer.shape[3]:
            got = f"{tuple(layer.shape)}" if isinstance(layer, Tensor) else type(layer).__name__
            raise InputError(f"weights of shape ({count}, heads, T, T) of self-attention, per layer", got=got)
        sums = layer.sum(-1)
        if layer.min() < 0 or not torch.isclose(sums, torch.ones_like(sums), atol=1e-3).logical_or(sums == 0).all():
            got = f"rows that sum to {float(sums.min()):.3g} ... {float(sums.max()):.3g}"
            raise InputError("weights after the softmax: not negative, rows that sum to one", got=got)
    return layers


def _row(mixed: Tensor, target: Tensor | None, query: int | None) -> Tensor:
    """Return the row of the place that looks: (B, T, T) -> (B, T)."""
    length = mixed.shape[1]
    if query is not None:
        if not -length <= query < length:
            raise InputError(f"a query from 0 to {length - 1}", got=f"{query}")
        return mixed[:, query]
    if target is not None and target.shape[1] == 2:
        return mixed[torch.arange(len(mixed), device=mixed.device), target[:, 0]]
    return mixed.mean(1)


def _spread(weight: Tensor, inputs: Tensor) -> Tensor:
    """Give each number of the inputs its share of its place's weight: (B, T) -> the shape of the inputs."""
    count, places = weight.shape
    if inputs.ndim == 2 and inputs.shape[1] == places:
        return weight
    if inputs.ndim == 3 and inputs.shape[1] == places:
        return weight[..., None].expand(inputs.shape) / inputs.shape[2]
    if inputs.ndim == 4:
        height, width = inputs.shape[2:]
        side = isqrt(height * width // places)
        if side and height % side == width % side == 0 and (height // side) * (width // side) == places:
            patches = weight.view(count, 1, height // side, width // side)  # (B, T) -> (B, 1, rows, columns)
            pixels = patches.repeat_interleave(side, 2).repeat_interleave(side, 3)  # -> (B, 1, H, W)
            return pixels.expand(inputs.shape) / (inputs.shape[1] * side**2)
    raise InputError(
        "one attended place per token (B, T), per step (B, T, C), or per square patch of an image",
        got=f"{places} places for inputs of shape {tuple(inputs.shape)}",
        hint="leave the row and column of an extra [CLS] out in maps, or explain the tokens that were attended to",
    )
