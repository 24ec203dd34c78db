"""From a spectrogram to words whose places nobody marked: an acoustic model, the CTC loss, and how it is read out.

Source: Graves, Fernández, Gomez & Schmidhuber (2006), ICML, connectionist temporal classification; the recurrent layers
are those of `models.rnn`. Silence at the end of a short recording is heard like any other silence: there is no mask.
Dimension letters: B batch, F frames, M mel bands, G frames after the convolutions, V symbols with the blank, S symbols
of a text. Symbol 0 is the blank; in targets, where no blank can stand, 0 fills up short texts.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.rnn import RNNConfig, recurrent
from bigmodel_lab.models.sampling import evaluating

__all__ = [
    "CTCConfig",
    "Listener",
    "ListenerConfig",
    "Recogniser",
    "collapse",
    "ctc_loss",
    "encode",
    "load_recogniser",
    "read_out",
    "save_recogniser",
    "transcribe",
]

BLANK = 0


@dataclass(frozen=True, kw_only=True)
class ListenerConfig:
    """Sizes of what listens: convolutions that shorten the sound, then recurrent layers that look both ways."""

    mels: int = 40  # M, bands of the log-mel spectrogram
    width: int = 64  # channels of the convolutions, and of each direction of the recurrent layers
    strides: tuple[int, ...] = (2, 2)  # one convolution for each: how many frames one of its steps goes on
    kernel: int = 5  # frames that a convolution sees, an odd number
    depth: int = 1  # recurrent layers
    dropout: float = 0.0  # after each convolution, and after the recurrent layers

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        object.__setattr__(self, "strides", tuple(self.strides))  # a list, as JSON has it
        sizes = (self.mels, self.width, self.kernel, self.depth, *self.strides)
        if min(sizes) < 1 or not self.kernel % 2 or not 0 <= self.dropout < 1:
            raise InputError("sizes >= 1, an odd kernel and a dropout in [0, 1)", got=repr(self))

    @property
    def stride(self) -> int:
        """Frames of the spectrogram for each frame that comes out: F frames give G = ceil(F / stride)."""
        return prod(self.strides)


class Listener(nn.Module):
    """Log-mel spectrogram (B, F, M) -> what was heard (B, G, 2 · width), G = ceil(F / stride).

    Bands are brought to unit size by a batch normalisation without weights, which after training is a fixed map.
    """

    def __init__(self, config: ListenerConfig) -> None:
        """Build the layers; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config, width = config, config.width
        self.norm = nn.BatchNorm1d(config.mels, affine=False)
        layers: list[nn.Module] = []
        for i, stride in enumerate(config.strides):
            conv = nn.Conv1d(width if i else config.mels, width, config.kernel, stride, config.kernel // 2)
            layers += [conv, nn.GELU(), nn.Dropout(config.dropout)]
        self.convolutions = nn.Sequential(*layers)
        inputs = width if config.strides else config.mels
        sizes = RNNConfig(inputs=inputs, width=width, depth=config.depth, bidirectional=True, dropout=config.dropout)
        self.recurrent, self.dropout = recurrent(sizes), nn.Dropout(config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map log-mel spectrograms (B, F, M) to (B, G, 2 · width)."""
        if features.ndim != 3 or features.shape[1] == 0 or features.shape[2] != self.config.mels:
            expected = f"log-mel spectrograms (B, F, {self.config.mels}), F at least 1"
            raise InputError(expected, got=f"shape {tuple(features.shape)}", hint="features[None] for one recording")
        x = self.norm(features.transpose(1, 2))  # (B, F, M) -> (B, M, F)
        x = self.convolutions(x).transpose(1, 2)  # -> (B, width, G) -> (B, G, width)
        return self.dropout(self.recurrent(x)[0])


@dataclass(frozen=True, kw_only=True)
class CTCConfig(ListenerConfig):
    """A listener, and what it can write."""

    symbols: tuple[str, ...]  # the words or letters 1 to V - 1; 0 is the blank
    joint: str = " "  # what stands between two symbols of a text: " " for words, "" for letters

    def __post_init__(self) -> None:
        """Refuse symbols that a text could not be taken apart into."""
        super().__post_init__()
        object.__setattr__(self, "symbols", tuple(self.symbols))
        if not self.symbols or len(set(self.symbols)) < len(self.symbols) or "" in self.symbols:
            raise InputError("symbols, each once and none of them empty", got=repr(self.symbols))
        if self.joint and any(self.joint in symbol for symbol in self.symbols):
            raise InputError(f"symbols without {self.joint!r}, which joins them", got=repr(self.symbols))


class Recogniser(nn.Module):
    """A listener and one linear layer: log-mel spectrogram (B, F, M) -> logits (B, G, V), symbol 0 the blank."""

    def __init__(self, config: CTCConfig) -> None:
        """Build the layers; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config, self.listener = config, Listener(config)
        self.head = nn.Linear(2 * config.width, len(config.symbols) + 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map log-mel spectrograms (B, F, M) to logits (B, G, V)."""
        return self.head(self.listener(features))


def encode(texts: Iterable[str], symbols: Sequence[str], *, joint: str = " ") -> Tensor:
    """Return texts as symbols (N, S), int64, 1 for the first of `symbols`; 0 fills up short texts."""
    number = {symbol: i for i, symbol in enumerate(symbols, 1)}
    rows = []
    for text in texts:
        parts = (text.split(joint) if joint else list(text)) if text else []
        if unknown := [part for part in parts if part not in number]:
            known = ", ".join(map(repr, list(symbols)[:4]))
            raise InputError(f"texts of the {len(number)} symbols {known}, …", got=f"{unknown[0]!r} in {text!r}")
        rows.append([number[part] for part in parts])
    longest = max(map(len, rows), default=0)
    filled = [row + [BLANK] * (longest - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.int64).reshape(len(rows), longest)


def ctc_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return -log p(text) by the length of the text, the mean over the batch: nats a symbol, for `train.fit`.

    `outputs` are logits (B, G, V), `targets` (B, S) int64 as `encode` makes them. A text needs a frame for each symbol
    and one more, for a blank, wherever a symbol follows itself; raises `InputError` where there are fewer.
    """
    if outputs.ndim != 3 or targets.ndim != 2 or len(outputs) != len(targets) or targets.dtype != torch.int64:
        got = f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)} of {targets.dtype}"
        raise InputError("logits (B, G, V) and targets (B, S), int64", got=got, hint="encode(texts, symbols)")
    lengths = (targets != BLANK).sum(1)
    if targets.device.type == "cpu":  # to look at values would make a GPU wait
        _check_targets(targets, lengths, frames=outputs.shape[1], symbols=outputs.shape[2])
    frames = lengths.new_full((len(outputs),), outputs.shape[1])
    scores = outputs.to(torch.promote_types(outputs.dtype, torch.float32)).log_softmax(-1).transpose(0, 1)  # (G, B, V)
    return F.ctc_loss(scores, targets, frames, lengths, blank=BLANK)


def _check_targets(targets: Tensor, lengths: Tensor, *, frames: int, symbols: int) -> None:
    """Refuse texts that no path of `frames` frames can say."""
    inside = torch.arange(targets.shape[1]) < lengths[:, None]
    if (lengths == 0).any() or not ((targets > 0) == inside).all() or targets.max() >= symbols:
        expected = f"in each row symbols from 1 to {symbols - 1}, at least one, then zeros"
        raise InputError(expected, got=f"{targets.tolist()[:3]} …", hint="encode(texts, symbols)")
    twice = ((targets[:, 1:] == targets[:, :-1]) & inside[:, 1:]).sum(1)
    if (lengths + twice > frames).any():
        raise InputError(
            f"texts that fit {frames} frames",
            got=f"one that needs {int((lengths + twice).max())}",
            hint="a smaller stride, or a recording that is as long as its text",
        )


def collapse(path: Sequence[int]) -> list[int]:
    """Return the text that a path, one symbol a frame, says: what repeats is one symbol, then blanks go.

    `collapse([0, 1, 1, 0, 1])` is `[1, 1]`.
    """
    return [symbol for before, symbol in zip([BLANK, *path], path, strict=False) if symbol not in (before, BLANK)]


def read_out(logits: Tensor) -> list[list[tuple[int, int]]]:
    """Return for each row of logits (B, G, V) the symbols of its likeliest path, with the frame where each is surest.

    Each entry is (symbol, frame), frame from 0 to G - 1. It is not always the likeliest text, which may have more paths
    that say it.
    """
    sure, path = logits.softmax(-1).max(-1)  # (B, G) each
    texts = []
    for row, confidence in zip(path.tolist(), sure.tolist(), strict=True):
        text: list[tuple[int, int]] = []
        for g, symbol in enumerate(row):
            if symbol == BLANK:
                continue
            if g and row[g - 1] == symbol:
                text[-1] = max(text[-1], (symbol, g), key=lambda entry: confidence[entry[1]])
            else:
                text.append((symbol, g))
        texts.append(text)
    return texts


@torch.no_grad()
def transcribe(model: Recogniser, features: Tensor, *, tail: int = 50, batch_size: int = 256) -> list[str]:
    """Return what `model` writes for log-mel spectrograms (B, F, M), each text by its likeliest path.

    A recogniser that was trained with silence after the last word may lose that word without it, so `tail` frames, as
    quiet as the quietest number of all, follow each recording first. The model runs in evaluation mode, on the device
    where it is, and keeps the mode it had.
    """
    where, texts = next(model.parameters()).device, []
    symbols, joint = model.config.symbols, model.config.joint
    with evaluating(model):
        for part in features.split(batch_size):
            longer = F.pad(part, (0, 0, 0, tail), value=features.min().item())  # (B, F, M) -> (B, F + tail, M)
            paths = model(longer.to(where)).argmax(-1).tolist()
            texts += [joint.join(symbols[s - 1] for s in collapse(path)) for path in paths]
    return texts


def save_recogniser(model: Recogniser, folder: str | Path) -> None:
    """Write `config.json` and `model.safetensors` to `folder`, which is made if it is not there."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(model.config), indent=1) + "\n", encoding="utf-8")
    save_file({name: part.contiguous() for name, part in model.state_dict().items()}, folder / "model.safetensors")


def load_recogniser(folder: str | Path) -> Recogniser:
    """Return the recogniser that `save_recogniser` wrote to `folder`, in evaluation mode, on the CPU.

    Raises `CheckpointError` where a file is missing, cut short or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        model = Recogniser(CTCConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8"))))
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"config.json and model.safetensors of a recogniser in {folder}",
            got=f"{type(error).__name__}: {str(error)[:300]}",
            hint='pretrained.folder("mini-asr"), or write it again: save_recogniser(model, folder)',
        ) from error
    return model.eval()
