"""From text to a mel spectrogram: an encoder of letters, a length for each letter, and a decoder of frames.

How long each letter lasts is learned without being told: a letter is a bell curve over the frames, and training moves
centres and widths like any other weight. Sources: Shen et al. (2020), Non-Attentive Tacotron, arXiv 2010.04301 (bell
curves over frames); Donahue et al. (2021), arXiv 2006.03575 (lengths learned from the sound as a whole); Ren et al.
(2019), FastSpeech, arXiv 1905.09263 (all frames at once).
Dimension letters: B batch, L letters, F frames, C channels, M mel bands.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.rnn import over_real

__all__ = ["AcousticConfig", "AcousticModel", "acoustic_loss", "pack_speech", "spread"]

LENGTH_WEIGHT = 0.1  # of the error in the logarithm of the whole length, beside the error of the bands


@dataclass(frozen=True, kw_only=True)
class AcousticConfig:
    """Sizes of an acoustic model."""

    vocabulary: int  # letters, 0 is padding
    frames: int  # F, the most frames of one utterance
    mels: int = 40  # M, bands of each frame
    width: int = 96  # C, channels of encoder and decoder
    kernel: int = 5  # letters, or frames, that one convolution reads
    depth: int = 3  # convolutions in the encoder, and in the decoder

    def __post_init__(self) -> None:
        """Refuse sizes that make no model."""
        if min(self.vocabulary - 1, self.frames, self.mels, self.width, self.depth) < 1:
            raise InputError("a vocabulary of at least 2, and sizes of at least 1", got=repr(self))
        if self.kernel < 1 or self.kernel % 2 == 0 or self.width % 2:
            raise InputError("an odd kernel and an even width", got=f"kernel={self.kernel}, width={self.width}")


def spread(lengths: Tensor, widths: Tensor, frames: int) -> Tensor:
    r"""Return how much of each letter every frame holds: (B, F, L), each frame's shares together 1.

    $a_{fl} \propto \exp(-(f + 1/2 - c_l)^2 / 2 \sigma_l^2)$, where $c_l = \sum_{k \le l} d_k - d_l / 2$ is the centre
    of a letter that lasts $d_l$ frames (Shen et al. 2020, section 3.1). `lengths` d and `widths` σ are (B, L), both in
    frames; a letter of length 0 is padding and gets nothing.
    """
    centre = lengths.cumsum(1) - lengths / 2  # (B, L)
    at = torch.arange(frames, device=lengths.device) + 0.5
    far = (at[None, :, None] - centre[:, None, :]) / widths[:, None, :]  # (B, F, L)
    return (-far.square() / 2).masked_fill((lengths <= 0)[:, None, :], -torch.inf).softmax(-1)


class Convolutions(nn.Module):
    """Convolutions over a sequence, each added to what it read: x ← x + ReLU(conv(norm(x)))."""

    def __init__(self, config: AcousticConfig) -> None:
        """Build `config.depth` of them."""
        super().__init__()
        sizes = (config.width, config.width, config.kernel)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.depth))
        self.convs = nn.ModuleList(nn.Conv1d(*sizes, padding=config.kernel // 2) for _ in range(config.depth))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(config.depth))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Map x (B, T, C) to (B, T, C); where `real` (B, T, 1) is 0, it is padding and read as 0."""
        for norm, conv, relu in zip(self.norms, self.convs, self.relus, strict=True):
            x = x + relu(conv((norm(x) * real).transpose(1, 2))).transpose(1, 2)
        return x


class AcousticModel(nn.Module):
    """Letters (B, L + 1) -> log-mel frames and their number, (B, F, M + 1).

    The input is one tensor, as `fit` wants it: ids of letters, 0 for padding, and in the last column how many frames
    the utterance has, or 0 to let the model decide (`pack_speech`). In the output, the last band of each frame is the
    logarithm of the number of frames that the model would have chosen.
    """

    def __init__(self, config: AcousticConfig) -> None:
        """Build encoder, lengths and decoder; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width, padding_idx=0)
        self.encoder = Convolutions(config)
        self.context = nn.GRU(config.width, config.width // 2, batch_first=True, bidirectional=True)
        self.shape = nn.Linear(config.width, 2)  # length and width of a letter
        self.softplus = nn.Softplus()
        self.place = nn.Linear(2, config.width)
        self.decoder = Convolutions(config)
        self.states = nn.GRU(config.width, config.width // 2, batch_first=True, bidirectional=True)
        self.bands = nn.Linear(2 * config.width, config.mels)

    def forward(self, x: Tensor) -> Tensor:
        """Map letters and numbers of frames (B, L + 1) to (B, F, M + 1)."""
        ids, asked = self._parts(x)
        hidden, lengths, widths = self.letters(ids)
        own = lengths.sum(1)  # (B,)
        number = torch.where(asked > 0, asked.to(own.dtype), own.round().clamp(1, self.config.frames))
        lengths = lengths * (number / own)[:, None]
        bands = self.frames(hidden, lengths, widths)
        return torch.cat((bands, own.log()[:, None, None].expand(-1, bands.shape[1], 1)), 2)

    def letters(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ids (B, L) to states (B, L, C), lengths (B, L) and widths (B, L) in frames; padding has length 0."""
        real = (ids != 0).unsqueeze(-1)  # (B, L, 1)
        hidden = self.encoder(self.embedding(ids), real)
        hidden = (hidden + over_real(self.context, hidden, real.sum((1, 2)))) * real
        length, width = self.softplus(self.shape(hidden)).unbind(-1)
        return hidden, (6 * length + 0.1) * real[..., 0], 2 * width + 0.5

    def frames(self, hidden: Tensor, lengths: Tensor, widths: Tensor) -> Tensor:
        """Map states (B, L, C), lengths and widths (B, L) to log-mel frames (B, F, M)."""
        shares = spread(lengths, widths, self.config.frames)  # (B, F, L)
        ends = lengths.cumsum(1)
        at = torch.arange(self.config.frames, device=hidden.device) + 0.5
        inside = at[None, :, None] - (shares @ (ends - lengths)[..., None])  # frames since the letter began
        left = (shares @ ends[..., None]) - at[None, :, None]  # frames until it ends
        x = shares @ hidden + self.place(torch.cat((inside, left), 2) / 10)
        real = (at[None] <= ends[:, -1:]).unsqueeze(-1)  # (B, F, 1)
        x = self.decoder(x, real)
        return self.bands(torch.cat((x, over_real(self.states, x, real.sum((1, 2)).clamp(min=1))), 2))

    @torch.no_grad()
    def speak(self, ids: Tensor) -> list[Tensor]:
        """Return the log-mel frames (frames, M) of each text of ids (B, L), as many as the model thinks right."""
        training = self.training
        self.eval()
        try:
            out = self(torch.cat((ids, torch.zeros_like(ids[:, :1])), 1))
        finally:
            self.train(training)
        numbers = out[:, 0, -1].exp().round().clamp(1, self.config.frames).long().tolist()
        return [bands[:number, :-1] for bands, number in zip(out, numbers, strict=True)]

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split the input, and refuse what is none."""
        if x.ndim != 2 or x.shape[1] < 2 or x.is_floating_point():
            raise InputError(
                "letters and the number of frames, int64 of shape (B, L + 1)",
                got=f"{x.dtype} of shape {tuple(x.shape)}",
                hint="pack_speech(ids, bands)[0], or model.speak(ids)",
            )
        if x.device.type == "cpu" and len(x):
            ids, asked = x[:, :-1], x[:, -1]
            if ids.min() < 0 or ids.max() >= self.config.vocabulary or (ids == 0).all(1).any():
                empty = int((ids == 0).all(1).sum())
                got = f"ids from {int(ids.min())} to {int(ids.max())}, {empty} texts without a letter"
                raise InputError(
                    f"ids from 0 to {self.config.vocabulary - 1}, at least one letter in each text", got=got
                )
            if asked.min() < 0 or asked.max() > self.config.frames:
                got = f"{int(asked.min())} to {int(asked.max())}"
                raise InputError(f"numbers of frames from 0 to {self.config.frames}", got=got)
        return x[:, :-1], x[:, -1]


def pack_speech(ids: Tensor, bands: list[Tensor], frames: int) -> tuple[Tensor, Tensor]:
    """Return what `fit` needs: inputs (N, L + 1), and targets (N, F, M) filled up with NaN.

    `ids` (N, L) are letters, 0 for padding; `bands` the log-mel frames (frames, M) of each utterance; F is `frames`.
    """
    longest = max((len(one) for one in bands), default=0)
    if len(ids) != len(bands) or not bands or longest > frames:
        raise InputError(
            f"as many texts as utterances, each of at most {frames} frames",
            got=f"{len(ids)} texts, {len(bands)} utterances, the longest of {longest} frames",
        )
    numbers = torch.tensor([len(one) for one in bands])[:, None]
    targets = torch.stack([F.pad(one, (0, 0, 0, frames - len(one)), value=torch.nan) for one in bands])
    return torch.cat((ids, numbers), 1), targets


def acoustic_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute error of the bands, and of the logarithm of the whole length, weighted.

    `outputs` (B, F, M + 1) are the model's, `targets` (B, F, M) those of `pack_speech`: frames of NaN do not count.
    """
    if outputs.ndim != 3 or outputs.shape[:2] != targets.shape[:2] or outputs.shape[2] != targets.shape[2] + 1:
        got = f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        raise InputError("outputs (B, F, M + 1) and targets (B, F, M)", got=got, hint="pack_speech makes the targets")
    real = ~targets[..., :1].isnan()  # (B, F, 1)
    number = real.sum((1, 2))  # (B,)
    error = (outputs[..., :-1] - targets.nan_to_num()).abs() * real
    bands = (error.sum((1, 2)) / (number * targets.shape[2])).mean()
    return bands + LENGTH_WEIGHT * (outputs[:, 0, -1] - number.log()).abs().mean()
