"""Image sets: scanned digits, drawn shapes whose truth is known, and CIFAR-10.

Digits are scikit-learn's 1 797 real scans (UCI Optical Recognition of Handwritten Digits). Shapes are drawn here:
each image holds one glyph, which alone decides the label, and one distractor, which never does; masks, boxes and
captions are known exactly. CIFAR-10 (Krizhevsky 2009) is read by torchvision.
Dimension letters: N images, C channels, H height, W width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from math import cos, pi, sin
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bigmodel_lab.errors import DataError, InputError, MissingExtraError

__all__ = ["COLOURS", "GLYPHS", "ImageSet", "cifar10", "digits", "random_affine", "shapes", "ten_classes"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels and, where it is known, the truth about each pixel."""

    images: Tensor  # (N, C, H, W) float32 in [0, 1]
    labels: Tensor  # (N,) int64
    classes: tuple[str, ...]  # the name of each label
    masks: Tensor | None = None  # (N, H, W) bool: pixels of the object that decides the label
    distractors: Tensor | None = None  # (N, H, W) bool: pixels of the object that does not
    boxes: Tensor | None = None  # (N, 4) float32: x0, y0, x1, y1 of the object in pixels, x1 and y1 exclusive
    captions: tuple[str, ...] | None = None  # one sentence per image

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "ImageSet":
        """Return the images at `which` (a slice, indices, or a mask of N booleans) as an ImageSet."""
        index = _indices(which, len(self))
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "classes"}
        for name, part in parts.items():
            if isinstance(part, Tensor):
                parts[name] = part[index]
            elif part is not None:
                parts[name] = tuple(part[i] for i in index.tolist())
        return ImageSet(classes=self.classes, **parts)

    def __repr__(self) -> str:
        """Say how many images of which shape there are."""
        return f"ImageSet({len(self)} images of shape {tuple(self.images.shape[1:])}, {len(self.classes)} classes)"


def _indices(which: slice | Sequence[int] | Tensor, count: int) -> Tensor:
    """Return the places among `count` that `which` names, as int64 of shape (M,)."""
    if isinstance(which, slice):
        return torch.tensor(range(count)[which], dtype=torch.int64)
    if isinstance(which, int | np.integer):
        at = int(which)
        raise InputError("a slice or a sequence of indices", got=repr(which), hint=f"images[{at}:{at + 1 or None}]")
    try:
        index = np.asarray(which.detach().cpu() if isinstance(which, Tensor) else which)
    except (TypeError, ValueError) as error:
        raise InputError("a slice, indices or a mask", got=str(error)) from error
    if index.dtype == bool and index.shape == (count,):
        return torch.from_numpy(index.nonzero()[0])
    if index.shape == (0,) and index.dtype != bool:
        return torch.zeros(0, dtype=torch.int64)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        expected = f"a slice, integers of shape (M,), or a mask of shape ({count},)"
        raise InputError(expected, got=f"{index.dtype} of shape {index.shape}")
    if index.min() < -count or index.max() >= count:
        raise InputError(f"indices in [-{count}, {count})", got=f"{index.min()} to {index.max()}")
    return torch.from_numpy(index.astype(np.int64))


def digits(*, test_fraction: float = 0.25, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) of scikit-learn's digits: 1 797 scans of shape (1, 8, 8), stratified by class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if not 0 < test_fraction < 1:
        raise InputError("a test_fraction between 0 and 1", got=repr(test_fraction), hint="digits(test_fraction=0.25)")
    raw = load_digits()
    images = torch.from_numpy(raw.images).float().unsqueeze(1) / 16  # 16 is the brightest value in the scans
    everything = ImageSet(images, torch.from_numpy(raw.target).long(), tuple(str(d) for d in range(10)))
    split = train_test_split(range(len(everything)), test_size=test_fraction, random_state=seed, stratify=raw.target)
    train, test = (everything[part] for part in split)
    return train, test


# --- shapes ---------------------------------------------------------------------------------------------------------
# A glyph is a predicate on coordinates (u, v), u to the right and v down, that says which points of [-1, 1]² it covers.


def _star(u: Tensor, v: Tensor) -> Tensor:
    """Cover a five-pointed star: in each fifth turn, the side from the tip (radius 1) to the notch (radius 0.42)."""
    turn = torch.atan2(u, -v).remainder(2 * pi / 5)
    angle = torch.minimum(turn, 2 * pi / 5 - turn)  # folded: 0 at a tip, pi/5 at a notch
    x, y = u.hypot(v) * angle.cos(), u.hypot(v) * angle.sin()
    notch_x, notch_y = 0.42 * cos(pi / 5), 0.42 * sin(pi / 5)
    return (1 - x) * notch_y >= y * (1 - notch_x)


def _heart(u: Tensor, v: Tensor) -> Tensor:
    x, y = 1.2 * u, 0.12 - 1.2 * v
    return (x**2 + y**2 - 1) ** 3 <= x**2 * y**3


GLYPHS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": lambda u, v: u.hypot(v) <= 0.9,
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) <= 0.78,
    "triangle": lambda u, v: (v <= 0.7) & (v >= 1.75 * u.abs() - 0.9),
    "star": _star,
    "cross": lambda u, v: (torch.minimum(u.abs(), v.abs()) <= 0.28) & (torch.maximum(u.abs(), v.abs()) <= 0.92),
    "ring": lambda u, v: (u.hypot(v) <= 0.92) & (u.hypot(v) >= 0.52),
    "crescent": lambda u, v: (u.hypot(v) <= 0.92) & ((u - 0.42).hypot(v) >= 0.72),
    "heart": _heart,
    "bar": lambda u, v: (u.abs() <= 0.98) & (v.abs() <= 0.3),
    "hourglass": lambda u, v: (v.abs() <= 0.85) & (u.abs() <= 0.95 * v.abs()),
}

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.20, 0.18),
    "orange": (0.95, 0.58, 0.13),
    "yellow": (0.95, 0.86, 0.25),
    "green": (0.22, 0.66, 0.32),
    "cyan": (0.25, 0.78, 0.82),
    "blue": (0.20, 0.36, 0.85),
    "purple": (0.56, 0.27, 0.72),
    "white": (0.95, 0.95, 0.95),
}


def shapes(
    *, train: int = 6000, test: int = 1000, size: int = 32, difficulty: float = 1.0, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) sets of drawn shapes: images of shape (3, size, size), ten balanced classes.

    Position, size, tilt (up to 25°), colour and background of the glyph are random, so only its form tells the class.
    `difficulty` scales the noise and the texture of the background; 0 leaves a plain one.
    The same arguments give the same images; the training images do not depend on `test`, nor the test's on `train`.
    """
    if min(train, test) < 1 or size < 16 or difficulty < 0:
        got = f"train={train}, test={test}, size={size}, difficulty={difficulty}"
        raise InputError("train and test >= 1, size >= 16 and difficulty >= 0", got=got)
    first, second = (torch.Generator().manual_seed(2 * seed + part) for part in (0, 1))
    return _draw(train, size, difficulty, first), _draw(test, size, difficulty, second)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator)


def _grid(size: int, centre: Tensor, radius: Tensor, tilt: Tensor) -> tuple[Tensor, Tensor]:
    """Return coordinates u and v, each (N, size, size), for centres (N, 2), radii (N,) and tilts (N,) in radians."""
    pixel = torch.arange(size) + 0.5
    x = (pixel[None, None, :] - centre[:, 0, None, None]) / radius[:, None, None]
    y = (pixel[None, :, None] - centre[:, 1, None, None]) / radius[:, None, None]
    c, s = tilt.cos()[:, None, None], tilt.sin()[:, None, None]
    return c * x + s * y, c * y - s * x


def _soften(cover: Tensor) -> Tensor:
    """Average (N, 2H, 2W) coverage over 2×2 blocks: the opacity, (N, H, W) in [0, 1], of an anti-aliased glyph."""
    return F.avg_pool2d(cover.float().unsqueeze(1), 2).squeeze(1)


def _draw(count: int, size: int, difficulty: float, generator: torch.Generator) -> ImageSet:
    """Draw `count` images, a thousand at a time."""
    chunks = [_draw_chunk(min(1000, count - at), size, difficulty, generator) for at in range(0, count, 1000)]
    images, labels, masks, distractors, boxes, captions = zip(*chunks, strict=True)
    sentences = tuple(sentence for chunk in captions for sentence in chunk)
    return ImageSet(
        *map(torch.cat, (images, labels)), tuple(GLYPHS), *map(torch.cat, (masks, distractors, boxes)), sentences
    )


def _draw_chunk(count: int, size: int, difficulty: float, generator: torch.Generator) -> tuple:
    scale = size / 32
    labels = torch.arange(count).remainder(len(GLYPHS))[torch.randperm(count, generator=generator)]
    radius = _uniform(generator, 6.0, 10.5, count) * scale
    centre = radius[:, None] + 1 + torch.rand(count, 2, generator=generator) * (size - 2 - 2 * radius[:, None])
    tilt = _uniform(generator, -25, 25, count) * pi / 180

    u, v = _grid(2 * size, 2 * centre, 2 * radius, tilt)  # twice the resolution, softened below
    cover = torch.empty_like(u, dtype=torch.bool)
    for label, covers in enumerate(GLYPHS.values()):
        which = labels == label
        cover[which] = covers(u[which], v[which])
    glyph = _soften(cover)

    away = _corner_away_from(centre, size, generator)
    distance = _grid(2 * size, 2 * away, torch.full((count,), 6.4 * scale), torch.zeros(count))
    other = _soften(torch.maximum(distance[0].abs(), distance[1].abs()) <= 1) * (glyph == 0)

    colour = torch.randint(len(COLOURS), (count,), generator=generator)
    images = _paint(glyph, other, colour, difficulty, generator)
    masks = glyph >= 0.5
    captions = tuple(map(_caption, labels.tolist(), colour.tolist(), (centre / size).tolist()))
    return images, labels, masks, other >= 0.5, _boxes(masks), captions


def _corner_away_from(centre: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return a centre (N, 2) for the distractor, in the quarter of the image opposite to the glyph's."""
    low = 4 + _uniform(generator, 0, 5, *centre.shape)
    return torch.where(centre > size / 2, low, 32 - low) * size / 32


def _paint(glyph: Tensor, other: Tensor, colour: Tensor, difficulty: float, generator: torch.Generator) -> Tensor:
    """Blend background, distractor and glyph, with opacities of shape (N, H, W), into images (N, 3, H, W)."""
    count, height, width = glyph.shape
    paints = torch.tensor(list(COLOURS.values()))
    front = (paints[colour] + _uniform(generator, -0.05, 0.05, count, 3)).clamp(0, 1)
    shift = torch.randint(1, len(COLOURS), (count,), generator=generator)
    back = 0.45 * paints[(colour + shift) % len(COLOURS)] * _uniform(generator, 0.5, 1.0, count, 1)  # dark, another hue
    coarse = torch.randn(count, 3, 5, 5, generator=generator)
    texture = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    images = back[:, :, None, None] + 0.05 * difficulty * texture
    checker = (
        torch.arange(height)[:, None] // 2 + torch.arange(width)[None, :] // 2
    ) % 2  # a patch of 2×2-pixel checks
    images = torch.lerp(images, checker.float().mul(0.7).expand_as(images), other[:, None])
    images = torch.lerp(images, front[:, :, None, None].expand_as(images), glyph[:, None])
    noise = torch.randn(images.shape, generator=generator)
    return (images + 0.06 * difficulty * noise).clamp(0, 1)


def _boxes(masks: Tensor) -> Tensor:
    """Return the tight box (x0, y0, x1, y1) around each mask of shape (N, H, W), in pixels."""
    columns, rows = masks.any(1), masks.any(2)  # (N, W), (N, H)

    def ends(line: Tensor) -> tuple[Tensor, Tensor]:
        return line.float().argmax(1), line.shape[1] - line.flip(1).float().argmax(1)

    (x0, x1), (y0, y1) = ends(columns), ends(rows)
    return torch.stack([x0, y0, x1, y1], dim=1).float()


def _caption(label: int, colour: int, centre: Sequence[float]) -> str:
    """Describe one image in words; `centre` is the glyph's (x, y) as fractions of the image's width and height."""
    across = ("left", "", "right")[min(2, int(3 * centre[0]))]
    down = ("top", "", "bottom")[min(2, int(3 * centre[1]))]
    place = "at the " + f"{down} {across}".strip() if down or across else "in the centre"
    name = list(GLYPHS)[label]
    return f"{'an' if list(COLOURS)[colour][0] in 'aeiou' else 'a'} {list(COLOURS)[colour]} {name} {place}"


# --- augmentation ---------------------------------------------------------------------------------------------------


def random_affine(
    images: Tensor, generator: torch.Generator, *, degrees: float = 8.0, shift: float = 0.08, scale: float = 0.06
) -> Tensor:
    """Turn, move and resize each image (N, C, H, W) a little, at random: an `augment` for `train.Batches`.

    Uniform in ±`degrees`, ±`shift` (part of the side) and ±`scale` (part of the size); beyond the border is 0.
    """
    count = len(images)
    angle = _uniform(generator, -degrees, degrees, count) * pi / 180
    zoom = 1 + _uniform(generator, -scale, scale, count)
    x, y = _uniform(generator, -2 * shift, 2 * shift, 2, count)  # the grid below runs from -1 to 1
    c, s = zoom * angle.cos(), zoom * angle.sin()
    maps = torch.stack([c, -s, x, s, c, y], dim=1).view(count, 2, 3).to(images)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


# --- public sets ----------------------------------------------------------------------------------------------------


def cifar10(*, root: str | Path | None = None, download: bool = True) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) of CIFAR-10: 50 000 and 10 000 photographs of shape (3, 32, 32) in ten classes.

    Read by torchvision from `root` (default: `~/.cache/bigmodel_lab`), and fetched there first if it is missing and
    `download` allows; torchvision compares checksums. Raises `MissingExtraError` without torchvision and `DataError`
    if the files are missing, truncated or foreign.
    """
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise MissingExtraError(
            "torchvision, of the release that belongs to your torch",
            got=f"{type(error).__name__}: {error}",
            hint='pip install "bigmodel-lab[torchvision]", or source="embedded" for the drawn shapes',
        ) from error
    root = Path.home() / ".cache" / "bigmodel_lab" if root is None else Path(root)
    try:
        parts = [CIFAR10(str(root), train=train, download=download) for train in (True, False)]
    except (OSError, RuntimeError, EOFError, UnpicklingError, LookupError, ValueError) as error:
        raise DataError(
            f"CIFAR-10's python version in {root / CIFAR10.base_folder}",
            got=f"{type(error).__name__}: {error}",
            hint=f'put {CIFAR10.filename} into {root} and unpack it, or use source="embedded"',
        ) from error
    return tuple(
        ImageSet(
            torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous().float() / 255,  # (N, H, W, C) -> (N, C, H, W)
            torch.tensor(part.targets),
            tuple(part.classes),
        )
        for part in parts
    )


def ten_classes(
    *, source: str = "embedded", train: int = 6000, test: int = 1000, root: str | Path | None = None, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) of 3×32×32 images in ten classes: drawn shapes, or CIFAR-10.

    `source` is "embedded" (drawn shapes, offline) or "torchvision" (CIFAR-10); of the latter, `train` and `test` images
    are taken at random with `seed`. Which one it is, is printed.
    """
    if source == "embedded":
        print(f"drawn shapes: {train} training and {test} test images (embedded)")
        return shapes(train=train, test=test, seed=seed)
    if source != "torchvision":
        raise InputError('source="embedded" or source="torchvision"', got=f"source={source!r}")
    whole = cifar10(root=root)
    generator = torch.Generator().manual_seed(seed)
    wanted = [min(count, len(part)) for count, part in zip((train, test), whole, strict=True)]
    print(f"CIFAR-10: {wanted[0]} training and {wanted[1]} test images (torchvision)")
    picked = (torch.randperm(len(part), generator=generator)[:n] for part, n in zip(whole, wanted, strict=True))
    first, second = (part[index] for part, index in zip(whole, picked, strict=True))
    return first, second
