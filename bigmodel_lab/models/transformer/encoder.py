"""Encoder: each token looks at all tokens; and a classifier on top of it.

Sources: Vaswani et al. (2017), arXiv 1706.03762; Devlin et al. (2019), arXiv 1810.04805 (an encoder alone).
Dimension letters: B batch, T tokens, C width, K classes.
"""

from torch import Tensor, nn

from bigmodel_lab.models.transformer import checks
from bigmodel_lab.models.transformer.blocks import Embedding, Stack, draw_weights
from bigmodel_lab.models.transformer.config import TransformerConfig


class Encoder(nn.Module):
    """Token ids (B, T) -> states (B, T, C). Tokens with the id `config.padding` are looked at by nobody."""

    def __init__(self, config: TransformerConfig, *, length: int | None = None) -> None:
        """Build an encoder for texts of up to `length` tokens (`config.context` if None)."""
        super().__init__()
        self.config, self.length = config, length or config.context
        self.embed, self.stack = Embedding(config, self.length), Stack(config)
        draw_weights(self, config)

    def mask(self, ids: Tensor) -> Tensor | None:
        """Return (B, T), True at real tokens; None where there is no padding id."""
        return None if self.config.padding is None else ids != self.config.padding

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to states (B, T, C); those at padding mean nothing."""
        ids = checks.token_ids(ids, self.config.vocabulary, self.length)
        return self.stack(self.embed(ids), mask=self.mask(ids))


class TextClassifier(nn.Module):
    """An encoder, the mean of its states over the real tokens, one linear layer: ids (B, T) -> (B, K)."""

    def __init__(self, config: TransformerConfig) -> None:
        """Build the encoder and the head for `config.outputs` classes."""
        super().__init__()
        self.config, self.encoder = config, Encoder(config)
        self.head = nn.Linear(config.width, config.outputs)
        draw_weights(self, config)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to class scores (B, K)."""
        states = self.encoder(ids)  # (B, T, C)
        mask = self.encoder.mask(checks.not_all_padding(ids, self.config.padding))
        if mask is None:
            return self.head(states.mean(1))  # (B, T, C) -> (B, C)
        real = mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
        return self.head((states * real).sum(1) / real.sum(1))  # (B, T, C) -> (B, C)
