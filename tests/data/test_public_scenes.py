"""COCO and Pascal VOC, read from small folders in their true layout; broken ones say what is wrong, and what to get."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bigmodel_lab.data.public_scenes import VOC_CLASSES, VOID, coco, voc
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

# --- COCO -----------------------------------------------------------------------------------------------------------

BOXES = {1: [4, 2, 20, 10], 2: [10, 6, 6, 4], 3: [0, 0, 30.5, 20]}  # x, y, width, height


def polygon(box):
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def annotation(number, image, category, box, **more):
    area = box[2] * box[3]
    shape = {"segmentation": polygon(box), "bbox": box, "area": area, "iscrowd": 0}
    return {"id": number, "image_id": image, "category_id": category, **shape, **more}


def coco_layout(root):
    """Three photographs: two objects, one over the other; an object over the edge and a crowd; and an empty one."""
    random = np.random.default_rng(0)
    (root / "annotations").mkdir()
    (root / "val2017").mkdir()
    for name, shape in {"000000000007": (32, 64, 3), "000000000009": (40, 30), "000000000011": (20, 20, 3)}.items():
        pixels = random.integers(0, 255, shape).astype(np.uint8)
        Image.fromarray(pixels).save(root / "val2017" / f"{name}.jpg", quality=95)
    crowd = {"counts": [600, 200, 400], "size": [40, 30]}  # by columns: columns 15 to 19
    data = {
        "info": {},
        "licenses": [],
        "images": [
            {"id": 7, "file_name": "000000000007.jpg", "width": 64, "height": 32},
            {"id": 9, "file_name": "000000000009.jpg", "width": 30, "height": 40},
            {"id": 11, "file_name": "000000000011.jpg", "width": 20, "height": 20},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            annotation(2, 7, 90, BOXES[2]),
            annotation(1, 7, 18, BOXES[1]),
            annotation(3, 9, 1, BOXES[3]),
            annotation(4, 9, 1, [0, 0, 0, 5], segmentation=polygon([0, 0, 1, 5])),
            annotation(5, 9, 1, [15, 0, 5, 40], segmentation=crowd, iscrowd=1),
        ],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(data))
    return root


@pytest.fixture(scope="module")
def coco_root(tmp_path_factory):
    return coco_layout(tmp_path_factory.mktemp("coco"))


@pytest.fixture
def broken_coco(coco_root, tmp_path):
    return shutil.copytree(coco_root, tmp_path / "coco")


def changed(root, change):
    """Apply `change` to the annotations of the folder."""
    file = root / "annotations" / "instances_val2017.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def test_coco_gives_scaled_boxes_with_classes_in_the_order_of_ids(coco_root):
    found = coco(coco_root, size=32)
    assert found.classes == ("person", "dog", "toothbrush")
    assert found.images.shape == (3, 3, 32, 32)
    assert found.labels.tolist() == [[1, 2], [0, -1], [-1, -1]]
    assert found.boxes[0].tolist() == [[2, 1, 12, 6], [5, 3, 8, 5]]  # 64 pixels became 32
    assert found.boxes[1, 0].tolist() == pytest.approx([0, 0, 24, 16])  # cut at the edge; 40 became 32, 30 became 24


def test_coco_masks_have_the_smaller_object_on_top_and_void_elsewhere(coco_root):
    mask = coco(coco_root, size=64).masks[0]
    assert (mask[32:] == VOID).all()  # what fills the square
    assert mask[4, 6] == mask[11, 20] == 2
    assert mask[8, 12] == 3
    assert mask[0, 0] == 0
    found = coco(coco_root, size=64)
    assert found.instances[0, 8, 12] == 2
    assert found.instances[0, 4, 6] == 1
    assert not found.instances[0, 32:].any()


def test_a_crowd_is_no_object_but_void(coco_root):
    second = coco(coco_root, size=40)[1:2]
    assert (second.labels >= 0).sum() == 1
    assert (second.masks[0, 30, 15:20] == VOID).all()
    assert (second.masks[0, 30, :14] == 0).all()


def test_the_first_so_many_images_are_read(coco_root):
    assert len(coco(coco_root, size=32, first=1)) == 1
    assert torch.equal(coco(coco_root, size=32, first=2).images, coco(coco_root, size=32).images[:2])


def test_photographs_are_scaled_and_grey_ones_become_three_channels(coco_root):
    found = coco(coco_root, size=40)
    pixels = np.asarray(Image.open(coco_root / "val2017" / "000000000009.jpg"))
    for channel in found.images[1]:
        torch.testing.assert_close(channel[:, :30], torch.from_numpy(pixels.copy()).float() / 255)
    assert not found.images[1][:, :, 30:].any()
    small = coco(coco_root, size=16).images[0][:, :8]
    assert abs(float(small.mean() - coco(coco_root, size=64).images[0][:, :32].mean())) < 0.01


def test_coco_without_pycocotools_names_the_command(coco_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingExtraError, match="pip install pycocotools"):
        coco(coco_root)


def test_a_missing_set_says_where_to_get_it_its_licence_and_size(tmp_path):
    with pytest.raises(DataError, match=r"cocodataset\.org[\s\S]*1 GB[\s\S]*CC BY 4\.0"):
        coco(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"instances_val2017\.json[\s\S]*no such file"):
        coco(tmp_path)
    with pytest.raises(DataError, match=r"VOC/voc2012[\s\S]*Flickr"):
        voc(tmp_path / "nowhere")


def outside(data):
    data["annotations"][0]["bbox"] = [60, 2, 9, 3]


def unknown(data):
    data["annotations"][0]["category_id"] = 5


def other_size(data):
    data["images"][0]["width"] = 32


def no_images(data):
    data["images"] = []


def no_boxes(data):
    del data["annotations"][0]["bbox"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside, r"box \[60, 2, 9, 3\] of annotation 2 outside 64 × 32"),
        (unknown, "KeyError: 5"),
        (other_size, "64 × 32 pixels where the annotations say 32 × 32"),
        (no_images, "no images"),
        (no_boxes, "bbox"),
        (lambda data: data.pop("categories"), "categories"),
    ],
    ids=["outside", "category", "size", "none", "bbox", "categories"],
)
def test_foreign_annotations_are_named(broken_coco, change, message):
    changed(broken_coco, change)
    with pytest.raises(DataError, match=message):
        coco(broken_coco)


def test_files_cut_short_are_named(broken_coco):
    photograph = broken_coco / "val2017" / "000000000007.jpg"
    photograph.write_bytes(photograph.read_bytes()[:400])
    with pytest.raises(DataError, match=r"000000000007\.jpg[\s\S]*(?i:truncated)"):
        coco(broken_coco)
    photograph.unlink()
    with pytest.raises(DataError, match=r"000000000007\.jpg[\s\S]*FileNotFoundError"):
        coco(broken_coco)
    file = broken_coco / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text()[:-100])
    with pytest.raises(DataError, match="JSONDecodeError"):
        coco(broken_coco)
    file.write_text("[1, 2]")
    with pytest.raises(DataError, match="AssertionError"):
        coco(broken_coco)


@pytest.mark.parametrize("wrong", [{"size": 8}, {"first": 0}], ids=["size", "first"])
def test_impossible_arguments_are_refused(coco_root, wrong):
    with pytest.raises(InputError, match="size >= 16"):
        coco(coco_root, **wrong)


# --- Pascal VOC -----------------------------------------------------------------------------------------------------

MASKS = {"2007_000032": (24, 40), "2007_000039": (48, 32), "2007_000061": (24, 24)}


def voc_layout(root):
    """Three photographs with palette masks: an object of class 15 with a border of 255 around it."""
    home = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, (height, width) in MASKS.items():
        pixels = random.integers(0, 255, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(home / "JPEGImages" / f"{name}.jpg", quality=95)
        values = np.zeros((height, width), np.uint8)
        values[4:16, 4:16], values[6:14, 6:14] = VOID, 15
        mask = Image.fromarray(values, "L").convert("P")
        mask.putdata(values.flatten().tolist())
        mask.putpalette([(7 * i) % 256 for i in range(768)])
        mask.save(home / "SegmentationClass" / f"{name}.png")
    names = list(MASKS)
    (home / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(names[:2]) + "\n")
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text(names[2] + "\n")
    return root


@pytest.fixture(scope="module")
def voc_root(tmp_path_factory):
    return voc_layout(tmp_path_factory.mktemp("voc"))


@pytest.fixture
def broken_voc(voc_root, tmp_path):
    return shutil.copytree(voc_root, tmp_path / "voc")


def test_voc_gives_masks_of_classes_with_void_borders(voc_root):
    train, val = voc(voc_root, size=24)
    assert (len(train), len(val)) == (2, 1)
    assert train.classes == VOC_CLASSES
    assert VOC_CLASSES[14] == "person"
    assert train.boxes.shape == (2, 0, 4)
    mask = val.masks[0]
    assert (mask[6:14, 6:14] == 15).all()
    assert mask[4, 4] == mask[15, 15] == VOID
    assert mask[0, 0] == 0
    assert mask.dtype == torch.int64
    assert val.images.shape == (1, 3, 24, 24)


def test_voc_scales_photograph_and_mask_alike_and_fills_with_void(voc_root):
    train, _ = voc(voc_root, size=24)
    assert (train.masks[1][:, 16:] == VOID).all()  # 48 × 32 became 24 × 16
    assert (train.masks[1][3:7, 3:7] == 15).all()
    assert not train.images[1][:, :, 16:].any()
    assert train.images[1][:, :, :16].mean() > 0.3
    assert len(voc(voc_root, size=24, first=1)[0]) == 1


def test_another_year_is_another_folder(voc_root):
    with pytest.raises(DataError, match=r"VOC2007.*train\.txt"):
        voc(voc_root, 2007)


def test_broken_voc_files_are_named(broken_voc):
    home = broken_voc / "VOCdevkit" / "VOC2012"
    mask = home / "SegmentationClass" / "2007_000032.png"
    Image.new("RGB", (40, 24)).save(mask)
    with pytest.raises(DataError, match=r"2007_000032\.png[\s\S]*mode RGB"):
        voc(broken_voc)
    Image.fromarray(np.zeros((40, 24), np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"\(24, 40\) pixels beside a photo of \(40, 24\)"):
        voc(broken_voc)
    Image.fromarray(np.full((24, 40), 21, np.uint8)).save(mask)
    with pytest.raises(DataError, match=r"the values \[21\]"):
        voc(broken_voc)
    mask.unlink()
    with pytest.raises(DataError, match="FileNotFoundError"):
        voc(broken_voc)
    (home / "ImageSets" / "Segmentation" / "train.txt").write_text("\n")
    with pytest.raises(DataError, match="no names"):
        voc(broken_voc)
