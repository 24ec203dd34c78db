"""Actions in clips by the public model, VideoMAE fine-tuned on Kinetics-400: clips in, probabilities out.

Sources: Tong et al. (2022), VideoMAE, arXiv 2203.12602; Kay et al. (2017), Kinetics, arXiv 1705.06950.
Dimension letters: N clips, T frames, H height, W width, S side that the model takes, K classes.
"""

from pathlib import Path

import torch
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.catalogue import MODELS, load, part
from bigmodel_lab.models.hub.recognition import prepare

__all__ = ["classify", "labels"]

CHUNK = 8  # clips that go through the model at once
USUAL = {"do_center_crop": True, "resample": 2}  # VideoMAE's, where the checkpoint does not say


@torch.no_grad()
def classify(clips: Tensor, *, folder: str | Path | None = None) -> Tensor:
    """Return the probability of each class for each clip: (N, K) float32, in the order of `labels()`.

    `clips` (N, T, 3, H, W) in [0, 1], of any size and length: as many frames as the model takes are used, evenly spaced
    from the first to the last, some of them twice where T is smaller; of each frame the shorter side is resized and the
    middle cut out, as the checkpoint says. The model is read from `folder`, or if None from the hub or its copy on this
    machine. Raises `InputError` for a single frame and for other shapes, types and values, `CheckpointError` where the
    checkpoint cannot be read or is no classifier.
    """
    _check(clips)
    model = load("video", "AutoModelForVideoClassification", folder)
    kinds = model.config.architectures or ["no architecture"]
    if not any(kind.endswith("ForVideoClassification") for kind in kinds):  # its head would be made up
        raise CheckpointError(f"a trained classifier such as {MODELS['video'].name}", got=", ".join(kinds))
    settings = USUAL | part("video", "ImageProcessingMixin", folder).to_dict()  # the file's fields alone
    chosen = torch.linspace(0, clips.shape[1] - 1, model.config.num_frames).round().long()
    found = []
    for some in clips[:, chosen].split(CHUNK):
        frames = prepare(some.flatten(0, 1).float(), settings).unflatten(0, some.shape[:2])  # (n, T, 3, S, S)
        found.append(model(pixel_values=frames).logits.float().softmax(-1))
    return torch.cat(found)


def labels(folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the name of each class, K of them, as the checkpoint's config tells."""
    config = part("video", "AutoConfig", folder)
    return tuple(config.id2label[k] for k in sorted(config.id2label))


def _check(clips: Tensor) -> None:
    fits = isinstance(clips, Tensor) and clips.ndim == 5 and clips.shape[2] == 3 and min(clips.shape) > 0
    if not fits or not clips.is_floating_point() or clips.shape[1] < 2:
        got = f"{clips.dtype} of shape {tuple(clips.shape)}" if isinstance(clips, Tensor) else type(clips).__name__
        hint = "clips[None] for one clip; clips.float() / 255 for bytes; a single frame shows no motion"
        raise InputError("clips, floats of shape (N, T, 3, H, W), of at least two frames", got=got, hint=hint)
    low, high = float(clips.min()), float(clips.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise InputError("values in [0, 1]", got=f"{low:g} to {high:g}", hint="clips / 255 for bytes; no standardising")
