"""Drawing the next token from logits, and evaluation mode for a while: what every way of generating text needs.

Sources: Fan et al. (2018), arXiv 1805.04833 (top-k); Holtzman et al. (2020), arXiv 1904.09751 (top-p, "nucleus").
Dimension letters: B batch, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import Generator, Tensor, nn

from bigmodel_lab.errors import InputError

__all__ = ["check_sampling", "draw", "evaluating"]

TINY = 1e-30  # a temperature that would make logits infinite


def draw(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Draw one token (B,) from logits (B, V).

    - `temperature`: logits are divided by it; 0, or less than 1e-30, takes the likeliest token.
    - `top_k`: draw among the k likeliest only; `top_p`: among the likeliest that together have probability p.
    - `generator`: the source of randomness, on any device; PyTorch's global one if None.
    """
    check_sampling(temperature, top_k, top_p)
    _check_logits(logits)
    if temperature < TINY:
        return logits.argmax(-1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    if top_k is not None:
        lowest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]  # (B, 1)
        logits = logits.masked_fill(logits < lowest, -torch.inf)
    probabilities = logits.softmax(-1)
    if top_p is not None:
        ordered, order = probabilities.sort(-1, descending=True)
        spare = ordered.cumsum(-1) - ordered >= top_p  # the likelier ones had filled it already
        spare[:, 0] = False  # the likeliest stays, however small top_p is
        ordered[spare] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    where = probabilities.device if generator is None else generator.device
    return torch.multinomial(probabilities.to(where), 1, generator=generator)[:, 0].to(logits.device)


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise `InputError` for settings that `draw` cannot follow."""
    if not temperature >= 0:
        raise InputError("a temperature of 0 (the likeliest token) or above", got=repr(temperature))
    if top_k is not None and not (isinstance(top_k, Integral) and top_k >= 1):
        raise InputError("top_k, an integer of at least 1, or None", got=repr(top_k))
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError("top_p in (0, 1], or None", got=repr(top_p))


def _check_logits(logits: Tensor) -> None:
    """Refuse another shape and, where looking costs no waiting, what no token can be drawn from."""
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise InputError(
            "logits of shape (B, V)", got=f"shape {tuple(logits.shape)}", hint="logits[:, -1] of (B, T, V)"
        )
    if logits.device.type == "cpu" and logits.numel() and not logits.amax(-1).isfinite().all():
        raise InputError(
            "finite logits, or -inf for tokens ruled out",
            got="NaN or infinity",
            hint="its training may have diverged: a lower learning rate, clip_norm=1.0",
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode; afterwards each part has the mode it had."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
