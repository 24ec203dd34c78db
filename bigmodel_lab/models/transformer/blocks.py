"""What all Transformers here are built from: embedding, positions, blocks, and how weights are drawn.

Dimension letters: B batch, T tokens, C width, V vocabulary. Activations are modules, used once and not in place.
"""

from math import log

import torch
from torch import Tensor, nn

from bigmodel_lab.models.attention import KVCache, MultiHeadAttention
from bigmodel_lab.models.transformer.config import BlockConfig, TransformerConfig


class Join(nn.Module):
    """What a part f of a block does to x: x + dropout(f), then the LayerNorm if it comes after the sum.

    Where residual connections are off, dropout(f) replaces x.
    """

    def __init__(self, config: BlockConfig) -> None:
        """Take `residual`, `dropout` and `norm` from the config."""
        super().__init__()
        self.residual, self.dropout = config.residual, nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width) if config.norm == "post" else None

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        """Join x and f, both (B, T, C)."""
        x = x + self.dropout(f) if self.residual else self.dropout(f)
        return x if self.norm is None else self.norm(x)


def pre_norm(config: BlockConfig) -> nn.Module:
    """Return a LayerNorm if norms come before each part, else the identity."""
    return nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()


def feed_forward(config: BlockConfig) -> nn.Sequential:
    """Return the two layers that treat each token by itself: (B, T, C) -> (B, T, factor · C) -> (B, T, C)."""
    inner = config.factor * config.width
    bend = nn.ReLU() if config.activation == "relu" else nn.GELU("tanh" if config.activation == "gelu_tanh" else "none")
    return nn.Sequential(nn.Linear(config.width, inner), bend, nn.Linear(inner, config.width))


class Block(nn.Module):
    """x ← x + Attention(norm(x)), then x ← x + MLP(norm(x)); with norm="post", x ← norm(x + Attention(x)) …"""

    def __init__(self, config: BlockConfig, *, causal: bool = False) -> None:
        """Build a block; `causal` lets no token look at a later one."""
        super().__init__()
        self.norm_attention, self.join_attention = pre_norm(config), Join(config)
        self.attention = MultiHeadAttention(config.width, config.heads, dropout=config.dropout, causal=causal)
        self.mlp = feed_forward(config) if config.feed_forward else None
        if self.mlp is not None:
            self.norm_mlp, self.join_mlp = pre_norm(config), Join(config)

    def forward(self, x: Tensor, *, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Map (B, T, C) to (B, T, C); `mask` (B, T) is False at padding."""
        x = self.join_attention(x, self.attention(self.norm_attention(x), mask=mask, cache=cache))
        return x if self.mlp is None else self.join_mlp(x, self.mlp(self.norm_mlp(x)))


class Stack(nn.Module):
    """`depth` blocks, then the LayerNorm that pre-norm blocks leave to the end."""

    def __init__(self, config: BlockConfig, *, causal: bool = False) -> None:
        """Build the blocks."""
        super().__init__()
        self.blocks = nn.ModuleList(Block(config, causal=causal) for _ in range(config.depth))
        self.norm = pre_norm(config)

    def forward(self, x: Tensor, *, mask: Tensor | None = None, cache: list[KVCache] | None = None) -> Tensor:
        """Map (B, T, C) to (B, T, C); `cache` holds one KVCache a block."""
        for i, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=None if cache is None else cache[i])
        return self.norm(x)


class Positions(nn.Module):
    """Adds to each token a vector that tells its place: learned, sinusoidal (section 3.5 of the paper), or nothing."""

    def __init__(self, config: BlockConfig, length: int) -> None:
        """Make room for `length` places."""
        super().__init__()
        self.table: Tensor | None
        if config.positions == "learned":
            self.table = nn.Parameter(torch.empty(length, config.width))
        else:
            waves = sinusoids(length, config.width) if config.positions == "sinusoidal" else None
            self.register_buffer("table", waves, persistent=False)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Add the places first, first + 1, … to x (B, T, C)."""
        return x if self.table is None else _add_rows(x, self.table, first)


@torch.fx.wrap  # one node for torch.fx, which cannot slice a buffer by a shape
def _add_rows(x, table, first):
    return x + table[first : first + x.shape[1]]


def sinusoids(length: int, width: int) -> Tensor:
    """Return the table (length, width) of sin(t / 10000^(2i / C)) and cos of the same, one frequency i per pair."""
    place = torch.arange(length, dtype=torch.float64)[:, None]
    pair = torch.arange(0, width, 2, dtype=torch.float64)
    angle = place * torch.exp(-log(10000.0) * pair / width)  # (length, width / 2, rounded up)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)[:, :width].float()


class Embedding(nn.Module):
    """Token ids (B, T) -> vectors (B, T, C): a row of the embedding matrix each, plus the place."""

    def __init__(self, config: TransformerConfig, length: int) -> None:
        """Make room for texts of `length` tokens."""
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = Positions(config, length)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, first: int = 0) -> Tensor:
        """Map ids (B, T), whose first token has the place `first`, to (B, T, C)."""
        return self.dropout(self.positions(self.tokens(ids), first))


@torch.no_grad()
def draw_weights(model: nn.Module, config: BlockConfig, *, std: float | None = None) -> None:
    """Draw all weights anew: biases 0, embeddings of standard deviation `std` (1 / √C if None).

    Linear layers: Glorot & Bengio (2010), or with `std` as GPT-2, where the layers that write to the residual stream
    (two a block) have `std` / √(2 · depth). Sinusoids are scaled to the root mean square of the embeddings.
    """
    size = std or config.width**-0.5
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            if std is None:
                nn.init.xavier_uniform_(part.weight.flatten(1))  # a patch is one row of pixels
            else:
                writes = config.residual and name.endswith(("attention.out", "mlp.2"))
                part.weight.normal_(0.0, std / (2 * config.depth) ** 0.5 if writes else std)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.Embedding):
            part.weight.normal_(0.0, size)
        elif isinstance(part, Positions) and part.table is not None:
            if isinstance(part.table, nn.Parameter):
                part.table.normal_(0.0, size)
            else:
                part.table.copy_(sinusoids(*part.table.shape) * size * 2**0.5)
