"""Clips in which the motion alone is the class: a drawn glyph moves, turns, grows or shrinks before a still background.

Everything but the motion is drawn without regard to the class: glyph, colour, place, tilt and size in the middle of the
clip, background, and a second glyph that rests. The truth is known: the moving glyph's box and pixels in each frame.
`public_video.ucf101` reads real clips into the same `VideoSet`.
Dimension letters: N clips, T frames, C channels, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import log, pi

import torch
from torch import Tensor

from bigmodel_lab.data import images
from bigmodel_lab.data.images import COLOURS, GLYPHS
from bigmodel_lab.errors import InputError

__all__ = ["MOTIONS", "TURNABLE", "VideoSet", "moving_shapes"]

# Each motion stands beside the one that it becomes when the film runs backwards: label ^ 1.
MOTIONS = ("left", "right", "up", "down", "clockwise", "anticlockwise", "growing", "shrinking")
TURNABLE = tuple(name for name in GLYPHS if name not in ("disc", "ring"))  # nobody sees a disc turn
WAY = torch.tensor(  # of each motion: x, y (down), tilt (clockwise), logarithm of the radius
    [
        [-1.0, 0, 0, 0],
        [1, 0, 0, 0],
        [0, -1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, -1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, -1],
    ]
)
SIDE = 24  # pixels; the numbers below are those of an image with this side
CENTRE = (7.0, 17.0)  # in the middle of the clip, both ways
RADIUS = (3.0, 6.0)  # in the middle of the clip; of the glyph that rests, REST
REST = (2.6, 3.4)
PACE = torch.tensor([[0.45, 0.45, 15 * pi / 180, 0.045], [0.7, 0.7, 21 * pi / 180, 0.07]])  # lowest, highest per frame


@dataclass(frozen=True, eq=False)
class VideoSet:
    """Clips with their labels and, where it is known, the truth about each frame."""

    clips: Tensor  # (N, T, C, H, W) float32 in [0, 1]
    labels: Tensor  # (N,) int64
    classes: tuple[str, ...]  # the name of each label
    tracks: Tensor | None = None  # (N, T, 4) float32: x0, y0, x1, y1 of the moving object in pixels, x1, y1 exclusive
    masks: Tensor | None = None  # (N, T, H, W) bool: pixels of the moving object
    distractors: Tensor | None = None  # (N, T, H, W) bool: what is seen of the object that rests
    glyphs: tuple[str, ...] | None = None  # the moving object of each clip

    def __post_init__(self) -> None:
        """Refuse what is no set of clips: other shapes, a clip of one frame, labels without a name."""
        clips, labels = self.clips, self.labels
        if not isinstance(clips, Tensor) or clips.ndim != 5 or clips.dtype != torch.float32:
            got = f"{clips.dtype} of shape {tuple(clips.shape)}" if isinstance(clips, Tensor) else type(clips).__name__
            raise InputError("clips as float32 of shape (N, T, C, H, W)", got=got, hint="clips[None] for one clip")
        if clips.shape[1] < 2:
            raise InputError("clips of at least two frames: one frame shows no motion", got=f"{clips.shape[1]}")
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != clips.shape[:1]:
            got = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else repr(labels)
            raise InputError(f"labels as int64 of shape ({len(clips)},), one per clip", got=got)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            got = f"labels from {int(labels.min())} to {int(labels.max())}"
            raise InputError(f"labels in [0, {len(self.classes)}), one per class", got=got)
        count, frames, _, height, width = clips.shape
        places = {"tracks": (count, frames, 4)}
        places |= dict.fromkeys(("masks", "distractors"), (count, frames, height, width))
        for name, shape in places.items():
            part = getattr(self, name)
            if part is not None and part.shape != shape:
                raise InputError(f"{name} of shape {shape}", got=f"shape {tuple(part.shape)}")

    def __len__(self) -> int:
        """Return N, the number of clips."""
        return len(self.clips)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "VideoSet":
        """Return the clips at `which` (a slice, indices, or a mask of N booleans) as a VideoSet."""
        index = images._indices(which, len(self))
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "classes"}
        for name, part in parts.items():
            if isinstance(part, Tensor):
                parts[name] = part[index]
            elif part is not None:
                parts[name] = tuple(part[i] for i in index.tolist())
        return VideoSet(classes=self.classes, **parts)

    def __repr__(self) -> str:
        """Say how many clips of which shape there are."""
        return f"VideoSet({len(self)} clips of shape {tuple(self.clips.shape[1:])}, {len(self.classes)} classes)"


def moving_shapes(
    *,
    train: int = 2000,
    test: int = 500,
    frames: int = 9,
    size: int = SIDE,
    speed: float = 1.0,
    difficulty: float = 1.0,
    seed: int = 0,
) -> tuple[VideoSet, VideoSet]:
    """Return (train, test) clips of shape (frames, 3, size, size) in the eight balanced classes `MOTIONS`.

    A glyph out of `TURNABLE` moves at a steady pace, drawn anew for each clip and times `speed`; another one, in
    another colour, rests. What is seen in the middle of the clip is drawn without regard to the class: with an odd
    number of frames, the middle frame is the same pixel by pixel whatever the label. Other frames differ by what the
    motion adds since the middle, whose place and logarithmic size are uniform, so that this shows as little as it can;
    turning never shows in one frame, for every tilt is as likely. A clip played backwards is a clip of the class
    label ^ 1, in all respects.
    `difficulty` scales noise and texture; 0 leaves neither. The same arguments give the same clips; the training clips
    do not depend on `test`, nor the test's on `train`.
    """
    if min(train, test) < 1 or frames < 2 or size < 16 or difficulty < 0 or not speed > 0:
        got = f"train={train}, test={test}, frames={frames}, size={size}, speed={speed}, difficulty={difficulty}"
        raise InputError("train, test >= 1, frames >= 2, size >= 16, speed > 0 and difficulty >= 0", got=got)
    travel, room = float(PACE[1, 0]) * speed * (frames - 1) / 2, CENTRE[0]
    if travel > room:
        raise InputError(
            f"a glyph whose centre stays in sight: at most {room} pixels of {SIDE} to go on either side of the middle",
            got=f"{travel:.1f} pixels, with {frames} frames at speed {speed}",
            hint=f"speed={0.99 * speed * room / travel:.2f}, or fewer frames",
        )
    first, second = (torch.Generator().manual_seed(2 * seed + part) for part in (0, 1))
    return tuple(_draw(count, frames, size, speed, difficulty, g) for count, g in ((train, first), (test, second)))


def _draw(count: int, frames: int, size: int, speed: float, difficulty: float, generator: torch.Generator) -> VideoSet:
    """Draw `count` clips of balanced classes, 250 at a time."""
    labels = torch.arange(count).remainder(len(MOTIONS))[torch.randperm(count, generator=generator)]
    parts = [_draw_chunk(some, frames, size, speed, difficulty, generator) for some in labels.split(250)]
    clips, masks, distractors, kinds = map(torch.cat, zip(*parts, strict=True))
    tracks = images._boxes(masks.flatten(0, 1)).view(count, frames, 4)
    return VideoSet(clips, labels, MOTIONS, tracks, masks, distractors, tuple(TURNABLE[k] for k in kinds.tolist()))


def _draw_chunk(
    labels: Tensor, frames: int, size: int, speed: float, difficulty: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return clips (N, T, 3, H, W), masks and distractors (N, T, H, W), and the kind of the moving glyph (N,).

    The label enters in one line: what it adds to the state of the middle is 0 in the middle.
    """
    count, scale, uniform = len(labels), size / SIDE, images._uniform
    kind, other_kind = torch.randint(len(TURNABLE), (2, count), generator=generator)
    ends = (CENTRE, CENTRE, (0, 2 * pi), (log(RADIUS[0]), log(RADIUS[1])))
    middle = torch.cat([uniform(generator, *two, count, 1) for two in ends], dim=1)  # (N, 4): x, y, tilt, log radius
    pace = PACE[0] + (PACE[1] - PACE[0]) * torch.rand(count, 1, generator=generator)
    since = torch.arange(frames) - (frames - 1) / 2  # frames since the middle, (T,)
    state = middle[:, None] + since[:, None] * (speed * pace * WAY[labels])[:, None]  # (N, T, 4)
    centre, tilt, radius = state[..., :2] * scale, state[..., 2], state[..., 3].exp() * scale
    glyph = _opacity(kind.repeat_interleave(frames), centre.flatten(0, 1), radius.flatten(), tilt.flatten(), size)
    glyph = glyph.view(count, frames, size, size)

    away = uniform(generator, REST[1], SIDE - REST[1], count, 2) * scale  # anywhere: it tells nothing about the other
    other_radius, other_tilt = (uniform(generator, *two, count) for two in (REST, (0, 2 * pi)))
    other = _opacity(other_kind, away, other_radius * scale, other_tilt, size)[:, None]  # (N, 1, H, W)

    clips = _paint(glyph, other, difficulty, generator)
    return clips, glyph >= 0.5, (other >= 0.5) & (glyph < 0.5), kind


def _opacity(kind: Tensor, centre: Tensor, radius: Tensor, tilt: Tensor, size: int) -> Tensor:
    """Return how much a glyph of `TURNABLE` covers of each pixel, (M, H, W), for M kinds, centres, radii and tilts."""
    u, v = images._grid(2 * size, 2 * centre, 2 * radius, tilt)  # twice the resolution, softened below
    cover = torch.empty_like(u, dtype=torch.bool)
    for which, name in enumerate(TURNABLE):
        here = kind == which
        cover[here] = GLYPHS[name](u[here], v[here])
    return images._soften(cover)


def _paint(glyph: Tensor, other: Tensor, difficulty: float, generator: torch.Generator) -> Tensor:
    """Blend opacities (N, T, H, W) of what moves and (N, 1, H, W) of what rests into clips (N, T, 3, H, W)."""
    count = len(glyph)
    colour = torch.randint(len(COLOURS), (count,), generator=generator)
    shift = torch.randint(1, len(COLOURS), (count,), generator=generator)
    empty = torch.zeros_like(other[:, 0])
    back = 0.6 * images._paint(empty, empty, colour, difficulty, generator)  # (N, 3, H, W), of other hues than `colour`
    paints = torch.tensor(list(COLOURS.values()))
    front, rest = (paints[c][:, None, :, None, None] for c in (colour, (colour + shift) % len(COLOURS)))
    still = torch.lerp(back[:, None], rest.expand_as(back[:, None]), other[:, :, None])  # (N, 1, 3, H, W)
    clips = torch.lerp(still, front.expand_as(still), glyph[:, :, None])  # (N, T, 3, H, W)
    noise = torch.randn(clips.shape, generator=generator)
    return clips.add_(noise, alpha=0.06 * difficulty).clamp_(0, 1)
