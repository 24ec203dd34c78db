"""Scenes: images that hold several drawn glyphs, with a box, a class and a mask for each.

The glyphs, colours, textures and distractors are those of `images.shapes`; here they stand in any number from one to
`most` in a picture, and may cover each other a little, so that boxes, classes and pixels all are worth asking for.
Dimension letters: N images, S side in pixels, M most objects in an image, K classes, P places tried for an object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import pi

import torch
from torch import Tensor

from bigmodel_lab.data.images import COLOURS, GLYPHS, _boxes, _grid, _indices, _paint, _soften, _uniform
from bigmodel_lab.errors import InputError

__all__ = ["SceneSet", "check_boxes", "scenes"]

CHUNK, PLACES = 250, 24  # images drawn at a time; places tried for an object before it is left out
SMALLEST, LARGEST = 5.0, 10.5  # radii of glyphs in an image of 64 pixels
OVERLAP = 0.12  # of the smaller of two objects' squares, at most


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Images with several objects each. Objects fill the first places of M; the rest is padding."""

    images: Tensor  # (N, 3, S, S) float32 in [0, 1]
    boxes: Tensor  # (N, M, 4) float32: x0, y0, x1, y1 in pixels, x1 and y1 exclusive; 0 in the padding
    labels: Tensor  # (N, M) int64: the class of each object, -1 in the padding
    masks: Tensor  # (N, S, S) int64: 0 background, k + 1 a pixel of class k; a loader says what else
    classes: tuple[str, ...]  # K names, without the background
    instances: Tensor | None = None  # (N, S, S) uint8: 0 background, j + 1 a visible pixel of object j
    distractors: Tensor | None = None  # (N, S, S) bool: pixels of a patch that is no object

    def __post_init__(self) -> None:
        """Refuse boxes and labels that do not belong to the images."""
        check_boxes(self.boxes, self.labels, *self.images.shape[-2:], classes=len(self.classes))

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "SceneSet":
        """Return the images at `which` (a slice, indices, or a mask of N booleans) as a SceneSet."""
        index = _indices(which, len(self))
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "classes"}
        parts = {name: None if part is None else part[index] for name, part in parts.items()}
        return SceneSet(classes=self.classes, **parts)

    def __repr__(self) -> str:
        """Say how many images and objects there are."""
        objects = int((self.labels >= 0).sum())
        return (
            f"SceneSet({len(self)} images of shape {tuple(self.images.shape[1:])}, {objects} objects of "
            f"{len(self.classes)} classes)"
        )


def check_boxes(boxes: Tensor, labels: Tensor, height: int, width: int, *, classes: int) -> None:
    """Raise `InputError` unless boxes (N, M, 4) and labels (N, M) fit images of `height` × `width` pixels.

    A box must have an area and lie inside the image, a label must be below `classes`, and places with label -1 must
    come last. What stands in their boxes is not looked at.
    """
    if boxes.ndim != 3 or boxes.shape[2] != 4 or labels.shape != boxes.shape[:2]:
        got = f"shapes {tuple(boxes.shape)} and {tuple(labels.shape)}"
        raise InputError("boxes of shape (N, M, 4) and labels of shape (N, M)", got=got)
    there = labels >= 0
    if bool((there[:, 1:] & ~there[:, :-1]).any()):
        raise InputError("objects before padding in every image", got="an object after a label below 0")
    if bool((labels < -1).any()) or bool((labels >= classes).any()):
        expected = f"labels from 0 to {classes - 1}, or -1 for padding"
        raise InputError(expected, got=f"{int(labels.min())} to {int(labels.max())}")
    x0, y0, x1, y1 = boxes.unbind(2)
    right = (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height) & (x0 < x1) & (y0 < y1)  # False for NaN
    if bool((there & ~right).any()):
        image, place = (int(i) for i in (there & ~right).nonzero()[0])
        raise InputError(
            f"boxes (x0, y0, x1, y1) with x0 < x1 <= {width} and y0 < y1 <= {height}, from 0 on, in pixels",
            got=f"{[round(v, 2) for v in boxes[image, place].tolist()]}, box {place} of image {image}",
            hint="x1 = x0 + width if they came as (x, y, width, height); scale them as the image was scaled; "
            "clip what reaches over the edge",
        )


def scenes(
    *, train: int = 4000, test: int = 500, size: int = 64, most: int = 4, difficulty: float = 1.0, seed: int = 0
) -> tuple[SceneSet, SceneSet]:
    """Return (train, test) sets of drawn scenes: images of shape (3, size, size) with 1 to `most` glyphs each.

    Classes, places, sizes, tilts (up to 25°) and colours are random. A glyph may cover a little of an earlier one;
    where no room is left for it, it is left out. Boxes are tight around the visible pixels. One checkered patch per
    image is no object. `difficulty` scales the noise and the texture of the background; 0 leaves a plain one.
    The same arguments give the same scenes; the training images do not depend on `test`, nor the test's on `train`.
    """
    if min(train, test) < 1 or size < 32 or not 1 <= most <= 16 or difficulty < 0:
        got = f"train={train}, test={test}, size={size}, most={most}, difficulty={difficulty}"
        raise InputError("train and test >= 1, size >= 32, most from 1 to 16 and difficulty >= 0", got=got)
    first, second = (torch.Generator().manual_seed(2 * seed + part) for part in (0, 1))
    return _draw(train, size, most, difficulty, first), _draw(test, size, most, difficulty, second)


def _draw(count: int, size: int, most: int, difficulty: float, generator: torch.Generator) -> SceneSet:
    """Draw `count` scenes, a chunk at a time."""
    chunks = [_draw_chunk(min(CHUNK, count - at), size, most, difficulty, generator) for at in range(0, count, CHUNK)]
    images, boxes, labels, masks, instances, distractors = map(torch.cat, zip(*chunks, strict=True))
    return SceneSet(images, boxes, labels, masks, tuple(GLYPHS), instances, distractors)


def _draw_chunk(n: int, size: int, most: int, difficulty: float, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return images, boxes, labels, masks, instances and distractors of `n` scenes."""
    scale = size / 64
    labels = torch.randint(len(GLYPHS), (n, most), generator=generator)
    wanted = torch.randint(1, most + 1, (n,), generator=generator)
    radius = _uniform(generator, SMALLEST, LARGEST, n, most) * scale
    centre, room = _place(radius, size, generator)
    rank = torch.arange(most)
    there = room & (rank < wanted[:, None])
    order = (~there).long().sort(dim=1, stable=True).indices  # objects first
    there, labels, radius = (part.gather(1, order) for part in (there, labels, radius))
    centre = centre.gather(1, order[..., None].expand(-1, -1, 2))
    labels = labels.masked_fill(~there, -1)

    glyphs = _glyphs(labels, radius, centre, size, generator)  # opacities (n, M, S, S)
    solid = glyphs >= 0.5
    instances = (solid * (rank + 1)[:, None, None]).amax(1)  # (n, M, S, S) -> (n, S, S): the last one is on top
    masks = torch.cat([torch.zeros(n, 1, dtype=torch.int64), labels + 1], 1).gather(1, instances.flatten(1))
    visible = instances[:, None] == (rank + 1)[:, None, None]
    boxes = _boxes(visible.flatten(0, 1)).view(n, most, 4) * there[..., None]

    patch = _uniform(generator, 0.12, 0.88, n, 2) * size
    u, v = _grid(2 * size, 2 * patch, torch.full((n,), 12.8 * scale), torch.zeros(n))
    other = _soften(torch.maximum(u.abs(), v.abs()) <= 1) * (glyphs.amax(1) == 0)
    images = _paint_all(glyphs, other, difficulty, generator)
    return images, boxes, labels, masks.view(n, size, size), instances.to(torch.uint8), other >= 0.5


def _place(radius: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return centres (n, M, 2) for glyphs of `radius` (n, M), and whether there was room for each, (n, M) bool.

    Each takes the first of P random places where it shares at most `OVERLAP` of its square, or of the other's if that
    is smaller, with every glyph placed before; a glyph without such a place takes no room.
    """
    n, most = radius.shape
    centres, room = torch.zeros(n, most, 2), torch.zeros(n, most, dtype=torch.bool)
    for j in range(most):
        r = radius[:, j, None, None]
        tried = r + 1 + torch.rand(n, PLACES, 2, generator=generator) * (size - 2 - 2 * r)  # (n, P, 2)
        low = torch.maximum((tried - r)[:, :, None], (centres - radius[..., None])[:, None])  # (n, P, M, 2)
        high = torch.minimum((tried + r)[:, :, None], (centres + radius[..., None])[:, None])
        shared = (high - low).clamp(min=0).prod(3)
        smaller = (2 * torch.minimum(r, radius[:, None])) ** 2  # (n, 1, M)
        free = ((shared <= OVERLAP * smaller) | ~room[:, None]).all(2)  # (n, P)
        room[:, j] = free.any(1)
        centres[:, j] = tried[torch.arange(n), free.long().argmax(1)]
    return centres, room


def _glyphs(labels: Tensor, radius: Tensor, centre: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return the opacity (n, M, S, S) of each object, 0 in the padding."""
    tilt = _uniform(generator, -25, 25, *labels.shape) * pi / 180
    glyphs = torch.zeros(*labels.shape, size, size)
    for label, covers in enumerate(GLYPHS.values()):
        which = labels == label
        if which.any():  # twice the resolution, softened
            glyphs[which] = _soften(covers(*_grid(2 * size, 2 * centre[which], 2 * radius[which], tilt[which])))
    return glyphs


def _paint_all(glyphs: Tensor, other: Tensor, difficulty: float, generator: torch.Generator) -> Tensor:
    """Paint background and distractor (opacity (n, S, S)), then the glyphs (n, M, S, S) in their order."""
    n, most = glyphs.shape[:2]
    colours = torch.randint(len(COLOURS), (n, most), generator=generator)
    images = _paint(torch.zeros_like(other), other, colours[:, 0], difficulty, generator)
    paints = torch.tensor(list(COLOURS.values()))[colours] + _uniform(generator, -0.05, 0.05, n, most, 3)
    noise = 0.06 * difficulty * torch.randn(images.shape, generator=generator)  # of all glyphs
    for j in range(most):
        images = torch.lerp(images, paints[:, j, :, None, None].clamp(0, 1) + noise, glyphs[:, j, None])
    return images.clamp_(0, 1)
