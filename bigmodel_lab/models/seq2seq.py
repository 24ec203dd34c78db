"""Recurrent encoder-decoder with attention: reads a source, writes a target, and tells where it looked.

Sources: Sutskever, Vinyals & Le (2014), arXiv 1409.3215; Cho et al. (2014), arXiv 1406.1078 (the GRU);
Bahdanau, Cho & Bengio (2015), arXiv 1409.0473 (attention, additive score); Luong, Pham & Manning (2015),
arXiv 1508.04025 (general score; attention after the recurrent step). `models.transformer.translate` uses it.
Dimension letters: B batch, S source tokens, T target tokens, C width, M width of the memory, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.transformer import checks

__all__ = ["Attention", "AttentionDecoder", "DecoderConfig", "Seq2Seq", "Seq2SeqConfig", "StateCache"]

SCORES = ("additive", "general")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of a recurrent decoder that attends to a memory."""

    vocabulary: int  # V, token ids 0 ... V - 1
    context: int = 128  # most tokens in a target
    width: int = 64  # C, numbers in a state, and per token
    memory: int | None = None  # M, numbers per place of the memory; None: as many as `width`
    score: str = "additive"  # how well a state and a place match: "additive" or "general"
    dropout: float = 0.0  # share of features zeroed in training, of the embeddings and before the head
    padding: int | None = 0  # id that fills up short texts; None: every id is a token

    def __post_init__(self) -> None:
        """Refuse sizes that make no network, and scores that nobody knows."""
        if min(self.vocabulary, self.context, self.width, 1 if self.memory is None else self.memory) < 1:
            raise InputError("vocabulary, context, width and memory >= 1", got=repr(self))
        if self.score not in SCORES:
            raise InputError(f"a score among {', '.join(SCORES)}", got=repr(self.score))
        if not 0 <= self.dropout < 1:
            raise InputError("a dropout in [0, 1)", got=repr(self.dropout))
        if self.padding is not None and not 0 <= self.padding < self.vocabulary:
            raise InputError(f"a padding id from 0 to {self.vocabulary - 1}, or None", got=repr(self.padding))


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig(DecoderConfig):
    """Sizes of a recurrent encoder-decoder: the decoder's, and how long a source is."""

    source_length: int  # S, tokens of each source, padding included

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        super().__post_init__()
        if self.source_length < 1 or self.width % 2:
            raise InputError("a source_length >= 1, and an even width, half of it for each direction", got=repr(self))
        if self.memory not in (None, self.width):
            raise InputError("a memory as wide as the states, which is what the encoder writes", got=repr(self))


class Attention(nn.Module):
    r"""Weights over the places of a memory for each state, and the mean of the memory under them.

    The score of state $s_t$ and place $m_j$ is $v^\top \tanh(W s_t + U m_j + b)$ ("additive") or $s_t^\top U m_j$
    ("general"); the weights are the softmax of the scores over the places that the mask allows.
    """

    def __init__(self, width: int, memory: int, *, score: str = "additive") -> None:
        """Build the maps for states of `width` numbers and places of `memory` numbers."""
        super().__init__()
        if score not in SCORES:
            raise InputError(f"a score among {', '.join(SCORES)}", got=repr(score))
        self.additive = score == "additive"
        self.key = nn.Linear(memory, width, bias=self.additive)  # U
        if self.additive:
            self.query, self.bend = nn.Linear(width, width, bias=False), nn.Tanh()  # W
            self.score = nn.Linear(width, 1, bias=False)  # v

    def forward(self, states: Tensor, memory: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map states (B, T, C), memory (B, S, M) and mask (B, S) bool to the means (B, T, M) and weights (B, T, S).

        A row of weights sums to 1. Where the mask allows no place, weights and mean are zeros.
        """
        weights = _softmax(self.scores(states, memory), mask)
        return weights @ memory, weights

    def scores(self, states: Tensor, memory: Tensor) -> Tensor:
        """Return how well each state (B, T, C) matches each place (B, S, M): (B, T, S)."""
        keys = self.key(memory)  # (B, S, C)
        if not self.additive:
            return states @ keys.transpose(1, 2)  # (B, T, C) @ (B, C, S) -> (B, T, S)
        both = self.query(states)[:, :, None] + keys[:, None]  # (B, T, 1, C) + (B, 1, S, C) -> (B, T, S, C)
        return self.score(self.bend(both)).squeeze(-1)


@dataclass(eq=False)
class StateCache:
    """What a recurrent decoder carries from token to token: one state, however long the text."""

    length: int = 0  # tokens read
    state: Tensor | None = None  # (1, B, C) after them


class AttentionDecoder(nn.Module):
    r"""Target ids (B, T) and a memory (B, S, M) of whatever made it -> logits (B, T, V).

    A GRU reads the target from the state $\tanh(W \bar m)$, $\bar m$ the mean of the memory; each state attends to the
    memory, and $\tanh(W [c_t; s_t])$ goes to the head. Attention comes after the recurrent step, as in Luong et al.,
    and its result is not fed back, so that all T steps are one call of PyTorch's fused GRU.
    """

    def __init__(self, config: DecoderConfig) -> None:
        """Build the parts; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config, width, memory = config, config.width, config.memory or config.width
        self.embed, self.dropout_embed = nn.Embedding(config.vocabulary, width), nn.Dropout(config.dropout)
        self.start, self.start_bend = nn.Linear(memory, width), nn.Tanh()
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.attention = Attention(width, memory, score=config.score)
        self.join, self.join_bend = nn.Linear(memory + width, width), nn.Tanh()
        self.dropout_join = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, config.vocabulary)

    def forward(self, target: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map target ids (B, T), moved one place to the right behind a start token, to logits (B, T, V).

        `mask` (B, S) is False at places of the memory (B, S, M) that are padding.
        """
        return self.head(self.states(target, memory, mask))

    def states(
        self, target: Tensor, memory: Tensor, mask: Tensor | None = None, *, cache: list[StateCache] | None = None
    ) -> Tensor:
        """Map target ids (B, T), memory (B, S, M) and its mask (B, S) to what the head reads, (B, T, C)."""
        return self.attend(target, memory, mask, cache=cache)[0]

    def attend(
        self, target: Tensor, memory: Tensor, mask: Tensor | None = None, *, cache: list[StateCache] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what `states` returns, and the attention weights (B, T, S) of each target token.

        With `cache`, from `new_cache`, the target holds the new tokens only.
        """
        first = cache[0].length if cache else 0
        target = checks.token_ids(target, self.config.vocabulary, self.config.context - first)
        _check_memory(memory, mask, len(target), self.config.memory or self.config.width)
        state = cache[0].state if first else self.first_state(memory, mask)
        states, state = self.recurrent(self.dropout_embed(self.embed(target)), state)  # (B, T, C), (1, B, C)
        if cache:
            cache[0].length, cache[0].state = first + target.shape[1], state
        seen, weights = self.attention(states, memory, mask)
        joined = self.join_bend(self.join(torch.cat((seen, states), -1)))  # (B, T, M + C) -> (B, T, C)
        return self.dropout_join(joined), weights

    def first_state(self, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Return the state before the first token, (1, B, C), from the mean of the memory (B, S, M) under its mask."""
        if mask is None:
            mean = memory.mean(1)
        else:
            real = mask.unsqueeze(-1).to(memory.dtype)  # (B, S, 1)
            mean = (memory * real).sum(1) / real.sum(1).clamp_min(1)  # (B, S, M) -> (B, M)
        return self.start_bend(self.start(mean)).unsqueeze(0)

    def new_cache(self) -> list[StateCache]:
        """Return an empty cache for `states`."""
        return [StateCache()]


class RecurrentEncoder(nn.Module):
    """Source ids (B, S), padded at the end -> memory (B, S, C): the states of a GRU in each direction, side by side."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        """Build the embedding and both directions of C / 2 numbers each."""
        super().__init__()
        self.config = config
        self.embed, self.dropout = nn.Embedding(config.vocabulary, config.width), nn.Dropout(config.dropout)
        self.recurrent = nn.GRU(config.width, config.width // 2, batch_first=True, bidirectional=True)

    def mask(self, ids: Tensor) -> Tensor | None:
        """Return (B, S), True at real tokens; None where there is no padding id."""
        return None if self.config.padding is None else ids != self.config.padding

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, S) to memory (B, S, C), zeros behind the last real token."""
        ids = checks.token_ids(ids, self.config.vocabulary, self.config.source_length, "the source_length")
        mask = self.mask(checks.not_all_padding(ids, self.config.padding))
        x = self.dropout(self.embed(ids))
        if mask is None or ids.is_meta or len(ids) == 0:
            return self.recurrent(x)[0]
        steps = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        lengths = (mask * steps).amax(1).clamp(min=1)  # (B, S) -> (B,), the last real token counted from 1
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=ids.shape[1])[0]


class Seq2Seq(nn.Module):
    """Ids (B, S + T) -> logits (B, T, V), as `models.transformer.EncoderDecoder`: `teacher_forcing` makes the input.

    The first S = `config.source_length` ids are the source, the others the target, moved one place to the right behind
    a start token. Source and target share one vocabulary, not one embedding.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        """Build both halves; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config
        self.encoder, self.decoder = RecurrentEncoder(config), AttentionDecoder(config)

    @property
    def head(self) -> nn.Linear:
        """The decoder's last layer, (B, T, C) -> (B, T, V)."""
        return self.decoder.head

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, S + T), source and shifted target side by side, to logits (B, T, V)."""
        source, target = self._split(ids)
        return self.decoder(target, self.encoder(source), self.encoder.mask(source))

    def alignment(self, ids: Tensor) -> Tensor:
        """Return where each target token looks, (B, T, S), for the same ids (B, S + T) as `forward`."""
        source, target = self._split(ids)
        return self.decoder.attend(target, self.encoder(source), self.encoder.mask(source))[1]

    def states(
        self, target: Tensor, memory: Tensor, mask: Tensor | None, *, cache: list[StateCache] | None = None
    ) -> Tensor:
        """Map target ids (B, T) and the encoder's memory (B, S, C), with its mask (B, S), to states (B, T, C)."""
        return self.decoder.states(target, memory, mask, cache=cache)

    def new_cache(self) -> list[StateCache]:
        """Return an empty cache for `states`."""
        return self.decoder.new_cache()

    def _split(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        length = self.config.source_length
        checks.token_ids(ids, self.config.vocabulary, length + self.config.context)
        return ids[:, :length], ids[:, length:]


def _softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax of scores (B, T, S) over the places that mask (B, S) allows."""
    if mask is None:
        return scores.softmax(-1)
    mask = mask[:, None]  # (B, 1, S)
    lowest = torch.finfo(scores.dtype).min  # not -inf: a row of those would be NaN
    return scores.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0.0)


def _check_memory(memory: Tensor, mask: Tensor | None, batch: int, width: int) -> None:
    if memory.ndim != 3 or memory.shape[0] != batch or memory.shape[2] != width or memory.shape[1] == 0:
        got = f"shape {tuple(memory.shape)}"
        raise InputError(f"a memory of shape ({batch}, S, {width}), S at least 1", got=got)
    if mask is not None and (mask.dtype != torch.bool or mask.shape != memory.shape[:2]):
        expected = f"a boolean mask of shape {tuple(memory.shape[:2])}, True at real places"
        raise InputError(expected, got=f"{mask.dtype} of shape {tuple(mask.shape)}", hint="mask.bool()")
