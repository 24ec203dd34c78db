"""Explanations that know nothing of the model, to hold the others against, and one that knows the answer.

A method that a metric cannot tell from these has not shown, by that metric, that it explains the model. Called like
every method of `explain.contract`, so that a board treats them alike. The edge filter as a control: Adebayo et al.
(2018), arXiv 1810.03292. Dimension letters: B examples, C channels or features, H height, W width, T tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import Explanation, Forward, Target

__all__ = ["CONTROLS", "edges", "magnitude", "oracle", "random"]


def random(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return uniform noise from PyTorch's global generator: other noise at each call."""
    return _explanation("random", torch.rand(inputs.shape, device=inputs.device))


def magnitude(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return |input|, how bright each pixel is; for token ids the length (2-norm) of each token's embedding."""
    if inputs.is_floating_point():
        return _explanation("|input|", inputs.abs())
    if embedding is None:
        raise InputError("an embedding, for the size of token ids", got="none", hint="embedding=model.embedding")
    with torch.no_grad():
        return _explanation("|input|", embedding(inputs).norm(dim=-1))  # (B, T, C) -> (B, T)


def edges(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return where the input changes, whatever the model.

    Images (B, C, H, W): the length of Sobel's gradient, mean over channels. Numbers (B, T, D) or (B, T): the change
    from the step before. Token ids (B, T): how rare the token is in these texts, -ln of its share.
    """
    if not inputs.is_floating_point():
        _, at, counts = inputs.unique(return_inverse=True, return_counts=True)
        return _explanation("edges", -(counts / inputs.numel()).log()[at])
    if inputs.ndim != 4:
        change = (inputs - torch.cat([inputs[:, :1], inputs[:, :-1]], dim=1)).abs()
        return _explanation("edges", change)
    across = inputs.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    filters = torch.stack([across, across.T]).unsqueeze(1)  # (2, 1, 3, 3)
    padded = F.pad(inputs.flatten(0, 1).unsqueeze(1), (1, 1, 1, 1), mode="replicate")  # (B·C, 1, H + 2, W + 2)
    slopes = F.conv2d(padded, filters).norm(dim=1).view(inputs.shape)  # (B·C, 2, H, W) -> (B, C, H, W)
    return _explanation("edges", slopes.mean(1, keepdim=True).expand(inputs.shape).clone())


def oracle(
    forward: Forward,
    inputs: Tensor,
    target: Target = None,
    baseline: Tensor | float | None = None,
    *,
    truth: Tensor,
    embedding: nn.Module | None = None,
) -> Explanation:
    """Return the planted `truth`, (B, H, W) for images or (B, T) for sequences: 1 where it decides, 0 elsewhere."""
    places = (len(inputs), *inputs.shape[2:]) if inputs.ndim == 4 else tuple(inputs.shape[:2])
    if truth.shape != places:
        raise InputError(f"a truth of shape {places} for these inputs", got=f"shape {tuple(truth.shape)}")
    values = truth.float().to(inputs.device)
    if inputs.ndim == 4:
        values = values.unsqueeze(1)  # (B, H, W) -> (B, 1, H, W)
    elif inputs.ndim == 3:
        values = values.unsqueeze(2)  # (B, T) -> (B, T, 1)
    return _explanation("oracle", values.expand(inputs.shape).clone())


CONTROLS = {"oracle": oracle, "edges": edges, "|input|": magnitude, "random": random}


def _explanation(name: str, values: Tensor) -> Explanation:
    return Explanation(method=name, values=values, gap=None, forwards=0, backwards=0, seconds=0.0)
