"""Recognition by the public model, ResNet-50 trained on ImageNet: photographs in, probabilities out.

Sources: He et al. (2016), arXiv 1512.03385; Russakovsky et al. (2015), ImageNet, arXiv 1409.0575.
The images are prepared here, as the checkpoint's `preprocessor_config.json` says, so that no torchvision is needed.
Dimension letters: N images, H height, W width, S side that the model takes, K classes.
"""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub import MODELS, load, part

__all__ = ["classify", "labels", "prepare"]

CHUNK = 32  # images that go through the model at once


@torch.no_grad()
def classify(images: Tensor, *, folder: str | Path | None = None) -> Tensor:
    """Return the probability of each class for each image: (N, K) float32, in the order of `labels()`.

    `images` (N, 3, H, W) float32 in [0, 1], of any size: the shorter side is resized and the middle cut out, as the
    checkpoint says. The model is read from `folder`, or if None from the hub or its copy on this machine. Raises
    `InputError` for other shapes, types and values, `CheckpointError` where the checkpoint cannot be read.
    """
    _check(images)
    model = load("recognition", "AutoModelForImageClassification", folder)
    kinds = model.config.architectures or ["no architecture"]
    if not any(kind.endswith("ForImageClassification") for kind in kinds):  # its head would be made up
        got = ", ".join(kinds)
        raise CheckpointError(f"a trained classifier such as {MODELS['recognition'].name}", got=got)
    settings = _settings(folder)
    parts = (prepare(some, settings) for some in images.split(CHUNK))
    return torch.cat([model(pixel_values=some).logits.float().softmax(-1) for some in parts])


def labels(folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the name of each class, K of them, as the checkpoint's config tells."""
    config = part("recognition", "AutoConfig", folder)
    return tuple(config.id2label[k] for k in sorted(config.id2label))


def prepare(images: Tensor, settings: dict[str, Any]) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] as the model takes them: (N, 3, S, S), resized, cropped, standardised.

    `settings` are the fields of `preprocessor_config.json`: `size` (a number or `shortest_edge`: the shorter side; or
    `height` and `width`), `crop_pct`, `crop_size`, `resample`, `image_mean`, `image_std`, and `do_resize`,
    `do_center_crop`, `do_normalize`. With `crop_pct`, as for ResNet-50, a size below 384 is what a crop of that share
    leaves, and a larger one is reached by stretching.
    """
    bicubic = settings.get("resample", 3) == 3  # Pillow's numbers: 2 is bilinear
    if settings.get("do_resize", True):
        size = settings.get("size", 224)
        side = size if isinstance(size, int) else size.get("shortest_edge")
        crop = settings.get("crop_pct")
        if side is None:
            images = _stretched(images, size["height"], size["width"], bicubic)
        elif crop is None:
            images = _stretched(images, *_sides(images, side), bicubic)
        elif side < 384:
            images = _middle(_stretched(images, *_sides(images, int(side / crop)), bicubic), side, side)
        else:
            images = _stretched(images, side, side, bicubic)
    if settings.get("do_center_crop", False):
        crop = settings.get("crop_size", 224)
        images = _middle(images, *((crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])))
    if settings.get("do_normalize", True):
        mean, std = (
            torch.tensor(settings.get(name, usual)).to(images).view(1, -1, 1, 1)
            for name, usual in (("image_mean", [0.485, 0.456, 0.406]), ("image_std", [0.229, 0.224, 0.225]))
        )
        images = (images - mean) / std
    return images


def _stretched(images: Tensor, height: int, width: int, bicubic: bool) -> Tensor:
    mode = "bicubic" if bicubic else "bilinear"
    resized = F.interpolate(images, (height, width), mode=mode, align_corners=False, antialias=True)
    return resized.clamp(0, 1)  # bicubic overshoots at edges; eight-bit pictures cannot


def _sides(images: Tensor, side: int) -> tuple[int, int]:
    """Return height and width when the shorter one is `side`."""
    height, width = images.shape[2:]
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def _middle(images: Tensor, height: int, width: int) -> Tensor:
    """Cut out the middle; a smaller image gets a black border first."""
    down, across = max(height - images.shape[2], 0), max(width - images.shape[3], 0)
    images = F.pad(images, (across // 2, across - across // 2, down // 2, down - down // 2))
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


def _settings(folder: str | Path | None) -> dict[str, Any]:
    """Return the fields of the checkpoint's `preprocessor_config.json`."""
    name, one = "preprocessor_config.json", MODELS["recognition"]
    try:
        if folder is None:
            from huggingface_hub import hf_hub_download

            file = Path(hf_hub_download(one.name, name))
        else:
            file = Path(folder).expanduser() / name
        return json.loads(file.read_text(encoding="utf-8"))
    except Exception as error:  # network, mirror, a missing or damaged file
        raise CheckpointError(
            f"{name} of {one.name}, which says how to prepare the images",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            hint=f"the files of {one.home} in a folder by folder=..., or a network",
        ) from error


def _check(images: Tensor) -> None:
    fits = isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == 3 and min(images.shape) > 0
    if not fits or not images.is_floating_point():
        got = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        hint = "images[None] for one; .float() / 255 for bytes; .expand(-1, 3, -1, -1) for grey ones"
        raise InputError("images, floats of shape (N, 3, H, W), at least one", got=got, hint=hint)
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise InputError(
            "values in [0, 1]", got=f"{low:g} to {high:g}", hint="images / 255 for bytes; no standardising"
        )
