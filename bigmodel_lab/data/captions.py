"""Images with captions: drawn shapes whose attributes are known, and COCO's photographs with what people wrote.

A drawn image shows one or two glyphs. Its captions come from what is planted: they name size, colour, shape and place,
never all that there is to say, so a caption may be true of other images too; `describes` tells of which.
Sources: glyphs and paints of `images.shapes`; Lin et al. (2014), arXiv 1405.0312, and Chen et al. (2015), arXiv
1504.00325 (COCO's captions).
Dimension letters: N images, S side in pixels, R captions of an image, T words, V words known; two objects at most.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from bigmodel_lab.data.images import COLOURS, GLYPHS, _indices, _paint, _uniform
from bigmodel_lab.data.public import broken, place
from bigmodel_lab.data.public_scenes import _check, _fit, _open
from bigmodel_lab.data.scenes import _glyphs
from bigmodel_lab.data.statements import (
    ABOVE,
    ALONE,
    AND,
    HELD_OUT,
    HUES,
    LEFT,
    OFF,
    PLACES,
    SHAPES,
    SIZES,
    STARTS,
    WAYS,
    describes,
    exchange,
    falsified,
    names_held_out,
    sentence,
)
from bigmodel_lab.errors import InputError

__all__ = [
    "HELD_OUT",
    "HUES",
    "SHAPES",
    "SIZES",
    "STARTS",
    "CaptionSet",
    "Vocabulary",
    "captions",
    "coco_captions",
    "describes",
    "exchange",
    "falsified",
    "names_held_out",
    "sentence",
]

RADII = ((4.8, 5.4), (7.0, 7.7))  # of small and of large glyphs in an image of 32 pixels
LENGTH = 13  # T, words of the longest drawn caption


class Vocabulary:
    """Words and their ids: 0 is padding, 1 any word that is not known, the others are in the order given."""

    def __init__(self, words: Iterable[str]) -> None:
        """Take the words to know; each counts once."""
        self.words = ("<pad>", "<unknown>", *dict.fromkeys(words))
        self.ids = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        """Return V, padding and the unknown word included."""
        return len(self.words)

    def encode(self, texts: Sequence[str], length: int = LENGTH) -> Tensor:
        """Return ids (N, `length`) int64 of the words of each text: letters and digits, in lower case.

        Words behind the first `length` are cut off. Raises `InputError` for a text without any word.
        """
        if isinstance(texts, str) or length < 1:
            raise InputError("a list of texts and a length of at least 1", got=f"{texts!r:.60}, length={length}")
        ids = torch.zeros(len(texts), length, dtype=torch.int64)
        for row, text in enumerate(texts):
            words = _words(text)[:length]
            if not words:
                raise InputError("texts with at least one word", got=repr(text), hint="leave empty texts out")
            ids[row, : len(words)] = torch.tensor([self.ids.get(word, 1) for word in words])
        return ids

    def decode(self, ids: Tensor) -> list[str]:
        """Return the words of each row of ids (N, T), without padding."""
        return [" ".join(self.words[i] for i in row if i) for row in ids.tolist()]


@dataclass(frozen=True, eq=False)
class CaptionSet:
    """Images with R captions each and, where images are drawn, the truth about both."""

    images: Tensor  # (N, 3, S, S) float32 in [0, 1]
    ids: Tensor  # (N, R, T) int64: the words of each caption, 0 behind the last
    texts: tuple[tuple[str, ...], ...]  # N times R
    vocabulary: Vocabulary
    objects: Tensor | None = None  # (N, 2, 3) int64: index in SHAPES, HUES, SIZES; -1 where there is no second object
    centres: Tensor | None = None  # (N, 2, 2) float32: x, y of each object, as parts of the side
    masks: Tensor | None = None  # (N, 2, S, S) bool: pixels of each object
    statements: Tensor | None = None  # (N, R, 8) int64: what each caption says; see `sentence`
    unseen: Tensor | None = None  # (N,) bool: shows a pair of HELD_OUT

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.images)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "CaptionSet":
        """Return the images at `which` (a slice, indices, or a mask of N booleans) as a CaptionSet."""
        index = _indices(which, len(self))
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        parts = {name: part[index] if isinstance(part, Tensor) else part for name, part in parts.items()}
        return CaptionSet(**{**parts, "texts": tuple(self.texts[i] for i in index.tolist())})

    def __repr__(self) -> str:
        """Say how many images of which shape there are, and how many captions."""
        shape = tuple(self.images.shape[1:])
        return f"CaptionSet({len(self)} images of shape {shape}, {self.ids.shape[1]} captions each)"


def captions(
    *, train: int = 4000, test: int = 1000, per_image: int = 5, difficulty: float = 1.0, seed: int = 0
) -> tuple[CaptionSet, CaptionSet]:
    """Return (train, test): images of shape (3, 32, 32) with one or two glyphs and `per_image` captions each.

    Two glyphs of an image differ in shape and in colour. Training images avoid the six colour-shape pairs of
    `HELD_OUT`; test images take all 36 pairs alike. `difficulty` scales the noise and the texture of the background.
    The same arguments give the same set; training images do not depend on `test`, nor the test's on `train`.
    """
    if min(train, test, per_image) < 1 or difficulty < 0:
        got = f"train={train}, test={test}, per_image={per_image}, difficulty={difficulty}"
        raise InputError("train, test and per_image >= 1 and difficulty >= 0", got=got)
    first, second = (torch.Generator().manual_seed(2 * seed + part) for part in (0, 1))
    return _draw(train, per_image, difficulty, False, first), _draw(test, per_image, difficulty, True, second)


def coco_captions(
    root: str | Path | None = None,
    part: str = "val2017",
    *,
    size: int = 128,
    first: int | None = 500,
    length: int = 24,
    vocabulary: Vocabulary | None = None,
) -> CaptionSet:
    """Return the images of one part of COCO 2017 with five captions each, side `size` pixels; no truth about either.

    Read from `root`/annotations/captions_PART.json and `root`/PART/*.jpg (root: default `~/.cache/bigmodel_lab/coco`),
    in the order of the file, at most `first` images (None: all). A few images have six or seven captions: the first
    five by id are kept. The longer side is scaled to `size`, the rest filled with black. Give the `vocabulary` of the
    training part for a test part; without one it is made of all words that stand twice in these captions.
    Raises `DataError` if files are missing, cut short or foreign, or an image has fewer than five captions.
    """
    _check(size, first)
    home = place("coco", root)
    file = home / "annotations" / f"captions_{part}.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        names = {one["id"]: one["file_name"] for one in found["images"][:first]}
        texts: dict[int, list[str]] = {number: [] for number in names}
        for one in sorted(found["annotations"], key=lambda one: one["id"]):
            if one["image_id"] in texts:
                texts[one["image_id"]].append(" ".join(one["caption"].split()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise broken("coco", file, f"{type(error).__name__}: {error}") from error
    few = [number for number, some in texts.items() if len(some) < 5 or not all(map(_words, some))]
    if few or not names:
        raise broken("coco", file, f"no five captions with words for image {few[0]}" if few else "no images")
    kept = tuple(tuple(some[:5]) for some in texts.values())
    if vocabulary is None:
        counts = Counter(word for some in kept for text in some for word in _words(text))
        vocabulary = Vocabulary(sorted(word for word, count in counts.items() if count > 1))
    images = torch.stack([_fit(_open("coco", home / part / name, "RGB"), size)[0] for name in names.values()])
    ids = vocabulary.encode([text for some in kept for text in some], length)
    return CaptionSet(images, ids.view(len(kept), 5, length), kept, vocabulary)


# --- drawing and saying ---------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _known() -> Vocabulary:
    """Return the words of drawn captions."""
    ways = (way for pair in WAYS.values() for way in pair)
    return Vocabulary(_words(" ".join(["a shape", *SIZES, *HUES, *SHAPES, *ways, *PLACES, *STARTS])))


def _draw(count: int, per_image: int, difficulty: float, everything: bool, generator: torch.Generator) -> CaptionSet:
    pairs = [(s, c) for s in range(6) for c in range(6) if everything or (HUES[c], SHAPES[s]) not in HELD_OUT]
    both = [(*a, *b) for a in pairs for b in pairs if a[0] != b[0] and a[1] != b[1]]
    chosen = torch.tensor(both)[torch.randint(len(both), (count,), generator=generator)].view(count, 2, 2)
    size = torch.randint(2, (count, 2, 1), generator=generator)
    objects = torch.cat([chosen, size], 2)
    two = torch.rand(count, generator=generator) < 0.6
    wide = torch.rand(count, generator=generator) < 0.5
    centres, radius = _place(objects[..., 2], two, wide, generator)
    objects[~two, 1] = -1

    glyph = torch.tensor([list(GLYPHS).index(name) for name in SHAPES])
    paint = torch.tensor([list(COLOURS).index(name) for name in HUES])
    images, masks = [], []
    for at in range(0, count, 500):
        part = slice(at, at + 500)
        shape, colour = objects[part, :, 0], paint[objects[part, :, 1]]
        cover = _glyphs(torch.where(shape < 0, -1, glyph[shape]), radius[part], 32 * centres[part], 32, generator)
        picture = _paint(
            torch.zeros_like(cover[:, 0]), torch.zeros_like(cover[:, 0]), colour[:, 0], difficulty, generator
        )
        tint = torch.tensor(list(COLOURS.values()))[colour] + _uniform(generator, -0.05, 0.05, *colour.shape, 3)
        noise = 0.06 * difficulty * torch.randn(picture.shape, generator=generator)
        for j in range(2):
            picture = torch.lerp(picture, tint[:, j, :, None, None].clamp(0, 1) + noise, cover[:, j, None])
        images.append(picture.clamp(0, 1))
        masks.append(cover >= 0.5)

    statements = torch.stack([_state(objects, centres, two, wide, generator) for _ in range(per_image)], 1)
    start = torch.randint(len(STARTS), (count, per_image), generator=generator).tolist()
    turned = torch.randint(2, (count, per_image), generator=generator).tolist()
    texts = tuple(
        tuple(sentence(s, start=STARTS[i], turned=bool(t)) for s, i, t in zip(*some, strict=True))
        for some in zip(statements.tolist(), start, turned, strict=True)
    )
    vocabulary = _known()
    ids = vocabulary.encode([text for some in texts for text in some]).view(count, per_image, LENGTH)
    unseen = names_held_out(torch.cat([objects.flatten(1), torch.zeros(count, 2, dtype=torch.int64)], 1))
    return CaptionSet(torch.cat(images), ids, texts, vocabulary, objects, centres, torch.cat(masks), statements, unseen)


def _place(size: Tensor, two: Tensor, wide: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return centres (N, 2, 2), parts of the side, and radii (N, 2): one glyph anywhere, or one in each half."""
    low, high = torch.tensor(RADII).unbind(1)
    radius = low[size] + (high - low)[size] * torch.rand(size.shape, generator=generator)
    room = radius + 0.5
    anywhere = room[..., None] + torch.rand(*size.shape, 2, generator=generator) * (32 - 2 * room)[..., None]
    along = room + torch.rand(size.shape, generator=generator) * (16 - 2 * room + 0.5) + torch.tensor([0.0, 15.5])
    most = room.amax(1, keepdim=True) + 2.5  # the other direction: a common line, and up to 2.5 pixels from it
    across = most + torch.rand(len(size), 1, generator=generator) * (32 - 2 * most)
    across = across + _uniform(generator, -2.5, 2.5, *size.shape)
    halves = torch.where(wide[:, None, None], torch.stack([along, across], 2), torch.stack([across, along], 2))
    return torch.where(two[:, None, None], halves, anywhere) / 32, radius


def _state(objects: Tensor, centres: Tensor, two: Tensor, wide: Tensor, generator: torch.Generator) -> Tensor:
    """Return one statement (N, 8) per image that is true of it, and says a part of what could be said."""
    count = len(objects)
    chance = torch.tensor([0.9, 0.8, 0.4])  # of naming shape, colour, size
    said = torch.rand(count, 2, 3, generator=generator) < chance
    said[..., 1] |= ~said[..., 0]  # a thing without a shape has a colour at least
    kind, which, some = torch.rand(3, count, generator=generator)
    relation = torch.where(kind < 0.2, AND, torch.where(wide, LEFT, ABOVE))
    relation = torch.where(two & (kind < 0.8), relation, ALONE)
    parts = torch.where(said, objects, -1)
    other = two & (relation == ALONE) & (which < 0.5)  # speak of the second object alone
    parts = torch.where(other[:, None, None], parts.flip(1), parts)
    parts[relation == ALONE, 1] = -1
    off = centres[:, 0] - 0.5
    axis = off.abs().argmax(1)
    far = off.gather(1, axis[:, None])[:, 0]
    place = torch.where(~two & (far.abs() > OFF) & (some < 0.5), 1 + 2 * axis + (far > 0), 0)
    return torch.cat([parts.flatten(1), relation[:, None], place[:, None]], 1)
