"""The public classifier's code on a tiny ResNet in the true layout; its preparation against the library's own."""

import json

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.recognition import classify, labels, prepare

NAMES = ["tench", "goldfish", "shark", "ray"]
# the fields of microsoft/resnet-50, with a smaller size
FIELDS = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 28,
}


def save(folder, kind=ResNetForImageClassification, fields=FIELDS):
    """Write a small ResNet as the hub has it: two configs and the weights; return the model."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "bottleneck"}
    named = {"id2label": dict(enumerate(NAMES)), "label2id": {name: k for k, name in enumerate(NAMES)}}
    model = kind(ResNetConfig(**sizes, **named)).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    return model


def smooth(count, height, width, seed=0):
    """Images without sharp edges, which two ways of resizing treat alike."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)


def pillow_s(image, size=28):
    """The library's own preparation of one image, by Pillow: it rounds to 256 levels after resizing."""
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

    fields = {key: FIELDS[key] for key in ("crop_pct", "image_mean", "image_std", "resample")}
    processor = ConvNextImageProcessorPil(size={"shortest_edge": size}, **fields)
    eight_bit = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return torch.as_tensor(np.stack(processor(eight_bit)["pixel_values"]))[0]


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (32, 32), (20, 33), (224, 300)])
def test_images_are_prepared_as_the_library_does(height, width):
    image = smooth(1, height, width)
    theirs = pillow_s(image[0])
    ours = prepare(image, FIELDS)[0]
    assert ours.shape == (3, 28, 28)
    assert (ours - theirs).abs().max() < 0.04  # two levels of 256, standardised


def test_a_wrong_crop_is_not_what_the_library_does():
    image = smooth(1, 40, 60)
    theirs = pillow_s(image[0])
    assert (prepare(image, {**FIELDS, "crop_pct": 0.7})[0] - theirs).abs().max() > 0.1


def test_a_large_size_is_reached_by_stretching():
    theirs = pillow_s(smooth(1, 40, 60)[0], 384)
    assert (prepare(smooth(1, 40, 60), {**FIELDS, "size": 384})[0] - theirs).abs().max() < 0.04


def test_each_step_can_be_left_out_or_said_otherwise():
    image = smooth(2, 10, 20)
    plain = {"do_resize": False, "do_normalize": False}
    assert prepare(image, plain) is image
    assert prepare(image, {**plain, "do_center_crop": True, "crop_size": 6}).equal(image[:, :, 2:8, 7:13])
    wider = prepare(image, {**plain, "do_center_crop": True, "crop_size": {"height": 12, "width": 20}})
    assert wider[:, :, [0, 11]].abs().max() == 0  # a border
    assert wider[:, :, 1:11].equal(image)
    assert prepare(image, {"size": {"height": 8, "width": 9}, "do_normalize": False}).shape == (2, 3, 8, 9)
    assert prepare(image, {"size": {"shortest_edge": 5}, "do_normalize": False}).shape == (2, 3, 5, 10)
    white = prepare(torch.ones(1, 3, 8, 8), {"do_resize": False, "image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    torch.testing.assert_close(white, torch.full((1, 3, 8, 8), 2.0))


def test_probabilities_are_the_model_s_own(tmp_path):
    model = save(tmp_path)
    images = smooth(40, 32, 44)
    found = classify(images, folder=tmp_path)
    assert found.shape == (40, 4)
    torch.testing.assert_close(found.sum(1), torch.ones(40))
    with torch.no_grad():
        by_hand = model(pixel_values=prepare(images, FIELDS)).logits.softmax(-1)
    torch.testing.assert_close(found, by_hand)
    assert labels(tmp_path) == tuple(NAMES)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(3, 8, 8), r"\(N, 3, H, W\)"),
        (torch.rand(1, 1, 8, 8), "expand"),
        (torch.rand(1, 4, 8, 8), r"\(1, 4, 8, 8\)"),
        (torch.rand(0, 3, 8, 8), "at least one"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.full((1, 3, 8, 8), 255.0), r"values in \[0, 1\]"),
        (torch.full((1, 3, 8, 8), float("nan")), "nan"),
        ("photo.jpg", "str"),
    ],
    ids=["one image", "grey", "four channels", "none", "bytes", "up to 255", "NaN", "a path"],
)
def test_what_is_no_image_is_refused(images, said):
    with pytest.raises(InputError, match=said):
        classify(images)


def test_a_model_without_a_head_is_refused(tmp_path):
    save(tmp_path, kind=ResNetModel)
    with pytest.raises(CheckpointError, match="ResNetModel"):
        classify(smooth(1, 32, 32), folder=tmp_path)


def test_missing_and_damaged_settings_are_named(tmp_path):
    save(tmp_path)
    settings = tmp_path / "preprocessor_config.json"
    settings.write_text("{")
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json[\s\S]*JSONDecodeError"):
        classify(smooth(1, 32, 32), folder=tmp_path)
    settings.unlink()
    with pytest.raises(CheckpointError, match="FileNotFoundError"):
        classify(smooth(1, 32, 32), folder=tmp_path)


def test_a_missing_folder_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"microsoft/resnet-50[\s\S]*100 MB"):
        classify(smooth(1, 32, 32), folder=tmp_path / "nowhere")
