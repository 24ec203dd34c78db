"""Recurrent networks: the three cells written out, a classifier of sequences, and a language model.

Sources: Elman (1990), Cognitive Science 14; Hochreiter & Schmidhuber (1997), Neural Computation 9; forget gates by
Gers, Schmidhuber & Cummins (2000), Neural Computation 12; Cho et al. (2014), arXiv 1406.1078; a forget bias of 1 by
Jozefowicz, Zaremba & Sutskever (2015), ICML; tied embeddings by Press & Wolf (2017), arXiv 1608.05859.
The modules use PyTorch's fused nn.RNN, nn.LSTM and nn.GRU, which the written-out cells equal.
Dimension letters: B batch, T time, D features per step, E embedding, H width of the state, V vocabulary, K outputs.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.sampling import check_sampling, draw, evaluating

__all__ = [
    "LanguageModel",
    "RNNConfig",
    "SequenceClassifier",
    "generate",
    "gru_step",
    "lstm_step",
    "over_real",
    "recurrent",
    "rnn_step",
    "unroll",
]

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
State = Tensor | tuple[Tensor, Tensor]  # of an LSTM the pair (h, c)


def rnn_step(x: Tensor, h: Tensor, W: Tensor, U: Tensor, b: Tensor, c: Tensor) -> Tensor:
    r"""Return the next state $h' = \tanh(W x + b + U h + c)$ (Elman 1990).

    `x` (B, D) is the input, `h` (B, H) the state; `W` (H, D), `U` (H, H), `b` and `c` (H,), as
    `nn.RNN(D, H).all_weights[0]` lists them.
    """
    return torch.tanh(x @ W.T + b + h @ U.T + c)


def lstm_step(
    x: Tensor, state: tuple[Tensor, Tensor], W: Tensor, U: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the next state $(h', m')$ of a long short-term memory (Hochreiter & Schmidhuber 1997).

    $m' = f \odot m + i \odot g$ and $h' = o \odot \tanh(m')$: the forget gate $f$ (Gers et al. 2000), the input gate
    $i$ and the output gate $o$ are sigmoids, the candidate $g$ is a tanh, each of a row block of $W x + b + U h + c$.
    `x` (B, D); `state` is (h, m), both (B, H); `W` (4H, D), `U` (4H, H), `b` and `c` (4H,), blocks in the order i, f,
    g, o, as `nn.LSTM(D, H).all_weights[0]` lists them.
    """
    h, memory = state
    i, f, g, o = (x @ W.T + b + h @ U.T + c).chunk(4, dim=-1)  # (B, 4H) -> 4 × (B, H)
    memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory


def gru_step(x: Tensor, h: Tensor, W: Tensor, U: Tensor, b: Tensor, c: Tensor) -> Tensor:
    r"""Return the next state $h' = z \odot h + (1 - z) \odot n$ of a gated recurrent unit (Cho et al. 2014).

    The reset gate $r$ and the update gate $z$ are sigmoids of their row blocks of $W x + b + U h + c$; the candidate
    is $n = \tanh(W_n x + b_n + r \odot (U_n h + c_n))$. As in cuDNN and PyTorch, $r$ acts after the product with
    $U_n$; in the paper it acts before.
    `x` (B, D); `h` (B, H); `W` (3H, D), `U` (3H, H), `b` and `c` (3H,), blocks in the order r, z, n, as
    `nn.GRU(D, H).all_weights[0]` lists them.
    """
    (r, z, n), (r_h, z_h, n_h) = (x @ W.T + b).chunk(3, dim=-1), (h @ U.T + c).chunk(3, dim=-1)  # 3 × (B, H)
    z = (z + z_h).sigmoid()
    return z * h + (1 - z) * (n + (r + r_h).sigmoid() * n_h).tanh()


def unroll(layer: nn.RNN | nn.LSTM | nn.GRU, x: Tensor, state: State | None = None) -> Tensor:
    """Run the first layer of `layer` over `x` (B, T, D) step by step; return the states h (B, T, H).

    `state` is the state before the first step, zeros if None. It is the loop that PyTorch's fused layers hide:
    slower, but every state can be looked at.
    """
    step = {"RNN_TANH": rnn_step, "LSTM": lstm_step, "GRU": gru_step}.get(getattr(layer, "mode", None))
    if step is None or not layer.bias or layer.proj_size:
        raise InputError("an nn.RNN with tanh, nn.LSTM or nn.GRU, with biases and no projection", got=repr(layer))
    if x.ndim != 3 or x.shape[1] == 0:
        raise InputError("x of shape (B, T, D), T at least 1", got=f"shape {tuple(x.shape)}")
    if state is None:
        state = zeros = x.new_zeros(len(x), layer.hidden_size)
        state = (zeros, zeros) if layer.mode == "LSTM" else state
    states = []
    for t in range(x.shape[1]):
        state = step(x[:, t], state, *layer.all_weights[0][:4])
        states.append(state[0] if layer.mode == "LSTM" else state)
    return torch.stack(states, dim=1)  # T × (B, H) -> (B, T, H)


@dataclass(frozen=True, kw_only=True)
class RNNConfig:
    """Sizes of a recurrent network. Give `vocabulary` for token ids, or `inputs` for numbers."""

    kind: str = "gru"  # the cell: "rnn", "lstm" or "gru"
    vocabulary: int | None = None  # V, token ids 0 ... V - 1
    inputs: int | None = None  # D, features per step of inputs that are not ids
    outputs: int = 2  # K of a classifier, classes or regression targets
    width: int = 64  # H, numbers in the state
    embedding: int | None = None  # E, numbers per token; None: as many as `width`
    depth: int = 1  # recurrent layers, each reading the states of the one below
    bidirectional: bool = False  # a second pass from the end (classifier only)
    pooling: str = "last"  # what a classifier reads: the "last" real state, or the "mean" of the real states
    dropout: float = 0.0  # between recurrent layers and before the head
    forget_bias: float | None = None  # LSTM: first bias of the forget gate, such as 1.0: remember at first
    padding: int | None = 0  # the id that fills the end of short texts; None: every id is a token
    tied: bool = False  # language model: the head's weights are the embedding's

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if self.kind not in KINDS:
            raise InputError(f"a kind among {', '.join(KINDS)}", got=repr(self.kind))
        if (self.vocabulary is None) == (self.inputs is None):
            raise InputError("either vocabulary (token ids) or inputs (features per step)", got=repr(self))
        sizes = (self.vocabulary, self.inputs, self.outputs, self.width, self.embedding, self.depth)
        if min(size for size in sizes if size is not None) < 1 or not 0 <= self.dropout < 1:
            raise InputError("sizes >= 1 and a dropout in [0, 1)", got=repr(self))
        if None not in (self.vocabulary, self.padding) and not 0 <= self.padding < self.vocabulary:
            raise InputError(f"a padding id from 0 to {self.vocabulary - 1}, or None", got=repr(self.padding))
        if self.pooling not in ("last", "mean"):
            raise InputError('pooling="last" or pooling="mean"', got=repr(self.pooling))
        if self.forget_bias is not None and self.kind != "lstm":
            raise InputError('forget_bias with kind="lstm", which alone has a forget gate', got=f"kind={self.kind!r}")
        if self.tied and self.embedding not in (None, self.width):
            raise InputError(
                "an embedding as wide as the state, to tie it to the head",
                got=f"embedding={self.embedding}, width={self.width}",
                hint=f"embedding={self.width}",
            )


def recurrent(config: RNNConfig) -> nn.RNN | nn.LSTM | nn.GRU:
    """Return PyTorch's layers of the kind and sizes of `config`; they map (B, T, E or D) to (B, T, H or 2H)."""
    layers = KINDS[config.kind](
        config.inputs or config.embedding or config.width,
        config.width,
        config.depth,
        batch_first=True,
        bidirectional=config.bidirectional,
        dropout=config.dropout if config.depth > 1 else 0.0,
    )
    if config.forget_bias is not None:
        with torch.no_grad():
            for _, _, b, c, *_ in layers.all_weights:
                b[config.width : 2 * config.width] = config.forget_bias  # the second block is the forget gate's
                c[config.width : 2 * config.width] = 0.0
    return layers


def over_real(layers: nn.RNN | nn.LSTM | nn.GRU, x: Tensor, lengths: Tensor) -> Tensor:
    """Return the top states (B, T, H or 2H) of `layers` over the first `lengths` (B,) steps of x (B, T, D), then 0.

    So a backward pass begins at each sequence's own end. Lengths are at least 1.
    """
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layers(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class SequenceClassifier(nn.Module):
    """Recurrent layers over the sequence, then the last real state or the mean of the real states, then one linear map.

    Inputs are ids (B, T), padded at the end with `config.padding`, or numbers (B, T, D); outputs have shape (B, K).
    What stands in the padding changes nothing. With `bidirectional`, "last" joins the state after the last step with
    the backward state after the first.
    """

    def __init__(self, config: RNNConfig) -> None:
        """Build the layers; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config
        width = config.embedding or config.width
        self.embedding = nn.Identity() if config.vocabulary is None else nn.Embedding(config.vocabulary, width)
        self.recurrent = recurrent(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width * (2 if config.bidirectional else 1), config.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ids (B, T) or numbers (B, T, D) to outputs (B, K)."""
        _check(x, self.config)
        ids = self.config.vocabulary is not None and self.config.padding is not None
        real = x != self.config.padding if ids else torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)
        lengths = (real * steps).amax(1).clamp(min=1)  # (B, T) -> (B,), the last real step counted from 1
        states = self.states(self.embedding(x), lengths)
        if self.config.pooling == "mean":
            inside = (steps <= lengths[:, None]).unsqueeze(-1)  # (B, T, 1)
            pooled = (states * inside).sum(1) / lengths[:, None]  # (B, T, H) -> (B, H)
        else:
            last = states[torch.arange(len(x), device=x.device), lengths - 1]  # (B, T, H) -> (B, H)
            first, width = states[:, 0], self.config.width
            pooled = torch.cat([last[:, :width], first[:, width:]], dim=1) if self.config.bidirectional else last
        return self.head(self.dropout(pooled))

    def states(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map steps (B, T, E or D), of which the first `lengths` (B,) are real, to the top layer's states (B, T, H)."""
        if not self.config.bidirectional or x.is_meta or len(x) == 0:
            return self.recurrent(x)[0]  # in one direction, what comes after the last real step cannot change it
        return over_real(self.recurrent, x, lengths)


class LanguageModel(nn.Module):
    """A recurrent language model: the state after tokens 0 ... t gives the scores of token t + 1.

    Inputs are ids (B, T); outputs are logits (B, T, V), for `train.token_loss`.
    """

    def __init__(self, config: RNNConfig) -> None:
        """Build embedding, recurrent layers and head; weights are drawn from PyTorch's global generator."""
        super().__init__()
        if config.vocabulary is None or config.bidirectional:
            raise InputError("a vocabulary, and one direction: the future is not known yet", got=repr(config))
        self.config = config
        width = config.embedding or config.width
        self.embedding = nn.Embedding(config.vocabulary, width)
        self.recurrent = recurrent(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.vocabulary)
        if config.tied:
            nn.init.normal_(self.embedding.weight, std=width**-0.5)  # scores of about unit size
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to logits (B, T, V)."""
        return self.step(ids)[0]

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read ids (B, T) from `state` on (None: from the beginning); return logits (B, T, V) and the state after."""
        _check(ids, self.config)
        states, state = self.recurrent(self.embedding(ids), state)
        return self.head(self.dropout(states)), state


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompt: Tensor,
    new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    cache: bool = True,
) -> Tensor:
    """Continue `prompt` (B, T) by `new_tokens` ids drawn one after the other; return ids (B, T + new_tokens).

    - `temperature`, `top_k`, `top_p`, `generator`: how a token is drawn, see `models.sampling.draw`.
    - `cache`: carry the state along, so that each step reads one token; without it, the same tokens come slower.

    There is no longest text. The model runs in evaluation mode and keeps the mode it had.
    """
    check_sampling(temperature, top_k, top_p)
    if new_tokens < 0:
        raise InputError("new_tokens of at least 0", got=repr(new_tokens))
    choose = partial(draw, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
    ids, read, state = prompt, prompt, None
    with evaluating(model):
        for _ in range(new_tokens):
            logits, state = model.step(read, state if cache else None)
            chosen = choose(logits[:, -1])[:, None]  # (B, V) -> (B, 1)
            ids = torch.cat([ids, chosen], dim=1)
            read = chosen if cache else ids
    return ids


def _check(x: Tensor, config: RNNConfig) -> None:
    """Refuse inputs of the wrong shape or kind; ids out of range as well, where looking costs no waiting."""
    tensor = isinstance(x, Tensor)
    got = f"{x.dtype} of shape {tuple(x.shape)}" if tensor else type(x).__name__
    if config.vocabulary is None:
        if not tensor or x.ndim != 3 or x.shape[2] != config.inputs or x.shape[1] == 0 or not x.is_floating_point():
            raise InputError(f"numbers of shape (B, T, {config.inputs}), T at least 1", got=got)
    elif not tensor or x.ndim != 2 or x.shape[1] == 0 or x.dtype not in (torch.int64, torch.int32):
        hint = "ids.unsqueeze(0) for one text; ids.long() for other integers; torch.tensor(ids) for a list"
        raise InputError("token ids of shape (B, T), T at least 1", got=got, hint=hint)
    elif torch.compiler.is_compiling():
        return
    elif x.device.type == "cpu" and x.numel() and not 0 <= int(x.min()) <= int(x.max()) < config.vocabulary:
        raise InputError(
            f"ids in [0, {config.vocabulary})",
            got=f"ids from {int(x.min())} to {int(x.max())}",
            hint="give the tokenizer's size as vocabulary",
        )
