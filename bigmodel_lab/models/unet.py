"""U-Net: a class for every pixel, from maps that shrink, maps that grow again, and skips between the two.

Sources: Ronneberger et al. (2015), U-Net, arXiv 1505.04597; Wu & He (2018), group normalisation, arXiv 1803.08494;
Milletari et al. (2016), V-Net, arXiv 1606.04797 (Dice loss).
Dimension letters: B batch, C channels, H height, W width, K classes with the background.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError

__all__ = ["VOID", "UNet", "UNetConfig", "dice_loss", "segmentation_loss"]

VOID = 255  # in masks: a pixel that nobody judges, as Pascal VOC has it


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Sizes of a U-Net."""

    channels: int = 3  # C of the input images
    outputs: int = 11  # K, classes with the background
    widths: tuple[int, ...] = (16, 32, 64)  # channels of each level, the first better >= K; the others halve H and W
    depths: tuple[int, ...] = (1, 2, 2)  # convolutions of each level on the way down; one each on the way up
    skips: bool = True  # the way up also gets the map of the same size from the way down
    norm: str = "batch"  # "batch", or "group": of `groups` groups, for batches of one or two images
    groups: int = 4

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        sizes = (self.channels, self.outputs, self.groups, *self.widths, *self.depths)
        if not self.widths or len(self.depths) != len(self.widths) or min(sizes) < 1:
            raise InputError("channels, outputs, groups, widths and as many depths, all >= 1", got=repr(self))
        if self.norm not in ("batch", "group"):
            raise InputError('norm="batch" or norm="group"', got=repr(self.norm))
        if self.norm == "group" and any(width % self.groups for width in self.widths):
            raise InputError(f"widths that {self.groups} groups divide evenly", got=repr(self.widths))


def _level(narrow: int, wide: int, depth: int, config: UNetConfig) -> nn.Sequential:
    """Return `depth` times a 3×3 convolution, a normalisation and a ReLU."""
    layers = []
    for i in range(depth):
        norm = nn.BatchNorm2d(wide) if config.norm == "batch" else nn.GroupNorm(config.groups, wide)
        layers += [nn.Conv2d(wide if i else narrow, wide, 3, padding=1, bias=False), norm, nn.ReLU()]
    return nn.Sequential(*layers)


class UpLevel(nn.Module):
    """One level of the way up: a coarse map, grown, beside the fine map of the same size, then convolutions.

    Without skips, the grown map is twice as wide and takes the place of the fine one, so that the two kinds cost nearly
    the same.
    """

    def __init__(self, wide: int, narrow: int, config: UNetConfig) -> None:
        """Build a level from `wide` channels to `narrow` ones."""
        super().__init__()
        self.skips = config.skips
        self.reduce = nn.Conv2d(wide, narrow if config.skips else 2 * narrow, 1)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.level = _level(2 * narrow, narrow, 1, config)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, wide, H, W) and (B, narrow, 2H, 2W) to (B, narrow, 2H, 2W)."""
        grown = self.grow(self.reduce(coarse))
        return self.level(torch.cat([fine, grown], dim=1) if self.skips else grown)


class UNet(nn.Module):
    """Levels down, each but the first on half the size; levels up again; one linear read-out per pixel.

    Inputs are images (B, C, H, W), H and W multiples of 2 ** (len(widths) - 1); outputs are scores (B, K, H, W).
    """

    def __init__(self, config: UNetConfig | None = None) -> None:
        """Build the levels; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config = UNetConfig() if config is None else config
        widths = config.widths
        self.down = nn.ModuleList(
            _level(narrow, wide, depth, config)
            for narrow, wide, depth in zip((config.channels, *widths[:-1]), widths, config.depths, strict=True)
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in widths[1:])
        self.up = nn.ModuleList(UpLevel(wide, narrow, config) for narrow, wide in pairwise(widths))
        self.head = nn.Conv2d(widths[0], config.outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to scores (B, K, H, W)."""
        self._check(x)
        maps = [self.down[0](x)]
        for pool, level in zip(self.pools, self.down[1:], strict=True):
            maps.append(level(pool(maps[-1])))
        x = maps.pop()
        for level in reversed(self.up):
            x = level(x, maps.pop())
        return self.head(x)

    def _check(self, x: Tensor) -> None:
        step = 2 ** len(self.pools)
        if x.ndim != 4 or x.shape[1] != self.config.channels or not x.is_floating_point():
            raise InputError(
                f"images of shape (B, {self.config.channels}, H, W), floating-point",
                got=f"{x.dtype} of shape {tuple(x.shape)}",
                hint="x.unsqueeze(0) for one image, x.expand(-1, 3, -1, -1) for grey ones, x / 255 for bytes",
            )
        if x.shape[2] % step or x.shape[3] % step or 0 in x.shape:
            height, width = x.shape[2:]
            filled = f"F.pad(x, (0, {-width % step}, 0, {-height % step}))"
            hint = f"fill up, and cut off what comes out: model({filled})[..., :{height}, :{width}]"
            raise InputError(f"sides that are multiples of {step}", got=f"{height} × {width}", hint=hint)


def dice_loss(scores: Tensor, truth: Tensor) -> Tensor:
    r"""Return $1 - 2 \sum p t / (\sum p + \sum t)$, the mean over the classes that are not the background.

    `scores` (B, K, H, W) are logits, whose softmax is p; `truth` (B, H, W) are classes, whose one-hot is t. The sums go
    over all pixels of the batch that are not `VOID`; a class that is nowhere in it does not count.
    """
    known, classes = truth != VOID, scores.shape[1]
    p = scores.softmax(1) * known[:, None]
    truth = truth.where(known, 0)
    right = p.gather(1, truth[:, None]).flatten()  # p of the true class, where t is 1
    shared = right.new_zeros(classes).index_add(0, truth.flatten(), right)
    size = shared.new_zeros(classes).index_add(0, truth.flatten(), known.flatten().to(right))
    dice = (2 * shared / (p.sum((0, 2, 3)) + size).clamp(min=1e-6))[1:]
    there = size[1:] > 0
    return 1 - (dice * there).sum() / there.sum().clamp(min=1)


def segmentation_loss(scores: Tensor, truth: Tensor, *, background: float = 0.1) -> Tensor:
    """Return the cross-entropy of the pixels, the background's weighted by `background`, plus the Dice loss.

    `scores` (B, K, H, W) are logits, `truth` (B, H, W) int64 from 0 to K - 1, or `VOID` where nobody judges.
    """
    weight = torch.ones(scores.shape[1], device=scores.device, dtype=scores.dtype)
    weight[0] = background
    return F.cross_entropy(scores, truth, weight, ignore_index=VOID) + dice_loss(scores, truth)
