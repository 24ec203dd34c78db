"""Attention: the pure function, masks, the multi-head module, and the cache that makes generation fast.

Source: Vaswani et al. (2017), arXiv 1706.03762, sections 3.2.1-3.2.3.
Dimension letters: B batch, H heads, T queries, S keys, C width, D = C / H width of one head.
A mask is boolean and True means "may look", as in `F.scaled_dot_product_attention`.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.sampling import evaluating

__all__ = ["KVCache", "MultiHeadAttention", "attention", "attention_maps", "causal_mask"]


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Return softmax(q kᵀ / √D) v, of shape (..., T, D'), and the weights (..., T, S): equation (1) of the paper.

    `q` is (..., T, D), `k` (..., S, D), `v` (..., S, D'); `mask` is boolean and broadcasts to (..., T, S).
    A row of weights sums to 1. A query that may look nowhere gets weights and an output of zeros.
    """
    scores = q @ k.transpose(-2, -1) / sqrt(q.shape[-1])  # (..., T, D) @ (..., D, S) -> (..., T, S)
    if mask is None:
        weights = scores.softmax(-1)
    else:
        _check_mask(mask)
        lowest = torch.finfo(scores.dtype).min  # not -inf: a row of those would be NaN
        weights = scores.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


def causal_mask(length: int, *, device: torch.device | None = None) -> Tensor:
    """Return the mask (length, length) in which place t may look at places 0 to t."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


class KVCache:
    """Keys and values of the tokens that one layer has seen, kept so that no token is computed twice."""

    def __init__(self, capacity: int) -> None:
        """Make room for `capacity` tokens; memory is taken at the first `append`."""
        self.capacity, self.length = capacity, 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values of T new tokens, both (B, H, T, D); return those of all tokens, (B, H, S, D)."""
        batch, heads, new, size = keys.shape
        if self._keys is None:
            self._keys, self._values = (keys.new_empty(batch, heads, self.capacity, size) for _ in range(2))
        end = self.length + new
        if end > self.capacity:
            raise InputError(f"at most {self.capacity} tokens in the cache", got=f"{end} tokens")
        self._keys[:, :, self.length : end], self._values[:, :, self.length : end] = keys, values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]


class MultiHeadAttention(nn.Module):
    """H attentions side by side on D = C / H features each, joined by one linear layer: MultiHead(Q, K, V).

    Self-attention maps (B, T, C) to (B, T, C). With `cross=True` queries come from the first input (B, T, C), keys
    and values from the second, `memory` (B, S, C). `causal`: no place looks at a later one.

    The fast path is `F.scaled_dot_product_attention`. With `keep_weights = True` the same is computed by `attention`,
    and `weights` holds the last weights, (B, H, T, S), without a graph and before dropout.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float = 0.0, causal: bool = False, cross: bool = False
    ) -> None:
        """Build the projections; weights are drawn from PyTorch's global generator."""
        super().__init__()
        if min(width, heads) < 1 or width % heads:
            raise InputError("a width that is a multiple of heads", got=f"width={width}, heads={heads}")
        if causal and cross:
            raise InputError("causal or cross, not both", got="causal=True, cross=True")
        if cross:
            self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        else:
            self.qkv = nn.Linear(width, 3 * width)  # one product in place of three
        self.out = nn.Linear(width, width)
        self.heads, self.dropout, self.causal, self.cross = heads, dropout, causal, cross
        self.keep_weights, self.weights = False, None

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Map x (B, T, C), and memory (B, S, C) where `cross`, to (B, T, C).

        `mask` (B, S) tells which keys may be looked at: False for padding. With `cache` (self-attention only), x
        holds the new tokens and keys are those of all tokens so far.
        """
        if self.cross != (memory is not None):
            kind, wrong = ("cross", "no") if self.cross else ("self", "a")
            raise InputError(f"the inputs of {kind}-attention", got=f"{wrong} memory", hint="attention(x, memory)")
        if self.cross and cache is not None:
            raise InputError("a cache in self-attention only", got="cross-attention", hint="leave the cache out")
        if self.cross:
            q, (k, v) = self.query(x), self.key_value(memory).chunk(2, -1)  # (B, T, C), (B, S, 2C) -> 2 × (B, S, C)
        else:
            q, k, v = self.qkv(x).chunk(3, -1)  # (B, T, 3C) -> 3 × (B, T, C)
        q, k, v = _split(q, self.heads), _split(k, self.heads), _split(v, self.heads)  # -> (B, H, T, D)
        if cache is not None:
            k, v = cache.append(k, v)
        dropout = self.dropout if self.training else 0.0
        y, self.weights = _look(q, k, v, mask, self.causal, dropout, self.keep_weights)
        return self.out(y.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, C)


@torch.fx.wrap  # one node for torch.fx, which cannot follow the questions about shapes
def _split(x, heads):
    batch, length, width = x.shape
    return x.view(batch, length, heads, width // heads).transpose(1, 2)  # (B, T, C) -> (B, T, H, D) -> (B, H, T, D)


@torch.fx.wrap
def _look(q, k, v, mask, causal, dropout, keep_weights):
    """Return the output (B, H, T, D) and, if asked, the weights (B, H, T, S)."""
    queries, keys = q.shape[-2], k.shape[-2]
    causal = causal and queries > 1  # a single query is the last place: it may look at all of them
    if not keep_weights and causal and mask is None and queries == keys:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True), None
    if mask is not None:
        _check_mask(mask)
        batch = q.shape[0]
        if mask.ndim != 2 or mask.shape[1] != keys or not (mask.shape[0] == batch or mask.shape[0] == 1):
            raise InputError(f"a mask of shape {(batch, keys)}, one place per key", got=f"{tuple(mask.shape)}")
        mask = mask[:, None, None, :]  # (B, S) -> (B, 1, 1, S)
    if causal:
        past = causal_mask(keys, device=q.device)[-queries:]  # (T, S): the queries are the last T of the keys
        mask = past if mask is None else mask & past
    if not keep_weights:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout), None
    y, weights = attention(q, k, v, mask)
    if dropout:
        y = F.dropout(weights, dropout) @ v
    return y, weights.detach()


@torch.no_grad()
def attention_maps(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return the weights (B, H, T, S) of every `MultiHeadAttention` in `model`, by name, for `inputs` (B, ...).

    The model runs once, in evaluation mode; afterwards it is as it was.
    """
    layers = {name: part for name, part in model.named_modules() if isinstance(part, MultiHeadAttention)}
    if not layers:
        raise InputError("a model with MultiHeadAttention in it", got=type(model).__name__)
    kept = [(layer, layer.keep_weights, layer.weights) for layer in layers.values()]
    try:
        for layer in layers.values():
            layer.keep_weights = True
        with evaluating(model):
            model(inputs)
        return {name: layer.weights for name, layer in layers.items()}
    finally:
        for layer, keep, weights in kept:
            layer.keep_weights, layer.weights = keep, weights


def _check_mask(mask: Tensor) -> None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = f"{mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(
            "a boolean mask, True where one may look", got=got, hint="mask.bool(); torch.as_tensor(mask) for an array"
        )
