"""Grad-CAM: where a convolutional layer looks, weighted by how much the score depends on each of its channels.

Source: Selvaraju et al. (2017), ICCV, arXiv 1610.02391. Dimension letters: B images, C channels, H height, W width,
K channels of the layer, h × w places of the layer.
"""

from collections import Counter
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import ROWS, Explanation, Forward, Run, Target, running
from bigmodel_lab.explain.methods.layers import at_layer, check_layer
from bigmodel_lab.explain.methods.rules import guided

__all__ = ["grad_cam", "guided_grad_cam"]


def grad_cam(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    layer: nn.Module | None = None,
    embedding: nn.Module | None = None,
    positive: bool = True,
) -> Explanation:
    r"""Return $\mathrm{relu}(\sum_k w_k A_k)$, $w_k$ the mean of ∂f/∂A_k over the places of `layer`; equation (2).

    `layer` is the last `nn.Conv2d` that runs, if None; where part of the score passes around that one, as in a residual
    network, the smallest block with it inside that nothing passes around. A layer that puts out tokens (B, h · w, K),
    with or without a class token first, does as well. The map (B, h, w) is stretched to (B, H, W), bilinearly, and
    shared equally by the C channels: values have the shape of the inputs, and their sum over C is the map.
    `positive=False` keeps negative places. No baseline.
    """
    with running("grad_cam", forward, inputs, target, baseline, embedding=embedding) as run:
        heat = _maps(run, layer, positive)
        channels = run.x.shape[1]
        return run.explanation(heat.expand_as(run.x) / channels, gap=False)


def guided_grad_cam(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    layer: nn.Module | None = None,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return guided backpropagation times the stretched map of `grad_cam` (section 3.2 of the paper)."""
    with running("guided_grad_cam", forward, inputs, target, baseline, embedding=embedding) as run:
        heat = _maps(run, layer, positive=True)
        return run.explanation(guided(run) * heat, gap=False)


def _maps(run: Run, layer: nn.Module | None, positive: bool) -> Tensor:
    """Return the map of each image in its size, (B, 1, H, W)."""
    if run.x.ndim != 4 or run.ids is not None:
        raise InputError(
            "images (B, C, H, W): a map of places is stretched over them",
            got=f"inputs of shape {tuple(run.inputs.shape)}",
            hint="layer_conductance for a layer of another model; integrated_gradients for its inputs",
        )
    layer = _last(run) if layer is None else layer
    check_layer(run, layer)

    def maps(part: Run) -> Tensor:
        hidden, score = at_layer(layer, len(part.x), lambda: part.scores(part.x, *part.extra))
        slope = torch.autograd.grad(score.sum(), hidden, materialize_grads=True)[0]
        hidden, slope = (_places(one.detach(), *part.x.shape[2:]) for one in (hidden, slope))
        heat = (slope.mean((2, 3), keepdim=True) * hidden).sum(1, keepdim=True)  # (b, K, h, w) -> (b, 1, h, w)
        heat = heat.relu() if positive else heat
        return F.interpolate(heat, part.x.shape[2:], mode="bilinear", align_corners=False)

    heat = run.each(maps, chunk=ROWS)
    if not heat.any():
        run.note(
            f"{run.method}: nothing in this layer speaks for the target, in any of the examples; try layer=, such as a "
            f"whole residual block, or positive=False in grad_cam"
        )
    return heat


def _last(run: Run) -> nn.Module:
    """Return the last convolution that runs, or the smallest block around it that nothing passes around."""
    convolutions, calls, maps, part = [], Counter(), set(), run.part(0, 1)

    def called(module: nn.Module, inputs: tuple, output: object) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d):
            convolutions.append(module)
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            maps.add(module)

    handles = [module.register_forward_hook(called) for module in run.model.modules()]
    try:
        with torch.no_grad():
            run.scores(part.x, *part.extra)
    finally:
        for handle in handles:
            handle.remove()
    if not convolutions:
        hint = "layer=model.features[3], a module that puts out (B, K, h, w) or (B, h · w, K)"
        raise InputError("a model with an nn.Conv2d, or a layer", got="neither", hint=hint)
    last = convolutions[-1]
    around = [one for one in list(run.model.modules())[:0:-1] if any(last is inner for inner in one.modules())]
    for block in around:  # from the convolution outwards
        if calls[block] == 1 and block in maps and not _passed_around(part, block):
            return block
    if calls[last] == 1 and last in maps:
        run.note(f"{run.method}: part of the score passes around the last nn.Conv2d, and it is in no block; try layer=")
    return last


def _passed_around(part: Run, layer: nn.Module) -> bool:
    """Say whether the score still depends on the input when the output of `layer` is cut off from it."""
    _, score = at_layer(layer, 1, lambda: part.scores(part.x, *part.extra))
    return torch.autograd.grad(score.sum(), part.x, allow_unused=True)[0] is not None


def _places(output: Tensor, height: int, width: int) -> Tensor:
    """Return a layer's output as (B, K, h, w); tokens (B, T, K) are laid out row by row, in the image's proportions."""
    if output.ndim == 4:
        return output
    if output.ndim == 3:
        rows, columns = height // gcd(height, width), width // gcd(height, width)
        for tokens in (output, output[:, 1:]):  # the second: without a class token
            scale = round((tokens.shape[1] / (rows * columns)) ** 0.5)
            if scale and scale * scale * rows * columns == tokens.shape[1]:
                return tokens.transpose(1, 2).unflatten(2, (scale * rows, scale * columns))  # (B, T, K) -> (B, K, h, w)
    raise InputError(
        "a layer that puts out (B, K, h, w), or tokens (B, h · w, K) in the image's proportions",
        got=f"shape {tuple(output.shape)} for images of {height} × {width}",
    )
