"""Sentences and tags from docstrings: planted packages whose answers are known, and the real ones."""

from importlib import import_module

import pytest

from bigmodel_lab.data.text.entities import TYPES, EntitySet, draw, entities
from bigmodel_lab.data.text.entities_read import READ, read_by_hand
from bigmodel_lab.data.text.mentions import Known, prose, tagged
from bigmodel_lab.errors import DataError, InputError

module = import_module("bigmodel_lab.data.text.entities")  # the package may name its function by this name
KNOWN = Known(
    parameters=frozenset({"axis", "out", "n_jobs", "x"}),
    declared=frozenset({"Series"}),
    classes=frozenset({"Series", "Index", "DataFrame", "errstate", "int", "Normal"}),
    modules=frozenset({"numpy", "numpy.linalg", "copy", "random"}),
)


def marked_up(sentence, known=KNOWN):
    """The words that are tagged, each with its tag."""
    words, tags = tagged(sentence, known)
    return [(word, tag) for word, tag in zip(words, tags, strict=True) if tag != "O"]


# --- mentions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("If `axis` is given, sum along it.", [("axis", "B-NAME")]),
        ("The sum along the axis.", []),  # an ordinary word: not marked as code
        ("Set ``n_jobs`` or n_jobs to one.", [("n_jobs", "B-NAME"), ("n_jobs", "B-NAME")]),
        ("Uses *out* where it can.", [("out", "B-NAME")]),
        ("The shape of `x.shape` is a tuple.", [("x", "B-NAME"), ("tuple", "B-TYPE")]),
        ("Return a `DataFrame` or DataFrame.", [("DataFrame", "B-TYPE"), ("DataFrame", "B-TYPE")]),
        ("The Series and its Index.", [("Series", "B-TYPE")]),  # Series is declared here, Index is not
        ("A :class:`~pandas.Index` is made.", [("Index", "B-TYPE")]),
        ("A Normal day and a normal one.", []),
        ("See `errstate` and errstate.", [("errstate", "B-TYPE")]),
        ("An array_like or array-like thing.", [("array_like", "B-TYPE"), ("array-like", "B-TYPE")]),
        ("A list-like thing is no type.", []),
        ("See numpy.linalg for more.", [("numpy", "B-MODULE"), (".", "I-MODULE"), ("linalg", "I-MODULE")]),
        ("See `numpy.linalg.norm` too.", [("numpy", "B-MODULE"), (".", "I-MODULE"), ("linalg", "I-MODULE")]),
        ("As `copy.deepcopy` does.", [("copy", "B-MODULE")]),
        ("Make a copy at random.", []),
        ("See :ref:`numpy <guide>` for it.", []),
    ],
)
def test_words_are_tagged_by_what_the_source_knows(sentence, found):
    assert marked_up(sentence) == found


@pytest.mark.parametrize("quote", ["`axis`", "``axis``", "*axis*", "**axis**", ":obj:`axis`"])
def test_marks_and_quotes_are_taken_away(quote):
    words, tags = tagged(f"If {quote} is 'none', e.g. the last.", KNOWN)
    assert words == ("If", "axis", "is", "none", ",", "e.g.", "the", "last", ".")
    assert tags == ("O", "B-NAME", *["O"] * 7)


def test_every_word_has_one_tag_and_no_tag_continues_nothing():
    words, tags = tagged("`numpy.linalg.norm(x)` of an n-th `Index`, numpy.linalg.", KNOWN)
    EntitySet((words,), (tags,), TYPES)
    assert "norm" in words
    assert tags[words.index("norm")] == "O"


DOC = """
Sum the elements, one by one, along an axis.

This is a longer description that goes on
over two lines. It has e.g. two sentences.

Parameters
----------
x : array_like
    The elements that are to be summed here.
axis, out : int
    No

Returns
-------
total : ndarray
    The sum of the elements along `axis`.

See Also
--------
mean : The mean of the elements along an axis here.

Notes
-----
The formula is :math:`a + b` for all of the elements. We use it in the following way::

    This is code and never a sentence at all.

.. note::

   Beware of the many errors that come from rounding.

.. plot::

   Nothing in here is a sentence for a reader.

Examples
--------
>>> sum([1, 2, 3])  # This would be a sentence of its own.
6
"""


def test_prose_is_whole_sentences_and_neither_code_nor_lists():
    assert list(prose(DOC.strip())) == [
        "Sum the elements, one by one, along an axis.",
        "This is a longer description that goes on over two lines.",
        "The elements that are to be summed here.",
        "The sum of the elements along `axis`.",
        "Beware of the many errors that come from rounding.",
    ]


def test_google_style_descriptions_lose_their_names():
    doc = "Do it.\n\nArgs:\n    x (int): How many times it is to be done.\n    y: Whether it is to be undone after."
    assert list(prose(doc)) == ["How many times it is to be done.", "Whether it is to be undone after."]


# --- the score that the lesson compares its own with ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "guess", "precision", "recall"),
    [
        ("B-A I-A O B-B", "B-A I-A O B-B", 1, 1),
        ("B-A I-A O B-B", "O O O O", 0, 0),
        ("B-A I-A O B-B", "B-A O O B-B", 1 / 2, 1 / 2),  # one end is wrong
        ("B-A I-A O B-B", "B-B I-B O B-B", 1 / 2, 1 / 2),  # one type is
        ("B-A I-A I-A O", "B-A B-A I-A O", 0, 0),  # two guesses over one entity are two wrong ones, and one missed
        ("B-A B-A I-A O", "B-A I-A I-A O", 0, 0),  # one guess over two entities is one wrong one, and two missed
        ("B-A B-A I-A O B-A", "B-A I-A I-A O B-A", 1 / 2, 1 / 3),
        ("B-A I-A O B-B", "I-A I-A O I-B", 1, 1),  # an I- that continues nothing begins an entity
    ],
)
def test_nervaluate_strict_is_exact_agreement(truth, guess, precision, recall):
    from nervaluate import Evaluator

    rows = [truth.split()], [guess.split()]
    strict = Evaluator(*rows, tags=["A", "B"], loader="list").evaluate()["overall"]["strict"]
    assert (strict.precision, strict.recall) == (pytest.approx(precision), pytest.approx(recall))


# --- the set --------------------------------------------------------------------------------------------------------

SOURCE = '''
"""Functions that a planted package has, all of them made up."""

class Planted:
    """A planted class with a setting, made for this test alone.

    Parameters
    ----------
    setting : Planted
        Another `setting` than that of the one before it.
    """

    def __init__(self, hidden_option): ...

    def plain(self, weight: "Planted"):
        """Weigh the thing by `weight` and by hidden_option, then by mass."""


def grow(height):
    """Let {what} grow to the `height` that is asked for here."""
'''


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A package called numpy of twenty files, some of which are held out; returns a way to change their text."""

    def write(text=SOURCE):
        for n in range(20):
            (tmp_path / f"part{n}.py").write_text(text.replace("{what}", "the plant " + "x" * n))
        return tmp_path

    monkeypatch.setattr(module, "_source", lambda name: tmp_path if name == "numpy" else None)
    return write


def everything(*parts):
    return {" ".join(words): tags for part in parts for words, tags in zip(part.words, part.tags, strict=True)}


def test_signatures_sections_and_classes_give_the_tags(planted):
    planted()
    found = everything(*entities(packages=["numpy"], train=0, test=0))
    tags = found["Another setting than that of the one before it ."]
    assert tags == ("O", "B-NAME", *["O"] * 8)
    words = "Weigh the thing by weight and by hidden_option , then by mass ."
    assert [w for w, t in zip(words.split(), found[words], strict=True) if t == "B-NAME"] == ["weight", "hidden_option"]


def test_no_sentence_is_on_both_sides_and_none_comes_twice(planted):
    planted()
    train, test = entities(packages=["numpy"], train=0, test=0)
    assert len(train) > 10
    assert len(test) >= 1
    assert not set(train.words) & set(test.words)
    files = [{source.split(".")[1] for source in part.sources} for part in (train, test)]
    assert not files[0] & files[1]
    assert sum("Another setting" in " ".join(words) for words in (*train.words, *test.words)) == 1


def test_sentences_that_differ_in_their_entities_only_count_once(planted):
    planted(SOURCE.replace("{what}", "`{height}`").replace("height", "tall"))
    train, test = entities(packages=["numpy"], train=0, test=0)
    assert sum(words[0] == "Let" for words in (*train.words, *test.words)) <= 1


def test_a_package_that_is_not_installed_is_left_out_and_said_so(planted, capsys):
    planted()
    entities(packages=["numpy", "torch"], train=0, test=0)
    assert "torch is not installed here" in capsys.readouterr().out


def test_more_sentences_than_there_are_is_an_error(planted):
    planted()
    with pytest.raises(DataError, match="more packages, or fewer sentences"):
        entities(packages=["numpy"])


@pytest.mark.parametrize(
    "wrong", [{"packages": "numpy"}, {"packages": ["python"]}, {"packages": []}, {"train": -1}, {"plain": 1.5}]
)
def test_wrong_arguments_are_refused(wrong, planted):
    planted()
    with pytest.raises(InputError):
        entities(**{"packages": ["numpy"], "train": 1, "test": 1, **wrong})


SET = EntitySet((("a", "b"), ("c",), ("d",)), (("B-NAME", "I-NAME"), ("O",), ("B-TYPE",)), TYPES, ("f", "g", "h"))


def test_draw_takes_the_share_without_entities_and_repeats_itself():
    some = draw(SET, 2, plain=0.5, seed=3)
    assert sorted(set(tags) == {"O"} for tags in some.tags) == [False, True]
    assert draw(SET, 2, plain=0.5, seed=3).words == some.words
    with pytest.raises(DataError, match="2 sentences with entities and 2 without"):
        draw(SET, 4, plain=0.5)


def test_a_set_is_sliced_indexed_and_masked():
    assert SET[1:].words == (("c",), ("d",))
    assert SET[[2, 0]].sources == ("h", "f")
    assert SET[[True, False, False]].words == (("a", "b"),)
    assert len(SET[[]]) == 0
    assert repr(SET) == "EntitySet(3 sentences; 1 NAME, 1 TYPE, 0 MODULE)"
    assert SET.tag_names == ("O", "B-NAME", "I-NAME", "B-TYPE", "I-TYPE", "B-MODULE", "I-MODULE")


@pytest.mark.parametrize(
    ("words", "tags", "said"),
    [
        ((("a",),), (("O",), ("O",)), "for every sentence"),
        (((),), ((),), "at least one word"),
        ((("a", "b"),), (("O",),), "one tag a word"),
        ((("a",),), (("B-CITY",),), "tags among O, B-NAME"),
        ((("a",),), (("NAME",),), "tags among O, B-NAME"),
        ((("a",),), (("I-NAME",),), "I-NAME after B-NAME"),
        ((("a", "b"),), (("B-TYPE", "I-NAME"),), "IOB1"),
    ],
)
def test_sets_that_make_no_sense_are_refused(words, tags, said):
    with pytest.raises(InputError, match=said):
        EntitySet(words, tags, TYPES)


def test_real_packages_give_all_three_kinds():
    train, test = entities(packages=["numpy"], train=300, test=60)
    assert (len(train), len(test)) == (300, 60)
    for part in (train, test):
        assert sum(set(tags) == {"O"} for tags in part.tags) == len(part) // 4
        assert {tag for tags in part.tags for tag in tags} >= {"O", "B-NAME", "B-TYPE", "B-MODULE"}
    assert not any(mark in word for words in train.words for word in words for mark in '`"')


def test_sentences_read_by_hand_are_found_by_their_words_and_have_the_readers_tags():
    words = ("Reversed", "Operations", "not", "available", "in", "the", "stdlib", "operator", "module", ".")
    some = EntitySet((words, ("Not", "read", "."), words), (("O",) * 10, ("O",) * 3, ("O",) * 10), TYPES)
    read = read_by_hand(some)
    assert read.words == (words,)
    assert read.tags == (("O",) * 7 + ("B-MODULE", "O", "O"),)
    assert len(READ) == 110


def test_most_of_the_sentences_read_by_hand_are_installed():
    found = read_by_hand(entities(train=10, test=0)[1])
    assert len(found) >= 55
    assert {tag for tags in found.tags for tag in tags} >= {"B-NAME", "B-TYPE", "B-MODULE"}
