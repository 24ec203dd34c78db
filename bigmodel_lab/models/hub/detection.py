"""Objects in photographs by the public model, DETR trained on COCO: images in, boxes with classes out.

Source: Carion et al. (2020), End-to-end object detection with transformers, ECCV, arXiv 2005.12872. It says each object
once, by matching in training, so nothing is suppressed afterwards.
Dimension letters: N images, H height, W width, D detections, K classes.
"""

from pathlib import Path

import torch
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models import hub

__all__ = ["check_images", "detect", "pictures"]

CHUNK = 4  # images that go through the model at once


@torch.no_grad()
def detect(
    images: Tensor, *, folder: str | Path | None = None, threshold: float = 0.5
) -> tuple[list[dict[str, Tensor]], tuple[str, ...]]:
    """Return what the model finds in each image, and the names of the K classes.

    `images` (N, 3, H, W) in [0, 1]. For each a dictionary of boxes (D, 4), x0, y0, x1, y1 in its pixels and cut at its
    edge, scores (D,) above `threshold`, and labels (D,) int64, best score first. Model and image processor are read
    from `folder`, or if None from the hub or its copy on this machine.
    Raises `InputError` for what is no image, `CheckpointError` where the checkpoint is no trained detector.
    """
    check_images(images)
    if not 0 <= threshold < 1:
        raise InputError("a threshold in [0, 1)", got=repr(threshold))
    processor = hub.part("detection", "AutoImageProcessor", folder)
    model = hub.load("detection", "AutoModelForObjectDetection", folder)
    kinds = model.config.architectures or ["no architecture"]
    if not any(kind.endswith("ForObjectDetection") for kind in kinds):
        hint = "what is missing in a checkpoint, such as the head, is drawn by lot: save the fine-tuned model"
        raise CheckpointError("a trained detector", got=", ".join(kinds), hint=hint)
    height, width = images.shape[2:]
    edge, found = torch.tensor([width, height, width, height]), []
    for part in images.split(CHUNK):
        inputs = processor(pictures(part), return_tensors="pt", input_data_format="channels_last")
        sizes = [(height, width)] * len(part)
        for one in processor.post_process_object_detection(model(**inputs), threshold, sizes):
            order = one["scores"].argsort(descending=True, stable=True)
            boxes = torch.minimum(one["boxes"].clamp(min=0), edge)
            found.append({"boxes": boxes[order], "scores": one["scores"][order], "labels": one["labels"][order]})
    names = model.config.id2label
    return found, tuple(names[k] for k in sorted(names))


def check_images(images: Tensor) -> None:
    """Raise `InputError` unless `images` are (N, 3, H, W) floating-point numbers in [0, 1]."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        got = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        hint = "image[None] for one, images.expand(-1, 3, -1, -1) for grey ones"
        raise InputError("images of shape (N, 3, H, W)", got=got, hint=hint)
    low, high = float(images.min()), float(images.max())
    if not images.is_floating_point() or not (low >= 0 and high <= 1):  # also true for NaN
        got = f"{images.dtype} from {low:.3g} to {high:.3g}"
        raise InputError("colours in [0, 1], floating-point", got=got, hint="images / 255 for bytes")


def pictures(images: Tensor) -> list:
    """Return images (N, 3, H, W) in [0, 1] as arrays (H, W, 3) of bytes, what image processors read."""
    return list((images.detach().cpu().float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
