"""Captions are true of their images, and false ones false; COCO's are read as it lays them out."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from bigmodel_lab.data.captions import (
    HELD_OUT,
    HUES,
    SHAPES,
    SIZES,
    Vocabulary,
    captions,
    coco_captions,
    describes,
    exchange,
    falsified,
    names_held_out,
    sentence,
)
from bigmodel_lab.data.images import COLOURS
from bigmodel_lab.errors import DataError, InputError


@pytest.fixture(scope="module")
def drawn():
    return captions(train=600, test=400, seed=3)


# --- an independent reading of the English sentences -----------------------------------------------------------------


def fits(words, thing):
    """Whether one object (shape, colour, size) is what the words say."""
    have = {SHAPES[thing[0]], HUES[thing[1]], SIZES[thing[2]], "a", "shape"}
    return all(word in have for word in words)


def is_true(text, objects, centres):
    """Whether a caption, read word by word, is true of one image."""
    for start in ("there is ", "a photo of ", "we see ", "this is "):
        text = text.removeprefix(start)
    things = [(thing, 32 * place) for thing, place in zip(objects.tolist(), centres, strict=True) if thing[0] >= 0]
    for way, (axis, sign) in {
        " left of ": (0, 1),
        " right of ": (0, -1),
        " above ": (1, 1),
        " below ": (1, -1),
    }.items():
        if way in text:
            a, b = (part.split() for part in text.split(way))
            for one, other in (things, things[::-1]) if len(things) == 2 else ():
                gap = other[1] - one[1]
                along = gap.abs()[axis] > gap.abs()[1 - axis] and sign * gap[axis] > 0
                if fits(a, one[0]) and fits(b, other[0]) and along:
                    return True
            return False
    if " and " in text:
        a, b = (part.split() for part in text.split(" and "))
        both = (things, things[::-1]) if len(things) == 2 else ()
        return any(fits(a, one[0]) and fits(b, other[0]) for one, other in both)
    for end, (axis, sign) in {" on the left": (0, -1), " on the right": (0, 1)}.items():
        if text.endswith(end):
            words = text.removesuffix(end).split()
            return any(fits(words, thing) and sign * (place[axis] - 16) > 4 for thing, place in things)
    for end, sign in {" at the top": -1, " at the bottom": 1}.items():
        if text.endswith(end):
            words = text.removesuffix(end).split()
            return any(fits(words, thing) and sign * (place[1] - 16) > 4 for thing, place in things)
    return any(fits(text.split(), thing) for thing, _ in things)


def test_every_caption_is_true_of_its_image_when_read_word_by_word(drawn):
    for part in drawn:
        for texts, objects, centres in zip(part.texts, part.objects, part.centres, strict=True):
            assert all(is_true(text, objects, centres) for text in texts), texts


def test_describes_agrees_with_the_word_by_word_reading_for_all_pairs(drawn):
    part = drawn[1][:80]
    ours = describes(part.statements[:, 0], part.objects, part.centres)
    read = [[is_true(some[0], *pair) for pair in zip(part.objects, part.centres, strict=True)] for some in part.texts]
    assert torch.equal(ours, torch.tensor(read))
    assert ours.diagonal().all()
    assert 0.01 < ours.float().mean() < 0.1  # captions are true of other images, too


def test_all_ways_of_saying_occur(drawn):
    said = " | ".join(text for texts in drawn[0].texts for text in texts)
    words = {word for text in said.split(" | ") for word in text.split()}
    assert words == set(drawn[0].vocabulary.words[2:])
    for phrase in (" left of a", " right of a", " above a", " below a", " and a", " on the left", " at the top"):
        assert phrase in said


# --- images --------------------------------------------------------------------------------------------------------


def test_images_show_what_is_planted(drawn):
    train, _ = drawn
    assert train.images.shape == (600, 3, 32, 32)
    assert 0 <= float(train.images.min()) <= float(train.images.max()) <= 1
    assert 0.5 < (train.objects[:, 1, 0] >= 0).float().mean() < 0.7
    area = train.masks.sum((2, 3))
    assert torch.equal(area > 0, train.objects[..., 0] >= 0)
    assert not (train.masks[:, 0] & train.masks[:, 1]).any()
    for i, j in (train.objects[..., 0] >= 0).nonzero().tolist():
        mean = train.images[i][:, train.masks[i, j]].mean(1)
        distance = (torch.tensor([COLOURS[name] for name in HUES]) - mean).norm(dim=1)
        assert distance.argmin() == train.objects[i, j, 1]
    discs = (train.objects[:, 0, 0] == 0, train.objects[:, 0, 2])
    assert area[discs[0] & (discs[1] == 1), 0].min() > area[discs[0] & (discs[1] == 0), 0].max()


def test_a_mask_is_around_its_centre(drawn):
    train, _ = drawn
    pixel = torch.arange(32) + 0.5
    for shape in ("disc", "square", "cross", "ring"):  # these are the same on both sides of their centre
        rows = (train.objects[:, 0, 0] == SHAPES.index(shape)).nonzero()[:, 0]
        mask = train.masks[rows, 0].float()
        x = (mask.sum(1) * pixel).sum(1) / mask.sum((1, 2))
        y = (mask.sum(2) * pixel).sum(1) / mask.sum((1, 2))
        assert (torch.stack([x, y], 1) - 32 * train.centres[rows, 0]).abs().max() < 0.6


def test_two_objects_differ_in_shape_and_colour_and_lie_clearly_apart(drawn):
    for part in drawn:
        two = part.objects[part.objects[:, 1, 0] >= 0]
        assert (two[:, 0, :2] != two[:, 1, :2]).all()
        gap = (32 * (part.centres[:, 1] - part.centres[:, 0]).abs())[part.objects[:, 1, 0] >= 0]
        assert (gap.amax(1) > gap.amin(1) + 1).all()


def test_training_has_no_pair_that_is_held_out_and_the_test_has_all(drawn):
    train, test = drawn

    def pairs(part):
        there = part.objects[part.objects[..., 0] >= 0].tolist()
        return {(HUES[colour], SHAPES[shape]) for shape, colour, _ in there}

    assert not pairs(train) & set(HELD_OUT)
    assert len(pairs(train)) == 30
    assert pairs(test) >= set(HELD_OUT)
    assert not train.unseen.any()
    for one, unseen in zip(test.objects.tolist(), test.unseen.tolist(), strict=True):
        assert unseen == any((HUES[c], SHAPES[s]) in HELD_OUT for s, c, _ in one if s >= 0)
    assert not any(f"{colour} {shape}" in text for texts in train.texts for text in texts for colour, shape in HELD_OUT)
    for part in zip(*HELD_OUT, strict=True):
        assert len(set(part)) == 6  # each colour and each shape once


def test_sets_repeat_and_do_not_depend_on_the_other_one(drawn):
    again = captions(train=600, test=7, seed=3)
    assert torch.equal(drawn[0].images, again[0].images)
    assert drawn[0].texts == again[0].texts
    assert not torch.equal(drawn[0].images, captions(train=600, test=7, seed=4)[0].images)
    assert torch.cdist(drawn[0].images.flatten(1), drawn[1].images.flatten(1)).min() > 1


def test_a_part_keeps_everything_together(drawn):
    test = drawn[1]
    some = test[torch.tensor([5, 2])]
    assert len(some) == 2
    assert some.texts == (test.texts[5], test.texts[2])
    for name in ("images", "ids", "objects", "centres", "masks", "statements", "unseen"):
        assert torch.equal(getattr(some, name), getattr(test, name)[[5, 2]])
    assert repr(some) == "CaptionSet(2 images of shape (3, 32, 32), 5 captions each)"
    assert len(test[test.unseen]) == int(test.unseen.sum())


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": 0}, {"per_image": 0}, {"difficulty": -1}], ids=str)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(InputError, match=">= 1"):
        captions(**{"train": 2, "test": 2, **wrong})


# --- statements ----------------------------------------------------------------------------------------------------

RED_DISC_LEFT_OF_BLUE_CROSS = [0, 0, -1, 4, 3, 1, 2, 0]


def test_a_statement_in_words():
    assert sentence(RED_DISC_LEFT_OF_BLUE_CROSS) == "a red disc left of a large blue cross"
    assert sentence(RED_DISC_LEFT_OF_BLUE_CROSS, turned=True) == "a large blue cross right of a red disc"
    assert sentence([-1, 2, 0, -1, -1, -1, 0, 3], start="we see ") == "we see a small green shape at the top"


@pytest.mark.parametrize("wrong", [[0] * 7, [6, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 4, 0]], ids=["7", "6", "4"])
def test_what_is_no_statement_is_refused(wrong):
    with pytest.raises(InputError, match="eight numbers"):
        sentence(wrong)


def test_exchange_moves_colours_or_places_and_keeps_the_words():
    row = torch.tensor([RED_DISC_LEFT_OF_BLUE_CROSS])
    assert sentence(exchange(row, "colours")[0]) == "a blue disc left of a large red cross"
    assert sentence(exchange(row, "order")[0]) == "a large blue cross left of a red disc"
    for what in ("colours", "order"):
        assert sorted(sentence(exchange(row, what)[0]).split()) == sorted(sentence(row[0]).split())
        assert torch.equal(exchange(exchange(row, what), what), row)
    alone, joined = torch.tensor([[0, 0, -1, -1, -1, -1, 0, 0]]), torch.tensor([[0, 0, -1, 4, 3, -1, 1, 0]])
    assert torch.equal(exchange(alone, "colours"), alone)
    assert torch.equal(exchange(joined, "order"), joined)
    with pytest.raises(InputError, match="order"):
        exchange(row, "size")


def test_false_captions_are_false_and_never_name_a_pair_held_out(drawn):
    train = drawn[0]
    generator = torch.Generator().manual_seed(0)
    rich = (train.statements[..., [1, 4]] >= 0).all(2)
    for at in range(5):
        said = train.statements[:, at]
        false = falsified(said, generator)
        assert (false != said).any(1).all()
        assert not names_held_out(false).any()
        true = describes(false, train.objects, train.centres).diagonal()
        assert not true[rich[:, at]].any()  # where both are named with their colours
        assert true.float().mean() < 0.03  # "a blue shape" may be true of the object that is not spoken of
    words = [sorted(sentence(one).split()) for one in said[rich[:, at]]]
    same = [sorted(sentence(one).split()) == old for one, old in zip(false[rich[:, at]], words, strict=True)]
    assert sum(same) > 0.8 * len(same)


# --- words ---------------------------------------------------------------------------------------------------------


def test_words_become_ids_and_back():
    known = Vocabulary(["red", "disc", "red"])
    assert len(known) == 4
    ids = known.encode(["A red, RED disc!", "disc"], 3)
    assert ids.tolist() == [[1, 2, 2], [3, 0, 0]]  # "a" is not known; the fourth word is cut off
    assert known.decode(ids) == ["<unknown> red red", "disc"]


def test_drawn_captions_are_known_and_whole(drawn):
    train = drawn[0]
    texts = [text for some in train.texts for text in some]
    assert train.vocabulary.decode(train.ids.flatten(0, 1)) == texts


@pytest.mark.parametrize(("texts", "length"), [("red", 3), (["red", "..."], 3), (["red"], 0)], ids=["str", "dots", "0"])
def test_what_cannot_be_encoded_is_refused(texts, length):
    with pytest.raises(InputError):
        Vocabulary(["red"]).encode(texts, length)


# --- COCO ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco_root(tmp_path_factory):
    """Two photographs in COCO's layout, with five captions and with six."""
    root = tmp_path_factory.mktemp("coco")
    (root / "annotations").mkdir()
    (root / "val2017").mkdir()
    random = np.random.default_rng(0)
    images, annotations = [], []
    for number, (height, width) in {139: (40, 64), 285: (50, 50)}.items():
        name = f"{number:012}.jpg"
        Image.fromarray(random.integers(0, 255, (height, width, 3)).astype(np.uint8)).save(root / "val2017" / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width, "license": 1})
        for k in range(5 + (number == 285)):
            annotations.append(
                {"id": 1000 - 10 * k + number, "image_id": number, "caption": f"A bear {k}\nin {number}."}
            )
    (root / "annotations" / "captions_val2017.json").write_text(
        json.dumps({"info": {}, "licenses": [], "images": images, "annotations": annotations})
    )
    return root


def test_coco_has_five_captions_of_each_photograph(coco_root):
    found = coco_captions(coco_root, size=32)
    assert found.images.shape == (2, 3, 32, 32)
    assert found.images[0, :, 20:].abs().max() == 0  # 64 × 40 became 32 × 20
    assert found.images[1, :, 31].max() > 0
    assert found.texts[0] == tuple(f"A bear {k} in 139." for k in (4, 3, 2, 1, 0))  # by id
    assert len(found.texts[1]) == 5
    assert found.ids.shape == (2, 5, 24)
    assert found.vocabulary.decode(found.ids[0, :1]) == ["a bear 4 in 139"]
    assert found.objects is None
    assert len(found[:1]) == 1
    known = coco_captions(coco_root, size=32, vocabulary=Vocabulary(["bear"]), length=3, first=1)
    assert known.ids.tolist() == [[[1, 2, 1]] * 5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("annotations"), "annotations"),
        (lambda data: data["annotations"].pop(0), "image 139"),
        (lambda data: data["annotations"][0].update(caption="..."), "image 139"),
        (lambda data: data.update(images=[]), "no images"),
        (lambda data: data["images"][0].update(file_name="gone.jpg"), "gone"),
    ],
    ids=["no captions", "four captions", "no words", "no images", "no photograph"],
)
def test_broken_coco_is_named(coco_root, tmp_path, change, said):
    root = shutil.copytree(coco_root, tmp_path / "coco")
    file = root / "annotations" / "captions_val2017.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=said):
        coco_captions(root)


def test_cut_and_missing_coco_say_where_to_get_it(coco_root, tmp_path):
    with pytest.raises(DataError, match="cocodataset"):
        coco_captions(tmp_path / "nowhere")
    root = shutil.copytree(coco_root, tmp_path / "coco")
    file = root / "annotations" / "captions_val2017.json"
    file.write_text(file.read_text()[:-5])
    with pytest.raises(DataError, match="JSONDecodeError"):
        coco_captions(root)
    file.unlink()
    with pytest.raises(DataError, match="FileNotFoundError"):
        coco_captions(root)
    with pytest.raises(InputError, match="size"):
        coco_captions(root, size=4)
