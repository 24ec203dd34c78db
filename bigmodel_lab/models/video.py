"""Networks for short clips: convolution over time, a recurrent network over frames, and one blind to order.

Sources: Ji et al. (2013), 3D convolutional neural networks, IEEE TPAMI 35, doi 10.1109/TPAMI.2012.59; Tran et al.
(2015), C3D, arXiv 1412.0767; Donahue et al. (2015), a CNN and a recurrent network, arXiv 1411.4389; the frame-wise
control as in Karpathy et al. (2014), doi 10.1109/CVPR.2014.223.
Dimension letters: B batch, T frames, L looks, C channels, H height, W width, D features of a look, K outputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.cnn import CNN, CNNConfig, convolution
from bigmodel_lab.models.rnn import KINDS, RNNConfig, SequenceClassifier

__all__ = ["FrameWise", "VideoCNN", "VideoCNNConfig", "VideoRNN", "VideoRNNConfig"]


@dataclass(frozen=True, kw_only=True)
class VideoCNNConfig:
    """Sizes of a `VideoCNN`."""

    channels: int = 3  # C of the frames
    outputs: int = 8  # K, classes or regression targets
    widths: tuple[int, ...] = (8, 16, 32)  # channels of each stage; each stage but the first halves H and W
    reach: int = 3  # frames that a convolution spans, an odd number; 1: each frame for itself
    halve_time: bool = True  # each stage but the first halves T as well, while there are two frames

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if not self.widths or min((self.channels, self.outputs, *self.widths)) < 1:
            raise InputError("channels, outputs and at least one width, all >= 1", got=repr(self))
        if self.reach < 1 or self.reach % 2 == 0:
            raise InputError("an odd reach, as many frames before as after", got=repr(self.reach), hint="reach=3")


class VideoCNN(nn.Module):
    """Stages of 3-D convolutions, over time as over space, then the mean over all places and frames, then one layer.

    Inputs have shape (B, T, C, H, W), H and W at least 2 ** (len(widths) - 1); outputs (B, K).
    Every activation is a module used once and not in place, so that explanation methods can hook it.
    """

    def __init__(self, config: VideoCNNConfig | None = None) -> None:
        """Build the stages; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config = VideoCNNConfig() if config is None else config
        sizes = (config.channels, *config.widths)
        self.stages = nn.Sequential(*(self._stage(i, *sizes[i : i + 2]) for i in range(len(config.widths))))
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(sizes[-1], config.outputs)

    def _stage(self, index: int, narrow: int, wide: int) -> nn.Sequential:
        reach, halve = self.config.reach, 2 if self.config.halve_time else 1
        shrink = [nn.MaxPool3d((halve, 2, 2), ceil_mode=True)] if index else []
        conv = nn.Conv3d(narrow, wide, (reach, 3, 3), padding=(reach // 2, 1, 1), bias=False)
        return nn.Sequential(*shrink, conv, nn.BatchNorm3d(wide), nn.ReLU())

    def forward(self, clips: Tensor) -> Tensor:
        """Map clips (B, T, C, H, W) to outputs (B, K)."""
        _check(clips, self.config.channels)
        x = clips.transpose(1, 2)  # (B, C, T, H, W), the order that PyTorch's 3-D layers take
        x = x.contiguous(memory_format=torch.channels_last_3d)  # in memory C comes last: a third less time on a CPU
        return self.head(self.pool(self.stages(x)).flatten(1))  # (B, C', 1, 1, 1) -> (B, C')


@dataclass(frozen=True, kw_only=True)
class VideoRNNConfig:
    """Sizes of a `VideoRNN`."""

    channels: int = 3  # C of the frames
    outputs: int = 8  # K, classes or regression targets
    widths: tuple[int, ...] = (8, 16, 32)  # of the frame encoder; each stage but the first halves H and W
    look: int = 1  # successive frames that the encoder sees at once, stacked as channels
    side: int = 3  # the encoder's map is averaged down to side × side places: where things are must not be lost
    kind: str = "gru"  # the cell: "rnn", "lstm" or "gru"
    width: int = 64  # numbers in the recurrent state

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        sizes = (self.channels, self.outputs, self.look, self.side, self.width, *self.widths)
        if not self.widths or min(sizes) < 1:
            raise InputError("channels, outputs, look, side, width and at least one of widths >= 1", got=repr(self))
        if self.kind not in KINDS:
            raise InputError(f"a kind among {', '.join(KINDS)}", got=repr(self.kind))


class VideoRNN(nn.Module):
    """The same convolutions on every look at the clip, then a recurrent network over what was seen.

    A look is one frame, or `config.look` successive ones. Inputs have shape (B, T, C, H, W), T at least `look`, H and W
    at least 2 ** (len(widths) - 1); outputs (B, K).
    """

    def __init__(self, config: VideoRNNConfig | None = None) -> None:
        """Build encoder and recurrent classifier; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config = VideoRNNConfig() if config is None else config
        layers: list[nn.Module] = []
        narrow = config.look * config.channels
        for wide in config.widths:
            layers += [nn.MaxPool2d(2)] if layers else []
            layers += [convolution(narrow, wide), nn.ReLU()]
            narrow = wide
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(config.side))
        features = config.widths[-1] * config.side**2  # D
        self.sequence = SequenceClassifier(
            RNNConfig(kind=config.kind, inputs=features, outputs=config.outputs, width=config.width)
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Map clips (B, T, C, H, W) to outputs (B, K)."""
        look = self.config.look
        _check(clips, self.config.channels, look)
        looks = clips.unfold(1, look, 1).movedim(5, 2).flatten(2, 3)  # (B, L, C, H, W, look) -> (B, L, look·C, H, W)
        features = self.encoder(_frames(looks)).flatten(1)  # (B·L, look·C, H, W) -> (B·L, D)
        return self.sequence(features.unflatten(0, looks.shape[:2]))  # (B, L, D)


class FrameWise(nn.Module):
    """A control that cannot see motion: an image classifier on every frame, its outputs averaged over the frames.

    Inputs have shape (B, T, C, H, W), outputs (B, K). The order of the frames changes nothing but rounding.
    """

    def __init__(self, config: CNNConfig | None = None) -> None:
        """Build the image classifier, a `models.cnn.CNN`; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.classifier = CNN(config)
        self.config = self.classifier.config

    def forward(self, clips: Tensor) -> Tensor:
        """Map clips (B, T, C, H, W) to outputs (B, K)."""
        _check(clips, self.config.channels)
        each = self.classifier(_frames(clips))  # (B·T, C, H, W) -> (B·T, K)
        return each.unflatten(0, clips.shape[:2]).mean(1)


def _frames(clips: Tensor) -> Tensor:
    """Return clips (B, T, C, H, W) as images (B·T, C, H, W), in memory with C last: a third less time on a CPU."""
    return clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _check(clips: Tensor, channels: int, frames: int = 1) -> None:
    if clips.ndim != 5 or clips.shape[2] != channels or clips.shape[1] < frames:
        raise InputError(
            f"clips of shape (B, T, {channels}, H, W), T at least {frames}",
            got=f"shape {tuple(clips.shape)}",
            hint="clips[None] for one clip; clips.transpose(1, 2) if the channels come before the frames",
        )
