"""Drawn scenes: boxes, classes and masks tell one story, and boxes that belong to no image are refused."""

import pytest
import torch

from bigmodel_lab.data.images import COLOURS, GLYPHS
from bigmodel_lab.data.scenes import OVERLAP, SceneSet, check_boxes, scenes
from bigmodel_lab.errors import InputError


@pytest.fixture(scope="module")
def drawn():
    return scenes(train=300, test=120, seed=3)


def objects(some):
    """(image, place, label, box) of every object."""
    for i, j in (some.labels >= 0).nonzero().tolist():
        yield i, j, int(some.labels[i, j]), some.boxes[i, j].int().tolist()


def test_a_set_has_the_shapes_and_types_it_promises(drawn):
    train, test = drawn
    assert (len(train), len(test)) == (300, 120)
    assert train.images.shape == (300, 3, 64, 64)
    assert 0 <= float(train.images.min()) < float(train.images.max()) <= 1
    assert train.boxes.shape == (300, 4, 4)
    assert (train.labels.dtype, train.masks.dtype, train.instances.dtype) == (torch.int64, torch.int64, torch.uint8)
    assert train.classes == tuple(GLYPHS)
    assert repr(test) == f"SceneSet(120 images of shape (3, 64, 64), {(test.labels >= 0).sum()} objects of 10 classes)"


def test_every_count_and_every_class_occurs_equally_often(drawn):
    counts = (drawn[0].labels >= 0).sum(1)
    assert counts.unique().tolist() == [1, 2, 3, 4]
    shares = counts.bincount()[1:] / 300
    assert ((shares - 0.25).abs() < 0.08).all()
    classes = drawn[0].labels[drawn[0].labels >= 0].bincount()
    assert classes.min() > 0.6 * classes.float().mean()


def test_a_box_is_tight_around_the_visible_pixels_of_its_object(drawn):
    for i, j, _, (x0, y0, x1, y1) in objects(drawn[1]):
        mine = drawn[1].instances[i] == j + 1
        assert mine[y0:y1, x0:x1].sum() == mine.sum() > 0
        assert all(side.any() for side in (mine[y0], mine[y1 - 1], mine[:, x0], mine[:, x1 - 1]))


def test_masks_are_the_classes_of_the_instances(drawn):
    for some in drawn:
        expected = torch.zeros_like(some.masks)
        for i, j, label, _ in objects(some):
            expected[i][some.instances[i] == j + 1] = label + 1
        assert torch.equal(expected, some.masks)


def test_padding_is_at_the_end_and_empty(drawn):
    for some in drawn:
        pad = some.labels < 0
        assert (some.labels[pad] == -1).all()
        assert not some.boxes[pad].any()
        assert not (pad[:, :-1] & ~pad[:, 1:]).any()
        assert some.instances.flatten(1).amax(1).tolist() == (~pad).sum(1).tolist()


def test_a_large_object_has_one_colour_of_the_palette():
    plain, _ = scenes(train=60, test=1, difficulty=0, seed=1)
    paints = torch.tensor(list(COLOURS.values()))
    seen = set()
    for i, j, _, _ in objects(plain):
        mine = plain.instances[i] == j + 1
        if mine.sum() > 120:  # of small ones, most pixels are half background
            off = (paints - plain.images[i][:, mine].median(1).values).abs().amax(1)
            assert off.min() < 0.06
            seen.add(int(off.argmin()))
    assert len(seen) >= 6


def test_a_form_fills_its_box_as_its_class_does():
    plain, _ = scenes(train=200, test=1, most=1, difficulty=0, seed=1)
    fill = {label: [] for label in range(10)}
    for i, _, label, (x0, y0, x1, y1) in objects(plain):
        fill[label].append(float((plain.masks[i] == label + 1).sum()) / ((x1 - x0) * (y1 - y0)))
    mean = {plain.classes[label]: sum(some) / len(some) for label, some in fill.items()}
    assert abs(mean["disc"] - 0.785) < 0.03  # pi / 4
    assert abs(mean["ring"] - 0.785 * (1 - (0.52 / 0.92) ** 2)) < 0.04
    assert mean["triangle"] < 0.6 < mean["square"]


def test_squares_of_objects_overlap_a_little_at_most(drawn):
    worst = 0.0
    for some in drawn:
        for boxes, labels in zip(some.boxes, some.labels, strict=True):
            box = boxes[labels >= 0]
            low, high = torch.maximum(box[:, None, :2], box[:, :2]), torch.minimum(box[:, None, 2:], box[:, 2:])
            shared, area = (high - low).clamp(min=0).prod(2), (box[:, 2:] - box[:, :2]).prod(1)
            union = area[:, None] + area - shared
            worst = max(worst, float((shared / union).triu(1).max()))
    assert 0.02 < worst < 3 * OVERLAP


def test_later_objects_lie_on_earlier_ones_and_some_do():
    crowded, _ = scenes(train=100, test=1, most=8, difficulty=0, seed=5)
    touching = 0
    for i, j, _, (x0, y0, x1, y1) in objects(crowded):
        others = crowded.instances[i, y0:y1, x0:x1]
        touching += bool(((others > 0) & (others != j + 1)).any())
    assert touching > 50
    assert crowded.labels.shape == (100, 8)


def test_the_distractor_is_grey_and_no_object(drawn):
    for some in drawn:
        assert not (some.distractors & (some.masks > 0)).any()
        assert (some.distractors.sum((1, 2)) > 5).float().mean() > 0.9
    plain, _ = scenes(train=20, test=1, difficulty=0, seed=2)
    patch = plain.images.movedim(1, -1)[plain.distractors]
    light = ((patch - 0.7).abs().amax(1) < 0.01).float().mean()
    dark = (patch.amax(1) < 0.01).float().mean()
    assert light > 0.3
    assert dark > 0.3


def test_scenes_repeat_and_do_not_depend_on_the_other_set(drawn):
    again = scenes(train=300, test=5, seed=3)
    for name in ("images", "boxes", "labels", "masks", "instances", "distractors"):
        assert torch.equal(getattr(drawn[0], name), getattr(again[0], name))
    assert torch.equal(scenes(train=2, test=120, seed=3)[1].images, drawn[1].images)
    assert not torch.equal(drawn[0].images, scenes(train=300, test=5, seed=4)[0].images)


def test_training_and_test_scenes_are_different_pictures(drawn):
    distance = torch.cdist(drawn[0].images.flatten(1), drawn[1].images.flatten(1))
    assert float(distance.min()) > 5
    boxes = [{tuple(map(tuple, box.tolist())) for box in some.boxes} for some in drawn]
    assert not boxes[0] & boxes[1]


def test_other_sides_scale_the_objects():
    for size in (32, 96):
        some, _ = scenes(train=40, test=1, size=size)
        assert some.images.shape[-1] == some.masks.shape[-1] == size
        width = (some.boxes[..., 2] - some.boxes[..., 0])[some.labels >= 0]
        assert 0.07 < float(width.mean()) / size < 0.33


def test_a_part_of_a_set_is_a_set(drawn):
    part = drawn[1][[3, 1]]
    assert len(part) == 2
    assert torch.equal(part.masks[0], drawn[1].masks[3])
    assert torch.equal(part.instances[1], drawn[1].instances[1])
    bare = SceneSet(*(getattr(drawn[1], name) for name in ("images", "boxes", "labels", "masks", "classes")))
    assert bare[:4].instances is None
    with pytest.raises(InputError, match=r"images\[2:3\]"):
        drawn[1][2]


@pytest.mark.parametrize(
    "wrong", [{"train": 0}, {"test": 0}, {"size": 31}, {"most": 0}, {"most": 17}, {"difficulty": -0.1}]
)
def test_impossible_scenes_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        scenes(**{"train": 2, "test": 2, **wrong})


# --- boxes ----------------------------------------------------------------------------------------------------------

BOXES = torch.tensor([[[0.0, 0, 20, 10], [3, 4, 5.5, 9]], [[1, 1, 2, 2], [0, 0, 0, 0]]])
LABELS = torch.tensor([[0, 2], [1, -1]])


def test_boxes_up_to_the_edge_are_right_and_padding_may_hold_anything():
    check_boxes(BOXES, LABELS, 10, 20, classes=3)
    padded = BOXES.clone()
    padded[1, 1] = float("nan")
    check_boxes(padded, LABELS, 10, 20, classes=3)


@pytest.mark.parametrize(
    ("box", "name"),
    [
        ([-0.5, 0, 5, 5], "left"),
        ([0, -1, 5, 5], "above"),
        ([0, 0, 20.5, 5], "right"),
        ([0, 0, 5, 11], "below"),
        ([5, 5, 5, 9], "no width"),
        ([2, 8, 5, 6], "upside down"),
        ([float("nan"), 0, 5, 5], "not a number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_box_outside_the_image_is_named(box, name):
    boxes = BOXES.clone()
    boxes[0, 1] = torch.tensor(box)
    with pytest.raises(InputError, match=r"x1 <= 20 and y0 < y1 <= 10[\s\S]*box 1 of image 0"):
        check_boxes(boxes, LABELS, 10, 20, classes=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 3], [1, -1]], "0 to 2"),
        ([[0, 2], [1, -2]], "-1 for padding"),
        ([[0, 2], [-1, 1]], "objects before padding"),
        ([[0, 2, 1], [1, -1, -1]], r"shapes \(2, 2, 4\) and \(2, 3\)"),
    ],
    ids=["class", "below", "padding first", "shape"],
)
def test_labels_that_do_not_fit_are_named(labels, message):
    with pytest.raises(InputError, match=message):
        check_boxes(BOXES, torch.tensor(labels), 10, 20, classes=3)


def test_a_set_with_a_box_outside_its_images_cannot_be_made():
    images, masks = torch.zeros(2, 3, 8, 20), torch.zeros(2, 8, 20, dtype=torch.int64)
    with pytest.raises(InputError, match="box 0 of image 0"):
        SceneSet(images, BOXES, LABELS, masks, ("a", "b", "c"))
