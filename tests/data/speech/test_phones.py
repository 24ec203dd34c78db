"""TIMIT's phones: 61, 48 and 39 of them, the folding of Lee & Hon, and what is refused."""

import pytest

from bigmodel_lab.data.speech.phones import CLOSURES, LEFT_OUT, PHONES, SILENCES, TO_39, TO_48, fold
from bigmodel_lab.errors import DataError, InputError

GROUPS = {  # of Lee & Hon's table 3, as it is usually printed: 61 to 39 at once
    "aa": "aa ao",
    "ah": "ah ax ax-h",
    "er": "er axr",
    "hh": "hh hv",
    "ih": "ih ix",
    "l": "l el",
    "m": "m em",
    "n": "n en nx",
    "ng": "ng eng",
    "sh": "sh zh",
    "uw": "uw ux",
    "sil": "pcl tcl kcl bcl dcl gcl h# pau epi",
}


def test_there_are_61_48_and_39():
    assert len(PHONES) == len(set(PHONES)) == 61
    assert len(set(fold(PHONES, 48))) == 48
    assert len(set(fold(PHONES, 39))) == 39
    assert fold(PHONES, 61) == PHONES
    assert set(CLOSURES) | set(SILENCES) | {LEFT_OUT} <= set(PHONES)


def test_the_two_foldings_together_are_the_printed_table():
    expected = {name: name for name in PHONES} | {one: name for name, group in GROUPS.items() for one in group.split()}
    del expected["q"]
    assert {one: fold([one])[0] for one in PHONES if fold([one])} == expected
    assert fold(["q"]) == fold(["q"], 48) == ()


@pytest.mark.parametrize("one", sorted(set(PHONES) - {"q"}))
def test_folding_twice_is_folding_once(one):
    assert fold(fold([one], 48)) == fold([one]) == fold(fold([one]))
    assert fold([one], 48) == fold(fold([one], 48), 48)


def test_every_entry_changes_something():
    assert all(one != other for table in (TO_48, TO_39) for one, other in table.items())
    assert set(TO_48) < set(PHONES)
    assert set(TO_39) <= set(fold(PHONES, 48))


def test_neighbours_that_become_the_same_stay_apart():
    said = "h# sh ix hv eh dcl jh ih dcl d ah kcl k s ux q en aa epi w"
    folded = "sil sh ih hh eh sil jh ih sil d ah sil k s uw n aa sil w"
    assert " ".join(fold(said.split())) == folded
    assert fold(["kcl", "pau"]) == ("sil", "sil")
    assert fold(["kcl", "pau"], 48) == ("cl", "sil")


@pytest.mark.parametrize("strange", ["1", "H#", "ʃ", "", "qcl"])
def test_other_symbols_are_refused(strange):
    with pytest.raises(DataError, match="stress marks"):
        fold(["sh", strange])


def test_other_numbers_and_strings_are_refused():
    with pytest.raises(InputError, match="39, 48 or 61"):
        fold(["sh"], 40)
    with pytest.raises(InputError, match="a sequence of phones"):
        fold("sh ix")
