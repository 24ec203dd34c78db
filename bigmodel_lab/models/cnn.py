"""Convolutional networks for small images: a plain one and a residual one.

Sources: LeCun et al. (1998), Proc. IEEE 86; Ioffe & Szegedy (2015), arXiv 1502.03167;
He et al. (2016), arXiv 1512.03385.
Dimension letters: B batch, C channels, H height, W width, K outputs.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from bigmodel_lab.errors import InputError

__all__ = ["CNN", "CNNConfig", "ResidualBlock"]


@dataclass(frozen=True, kw_only=True)
class CNNConfig:
    """Sizes of a CNN."""

    channels: int = 3  # C of the input images
    outputs: int = 10  # K, classes or regression targets
    widths: tuple[int, ...] = (32, 64, 128)  # channels of each stage; each stage but the first halves H and W
    residual: bool = False  # two convolutions with a skip connection per stage, instead of one convolution
    padding: str = "zeros"  # what lies beyond the border of an image: "zeros", or "circular" (the opposite side)

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if min((self.channels, self.outputs, *self.widths), default=0) < 1 or not self.widths:
            raise InputError("channels, outputs and at least one width, all >= 1", got=repr(self))
        if self.padding not in ("zeros", "circular"):
            raise InputError('padding="zeros" or padding="circular"', got=repr(self.padding))


def convolution(narrow: int, wide: int, *, stride: int = 1, padding: str = "zeros") -> nn.Sequential:
    """Return a 3×3 convolution that keeps H and W (or divides them by `stride`), then batch normalisation."""
    conv = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, padding_mode=padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide))


class ResidualBlock(nn.Module):
    """The block y = relu(F(x) + S(x)) of He et al. (2016): F is two convolutions, S the identity or a 1×1 one."""

    def __init__(self, narrow: int, wide: int, *, stride: int = 1, padding: str = "zeros") -> None:
        """Build a block from `narrow` to `wide` channels."""
        super().__init__()
        self.first, self.relu_first = convolution(narrow, wide, stride=stride, padding=padding), nn.ReLU()
        self.second, self.relu_second = convolution(wide, wide, padding=padding), nn.ReLU()
        same = narrow == wide and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(narrow, wide, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, narrow, H, W) to (B, wide, H / stride, W / stride)."""
        return self.relu_second(self.second(self.relu_first(self.first(x))) + self.skip(x))


class CNN(nn.Module):
    """Stages of 3×3 convolutions, then the mean over positions, then one linear layer.

    Inputs have shape (B, C, H, W), H and W at least 2 ** (len(widths) - 1); outputs have shape (B, K).
    Every activation is a module used once and not in place, so that explanation methods can hook it.
    """

    def __init__(self, config: CNNConfig | None = None) -> None:
        """Build the stages; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config = CNNConfig() if config is None else config
        sizes = (config.channels, *config.widths)
        self.stages = nn.Sequential(*(self._stage(i, *sizes[i : i + 2]) for i in range(len(config.widths))))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(sizes[-1], config.outputs)

    def _stage(self, index: int, narrow: int, wide: int) -> nn.Module:
        if self.config.residual:
            return ResidualBlock(narrow, wide, stride=2 if index else 1, padding=self.config.padding)
        shrink = [nn.MaxPool2d(2)] if index else []
        return nn.Sequential(*shrink, *convolution(narrow, wide, padding=self.config.padding), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Map images of shape (B, C, H, W) to outputs of shape (B, K)."""
        if x.ndim != 4 or x.shape[1] != self.config.channels:
            raise InputError(
                f"images of shape (B, {self.config.channels}, H, W)",
                got=f"shape {tuple(x.shape)}",
                hint="x.unsqueeze(0) for one image",
            )
        return self.head(self.pool(self.stages(x)).flatten(1))  # (B, C', 1, 1) -> (B, C')
