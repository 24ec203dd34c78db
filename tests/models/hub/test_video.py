"""The public video classifier's code on a tiny VideoMAE in the true layout; its preparation against the library."""

import json

import numpy as np
import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEModel

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.video import classify, labels

NAMES = ["abseiling", "archery", "bowling"]
# the fields of MCG-NJU/videomae-base-finetuned-kinetics, with a smaller size
FIELDS = {
    "crop_size": {"height": 16, "width": 16},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "VideoMAEFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 16},
}


def save(folder, kind=VideoMAEForVideoClassification, fields=FIELDS):
    """Write a small VideoMAE as the hub has it: two configs and the weights; return the model."""
    torch.manual_seed(0)
    sizes = {"image_size": 16, "patch_size": 8, "num_frames": 4, "tubelet_size": 2, "hidden_size": 16}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    named = {"id2label": dict(enumerate(NAMES)), "label2id": {name: k for k, name in enumerate(NAMES)}}
    model = kind(VideoMAEConfig(**sizes, **depth, **named)).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same of every clip
            weight.mul_(10 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    return model


def smooth(count, frames, height, width, seed=0):
    """Clips without sharp edges, which two ways of resizing treat alike."""
    coarse = torch.rand(count * frames, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)
    return fine.view(count, frames, 3, height, width)


def theirs(model, clips):
    """The library's own way from frames (N, T, 3, H, W), as many as the model takes, to probabilities (N, K)."""
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    kept = ("crop_size", "image_mean", "image_std", "resample", "size")
    processor = VideoMAEImageProcessorPil(**{key: FIELDS[key] for key in kept})
    eight_bit = (clips.permute(0, 1, 3, 4, 2).numpy() * 255).round().astype(np.uint8)
    pixels = [np.stack(processor(list(clip))["pixel_values"])[0] for clip in eight_bit]
    with torch.no_grad():
        return model(pixel_values=torch.as_tensor(np.stack(pixels))).logits.softmax(-1)


@pytest.mark.parametrize(("height", "width"), [(24, 32), (32, 24), (16, 16), (12, 20)])
def test_probabilities_are_those_of_the_library_s_own_processor(tmp_path, height, width):
    model = save(tmp_path)
    clips = smooth(3, 4, height, width)
    found = classify(clips, folder=tmp_path)
    assert found.shape == (3, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    torch.testing.assert_close(found, theirs(model, clips), rtol=0, atol=0.02)  # Pillow rounds to 256 levels
    assert (found[0] - found[1]).abs().max() > 0.05


def test_frames_are_taken_evenly_and_repeated_where_there_are_too_few(tmp_path):
    save(tmp_path)
    long = smooth(2, 10, 20, 20)
    torch.testing.assert_close(classify(long, folder=tmp_path), classify(long[:, [0, 3, 6, 9]], folder=tmp_path))
    short = long[:, :2]
    torch.testing.assert_close(classify(short, folder=tmp_path), classify(short[:, [0, 0, 1, 1]], folder=tmp_path))
    backwards = classify(long.flip(1), folder=tmp_path)
    assert (backwards - classify(long, folder=tmp_path)).abs().max() > 1e-3  # and their order counts


def test_clips_do_not_change_one_another(tmp_path):
    save(tmp_path)
    clips = smooth(3, 4, 20, 20)
    many = classify(clips.repeat(4, 1, 1, 1, 1), folder=tmp_path)
    torch.testing.assert_close(many, classify(clips, folder=tmp_path).repeat(4, 1))


def test_classes_have_the_names_of_the_config(tmp_path):
    save(tmp_path)
    assert labels(tmp_path) == tuple(NAMES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.rand(1, 1, 3, 16, 16), "single frame"),
        (torch.rand(4, 3, 16, 16), r"clips\[None\]"),
        (torch.rand(1, 4, 1, 16, 16), "N, T, 3, H, W"),
        (torch.zeros(1, 4, 3, 16, 16, dtype=torch.uint8), "255"),
        (torch.rand(0, 4, 3, 16, 16), "shape"),
        (torch.full((1, 4, 3, 16, 16), 200.0), r"\[0, 1\]"),
        (torch.full((1, 4, 3, 16, 16), torch.nan), r"\[0, 1\]"),
        ([[0.5]], "list"),
    ],
    ids=["one frame", "no batch", "grey", "bytes", "none", "up to 255", "nan", "list"],
)
def test_what_are_no_clips_is_refused_before_anything_is_read(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        classify(wrong, folder=tmp_path / "missing")


def test_a_checkpoint_without_a_head_is_refused(tmp_path):
    save(tmp_path, kind=VideoMAEModel)
    with pytest.raises(CheckpointError, match="VideoMAEModel"):
        classify(smooth(1, 4, 16, 16), folder=tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_checkpoint_with_a_file_missing_is_refused(tmp_path, missing):
    save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(CheckpointError, match="VideoMAE"):
        classify(smooth(1, 4, 16, 16), folder=tmp_path)
