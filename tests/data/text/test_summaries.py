"""Bodies and summaries of planted docstrings; what would let a model win by memory is found; the real corpus fits."""

import pytest
import torch

from bigmodel_lab.data.text.corpus import Corpus, Document, Origin, corpus, held_out
from bigmodel_lab.data.text.summaries import SummarySet, sentences, summaries
from bigmodel_lab.errors import DataError, InputError

NOUNS = """copper river window basket candle thunder meadow pocket ladder winter garden silver pepper button carpet
    hammer island jacket kitten lemon magnet needle orange pillow quarry rocket saddle tunnel velvet walnut yellow"""
WORDS = NOUNS.split()


def module(test: bool, start: int = 0) -> str:
    """A module name whose documents are for testing, or are not."""
    return next(
        name
        for name in (f"pack.m{i}" for i in range(start, 10_000))
        if held_out(Document("", "pack", name, "")) == test
    )


TRAIN, TEST = module(False), module(True)


def made(number: int) -> tuple[str, str]:
    """Summary and body number `number`; no two have three words in a row in common."""
    pick = torch.randperm(len(WORDS), generator=torch.Generator().manual_seed(number)).tolist()
    w = [WORDS[i] for i in pick]
    return (
        f"{w[0].title()} {w[1]} near {w[2]} {w[3]}.",
        f"{w[4].title()} {w[5]} {w[6]} of {w[7]} {w[8]} {w[9]} {w[10]}. "
        f"{w[11].title()} {w[12]} {w[13]} by {w[14]} {w[15]} {w[16]} {w[17]} {w[18]} {w[19]}.",
    )


def planted(*texts: tuple[str, str], seeds=range(100, 102)) -> Corpus:
    """A corpus of (module, text), and one plain text on each side, so that neither is empty."""
    plain = [(side, "\n\n".join(made(seed))) for side, seed in zip((TRAIN, TEST), seeds, strict=True)]
    documents = [Document(text, "pack", where, f"f{at}") for at, (where, text) in enumerate((*plain, *texts))]
    return Corpus(tuple(documents), (Origin("pack", "1", len(documents), 0),))


def one(text: str, **options) -> tuple[str, str] | None:
    """Summary and body that the training part makes of `text`; None where it leaves it out."""
    part, _ = summaries(planted((TRAIN, text)), **options)
    found = [at for at, name in enumerate(part.names) if name.endswith(".f2")]
    return (part.summaries[found[0]], part.bodies[found[0]]) if found else None


SUMMARY, BODY = made(0)


def test_the_first_sentence_is_the_summary_and_the_prose_after_it_the_body():
    assert one(f"{SUMMARY}\n\n{BODY}\n\nParameters\n----------\nx : int\n    A number.") == (SUMMARY, BODY)
    assert one(f"{SUMMARY} {BODY}\n\nArgs:\n    x: A number.") == (SUMMARY, BODY)


def test_a_summary_may_be_wrapped_and_begin_like_a_section():
    summary = "Return the copper kettle near the river and its lid."
    assert one(f"{summary.replace(' near', chr(10) + 'near')}\n\n{BODY}") == (summary, BODY)
    assert one(f"{SUMMARY}\n\n{BODY}\n\nReturns a mapping:\n\n    Of names. To values.") == (SUMMARY, BODY)


@pytest.mark.parametrize(
    "after",
    [
        "\n>>> f(1)\n1",
        "\n.. math::\n\n    x = y.",
        "\n- a list.\n- of items.",
        "\n    Indented code.",
        ":param x: A number.",
        "Returns:\n    A number.",
        "Notes\n-----\nMore words of prose that belong to a section.",
        "See Also\n--------\ng : Another one.",
        "Any Heading\n===========\nMore words of prose.",
        "\nA last line without an end",
    ],
    ids=["example", "directive", "list", "code", "field", "section", "numpy", "see also", "heading", "fragment"],
)
def test_what_is_no_prose_stays_out(after):
    assert one(f"{SUMMARY}\n\n{BODY}\n{after}") == (SUMMARY, BODY)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("``copper``", "copper"),
        (":class:`~pack.deep.Copper`", "pack.deep.Copper"),
        (":ref:`the guide <guide>`", "the guide"),
        ("[`Copper`](https://example.org/a_b)", "Copper"),
        ("copper [1]_", "copper"),
        ("**copper** by *a river*", "copper by a river"),
        ("*args", "*args"),
    ],
)
def test_markup_becomes_words(written, plain):
    body = f"{BODY} Then {written} comes last."
    assert one(f"{SUMMARY}\n\n{body}") == (SUMMARY, f"{BODY} Then {plain} comes last.")


@pytest.mark.parametrize(
    "text",
    [
        f"no capital here at all.\n\n{BODY}",
        f"Without a full stop\n\n{BODY}",
        f"Too short.\n\n{BODY}",
        f"{'Far ' + 'too ' * 30}long.\n\n{BODY}",
        f"    Code first.\n\n{SUMMARY}\n\n{BODY}",
        f"{SUMMARY}\n\nOne sentence of body alone, which has quite a lot of words but is only one, not two.",
        f"{SUMMARY}\n\nA few words. Not enough.",
        SUMMARY,
    ],
    ids=["case", "stop", "short", "long", "code", "one sentence", "few words", "no body"],
)
def test_what_is_no_pair_is_left_out_and_counted(text):
    assert one(text) is None
    part, _ = summaries(planted((TRAIN, text)))
    assert sum(part.dropped.values()) == 1


def test_a_body_of_one_sentence_is_there_when_asked_for():
    body = "One sentence of body alone, which has quite a lot of words but is only one, not two."
    assert one(f"{SUMMARY}\n\n{body}", fewest=1) == (SUMMARY, body)


def test_a_long_body_is_cut_after_a_whole_sentence():
    first, second = sentences(BODY)
    assert one(f"{SUMMARY}\n\n{BODY}", fewest=1, shortest=1, longest=len(BODY.split()) - 1) == (SUMMARY, first)
    part, _ = summaries(planted((TRAIN, f"{SUMMARY}\n\n{BODY}")), fewest=1, shortest=1, longest=len(BODY.split()))
    assert f"{first} {second}" in part.bodies
    assert not part.dropped["beyond the longest body (sentences)"]


def test_a_text_like_another_in_all_but_names_is_dropped():
    other = BODY.replace(BODY.split()[3], "other_name", 1)
    again = f"{made(1)[0]}\n\n{other}"  # another summary, nearly the same body
    renamed = f"{' '.join(SUMMARY.split()[:-1])} winter_garden.\n\n{made(2)[1]}"  # half a summary again, another body
    part, _ = summaries(planted((TRAIN, f"{SUMMARY}\n\n{BODY}"), (TRAIN, again), (TRAIN, renamed)))
    assert len(part) == 2
    assert part.dropped["alike"] == 2


def test_a_test_text_like_a_training_text_is_dropped_whatever_its_side_is_called():
    train, test = summaries(planted((TRAIN, f"{SUMMARY}\n\n{BODY}"), (TEST, f"{made(1)[0]}\n\n{BODY}")))
    assert (len(train), len(test)) == (2, 1)
    assert test.dropped["like a training text"] == 1
    assert "like a training text" not in train.dropped


def test_a_sentence_that_many_training_texts_share_is_a_formula():
    formula = "See guide_{} for more."
    texts = [(TRAIN, "\n\n".join((*made(n), formula.format(n)))) for n in range(8)]
    train, test = summaries(planted(*texts, (TEST, "\n\n".join((*made(9), formula.format(9))))))
    assert not any("for more" in body for body in train.bodies + test.bodies)
    assert (train.dropped["formulas (sentences)"], test.dropped["formulas (sentences)"]) == (8, 1)
    seven, _ = summaries(planted(*texts[:7]))
    assert sum("for more" in body for body in seven.bodies) == 7


def test_the_seed_draws_the_order_and_a_limit_takes_its_beginning():
    whole = planted(*((TRAIN, "\n\n".join(made(n))) for n in range(12)))
    first, again, other = (summaries(whole, seed=seed)[0] for seed in (0, 0, 1))
    assert first.names == again.names != other.names
    assert sorted(first.names) == sorted(other.names)
    assert summaries(whole, train=5)[0].names == first.names[:5]


def test_a_set_is_indexed_like_a_list():
    part, _ = summaries(planted(*((TRAIN, "\n\n".join(made(n))) for n in range(4))))
    assert part[1:3].bodies == part.bodies[1:3]
    assert part[torch.tensor([2, 0])].names == (part.names[2], part.names[0])
    assert len(part[[]]) == 0
    assert "SummarySet(5 bodies" in repr(part)


@pytest.mark.parametrize("parts", [(("a",), (), ("n",)), (("a",), (" ",), ("n",)), (("",), ("s",), ("n",))])
def test_a_set_of_uneven_or_empty_parts_is_refused(parts):
    with pytest.raises(InputError):
        SummarySet(*parts)


@pytest.mark.parametrize("options", [{"shortest": 0}, {"longest": 5}, {"train": 0}, {"test": 1.5}, {"fewest": 0}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(InputError):
        summaries(planted(), **options)


def test_a_corpus_without_summaries_says_what_was_left_out():
    with pytest.raises(DataError, match="test part"):
        summaries(Corpus(planted().documents[:1], planted().manifest))
    with pytest.raises(DataError, match="1 without a summary"):
        summaries(Corpus((Document("no summary", "pack", TRAIN, ""),), planted().manifest))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One here. Two there! Three? ", 3),
        ("Some, e.g. This one. See Smith et al. (2003) for i.e. That. End.", 3),
        ("Version 1.5 of a.b.C ends. max_steps=3 is next.", 2),
        ("lower case follows. this goes on.", 1),
        ("", 0),
    ],
)
def test_sentences(text, count):
    found = sentences(text)
    assert len(found) == count
    assert " ".join(found) == " ".join(text.split())


def test_the_real_corpus_gives_pairs_by_the_thousand_from_different_files():
    """Bands, because the corpus differs with the versions of its packages."""
    documents = corpus()
    train, test = summaries(documents)
    assert 2000 < len(train) < 7000
    assert 250 < len(test) < 1000
    assert not set(train.summaries) & set(test.summaries)
    side = {f"{d.module}.{d.name}".rstrip("."): held_out(d) for d in documents.documents}
    for part, held in ((train, False), (test, True)):
        assert {side[name] for name in part.names} == {held}
        assert len(set(part.summaries)) == len(set(part.bodies)) == len(part)
        assert all(15 <= len(body.split()) <= 80 and len(sentences(body)) >= 2 for body in part.bodies)
        assert all(4 <= len(line.split()) <= 25 and line.endswith(".") for line in part.summaries)
    verbatim = sum(s.rstrip(".").lower() in b.lower() for s, b in zip(train.summaries, train.bodies, strict=True))
    assert verbatim < 0.02 * len(train)
