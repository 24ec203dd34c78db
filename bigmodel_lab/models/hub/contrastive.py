"""Images and texts as points of one space by the public model, CLIP: vectors whose products are cosines.

Source: Radford et al. (2021), Learning transferable visual models from natural language supervision, arXiv 2103.00020.
Dimension letters: N images or texts, H height, W width, T tokens, D numbers in a vector.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models import hub
from bigmodel_lab.models.hub.detection import check_images, pictures

__all__ = ["embed_images", "embed_texts", "scale"]

CHUNK = 32  # images or texts that go through the model at once


@torch.no_grad()
def embed_images(images: Tensor, *, folder: str | Path | None = None) -> Tensor:
    """Return a unit vector for each image: (N, D) float32.

    `images` (N, 3, H, W) in [0, 1], of any size: the checkpoint's image processor resizes the shorter side and cuts the
    middle out. Read from `folder`, or if None from the hub or its copy on this machine. Raises `InputError` for what is
    no image, `CheckpointError` where the checkpoint cannot be read or is no CLIP.
    """
    check_images(images)
    model, processor = _model(folder), hub.part("image_text", "AutoImageProcessor", folder)
    found = []
    for part in images.split(CHUNK):
        inputs = processor(pictures(part), return_tensors="pt", input_data_format="channels_last")
        found.append(_vectors(model.get_image_features(pixel_values=inputs["pixel_values"])))
    return torch.cat(found)


@torch.no_grad()
def embed_texts(texts: Sequence[str], *, folder: str | Path | None = None) -> Tensor:
    """Return a unit vector for each text: (N, D) float32, on the side of `embed_images`.

    Read as there. Raises `InputError` for what is no text, and for a text of more tokens than the model has places for
    (77, the frame included): what is behind them would be lost.
    """
    if isinstance(texts, str) or not len(texts) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError("at least one text, none of them empty", got=repr(texts)[:80], hint="[text] for a single one")
    model, tokenizer = _model(folder), hub.part("image_text", "AutoTokenizer", folder)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes where the files are missing
        raise CheckpointError("the tokenizer's files beside the model's", got=f"{len(tokenizer)} tokens, all special")
    most, found = model.config.text_config.max_position_embeddings, []
    for start in range(0, len(texts), CHUNK):
        some = list(texts[start : start + CHUNK])
        batch = tokenizer(some, padding=True, return_tensors="pt", verbose=False)
        lengths = batch["attention_mask"].sum(1)
        if lengths.max() > most:
            at = int(lengths.argmax())
            got = f"{int(lengths[at])} in text {start + at}: {some[at][:60]!r} ..."
            raise InputError(f"texts of at most {most} tokens, the frame included", got=got, hint="shorten it")
        ids = batch["input_ids"]
        found.append(_vectors(model.get_text_features(input_ids=ids, attention_mask=batch["attention_mask"])))
    return torch.cat(found)


def scale(folder: str | Path | None = None) -> float:
    """Return the factor on the cosines that the checkpoint has learnt: for CLIP 100, at which it was stopped."""
    return float(_model(folder).logit_scale.detach().exp())


def _model(folder: str | Path | None) -> Any:
    """Return the CLIP of `folder` or the hub; refuse one of whose two parts would be made up."""
    config = hub.part("image_text", "AutoConfig", folder)
    kinds = config.architectures or ["no architecture"]
    if kinds != ["CLIPModel"]:
        hint = "what is missing in a checkpoint is drawn by lot: save a whole CLIPModel"
        raise CheckpointError("a CLIPModel, images and texts", got=", ".join(kinds), hint=hint)
    return hub.load("image_text", "CLIPModel", folder)


def _vectors(found: Any) -> Tensor:
    """Return unit vectors (B, D) of what `get_image_features` and `get_text_features` give: an output object."""
    return F.normalize(found.pooler_output.float(), dim=-1)
