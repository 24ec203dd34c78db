"""The public detector's code on a tiny DETR in the true layout."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessorPil, DetrModel, ResNetConfig

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.detection import detect
from bigmodel_lab.models.hugging_face import quiet

NAMES = {0: "person", 1: "N/A", 2: "kite", 3: "dog"}
SIDE = 64


def save(folder, *, kind=DetrForObjectDetection):
    """Write a small DETR with its image processor as the hub has it; return the model."""
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], out_features=["stage4"])
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
        id2label=NAMES,
        label2id={name: k for k, name in NAMES.items()},
    )
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():  # fresh weights say the same of every image and query
            if weight.ndim > 1:
                weight.mul_(20 if "query_position" in name else 2)
    with quiet():
        model.save_pretrained(folder)
        DetrImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE}).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("detr")
    save(place)
    return place


IMAGES = (
    torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) ** torch.arange(1, 6)[:, None, None, None]
)


def test_detections_are_the_model_s_own_in_pixels(folder):
    found, names = detect(IMAGES, folder=folder, threshold=0)
    assert names == ("person", "N/A", "kite", "dog")
    assert len(found) == 5
    model = DetrForObjectDetection.from_pretrained(folder).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    bytes_ = (IMAGES * 255).round() / 255
    with torch.no_grad():
        output = model((bytes_ - mean[:, None, None]) / std[:, None, None])
    scores, labels = output.logits.softmax(-1)[..., :-1].max(-1)  # the last class is "no object"
    x, y, w, h = output.pred_boxes.unbind(-1)
    corners = (torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1) * SIDE).clamp(0, SIDE)
    for i, one in enumerate(found):
        order = scores[i].argsort(descending=True)
        torch.testing.assert_close(one["scores"], scores[i][order], atol=1e-4, rtol=1e-4)
        assert torch.equal(one["labels"], labels[i][order])
        torch.testing.assert_close(one["boxes"], corners[i][order], atol=1e-2, rtol=1e-3)
    assert (found[0]["boxes"] - found[4]["boxes"]).abs().max() > 1e-3  # it looks at the image


def test_boxes_come_back_in_the_pixels_of_the_image_that_came(folder):
    small, _ = detect(IMAGES[:1], folder=folder, threshold=0)
    half = F.avg_pool2d(IMAGES[:1], 2)
    wide = F.interpolate(half, (SIDE // 2, SIDE), mode="nearest")
    found, _ = detect(wide, folder=folder, threshold=0)
    assert found[0]["boxes"][:, 0::2].max() > SIDE // 2
    assert found[0]["boxes"][:, 1::2].max() <= SIDE // 2
    assert len(small[0]["scores"]) == len(found[0]["scores"]) == 6


def test_the_threshold_drops_the_lower_scores(folder):
    every, _ = detect(IMAGES, folder=folder, threshold=0)
    cut = float(every[2]["scores"][2])
    some, _ = detect(IMAGES, folder=folder, threshold=cut)
    for one, other in zip(every, some, strict=True):
        assert torch.equal(other["scores"], one["scores"][one["scores"] > cut])
    nothing, _ = detect(IMAGES[:1], folder=folder, threshold=0.999)
    assert nothing[0]["boxes"].shape == (0, 4)


def test_images_do_not_change_one_another(folder):
    together, _ = detect(IMAGES, folder=folder, threshold=0)
    alone, _ = detect(IMAGES[3:4], folder=folder, threshold=0)
    torch.testing.assert_close(together[3]["boxes"], alone[0]["boxes"], atol=1e-3, rtol=1e-4)


def test_the_processor_file_of_older_checkpoints_says_the_same(folder, tmp_path):
    model = save(tmp_path)
    normal = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    kind = {"feature_extractor_type": "DetrFeatureExtractor", "format": "coco_detection"}
    older = {"do_normalize": True, "do_resize": True, "size": SIDE, "max_size": 2 * SIDE, **normal, **kind}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(older))
    first, again = (detect(IMAGES, folder=where, threshold=0)[0] for where in (folder, tmp_path))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one["boxes"], other["boxes"])
    assert model.config.id2label == NAMES


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], r"shape \(3, 64, 64\)"),
        (IMAGES[:0], r"shape \(0, 3, 64, 64\)"),
        (IMAGES[:, :1], r"expand\(-1, 3"),
        ((IMAGES * 255).byte(), r"torch.uint8 from 0 to 2"),
        (IMAGES * 255, "images / 255"),
        (IMAGES - 0.5, "from -0.5"),
        (torch.full((1, 3, 8, 8), float("nan")), "nan"),
        ("cat.jpg", "str"),
    ],
    ids=["one", "empty", "grey", "bytes", "to 255", "below 0", "nan", "path"],
)
def test_what_is_no_image_is_refused(folder, images, message):
    with pytest.raises(InputError, match=message):
        detect(images, folder=folder)


def test_a_threshold_of_one_is_refused(folder):
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        detect(IMAGES, folder=folder, threshold=1)


def test_a_model_without_a_head_is_refused(tmp_path):
    save(tmp_path, kind=DetrModel)
    with pytest.raises(CheckpointError, match="DetrModel"):
        detect(IMAGES, folder=tmp_path)


def test_a_missing_folder_or_file_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"detr-resnet-50[\s\S]*170 MB"):
        detect(IMAGES, folder=tmp_path / "nowhere")
    save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="AutoModelForObjectDetection"):
        detect(IMAGES, folder=tmp_path)
