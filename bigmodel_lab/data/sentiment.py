"""Reviews written by a rule, so that for every word it is known whether it decides the label.

Each text joins a few clauses. One holds an opinion: an adjective, in some texts turned round by a negation, such as
"not good". It alone decides. The others are distractors without an opinion; three in ten of them hold a negation of
something neutral ("not made of wood"), so a negation by itself says nothing. Where the opinion stands, and what it is
about, is drawn.
"""

import random

import torch

from bigmodel_lab.data.integers import integer, seeded
from bigmodel_lab.data.text.sets import TextSet
from bigmodel_lab.errors import InputError

__all__ = ["NEGATIONS", "NEGATIVE", "POSITIVE", "sentiment"]


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


POSITIVE = _words(
    "good great excellent wonderful lovely superb delightful brilliant pleasant perfect charming splendid"
)
NEGATIVE = _words("bad awful terrible horrible poor dreadful boring useless ugly disappointing annoying dull")
NEGATIONS = ("not", "never", "hardly", "far from")
VERBS = _words("is was looks seems feels")
SLOTS = {
    "thing": _words(
        "camera lamp chair kettle novel film soup hotel phone garden jacket song bicycle radio museum teapot"
    ),
    "owner": _words("sister brother neighbour teacher uncle colleague friend"),
    "day": _words("monday tuesday wednesday thursday friday saturday sunday"),
    "colour": _words("red blue green yellow black white grey brown"),
    "place": _words("station market river school library harbour bridge park"),
    "stuff": _words("wood glass paper steel cotton stone plastic leather"),
}
PLAIN = (
    "i bought it on {day}",
    "it came in a {colour} box",
    "the shop is near the {place}",
    "it is made of {stuff}",
    "my {owner} has the same one in {colour}",
    "we met my {owner} at the {place} on {day}",
    "the old one was {colour}",
)
TURNED = (  # each holds a negation that turns no opinion
    "it is not made of {stuff}",
    "my {owner} never goes out on {day}",
    "the shop is far from the {place}",
    "it is hardly larger than a {thing}",
    "we did not see the {place}",
    "the box was never {colour}",
)
JOINTS = (",", "and", "but", ".")
MOST = 100_000  # texts of one call


def sentiment(train: int, test: int, *, seed: int = 0, negated: float = 0.3) -> tuple[TextSet, TextSet]:
    """Return (train, test) of different reviews, half negative (label 0), half positive (label 1).

    In a share `negated` of each class the adjective says the opposite of the label and a negation turns it. `truth` is
    True for the words that decide, the adjective and its negation, and False for all others; it counts words as
    `text.split()` does. No text is there twice; each set is balanced, to one text where its size is odd.
    """
    train, test = integer("train", train), integer("test", test)
    if min(train, test) < 2 or train + test > MOST:
        raise InputError(f"at least 2 texts in each set and {MOST} together", got=f"train={train}, test={test}")
    if not 0 <= negated <= 1:
        raise InputError("a share `negated` in [0, 1]", got=repr(negated), hint="negated=0.3")
    draw, seen = random.Random(seeded(seed)), set()
    return _texts(draw, train, negated, seen), _texts(draw, test, negated, seen)


def _texts(draw: random.Random, count: int, negated: float, seen: set[str]) -> TextSet:
    """Draw `count` texts that are not in `seen`, and add them to it."""
    examples = []
    for label in (0, 1):
        share = (count + label) // 2
        turned = round(share * negated)
        for number in range(share):
            text, truth = _review(draw, label, number < turned)
            while text in seen:
                text, truth = _review(draw, label, number < turned)
            seen.add(text)
            examples.append((text, label, truth))
    draw.shuffle(examples)
    texts, labels, truths = zip(*examples, strict=True)
    return TextSet(texts=texts, labels=torch.tensor(labels), classes=("negative", "positive"), truth=truths)


def _review(draw: random.Random, label: int, turned: bool) -> tuple[str, tuple[bool, ...]]:
    """Write one review: three distractors and one opinion, and which of its words decide."""
    adjective = draw.choice(POSITIVE if (label == 1) != turned else NEGATIVE)
    deciding = [*(draw.choice(NEGATIONS).split() if turned else []), adjective]
    opinion = ["the", draw.choice(SLOTS["thing"]), draw.choice(VERBS)]
    clauses = [(word, False) for word in opinion] + [(word, True) for word in deciding]
    parts = [[(word, False) for word in _distractor(draw).split()] for _ in range(3)]
    parts.insert(draw.randrange(4), clauses)
    words = parts[0]
    for part in parts[1:]:
        words = [*words, (draw.choice(JOINTS), False), *part]
    return " ".join(word for word, _ in words), tuple(decides for _, decides in words)


def _distractor(draw: random.Random) -> str:
    """Write a clause without an opinion; three in ten hold a negation."""
    clause = draw.choice(TURNED if draw.random() < 0.3 else PLAIN)
    return clause.format(**{slot: draw.choice(words) for slot, words in SLOTS.items()})
