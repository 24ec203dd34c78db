"""Encoder-decoder: reads a source, writes a target, as the first Transformer did for translation.

Source: Vaswani et al. (2017), arXiv 1706.03762, section 3.1.
Dimension letters: B batch, S source tokens, T target tokens, C width, V vocabulary (one for source and target).
"""

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.attention import KVCache, MultiHeadAttention
from bigmodel_lab.models.transformer import checks
from bigmodel_lab.models.transformer.blocks import Block, Embedding, Join, draw_weights, pre_norm
from bigmodel_lab.models.transformer.config import TransformerConfig
from bigmodel_lab.models.transformer.encoder import Encoder


def teacher_forcing(source: Tensor, target: Tensor, *, padding: int = 0) -> tuple[Tensor, Tensor]:
    """Return what `fit` needs from source (N, S) and target (N, T + 1), whose first token is a start token.

    Inputs are (N, S + T): source and target without its last token, side by side. Targets are (N, T): the target
    without its first token, padding replaced by -100, which a loss leaves out.
    """
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target) or target.shape[1] < 2:
        got = f"{tuple(source.shape)} and {tuple(target.shape)}"
        raise InputError("source (N, S) and target (N, T + 1) with a start token", got=got)
    following = target[:, 1:]
    return torch.cat((source, target[:, :-1]), 1), following.masked_fill(following == padding, -100)


class CrossBlock(Block):
    """A causal block with a third part in the middle, attention to the source: x ← x + CrossAttention(norm(x), m)."""

    def __init__(self, config: TransformerConfig) -> None:
        """Build the block."""
        super().__init__(config, causal=True)
        self.norm_cross, self.join_cross = pre_norm(config), Join(config)
        self.cross_attention = MultiHeadAttention(config.width, config.heads, dropout=config.dropout, cross=True)

    def forward(self, x: Tensor, memory: Tensor, *, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Map x (B, T, C) and memory (B, S, C) to (B, T, C); `mask` (B, S) is False at the source's padding."""
        x = self.join_attention(x, self.attention(self.norm_attention(x), cache=cache))
        x = self.join_cross(x, self.cross_attention(self.norm_cross(x), memory, mask=mask))
        return x if self.mlp is None else self.join_mlp(x, self.mlp(self.norm_mlp(x)))


class EncoderDecoder(nn.Module):
    """Ids (B, S + T) -> logits (B, T, V).

    The input is one tensor, as `fit` wants it: the first S = `config.source_length` ids are the source, the others
    the target, moved one place to the right behind a start token. `teacher_forcing` makes it.
    Source and target share one vocabulary and one embedding matrix, with `config.tied` also the output layer's.
    """

    def __init__(self, config: TransformerConfig) -> None:
        """Build both halves; `config.context` is the longest target."""
        super().__init__()
        if config.source_length < 1:
            raise InputError("source_length of at least 1 in the config", got=repr(config.source_length))
        self.config = config
        self.encoder = Encoder(config, length=config.source_length)
        self.embed = Embedding(config, config.context)
        self.blocks = nn.ModuleList(CrossBlock(config) for _ in range(config.depth))
        self.norm = pre_norm(config)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        draw_weights(self, config)
        self.embed.tokens.weight = self.encoder.embed.tokens.weight
        if config.tied:
            self.head.weight = self.embed.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, S + T), source and shifted target side by side, to logits (B, T, V)."""
        checks.token_ids(ids, self.config.vocabulary, self.config.source_length + self.config.context)
        source, target = ids[:, : self.config.source_length], ids[:, self.config.source_length :]
        return self.head(self.states(target, self.encoder(source), self.encoder.mask(source)))

    def states(
        self, target: Tensor, memory: Tensor, mask: Tensor | None, *, cache: list[KVCache] | None = None
    ) -> Tensor:
        """Map target ids (B, T) and the encoder's states (B, S, C), with its mask (B, S), to states (B, T, C)."""
        first = cache[0].length if cache else 0
        target = checks.token_ids(target, self.config.vocabulary, self.config.context - first)
        x = self.embed(target, first)
        for i, block in enumerate(self.blocks):
            x = block(x, memory, mask=mask, cache=None if cache is None else cache[i])
        return self.norm(x)

    def new_cache(self) -> list[KVCache]:
        """Return an empty cache, one KVCache a block, for `states`."""
        return [KVCache(self.config.context) for _ in self.blocks]
