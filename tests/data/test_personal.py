"""Made-up people: places are right, numbers have the form they claim, and nothing depends on anything but the seed."""

import re
from collections import Counter

import pytest

from bigmodel_lab.data.personal import DECOYS, KINDS, WAYS, messages, population
from bigmodel_lab.errors import InputError


def test_every_kind_and_manner_occurs_about_equally_often():
    counts = Counter((t.kind, t.manner) for message in messages(1500) for t in message.truths)
    assert set(counts) == {(kind, manner) for kind, ways in WAYS.items() for manner in ways}
    assert {kind for kind, _ in counts} == set(KINDS)
    assert max(counts.values()) < 1.8 * min(counts.values())


def test_places_hold_what_was_planted():
    forms = {
        "email": r"\S+@example\.\w+",
        "phone": r"\+[\d ]+",
        "ip": r"[\d.]+",
        "card": r"\d{16}",
        "birth": r"\d{4}-\d\d-\d\d",
    }
    seen = set()
    for message in messages(200, seed=1):
        for truth in message.truths:
            if truth.manner == "plain" and truth.kind in forms:
                assert re.fullmatch(forms[truth.kind], message.text[truth.start : truth.end])
                seen.add(truth.kind)
    assert seen == set(forms)


def test_pieces_and_decoys_do_not_overlap_and_lie_inside():
    for message in messages(100, seed=2):
        at = 0
        for piece in sorted([*message.truths, *message.decoys], key=lambda one: one.start):
            assert at <= piece.start < piece.end <= len(message.text)
            at = piece.end
    assert {decoy.kind for message in messages(200) for decoy in message.decoys} == set(DECOYS)


def test_identity_numbers_are_valid_by_the_standards_weights():
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    found = [
        message.text[t.start : t.end]
        for message in messages(300)
        for t in message.truths
        if (t.kind, t.manner) == ("resident_id", "plain")
    ]
    assert len(found) > 10
    for number in found:
        total = sum(int(d) * w for d, w in zip(number[:17], weights, strict=True))
        assert number[17] == "10X98765432"[total % 11]


def test_the_seed_decides_everything():
    assert messages(20, seed=3) == messages(20, seed=3)
    assert messages(20, seed=3) != messages(20, seed=4)
    assert population(50, seed=1) == population(50, seed=1) != population(50, seed=2)


def test_the_population_has_the_sizes_asked_for():
    people = population(8000, per_postcode=2000)
    assert len(people) == 8000
    assert len({person.postcode for person in people}) == 4
    assert {person.sex for person in people} == {"F", "M"}
    assert min(person.birth.year for person in people) == 1935
    assert max(person.birth.year for person in people) == 2024


def test_nothing_is_asked_of_nobody():
    for wrong in (lambda: messages(0), lambda: population(0), lambda: population(5, per_postcode=0)):
        with pytest.raises(InputError):
            wrong()
