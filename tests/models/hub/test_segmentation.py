"""The public segmentation model's code on a tiny SegFormer in the true layout."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerImageProcessorPil,
)

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.segmentation import segment
from bigmodel_lab.models.hugging_face import quiet

NAMES = {0: "wall", 1: "building", 2: "sky", 3: "floor", 4: "tree"}
SIDE = 64


def save(folder, *, kind=SegformerForSemanticSegmentation):
    """Write a small SegFormer with its image processor as the hub has it."""
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        id2label=NAMES,
        label2id={name: k for k, name in NAMES.items()},
    )
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same everywhere
            weight.mul_(8 if weight.ndim > 1 else 1)
    with quiet():
        model.save_pretrained(folder)
        SegformerImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("segformer")
    save(place)
    return place


IMAGES = torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_classes_are_the_model_s_own(folder):
    found, names = segment(IMAGES, folder=folder)
    assert names == tuple(NAMES.values())
    assert found.shape == (5, SIDE, SIDE)
    assert found.dtype == torch.int64
    assert len(found.unique()) > 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    bytes_ = (IMAGES * 255).round() / 255
    model = SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    with torch.no_grad():
        scores = model((bytes_ - mean[:, None, None]) / std[:, None, None]).logits
    expected = F.interpolate(scores, (SIDE, SIDE), mode="bilinear").argmax(1)
    assert (found == expected).float().mean() > 0.999  # rounding may tip a pixel


def test_another_size_comes_back_as_it_came(folder):
    found, _ = segment(IMAGES[:2, :, :40, :50], folder=folder)
    assert found.shape == (2, 40, 50)


def test_the_processor_file_of_older_checkpoints_says_the_same(folder, tmp_path):
    save(tmp_path)
    normal = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    kind = {"feature_extractor_type": "SegformerFeatureExtractor", "reduce_labels": True, "resample": 2}
    older = {"do_normalize": True, "do_resize": True, "size": SIDE, **normal, **kind}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(older))
    assert torch.equal(segment(IMAGES, folder=tmp_path)[0], segment(IMAGES, folder=folder)[0])


def test_images_do_not_change_one_another(folder):
    together, _ = segment(IMAGES, folder=folder)
    assert torch.equal(together[4:], segment(IMAGES[4:], folder=folder)[0])
    assert not torch.equal(together[4], together[3])


@pytest.mark.parametrize(
    ("images", "message"),
    [(IMAGES[0], r"shape \(3, 64, 64\)"), (IMAGES[:, :1], r"expand"), (IMAGES * 255, "images / 255")],
    ids=["one", "grey", "to 255"],
)
def test_what_is_no_image_is_refused(folder, images, message):
    with pytest.raises(InputError, match=message):
        segment(images, folder=folder)


def test_a_model_with_another_head_is_refused(tmp_path):
    save(tmp_path, kind=SegformerForImageClassification)
    with pytest.raises(CheckpointError, match="SegformerForImageClassification"):
        segment(IMAGES, folder=tmp_path)


def test_a_missing_folder_or_file_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"segformer-b0[\s\S]*15 MB"):
        segment(IMAGES, folder=tmp_path / "nowhere")
    save(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="AutoImageProcessor"):
        segment(IMAGES, folder=tmp_path)
