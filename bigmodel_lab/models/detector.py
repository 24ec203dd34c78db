"""An anchor-free detector: every cell of one coarse map says what it lies on, and how far away the four sides are.

Sources: Tian et al. (2019), FCOS, arXiv 1904.01355 (class, distances, centre-ness per cell); Lin et al. (2017),
arXiv 1612.03144 (the way back up) and arXiv 1708.02002 (focal loss); Rezatofighi et al. (2019), arXiv 1902.09630
(generalised IoU). Boxes are x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
Dimension letters: N images, M most objects, K classes, C channels, H and W pixels, h and w cells, D detections.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bigmodel_lab.errors import InputError

__all__ = ["Detector", "DetectorConfig", "decode", "detection_loss", "generalised_iou", "iou", "nms", "targets"]


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Sizes of a detector."""

    channels: int = 3  # C of the input images
    classes: int = 10  # K
    widths: tuple[int, ...] = (24, 48, 96)  # channels of each stage; each halves H and W
    stride: int = 4  # side of a cell in pixels: 2, 4, ... 2 ** len(widths)
    radius: float = 1.5  # a cell answers for an object whose centre is nearer than so many strides

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if not self.widths or min(self.channels, self.classes, *self.widths) < 1 or not self.radius > 0:
            raise InputError("channels, classes and widths >= 1, and a radius > 0", got=repr(self))
        strides = [2 ** (i + 1) for i in range(len(self.widths))]
        if self.stride not in strides:
            raise InputError(f"a stride among {strides}, one for each width", got=repr(self.stride))


# --- the network ----------------------------------------------------------------------------------------------------


def _convolution(narrow: int, wide: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(wide), nn.ReLU())


class Merge(nn.Module):
    """Bring a coarse map (B, wide, h, w) to the size of a finer one (B, narrow, 2h, 2w) and join the two."""

    def __init__(self, wide: int, narrow: int) -> None:
        """Build a 1×1 convolution for the coarse map and a 3×3 one for the sum."""
        super().__init__()
        self.reduce, self.grow = nn.Conv2d(wide, narrow, 1), nn.Upsample(scale_factor=2)
        self.smooth = _convolution(narrow, narrow)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return (B, narrow, 2h, 2w)."""
        return self.smooth(fine + self.grow(self.reduce(coarse)))


class Detector(nn.Module):
    """Stages that halve the image, a way back up to one map, and one linear read-out per cell.

    Inputs are images (B, C, H, W), H and W multiples of 2 ** len(widths). Outputs (B, K + 5, h, w), h = H / stride:
    K class scores (logits); the distances to the left, upper, right and lower side, as logarithms of strides; and
    centre-ness (a logit). `decode` makes boxes of them.
    """

    def __init__(self, config: DetectorConfig | None = None) -> None:
        """Build the layers; weights are drawn from PyTorch's global generator."""
        super().__init__()
        self.config = config = DetectorConfig() if config is None else config
        sizes, widths, level = (config.channels, *config.widths), config.widths, config.stride.bit_length() - 2
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(narrow, wide, 2), *([_convolution(wide, wide)] if i else []))
            for i, (narrow, wide) in enumerate(zip(sizes, widths, strict=False))
        )
        self.merges = nn.ModuleList(Merge(widths[i + 1], widths[i]) for i in range(level, len(widths) - 1))
        self.tower = _convolution(widths[level], widths[level])
        self.head = nn.Conv2d(widths[level], config.classes + 5, 1)
        with torch.no_grad():  # at first nearly everything is background (arXiv 1708.02002, section 3.3)
            self.head.bias[: config.classes] = -4.0

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to outputs (B, K + 5, h, w)."""
        self._check(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        for i in reversed(range(len(self.merges))):
            x = self.merges[i](x, maps[i - len(self.merges) - 1])
        return self.head(self.tower(x))

    def _check(self, x: Tensor) -> None:
        step = 2 ** len(self.config.widths)
        if x.ndim != 4 or x.shape[1] != self.config.channels or not x.is_floating_point():
            expected = f"images of shape (B, {self.config.channels}, H, W), floating-point"
            raise InputError(expected, got=f"{x.dtype} of shape {tuple(x.shape)}", hint="x.unsqueeze(0) for one image")
        if x.shape[2] % step or x.shape[3] % step or 0 in x.shape:
            hint = "fill up on the right and below, torch.nn.functional.pad(x, (0, right, 0, below)): boxes stay"
            raise InputError(f"sides that are multiples of {step}", got=f"{x.shape[2]} × {x.shape[3]}", hint=hint)


# --- boxes ----------------------------------------------------------------------------------------------------------


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union of each box of `first` (..., A, 4) with each of `second` (..., B, 4): (..., A, B).

    0 where both are empty.
    """
    first, second = first.unsqueeze(-2), second.unsqueeze(-3)
    shared = _area(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - shared
    return torch.where(union > 0, shared / union, 0.0)


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return IoU minus the share of the smallest enclosing box that neither covers, pairwise: (..., 4) -> (...).

    In [-1, 1]; unlike IoU it has a slope where boxes are apart (Rezatofighi et al. 2019). Boxes must have an area.
    """
    shared = _area(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - shared
    hull = _area(torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:]))
    return shared / union - (hull - union) / hull


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)


def nms(boxes: Tensor, scores: Tensor, *, threshold: float = 0.5, labels: Tensor | None = None) -> Tensor:
    """Return the indices (int64) of the boxes that non-maximum suppression keeps, best score first.

    A box is dropped if its IoU with a kept box of a higher score (and of its own class, where `labels` (D,) are given)
    is above `threshold`; of equal scores the first comes first. Boxes (D, 4), scores (D,). No loop over boxes: from
    "all are kept", the rule is applied to all at once until nothing changes. Every round settles at least the next
    box, so it ends, and at the only fixed point there is.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1] or not 0 <= threshold <= 1:
        got = f"shapes {tuple(boxes.shape)} and {tuple(scores.shape)}, threshold {threshold}"
        raise InputError("boxes (D, 4), scores (D,) and a threshold in [0, 1]", got=got)
    order = scores.argsort(descending=True, stable=True)
    beats = (iou(boxes[order], boxes[order]) > threshold).triu(1)  # (D, D): row before column, and overlapping
    if labels is not None:
        beats &= labels[order][:, None] == labels[order]
    kept, before = torch.ones_like(order, dtype=torch.bool), None
    while before is None or not torch.equal(kept, before):
        kept, before = ~(beats & kept[:, None]).any(0), kept
    return order[kept]


# --- from boxes to cells, and back ----------------------------------------------------------------------------------


def _centres(h: int, w: int, stride: int) -> Tensor:
    """Return the centre (x, y) of each cell in pixels, (h, w, 2)."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return (torch.stack([x, y], dim=2) + 0.5) * stride


def targets(boxes: Tensor, labels: Tensor, height: int, width: int, config: DetectorConfig) -> Tensor:
    """Return what each cell is to say, packed into one float32 tensor (N, 6, h, w) for `detection_loss`.

    Boxes (N, M, 4) in images of `height` × `width` pixels; labels (N, M) are -1 where there is no object. A cell
    answers for an object if its centre lies in the box, and within `radius` strides of the box's centre along x and y;
    of several, for the nearest. Channel 0 is its class, -1 for none; 1 to 4 are the distances to the left, upper,
    right and lower side in pixels; 5 is the centre-ness (FCOS, equation 3), 0 for none.
    Raises `InputError` for a box that is empty or outside the image.
    """
    real, (x0, y0, x1, y1) = labels >= 0, boxes.unbind(2)
    wrong = real & ~((x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height) & (x0 < x1) & (y0 < y1))
    if bool(wrong.any()) or int(labels.max()) >= config.classes:
        got = f"box {boxes[wrong][0].tolist()}" if wrong.any() else f"label {int(labels.max())}"
        raise InputError(f"boxes in {height} × {width} pixels and labels below {config.classes}", got=got)
    at = _centres(height // config.stride, width // config.stride, config.stride).to(boxes)
    box = boxes[:, :, None, None]  # (N, M, 1, 1, 4)
    sides = torch.cat([at - box[..., :2], box[..., 2:] - at], dim=4)  # (N, M, h, w, 4)
    off = (at - (box[..., :2] + box[..., 2:]) / 2).abs().amax(4)  # (N, M, h, w)
    mine = (sides.amin(4) > 0) & (off <= config.radius * config.stride) & real[:, :, None, None]
    off, which = off.masked_fill(~mine, torch.inf).min(1, keepdim=True)  # (N, 1, h, w), the nearest object
    sides = sides.permute(0, 4, 1, 2, 3).gather(2, which[:, None].expand(-1, 4, -1, -1, -1)).squeeze(2)  # (N, 4, h, w)
    near, far = torch.minimum(sides[:, :2], sides[:, 2:]), torch.maximum(sides[:, :2], sides[:, 2:])  # (N, 2, h, w)
    label = labels[:, :, None, None].expand(-1, -1, *off.shape[2:]).gather(1, which).to(boxes)
    none = torch.tensor([-1.0, 0, 0, 0, 0, 0]).to(boxes)[:, None, None]
    central = (near / far).clamp(min=0).prod(1, keepdim=True).sqrt()
    return torch.where(off.isfinite(), torch.cat([label, sides, central], dim=1), none)


def detection_loss(outputs: Tensor, packed: Tensor, *, stride: int = 4, gamma: float = 2.0) -> Tensor:
    """Return focal loss + generalised IoU loss + cross-entropy of centre-ness; a scalar, the mean over the images.

    `outputs` (B, K + 5, h, w) of a `Detector` of this `stride`, `packed` (B, 6, h, w) of `targets`. In each image the
    sums are divided by the number of cells that answer for an object (at least 1).
    """
    label, sides, central = packed[:, 0].long(), packed[:, 1:5], packed[:, 5]
    scores, logs, centre = outputs[:, :-5].float(), outputs[:, -5:-1].float(), outputs[:, -1].float()
    mine = label >= 0  # (B, h, w)
    truth = F.one_hot(label.clamp(min=0), scores.shape[1]).permute(0, 3, 1, 2) * mine[:, None]
    wrong = torch.where(truth > 0, 1 - scores.sigmoid(), scores.sigmoid())  # how far from the truth
    weight = torch.where(truth > 0, 0.25, 0.75)
    focal = weight * wrong**gamma * F.binary_cross_entropy_with_logits(scores, truth.float(), reduction="none")
    reach = torch.cat([-sides[:, :2], sides[:, 2:]], 1).permute(0, 2, 3, 1)  # a box around the cell's centre
    said = logs.clamp(max=8).exp() * stride
    said = torch.cat([-said[:, :2], said[:, 2:]], 1).permute(0, 2, 3, 1)
    apart = 1 - generalised_iou(said, torch.where(mine[..., None], reach, said.detach()))
    unsure = F.binary_cross_entropy_with_logits(centre, central, reduction="none")
    per_cell = focal.sum(1) + mine * (apart + unsure)
    return (per_cell.sum((1, 2)) / mine.sum((1, 2)).clamp(min=1)).mean()


def decode(
    outputs: Tensor,
    *,
    stride: int = 4,
    threshold: float = 0.05,
    overlap: float = 0.5,
    by_class: bool = True,
    most: int = 100,
) -> list[dict[str, Tensor]]:
    """Return for each image a dictionary of boxes (D, 4), scores (D,), labels (D,) and cells (D, 2), best score first.

    The score of a cell for a class is the root of its probability times its centre-ness. Scores up to `threshold` are
    dropped, of the rest the `most` best are kept, then `nms` with threshold `overlap`, among boxes of one class or,
    without `by_class`, among all. Boxes are cut at the image's edge; "cells" are the row and column that said each.
    `outputs` (B, K + 5, h, w) of a `Detector` of this `stride`.
    """
    outputs = outputs.detach().float()
    h, w = outputs.shape[2:]
    scores = (outputs[:, :-5].sigmoid() * outputs[:, -1:].sigmoid()).sqrt().flatten(1)  # (B, K·h·w)
    sides = (outputs[:, -5:-1].clamp(max=8).exp() * stride).permute(0, 2, 3, 1)  # (B, h, w, 4)
    at = _centres(h, w, stride).to(outputs)
    corners = torch.cat([at - sides[..., :2], at + sides[..., 2:]], dim=3).clamp(min=0)
    corners = torch.minimum(corners, corners.new_tensor([w, h, w, h]) * stride).flatten(1, 2)  # (B, h·w, 4)
    found = []
    for score, corner in zip(scores, corners, strict=True):
        score, place = score.topk(min(most, len(score)))
        score, place = score[score > threshold], place[score > threshold]
        cell, label = place % (h * w), place // (h * w)
        kept = nms(corner[cell], score, threshold=overlap, labels=label if by_class else None)
        cell, score, label = cell[kept], score[kept], label[kept]
        places = torch.stack([cell // w, cell % w], dim=1)
        found.append({"boxes": corner[cell], "scores": score, "labels": label, "cells": places})
    return found
