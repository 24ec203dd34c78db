"""A class for every pixel of photographs by the public model, SegFormer trained on ADE20K: images in, class maps out.

Source: Xie et al. (2021), SegFormer, NeurIPS, arXiv 2105.15203.
Dimension letters: N images, H height, W width, h and w of the model's map, K classes.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bigmodel_lab.errors import CheckpointError
from bigmodel_lab.models import hub
from bigmodel_lab.models.hub.detection import check_images, pictures

__all__ = ["segment"]

CHUNK = 4  # images that go through the model at once


@torch.no_grad()
def segment(images: Tensor, *, folder: str | Path | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """Return the most probable class of each pixel, (N, H, W) int64, and the names of the K classes.

    `images` (N, 3, H, W) in [0, 1]. The image processor brings them to the model's size, and its scores are brought
    back to H × W bilinearly. Class 0 is a class like the others: ADE20K has no background. Model and image processor
    are read from `folder`, or if None from the hub or its copy on this machine.
    Raises `InputError` for what is no image, `CheckpointError` where the checkpoint is no trained segmentation model.
    """
    check_images(images)
    processor = hub.part("segmentation", "AutoImageProcessor", folder)
    model = hub.load("segmentation", "AutoModelForSemanticSegmentation", folder)
    kinds = model.config.architectures or ["no architecture"]
    if not any(kind.endswith("ForSemanticSegmentation") for kind in kinds):
        hint = "what is missing in a checkpoint, such as the head, is drawn by lot: save the fine-tuned model"
        raise CheckpointError("a trained segmentation model", got=", ".join(kinds), hint=hint)
    found = []
    for part in images.split(CHUNK):
        inputs = processor(pictures(part), return_tensors="pt", input_data_format="channels_last")
        scores = model(**inputs).logits.float()  # (n, K, h, w)
        found.append(F.interpolate(scores, images.shape[2:], mode="bilinear", align_corners=False).argmax(1))
    names = model.config.id2label
    return torch.cat(found), tuple(names[k] for k in sorted(names))
