"""Public sets of photographs with several objects: COCO with boxes and masks, Pascal VOC with masks.

Photographs have any size. Each is scaled until its longer side has `size` pixels, its boxes and masks with it, and
filled up on the right and below: black in the image, `VOID` in the mask. Grey photographs become three equal channels.
Sources: Lin et al. (2014), Microsoft COCO, arXiv 1405.0312; Everingham et al. (2015), Pascal VOC,
doi 10.1007/s11263-014-0733-5. Dimension letters: N images, S side, M most objects, H height, W width.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bigmodel_lab.data.public import broken, place
from bigmodel_lab.data.scenes import SceneSet
from bigmodel_lab.errors import InputError, MissingExtraError

__all__ = ["VOC_CLASSES", "VOID", "coco", "voc"]

VOID = 255  # in masks: a pixel that nobody judges, as in VOC's files
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def coco(
    root: str | Path | None = None, part: str = "val2017", *, size: int = 256, first: int | None = 500
) -> SceneSet:
    """Return the images of one part of COCO 2017 with their boxes, classes and masks, side `size` pixels.

    Read from `root`/annotations/instances_PART.json and `root`/PART/*.jpg (root: default `~/.cache/bigmodel_lab/coco`),
    in the order of the file, at most `first` images (None: all). Classes are in the order of their ids in the file.
    Boxes that reach over the edge by up to a pixel are cut there; those without an area are left out. Crowd regions are
    no objects: their pixels are `VOID`. Where objects overlap, the smaller one is on top.
    Raises `MissingExtraError` without pycocotools, and `DataError` if files are missing, cut short or foreign.
    """
    _check(size, first)
    home = place("coco", root)
    file = home / "annotations" / f"instances_{part}.json"
    index = _index(file)
    try:
        names = {one["id"]: one["name"] for one in sorted(index.dataset["categories"], key=lambda one: one["id"])}
        images = index.dataset["images"][:first]
        number = {category: k for k, category in enumerate(names)}
        parts = [_photograph(index, one, home / part, number, size) for one in images]
    except (KeyError, TypeError, IndexError) as error:
        raise broken("coco", file, f"{type(error).__name__}: {error}") from error
    if not parts:
        raise broken("coco", file, "no images")
    pictures, boxes, labels, masks, instances = zip(*parts, strict=True)
    most = max(1, *map(len, labels))
    padded = torch.zeros(len(parts), most, 4), torch.full((len(parts), most), -1)
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        padded[0][i, : len(box)], padded[1][i, : len(label)] = box, label
    return SceneSet(torch.stack(pictures), *padded, torch.stack(masks), tuple(names.values()), torch.stack(instances))


def voc(
    root: str | Path | None = None, year: int = 2012, *, size: int = 256, first: int | None = 500
) -> tuple[SceneSet, SceneSet]:
    """Return (train, val) of Pascal VOC's segmentation task: images and masks, side `size` pixels; no boxes (M = 0).

    Read from `root`/VOCdevkit/VOC`year` (root: default `~/.cache/bigmodel_lab/voc`): the names in
    ImageSets/Segmentation/train.txt and val.txt, at most `first` of each (None: all), JPEGImages/NAME.jpg, and the
    palette images SegmentationClass/NAME.png. Mask values are 0 for background, k + 1 for class k of `VOC_CLASSES`, and
    `VOID` for the border around each object. Raises `DataError` if files are missing, cut short or foreign.
    """
    _check(size, first)
    home = place("voc", root) / "VOCdevkit" / f"VOC{year}"
    return _voc_part(home, "train", size, first), _voc_part(home, "val", size, first)


def _check(size: int, first: int | None) -> None:
    if size < 16 or (first is not None and first < 1):
        raise InputError("size >= 16, and first >= 1 or None", got=f"size={size}, first={first}")


def _index(file: Path) -> Any:
    """Return pycocotools' index of an annotation file, without what it prints."""
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        hint = 'pip install pycocotools; or source="embedded", which needs neither'
        raise MissingExtraError("pycocotools, which reads COCO's masks", got=str(error), hint=hint) from error
    if not file.is_file():
        raise broken("coco", file, "no such file")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(file))
    except (OSError, ValueError, AssertionError, LookupError, TypeError) as error:
        raise broken("coco", file, f"{type(error).__name__}: {error}") from error


def _photograph(index: Any, image: dict, folder: Path, number: dict[int, int], size: int) -> tuple[Tensor, ...]:
    """Return picture, boxes, labels, mask and instances of one image of COCO."""
    file = folder / image["file_name"]
    photograph = _open("coco", file, "RGB")
    width, height = photograph.size
    if (width, height) != (image["width"], image["height"]):
        got = f"{width} × {height} pixels where the annotations say {image['width']} × {image['height']}"
        raise broken("coco", file, got)
    mask, instances = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    boxes, labels = [], []
    for one in sorted(index.imgToAnns[image["id"]], key=lambda one: -one["area"]):
        covers = _pixels(index, one)
        if one.get("iscrowd"):
            mask[covers] = VOID
            continue
        x, y, w, h = one["bbox"]
        if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
            raise broken("coco", file, f"box {one['bbox']} of annotation {one['id']} outside {width} × {height} pixels")
        box = np.clip([x, y, x + w, y + h], 0, [width, height, width, height])
        if box[2] > box[0] and box[3] > box[1]:
            boxes.append(box)
            labels.append(number[one["category_id"]])
            mask[covers], instances[covers] = labels[-1] + 1, len(labels)
    if len(labels) >= VOID:
        raise broken("coco", file, f"{len(labels)} objects in one image")
    picture, scale = _fit(photograph, size)
    scaled = torch.tensor(np.array(boxes).reshape(-1, 4) * scale, dtype=torch.float32).clamp(max=size)
    return (
        picture,
        scaled,
        torch.tensor(labels, dtype=torch.int64),
        _fit_mask(mask, size, fill=VOID).long(),
        _fit_mask(instances, size, fill=0),
    )


def _pixels(index: Any, one: dict) -> np.ndarray:
    """Return which pixels an annotation covers, (H, W) bool."""
    with warnings.catch_warnings():  # pycocotools 2.0 hands over arrays as NumPy 1 did
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        return index.annToMask(one) > 0


def _voc_part(home: Path, part: str, size: int, first: int | None) -> SceneSet:
    file = home / "ImageSets" / "Segmentation" / f"{part}.txt"
    if not file.is_file():
        raise broken("voc", file, "no such file")
    pictures, masks = [], []
    for name in file.read_text(encoding="utf-8").split()[:first]:
        photograph = _open("voc", home / "JPEGImages" / f"{name}.jpg", "RGB")
        where = home / "SegmentationClass" / f"{name}.png"
        mask = _open("voc", where, None)
        if mask.mode not in ("P", "L") or mask.size != photograph.size:
            raise broken("voc", where, f"mode {mask.mode} and {mask.size} pixels beside a photo of {photograph.size}")
        values = np.array(mask)  # palette numbers, not colours
        if foreign := set(np.unique(values).tolist()) - {*range(len(VOC_CLASSES) + 1), VOID}:
            raise broken("voc", where, f"the values {sorted(foreign)}, of no class")
        pictures.append(_fit(photograph, size)[0])
        masks.append(_fit_mask(values, size, fill=VOID).long())
    if not pictures:
        raise broken("voc", file, "no names")
    none = torch.zeros(len(pictures), 0, 4), torch.zeros(len(pictures), 0, dtype=torch.int64)
    return SceneSet(torch.stack(pictures), *none, torch.stack(masks), VOC_CLASSES)


def _open(name: str, file: Path, mode: str | None) -> Any:
    """Return the image in `file`, whole, in `mode` (None: its own)."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            return image.copy() if mode is None else image.convert(mode)
    except (OSError, ValueError, SyntaxError) as error:  # missing, cut short, or no image
        raise broken(name, file, f"{type(error).__name__}: {error}") from error


def _sides(width: int, height: int, size: int) -> tuple[int, int]:
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fit(photograph: Any, size: int) -> tuple[Tensor, np.ndarray]:
    """Return the photograph in (3, S, S), filled up with black, and the factors on x0, y0, x1, y1."""
    wide, high = _sides(*photograph.size, size)
    pixels = np.asarray(photograph.resize((wide, high)))  # bicubic, over all pixels that fall into one
    picture = torch.zeros(3, size, size)
    picture[:, :high, :wide] = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    x, y = wide / photograph.size[0], high / photograph.size[1]
    return picture, np.array([x, y, x, y])


def _fit_mask(mask: np.ndarray, size: int, *, fill: int) -> Tensor:
    """Return the mask (H, W) in (S, S) uint8, each pixel the nearest one's, filled up with `fill`."""
    from PIL import Image

    wide, high = _sides(mask.shape[1], mask.shape[0], size)
    fitted = torch.full((size, size), fill, dtype=torch.uint8)
    small = Image.fromarray(mask).resize((wide, high), Image.Resampling.NEAREST)
    fitted[:high, :wide] = torch.from_numpy(np.asarray(small).copy())
    return fitted
