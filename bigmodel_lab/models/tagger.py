"""A tagger: one label for each word, from the word, its letters and the words around it.

Word embeddings beside a small convolution over the letters, then a recurrent layer in both directions: Lample et al.
(2016), arXiv 1603.01360, with letters read as by Ma & Hovy (2016), arXiv 1603.01354, and without their last layer (a
conditional random field).
Dimension letters: B batch, T words, L letters of a word, V words known, A letters known, E embedding, C letter
features, H width of the state, K labels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.rnn import RNNConfig, recurrent

__all__ = ["Letters", "Tagger", "TaggerConfig"]

PADDING = 0  # the id that fills up sentences and words


@dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """Sizes of a tagger. It reads words, letters, or both; id 0 is padding in both."""

    outputs: int  # K, labels
    vocabulary: int | None = None  # V, word ids 0 ... V - 1; None: letters alone
    letters: int | None = None  # A, letter ids 0 ... A - 1; None: words alone
    embedding: int = 48  # E, numbers per word
    letter_embedding: int = 16  # numbers per letter
    letter_width: int = 48  # C, features that the letters of a word give
    kind: str = "gru"  # the recurrent cell: "rnn", "lstm" or "gru"
    width: int = 64  # H, numbers in the state of each direction
    dropout: float = 0.2  # of what the recurrent layer reads, and of what the head reads

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if self.vocabulary is None and self.letters is None:
            raise InputError("a vocabulary of words, letters, or both", got="neither", hint="letters=128")
        sizes = (self.outputs, self.embedding, self.letter_embedding, self.letter_width, self.width)
        known = [size for size in (self.vocabulary, self.letters) if size is not None]
        if min(sizes) < 1 or min(known) < 2 or not 0 <= self.dropout < 1:
            raise InputError("sizes of at least 1, of vocabularies 2, and a dropout in [0, 1)", got=repr(self))


class Letters(nn.Module):
    """Features of a word from its letters: each filter's strongest answer to three letters in a row."""

    def __init__(self, config: TaggerConfig) -> None:
        """Build embedding and convolution; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.embedding = nn.Embedding(config.letters, config.letter_embedding, padding_idx=PADDING)
        self.filters = nn.Conv1d(config.letter_embedding, config.letter_width, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, ids: Tensor) -> Tensor:
        """Map the letter ids (N, L) of N words to features (N, C)."""
        rows = self.embedding(ids).transpose(1, 2)  # (N, L, e) -> (N, e, L)
        return self.relu(self.filters(rows).amax(2))  # (N, C, L) -> (N, C)


class Tagger(nn.Module):
    """Words and their letters -> features -> a recurrent layer in both directions -> labels.

    Inputs are int64: word ids (B, T); letter ids (B, T, L) where the config has no vocabulary; both as (B, T, 1 + L),
    the word's id before its letters. A word whose first number is 0 is padding: it stands at the end of a sentence and
    changes nothing. Outputs are logits (B, T, K), for `train.token_loss`.
    """

    def __init__(self, config: TaggerConfig) -> None:
        """Build the layers; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config
        words, letters = config.vocabulary is not None, config.letters is not None
        self.words = nn.Embedding(config.vocabulary, config.embedding, padding_idx=PADDING) if words else None
        self.letters = Letters(config) if letters else None
        features = config.embedding * words + config.letter_width * letters
        self.dropout_in, self.dropout_out = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        self.recurrent = recurrent(RNNConfig(kind=config.kind, inputs=features, width=config.width, bidirectional=True))
        self.head = nn.Linear(2 * config.width, config.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ids (B, T), (B, T, L) or (B, T, 1 + L) to logits (B, T, K)."""
        self._check(x)
        first = x if x.ndim == 2 else x[..., 0]  # (B, T)
        real = first != PADDING
        features = x.new_zeros((*first.shape, self.recurrent.input_size), dtype=self.head.weight.dtype)
        features[real] = self.features(x[real])  # of the padding, nothing is computed
        return self.head(self.dropout_out(self.states(self.dropout_in(features), real)))

    def features(self, words: Tensor) -> Tensor:
        """Map N words, ids (N,), (N, L) or (N, 1 + L), to features (N, F) of each by itself."""
        if self.letters is None:
            return self.words(words)
        if self.words is None:
            return self.letters(words)
        return torch.cat([self.words(words[:, 0]), self.letters(words[:, 1:])], dim=1)

    def states(self, features: Tensor, real: Tensor) -> Tensor:
        """Map features (B, T, F), of which those at `real` (B, T) count, to states of both directions (B, T, 2H)."""
        steps = torch.arange(1, real.shape[1] + 1, device=real.device)
        lengths = (real * steps).amax(1).clamp(min=1)  # the last real word, counted from 1
        packed = pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=real.shape[1])[0]

    def _check(self, x: Tensor) -> None:
        words, letters = self.config.vocabulary, self.config.letters
        shape = "(B, T)" if letters is None else "(B, T, L)" if words is None else "(B, T, 1 + L)"
        least = 1 + (None not in (words, letters))
        fits = isinstance(x, Tensor) and x.ndim == len(shape.split(",")) and x.dtype == torch.int64
        if not fits or x.shape[1] < 1 or (x.ndim == 3 and x.shape[2] < least):
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"ids, int64 of shape {shape}, at least one word", got=got, hint="ids.unsqueeze(0)")
        if x.device.type != "cpu" or not x.numel():
            return
        first = x if x.ndim == 2 else x[..., 0] if words is not None else None
        rest = None if letters is None else x if words is None else x[..., 1:]
        for name, ids, size in (("word", first, words), ("letter", rest, letters)):
            if ids is not None and size is not None and not 0 <= int(ids.min()) <= int(ids.max()) < size:
                got = f"ids from {int(ids.min())} to {int(ids.max())}"
                raise InputError(f"{name} ids in [0, {size})", got=got, hint="an id for what is not known, such as 1")
