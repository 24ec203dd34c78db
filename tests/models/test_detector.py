"""The detector: IoU and suppression by their definitions and OpenCV's, cells and boxes there and back, its loss."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.models.detector import (
    Detector,
    DetectorConfig,
    decode,
    detection_loss,
    generalised_iou,
    iou,
    nms,
    targets,
)


def boxes_at_random(count, seed, side=40):
    g = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=g) * side
    return torch.cat([low, low + 1 + torch.rand(count, 2, generator=g) * side / 2], 1)


# --- boxes ----------------------------------------------------------------------------------------------------------


def test_iou_counts_pixels_of_whole_boxes():
    g = torch.Generator().manual_seed(0)
    low = torch.randint(0, 20, (30, 2), generator=g)
    boxes = torch.cat([low, low + torch.randint(1, 12, (30, 2), generator=g)], 1)
    cover = torch.zeros(30, 40, 40, dtype=torch.bool)
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        cover[i, y0:y1, x0:x1] = True
    both = (cover[:, None] & cover).sum((2, 3))
    either = (cover[:, None] | cover).sum((2, 3))
    torch.testing.assert_close(iou(boxes.float(), boxes.float()), both / either)


def test_iou_takes_batches_and_empty_boxes():
    first, second = boxes_at_random(6, 0).view(2, 3, 4), boxes_at_random(8, 1).view(2, 4, 4)
    torch.testing.assert_close(iou(first, second)[1, 2, 3], iou(first[1, 2:3], second[1, 3:4])[0, 0])
    assert iou(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


def test_generalised_iou_is_its_formula_and_has_a_slope_where_boxes_are_apart():
    a, b = torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 1, 3, 3])
    assert generalised_iou(a, b).item() == pytest.approx(1 / 7 - 2 / 9)  # hull 9, union 7
    assert generalised_iou(a, a).item() == 1
    far = torch.tensor([8.0, 0, 10, 2], requires_grad=True)
    value = generalised_iou(a, far)
    assert value.item() == pytest.approx(-0.6)  # a hull of 20, of which 12 are empty
    value.backward()
    assert far.grad[0] < 0  # nearer is better


def by_definition(boxes, scores, threshold, labels=None):
    """Greedy suppression as it is told in words."""
    left, kept = scores.argsort(descending=True, stable=True).tolist(), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [
            i
            for i in left
            if iou(boxes[[best]], boxes[[i]]).item() <= threshold or (labels is not None and labels[best] != labels[i])
        ]
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_nms_is_the_greedy_rule(threshold, seed):
    boxes = boxes_at_random(60, seed)
    g = torch.Generator().manual_seed(seed)
    scores, labels = torch.randint(0, 20, (60,), generator=g) / 20, torch.randint(0, 3, (60,), generator=g)  # with ties
    assert nms(boxes, scores, threshold=threshold).tolist() == by_definition(boxes, scores, threshold)
    found = nms(boxes, scores, threshold=threshold, labels=labels).tolist()
    assert found == by_definition(boxes, scores, threshold, labels)


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_nms_agrees_with_opencv(threshold):
    for seed in range(10):
        boxes, g = boxes_at_random(80, seed), torch.Generator().manual_seed(seed)
        scores = torch.rand(80, generator=g)
        corners = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).double().tolist()
        theirs = cv2.dnn.NMSBoxes(corners, scores.tolist(), 0.0, threshold)
        assert nms(boxes, scores, threshold=threshold).tolist() == np.asarray(theirs).tolist()


def test_nms_follows_a_long_chain():
    """Each box overlaps only its neighbours, so every second one stays; one round of suppression would leave one."""
    x = torch.arange(50.0)
    boxes = torch.stack([x, torch.zeros(50), x + 2.5, torch.ones(50)], 1)
    assert nms(boxes, -x, threshold=0.4).tolist() == list(range(0, 50, 2))
    assert nms(boxes[:0], x[:0]).tolist() == []


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold"),
    [
        (torch.zeros(3, 4), torch.zeros(2), 0.5),
        (torch.zeros(3, 5), torch.zeros(3), 0.5),
        (torch.zeros(3, 4), torch.zeros(3), -0.1),
        (torch.zeros(3, 4), torch.zeros(3), 50),
    ],
)
def test_nms_refuses_what_does_not_fit(boxes, scores, threshold):
    with pytest.raises(InputError, match=r"boxes \(D, 4\)"):
        nms(boxes, scores, threshold=threshold)


# --- cells ----------------------------------------------------------------------------------------------------------

CONFIG = DetectorConfig(classes=3, widths=(4, 8), stride=4)
BOXES = torch.tensor([[[2.0, 2, 14, 22], [15, 3, 31, 9]], [[0, 0, 32, 32], [0, 0, 0, 0]]])
LABELS = torch.tensor([[2, 0], [1, -1]])


def perfect(packed, classes, stride):
    """The outputs of a detector that has learned `packed` by heart."""
    label, sides, central = packed[:, 0].long(), packed[:, 1:5], packed[:, 5:]
    hot = torch.full((len(packed), classes, *packed.shape[2:]), -20.0)
    mine = label >= 0
    hot.scatter_(1, label.clamp(min=0)[:, None], torch.where(mine, 20.0, -20.0)[:, None])
    return torch.cat([hot, (sides / stride).clamp(min=1e-3).log(), torch.logit(central, eps=1e-6)], 1)


def test_the_cells_around_a_centre_answer_for_the_object():
    packed = targets(BOXES, LABELS, 32, 32, CONFIG)
    assert packed.shape == (2, 6, 8, 8)
    mine = packed[:, 0] >= 0
    at = (torch.arange(8) + 0.5) * 4
    for image, place in [(0, 0), (0, 1), (1, 0)]:
        x0, y0, x1, y1 = BOXES[image, place].tolist()
        x, y = at[None, :], at[:, None]
        near = ((x - (x0 + x1) / 2).abs() <= 6) & ((y - (y0 + y1) / 2).abs() <= 6)
        inside = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        cells = packed[image, 0] == LABELS[image, place]
        assert torch.equal(cells, near & inside)
        assert cells.sum() >= 2
    assert not packed[:, 1:].masked_select(~mine[:, None]).any()


def test_distances_and_centreness_are_those_of_the_cell():
    packed = targets(BOXES, LABELS, 32, 32, CONFIG)
    row, column = 3, 2  # centre at (10, 14)
    assert packed[0, :, row, column].tolist() == pytest.approx(
        [2, 8, 12, 4, 8, (4 / 8 * 8 / 12) ** 0.5]  # box 2, 2, 14, 22
    )
    assert packed[1, 5].max() == pytest.approx(((14 / 18) ** 2) ** 0.5)


def test_of_two_objects_the_nearer_one_has_the_cell():
    boxes = torch.tensor([[[0.0, 0, 16, 16], [4, 4, 20, 20]]])
    packed = targets(boxes, torch.tensor([[0, 1]]), 32, 32, CONFIG)
    assert packed[0, 0, 1, 1] == 0  # the cell around (6, 6), two pixels from the first one's centre
    assert packed[0, 0, 3, 3] == 1
    assert packed[0, 1:5, 3, 3].tolist() == [10, 10, 6, 6]


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_what_is_packed_comes_out_again(stride):
    config = DetectorConfig(classes=3, widths=(4, 8, 8), stride=stride)
    boxes = BOXES.clone()
    boxes[0, 1] = torch.tensor([17.0, 3, 31, 13])  # large enough to hold the centre of a cell of eight pixels
    outputs = perfect(targets(boxes, LABELS, 32, 32, config), 3, stride)
    found = decode(outputs, stride=stride, threshold=0.1)
    for i, one in enumerate(found):
        order = one["labels"].argsort()
        truth = LABELS[i][LABELS[i] >= 0]
        assert one["labels"][order].tolist() == truth.sort().values.tolist()
        torch.testing.assert_close(one["boxes"][order], boxes[i][: len(truth)][truth.argsort()], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("box", "label", "message"),
    [
        ([-1, 0, 5, 5], 0, r"\[-1.0, 0.0, 5.0, 5.0\]"),
        ([0, 0, 33, 5], 0, "33.0"),
        ([5, 5, 5, 9], 0, "32 × 32 pixels"),
        ([0, 0, 5, 5], 3, "label 3"),
    ],
    ids=["left", "right", "empty", "class"],
)
def test_a_box_outside_the_image_or_a_foreign_class_is_named(box, label, message):
    boxes, labels = torch.tensor([[box]]).float(), torch.tensor([[label]])
    with pytest.raises(InputError, match=message):
        targets(boxes, labels, 32, 32, CONFIG)


def test_decoding_keeps_the_best_above_the_threshold_and_inside():
    outputs = torch.randn(2, 3 + 5, 8, 8, generator=torch.Generator().manual_seed(0)) * 2
    every = decode(outputs, threshold=0, overlap=1, most=10_000)
    assert [len(one["scores"]) for one in every] == [192, 192]
    found = decode(outputs, threshold=0.3, overlap=0.4, most=20)
    for one in found:
        assert one["scores"].tolist() == sorted(one["scores"].tolist(), reverse=True)
        assert one["scores"].min() > 0.3
        assert len(one["scores"]) <= 20
        assert one["boxes"].min() >= 0
        assert one["boxes"].max() <= 32
        same = one["labels"][:, None] == one["labels"]
        assert (iou(one["boxes"], one["boxes"]) * same).triu(1).max() <= 0.4
    at_all = decode(outputs, threshold=0.3, overlap=0.4, by_class=False)
    assert all(iou(one["boxes"], one["boxes"]).triu(1).max() <= 0.4 for one in at_all)
    score = (outputs[:, :3].sigmoid() * outputs[:, 7:].sigmoid()).sqrt()
    assert every[1]["scores"][0] == score[1].max()
    row, column = found[1]["cells"].unbind(1)
    torch.testing.assert_close(score[1, found[1]["labels"], row, column], found[1]["scores"])


# --- loss -----------------------------------------------------------------------------------------------------------


def test_the_loss_of_perfect_outputs_is_that_of_centreness_alone():
    packed = targets(BOXES, LABELS, 32, 32, CONFIG)
    outputs = perfect(packed, 3, 4)
    central, mine = packed[:, 5], packed[:, 0] >= 0
    entropy = -(central * central.log() + (1 - central) * (1 - central).log())
    floor = sum((entropy[i][mine[i]]).mean() for i in range(2)) / 2
    torch.testing.assert_close(detection_loss(outputs, packed), floor, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("part", ["class", "side", "centre"])
def test_every_part_of_the_loss_notices_its_error(part):
    packed = targets(BOXES, LABELS, 32, 32, CONFIG)
    right = perfect(packed, 3, 4)
    wrong = right.clone()
    if part == "class":
        wrong[:, :3] = wrong[:, :3].roll(1, 1)
    elif part == "side":
        wrong[:, 3:7] += 0.3
    else:
        wrong[:, 7] += 1
    assert detection_loss(wrong, packed) > detection_loss(right, packed) + 0.05


def test_the_loss_is_the_mean_over_images_and_bears_empty_ones():
    packed = targets(BOXES, LABELS, 32, 32, CONFIG)
    outputs = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    alone = [detection_loss(outputs[i : i + 1], packed[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(detection_loss(outputs, packed), sum(alone) / 2)
    empty = targets(BOXES[:1], torch.full((1, 2), -1), 32, 32, CONFIG)
    outputs = outputs[:1].clone().requires_grad_()
    loss = detection_loss(outputs, empty)
    loss.backward()
    assert loss > 0
    assert outputs.grad.isfinite().all()
    assert not outputs.grad[:, 3:].any()  # nobody asks for boxes there


# --- the network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("shape", [(32, 32), (16, 40)])
def test_one_row_of_outputs_per_cell(stride, shape):
    model = Detector(DetectorConfig(classes=3, widths=(4, 6, 8), stride=stride))
    assert model(torch.rand(2, 3, *shape)).shape == (2, 8, shape[0] // stride, shape[1] // stride)


def test_at_first_nearly_everything_is_background():
    torch.manual_seed(0)
    outputs = Detector(CONFIG).eval()(torch.rand(4, 3, 32, 32))
    assert outputs[:, :3].sigmoid().mean() < 0.05


def test_images_of_a_batch_do_not_mix_and_a_moved_image_moves_the_map():
    torch.manual_seed(0)
    model = Detector(CONFIG).eval()
    x = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))
    moved = model(x.roll((8, -4), (2, 3)))
    torch.testing.assert_close(moved[:, :, 7:-5, 5:-7], model(x).roll((2, -1), (2, 3))[:, :, 7:-5, 5:-7])


def test_no_activation_is_shared_or_in_place():
    modules = [m for m in Detector().modules() if isinstance(m, nn.ReLU)]
    assert len(modules) == len({id(m) for m in modules}) == 7
    assert not any(m.inplace for m in modules)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(3, 32, 32), r"\(B, 3, H, W\)"),
        (torch.rand(1, 1, 32, 32), r"\(1, 1, 32, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "floating-point"),
        (torch.rand(1, 3, 32, 30), "multiples of 4"),
        (torch.rand(0, 3, 32, 32), "multiples of 4"),
    ],
    ids=["one", "grey", "bytes", "side", "none"],
)
def test_other_images_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        Detector(CONFIG)(x)


@pytest.mark.parametrize(
    "wrong", [{"classes": 0}, {"widths": ()}, {"stride": 3}, {"stride": 16}, {"radius": 0}, {"channels": 0}]
)
def test_a_config_that_makes_no_detector_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        DetectorConfig(**wrong)


def test_it_learns_to_find_bright_squares():
    """Two kinds of squares on noise: nearly every one is found, but not after learning the boxes of others."""
    g = torch.Generator().manual_seed(0)
    low, side = torch.randint(1, 15, (200, 2), generator=g), torch.randint(8, 15, (200, 1), generator=g)
    boxes = torch.cat([low, low + side], 1).float()[:, None]
    labels = torch.randint(0, 2, (200, 1), generator=g)
    images = 0.2 * torch.rand(200, 3, 32, 32, generator=g)
    for image, (x0, y0, x1, y1), label in zip(images, boxes[:, 0].int().tolist(), labels[:, 0].tolist(), strict=True):
        image[label, y0:y1, x0:x1] += 0.8
    config = DetectorConfig(classes=2, widths=(8, 16), stride=4)

    def found_by(truth):
        torch.manual_seed(0)
        model = Detector(config)
        batches = train.Batches(images[:160], targets(*truth, 32, 32, config), batch_size=16)
        train.fit(model, batches, epochs=12, learning_rate=1e-2, loss=partial(detection_loss, stride=4), progress=False)
        found = decode(train.predict(model, images[160:]), threshold=0.2)
        hits = 0
        for one, box, label in zip(found, boxes[160:], labels[160:], strict=True):
            best = iou(one["boxes"][:1], box)[:, 0] > 0.6
            hits += bool((best & (one["labels"][:1] == label)).any())
        return hits / 40

    assert found_by((boxes[:160], labels[:160])) > 0.9
    order = torch.randperm(160, generator=g)
    assert found_by((boxes[:160][order], labels[:160][order])) < 0.3
