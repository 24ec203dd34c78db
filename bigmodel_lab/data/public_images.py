"""Photographs in folders, one folder a class, as ImageNet lies on a disk: read, brought to one size, and checked.

Sources: Deng et al. (2009), ImageNet, doi 10.1109/CVPR.2009.5206848; resizing and centre crop as the field evaluates
(He et al. 2016, arXiv 1512.03385). Dimension letters: N images, S side.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bigmodel_lab.data.images import ImageSet
from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.public import broken, place
from bigmodel_lab.errors import DataError, MissingExtraError

__all__ = ["image_folder", "read_image"]

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}  # in small or capital letters
SMALLEST = 2  # pixels of a side


def image_folder(
    root: str | Path | None = None, *, size: int = 224, most: int | None = None, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) of the photographs in root/train/<class>/* and root/val/<class>/*: images (N, 3, S, S).

    - `root`: the folder; None for `~/.cache/bigmodel_lab/imagenet`. Class folders give the classes, in sorted order.
    - `size`: S; the shorter side is brought to S / 0.875 and the middle cut out, as the field does for 224.
    - `most`: at most so many images of each class and part, drawn with `seed`; None for all (ImageNet would need a
      terabyte).

    Grey, palette, RGBA (onto white) and CMYK images become RGB, and turned photographs are put upright; how many of
    which is printed. Raises `MissingExtraError` without Pillow; `DataError` if a folder is missing or empty, if `val`
    has a class that `train` lacks, and for a file that cannot be read, which it names.
    """
    size = integer("size", size, 16)
    most = None if most is None else integer("most", most, 1)
    folder = place("imagenet", root)
    parts = {part: _files(folder, part) for part in ("train", "val")}
    classes = tuple(parts["train"])
    if strange := sorted(set(parts["val"]) - set(classes)):
        raise broken("imagenet", "the same classes in train and val", f"in val alone: {', '.join(strange)[:200]}")
    generator = torch.Generator().manual_seed(seed)
    changes: Counter[str] = Counter()
    train, test = (_read(files, classes, size, most, generator, changes) for files in parts.values())
    if changes:
        print("image folder: " + ", ".join(f"{count} {what}" for what, count in sorted(changes.items())))
    return train, test


def read_image(path: str | Path, size: int, changes: Counter[str] | None = None) -> Tensor:
    """Return one photograph as (3, S, S) float32 in [0, 1], its middle at `size` pixels; see `image_folder`.

    `changes` counts what had to be converted. Raises `DataError` that names a file which is no whole picture.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtraError(
            "Pillow, which reads photographs", got=f"{type(error).__name__}: {error}", hint="pip install pillow"
        ) from error
    changes = Counter() if changes is None else changes
    try:
        with Image.open(path) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            picture = _rgb(upright, changes)
            if upright.size != opened.size:
                changes["put upright"] += 1
    except Exception as error:  # Pillow raises many kinds, OSError, SyntaxError and struct.error among them
        got = f"{type(error).__name__}: {error}"
        hint = "fetch it again, or take it out of the folder"
        raise DataError(f"a whole picture in {path}", got=got, hint=hint) from error
    width, height = picture.size
    if min(width, height) < SMALLEST:
        raise DataError(f"at least {SMALLEST} pixels on each side of {path}", got=f"{width} × {height}")
    scale = max(round(size / 0.875), size) / min(width, height)
    width, height = max(round(width * scale), size), max(round(height * scale), size)
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()


def _rgb(picture, changes: Counter[str]):
    """Return the picture in RGB, and count what it was."""
    from PIL import Image

    mode = picture.mode
    if mode == "RGB":
        return picture
    clear = mode in ("RGBA", "LA", "PA") or (mode == "P" and "transparency" in picture.info)
    known = {"1": "grey", "L": "grey", "LA": "grey", "I;16": "grey", "I": "grey", "F": "grey"}
    changes[f"{known.get(mode, 'palette' if mode in ('P', 'PA') else mode)} images made RGB"] += 1
    if mode in ("I;16", "I", "F"):  # Pillow would cut off at 255 what may reach 65535
        values = np.asarray(picture, dtype=np.float64)
        top = 65535 if values.max() > 255 else 255
        return Image.fromarray((values.clip(0, top) / top * 255).round().astype(np.uint8)).convert("RGB")
    if clear:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _files(folder: Path, part: str) -> dict[str, list[Path]]:
    """Return the pictures of each class in folder/part."""
    if not (folder / part).is_dir():
        there = ", ".join(sorted(one.name for one in folder.iterdir())[:8])
        raise broken("imagenet", f"the folder {part}", f"not in {folder}; there: {there or 'nothing'}")
    found = {}
    for home in sorted(one for one in (folder / part).iterdir() if one.is_dir() and not one.name.startswith(".")):
        found[home.name] = sorted(f for f in home.iterdir() if f.suffix.lower() in ENDINGS and f.name[0] != ".")
        if not found[home.name]:
            raise broken("imagenet", f"pictures in {part}/{home.name}", "none")
    if not found:
        raise broken("imagenet", f"a folder for each class in {part}", "none")
    return found


def _read(
    files: dict[str, list[Path]],
    classes: tuple[str, ...],
    size: int,
    most: int | None,
    generator: torch.Generator,
    changes: Counter[str],
) -> ImageSet:
    """Read at most `most` pictures of each class."""
    images, labels = [], []
    for name, paths in files.items():
        order = torch.randperm(len(paths), generator=generator).tolist()
        for at in sorted(order[:most]):
            images.append(read_image(paths[at], size, changes))
            labels.append(classes.index(name))
    return ImageSet(torch.stack(images), torch.tensor(labels), classes)
