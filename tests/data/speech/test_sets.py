"""AudioSet: parts stay together, and what does not fit is refused."""

import pytest
import torch

from bigmodel_lab.data.speech.sets import AudioSet, padded
from bigmodel_lab.errors import InputError


def made(**changes):
    waves = torch.linspace(-1, 1, 30).reshape(3, 10)
    parts = {
        "waves": waves,
        "lengths": torch.tensor([10, 4, 7]),
        "rate": 8000,
        "texts": ("a", "b", "c"),
        "voices": ("x", "y", "x"),
        "labels": torch.tensor([1, 0, 1]),
        "classes": ("no", "yes"),
        "spans": torch.tensor([[0, 10], [1, 4], [2, 2]]),
        "translations": ("甲", "乙", "丙"),
        "phones": (((0, 5, "a"),), (), ()),
    }
    return AudioSet(**(parts | changes))


def test_a_part_of_a_set_keeps_each_truth_with_its_recording():
    part = made()[[2, 0]]
    assert len(part) == 2
    assert part.texts == ("c", "a")
    assert part.translations == ("丙", "甲")
    assert part.phones == ((), ((0, 5, "a"),))
    assert part.spans.tolist() == [[2, 2], [0, 10]]
    assert torch.equal(part.waves[1], made().waves[0])
    assert part.classes == ("no", "yes")
    assert len(made()[:0]) == 0
    assert made()[torch.tensor([False, True, False])].texts == ("b",)


def test_a_wave_comes_without_its_padding():
    assert made().wave(1).shape == (4,)


def test_the_repr_says_how_much_there_is():
    assert repr(made()) == "AudioSet(3 recordings, 0 s at 8000 Hz, 2 voices, 2 classes)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"waves": torch.zeros(3, 10).short()}, "float32 of shape"),
        ({"waves": torch.zeros(3, 2, 10)}, "to_mono"),
        ({"waves": torch.full((3, 10), float("nan"))}, "finite"),
        ({"waves": torch.full((3, 10), 1.5)}, r"in \[-1, 1\]"),
        ({"waves": [0.0]}, "list"),
        ({"rate": 0}, "rate"),
        ({"rate": 8000.0}, "rate"),
        ({"texts": ("a", "b")}, "'texts': 2"),
        ({"lengths": torch.tensor([10, 4, 11])}, "lengths from 1 to 10"),
        ({"lengths": torch.tensor([10, 4, 0])}, "lengths from 1 to 10"),
        ({"labels": torch.tensor([0, 1, 2])}, "labels from 0 to 1"),
        ({"labels": torch.tensor([0.0, 1, 1])}, "labels int64"),
        ({"spans": torch.tensor([[0, 10], [1, 5], [2, 2]])}, "inside the recording"),
        ({"spans": torch.tensor([[5, 3], [1, 4], [2, 2]])}, "inside the recording"),
        ({"distractors": torch.zeros(3, 3).long()}, "distractors int64"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        made(**changes)


def test_waves_of_many_lengths_are_filled_with_zeros_or_cut():
    waves, lengths = padded([torch.ones(3), torch.ones(5)])
    assert waves.tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert lengths.tolist() == [3, 5]
    waves, lengths = padded([torch.ones(3), torch.ones(5)], 4)
    assert waves.tolist() == [[1, 1, 1, 0], [1] * 4]
    assert lengths.tolist() == [3, 4]
    with pytest.raises(InputError, match="at least one wave"):
        padded([])
