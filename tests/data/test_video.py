"""Drawn clips: the class is in the motion and nowhere else, and what is said about each frame is true."""

from math import pi

import numpy as np
import pytest
import torch

from bigmodel_lab.data import video
from bigmodel_lab.data.video import MOTIONS, TURNABLE, VideoSet, moving_shapes
from bigmodel_lab.errors import InputError


@pytest.fixture(scope="module")
def drawn():
    return moving_shapes(train=160, test=80, seed=3)


def chunk(label, count=24, frames=9, difficulty=1.0, size=24, seed=5):
    """Clips (N, T, 3, H, W) and masks (N, T, H, W) of one motion; everything else is drawn alike for all motions."""
    labels = torch.full((count,), label)
    generator = torch.Generator().manual_seed(seed)
    return video._draw_chunk(labels, frames, size, 1.0, difficulty, generator)[:2]


def middles(tracks):
    """Centres of boxes, (..., 4) -> (..., 2)."""
    return (tracks[..., :2] + tracks[..., 2:]) / 2


def test_clips_have_balanced_labels(drawn):
    train, test = drawn
    assert train.clips.shape == (160, 9, 3, 24, 24)
    assert train.clips.dtype == torch.float32
    assert 0 <= float(train.clips.min()) < float(train.clips.max()) <= 1
    assert train.labels.bincount().tolist() == [20] * 8
    assert test.classes == MOTIONS
    assert set(train.glyphs) == set(TURNABLE)


def test_clips_repeat_and_do_not_depend_on_the_other_set(drawn):
    again = moving_shapes(train=160, test=7, seed=3)[0]
    assert torch.equal(drawn[0].clips, again.clips)
    assert not torch.equal(again.clips, moving_shapes(train=160, test=7, seed=4)[0].clips)
    assert float(torch.cdist(drawn[0].clips.flatten(1), drawn[1].clips.flatten(1)).min()) > 1


def test_the_middle_frame_does_not_depend_on_the_class():
    clips = [chunk(label)[0] for label in range(8)]
    for label in range(1, 8):
        assert torch.equal(clips[label][:, 4], clips[0][:, 4])
        for frame in (0, 8):  # and the others do
            assert not torch.equal(clips[label][:, frame], clips[0][:, frame])


@pytest.mark.parametrize("frames", [8, 9])
def test_a_clip_played_backwards_is_one_of_the_opposite_class(frames):
    for label in range(0, 8, 2):
        first, second = (chunk(one, frames=frames, difficulty=0)[0] for one in (label, label ^ 1))
        assert torch.equal(first.flip(1), second)
        assert not torch.equal(first, second)


def test_boxes_move_as_the_class_says(drawn):
    train = drawn[0]
    way = middles(train.tracks[:, -1]) - middles(train.tracks[:, 0])  # (N, 2) pixels
    area = (train.tracks[..., 2:] - train.tracks[..., :2]).prod(-1)  # (N, T)
    for label, motion in enumerate(MOTIONS):
        x, y = way[train.labels == label].unbind(1)
        growth = (area[:, -1] / area[:, 0])[train.labels == label]
        along = {"left": -x, "right": x, "up": -y, "down": y}.get(motion)
        if along is not None:
            assert along.min() >= 2
            assert (x if along is y or motion == "up" else y).abs().max() <= 2
        else:
            assert max(x.abs().max(), y.abs().max()) <= 5  # the box of a turning triangle is not around its centre
        if motion in ("growing", "shrinking"):
            assert ((growth if motion == "growing" else 1 / growth) > 1.3).all()


def test_what_turns_clockwise_turns_clockwise():
    from scipy.ndimage import rotate

    for label in (MOTIONS.index("clockwise"), MOTIONS.index("anticlockwise")):
        masks = chunk(label, count=8, frames=2, difficulty=0, size=96)[1].numpy()
        for before, after in masks:
            ys, xs = np.nonzero(before)
            y, x = int(ys.mean().round()), int(xs.mean().round())
            near = [np.pad(m, 30)[y : y + 61, x : x + 61].astype(float) for m in (before, after)]
            turned = [rotate(near[0], angle, reshape=False, order=1) for angle in (-15, 15)]  # SciPy's + is to the left
            miss = [np.abs(one - near[1]).sum() for one in turned]
            assert (miss[0] < miss[1]) == (MOTIONS[label] == "clockwise")


def test_a_box_is_the_tight_box_of_its_mask(drawn):
    for masks, track in zip(drawn[1].masks[:20], drawn[1].tracks, strict=False):
        for mask, box in zip(masks, track.int().tolist(), strict=True):
            x0, y0, x1, y1 = box
            assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
            assert mask[y0].any()
            assert mask[y1 - 1].any()
            assert mask[:, x0].any()
            assert mask[:, x1 - 1].any()


def test_the_other_glyph_rests_and_is_seen_where_nothing_is_before_it(drawn):
    train = drawn[0]
    whole = train.distractors.any(1, keepdim=True)  # (N, 1, H, W)
    assert torch.equal(train.distractors, whole & ~train.masks)
    assert train.distractors.any((1, 2, 3)).float().mean() > 0.9


def test_without_noise_nothing_changes_but_where_the_glyph_is():
    clips, masks = chunk(1, difficulty=0)
    far = torch.nn.functional.max_pool2d(masks.float().amax(1), 3, stride=1, padding=1) == 0  # (N, H, W)
    change = (clips - clips[:, :1]).abs().amax((1, 2))
    assert float(change[far].max()) == 0
    assert float(change[~far].max()) > 0.1


def test_speed_is_a_factor_on_the_motion():
    slow, fast = (moving_shapes(train=40, test=1, seed=3, size=96, speed=speed)[0] for speed in (1, 2))
    assert torch.equal(fast.clips[:, 4], slow.clips[:, 4])
    for label, axis in ((1, 0), (3, 1)):
        ways = [middles(s.tracks[s.labels == label, 6]) - middles(s.tracks[s.labels == label, 2]) for s in (slow, fast)]
        assert (ways[1][:, axis] - 2 * ways[0][:, axis]).abs().max() <= 3  # pixels of about 18
        assert ways[0][:, axis].min() > 6


def test_clips_scale_with_the_image():
    large, small = (moving_shapes(train=40, test=1, size=size)[0] for size in (48, 24))
    assert large.clips.shape == (40, 9, 3, 48, 48)
    assert (large.tracks / 2 - small.tracks).abs().max() <= 1.5


def test_a_tilt_is_uniform_whatever_the_class():
    """Turning shows in no single frame: first frames of clockwise and anticlockwise clips are alike as a whole."""
    sums = []
    for label in (4, 5):
        masks = chunk(label, count=2000, frames=2, difficulty=0)[1][:, 0].float()
        y, x = (torch.arange(24) - 11.5, torch.arange(24) - 11.5)
        mass = masks.sum((1, 2))
        cx, cy = (masks * x).sum((1, 2)) / mass, (masks * y[:, None]).sum((1, 2)) / mass
        u, v = x - cx[:, None], y - cy[:, None]
        angle = 0.5 * torch.atan2(
            2 * (masks * u[:, None, :] * v[:, :, None]).sum((1, 2)),
            (masks * (u[:, None, :] ** 2 - v[:, :, None] ** 2)).sum((1, 2)),
        )  # of the longer axis, in (-pi/2, pi/2]
        sums.append(torch.histc(angle, 6, -pi / 2, pi / 2) / len(angle))
    assert (sums[0] - sums[1]).abs().max() < 0.05
    assert all((one - 1 / 6).abs().max() < 0.05 for one in sums)


def test_a_part_of_a_set_keeps_each_truth_with_its_clip(drawn):
    part = drawn[0][[5, 2]]
    assert torch.equal(part.masks[0], drawn[0].masks[5])
    assert torch.equal(part.tracks[1], drawn[0].tracks[2])
    assert part.glyphs == (drawn[0].glyphs[5], drawn[0].glyphs[2])
    assert set(drawn[0][drawn[0].labels == 4].labels.tolist()) == {4}
    assert len(drawn[0][:0]) == 0
    with pytest.raises(InputError, match="a slice or a sequence"):
        drawn[0][3]


@pytest.mark.parametrize(
    "wrong",
    [{"train": 0}, {"test": -1}, {"size": 8}, {"difficulty": -1}, {"frames": 1}, {"speed": 0}, {"speed": float("nan")}],
    ids=str,
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        moving_shapes(**{"train": 1, "test": 1, **wrong})


def test_a_glyph_that_would_leave_is_refused_and_the_hint_works():
    with pytest.raises(InputError, match=r"speed=\d") as caught:
        moving_shapes(train=1, test=1, speed=5)
    hinted = float(caught.value.hint.split(",")[0].removeprefix("speed="))
    assert moving_shapes(train=80, test=1, speed=hinted)[0].masks.any((2, 3)).all()  # in sight to the last frame


CLIPS, LABELS = torch.zeros(2, 3, 3, 8, 8), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"clips": CLIPS[:, :1]}, "one frame shows no motion"),
        ({"clips": CLIPS[0]}, "N, T, C, H, W"),
        ({"clips": CLIPS.byte()}, "float32"),
        ({"labels": LABELS[:1]}, "one per clip"),
        ({"labels": LABELS.float()}, "int64"),
        ({"labels": LABELS + 1}, "one per class"),
        ({"tracks": torch.zeros(2, 4)}, r"tracks of shape \(2, 3, 4\)"),
        ({"masks": torch.zeros(2, 3, 8, 9, dtype=torch.bool)}, "masks of shape"),
    ],
    ids=["one frame", "no batch", "bytes", "few labels", "float labels", "no such class", "tracks", "masks"],
)
def test_what_is_no_set_of_clips_is_refused(parts, message):
    with pytest.raises(InputError, match=message):
        VideoSet(**{"clips": CLIPS, "labels": LABELS, "classes": ("a", "b"), **parts})
