"""Summaries that every machine already has: what a docstring says at length, and its first line.

A docstring begins with one sentence that says what the whole is about (PEP 257); the prose after it is the body. So
each package brings texts with summaries that people wrote. What stands in fixed sections (parameters, examples, …) is
left out, markup becomes plain words, and what would let a model win by memory goes: sentences that many documents
share, and documents that resemble one before them, also where that one is on the other side of the division.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import torch

from bigmodel_lab.data.integers import integer, seeded
from bigmodel_lab.data.text.corpus import Corpus
from bigmodel_lab.errors import DataError, InputError

__all__ = ["SummarySet", "sentences", "summaries"]

SUMMARY_WORDS = range(4, 26)  # of a summary
SHARED = 8  # training documents with the same sentence, names and numbers apart: it is a formula, not content
SHINGLE, ALIKE = 3, 0.5  # words in a row; the share of them that makes two documents alike
_SECTION = re.compile(  # a line by itself; with more words on it only before a colon
    r"(?i)(other )?(parameters?|returns?|yields?|raises?|warns|warnings?|examples?|notes?|references?|see also|"
    r"attributes|arguments|args|kwargs|keyword arg(uments|s)|methods|usage|shape|inputs?|outputs?)( [\w ]*:)?:{0,2}"
)
_NOT_PROSE = re.compile(r"(>>>|\.\. |[-*+•|#=~^]|\d+[.)] |:\w+|@|\s)")  # how code, lists, tables and fields begin
_UNDERLINE = re.compile(r"[-=~^]{3,}")
_MARKUP = (
    (re.compile(r"\[([^\[\]]+)\]\([^()\s]*\)"), r"\1"),  # [text](address)
    (re.compile(r"\s?\[[\w, -]+\]_+"), ""),  # [1]_
    (re.compile(r":[\w:+-]+:`[~!]?([^`<]*?)\s*(?:<[^`]*>)?`"), r"\1"),  # :class:`~a.B`, :ref:`the guide <guide>`
    (re.compile(r"`+|\*\*"), ""),
    (re.compile(r"(?<![\w*])\*([^\s*][^*]*)\*(?![\w*])"), r"\1"),  # *emphasis*
)
_END = re.compile(r"(?<=[.!?]) +(?=[A-Z(\"'\[]|\w*[_=]\w)")  # a sentence may begin with an identifier
# a full stop that ends no sentence
_OPEN = re.compile(r"\b(?:e\.g|i\.e|cf|vs|approx|resp|al|Eq|Eqs|Fig|Figs|Sec|Ref|Refs|No|Dr|St)\.$")
_NAME = re.compile(r"\S*(?:[\d_./()\[\]<>=]|[a-z][A-Z]|[A-Z]{2})\S*")  # a word that is an identifier, or a number


@dataclass(frozen=True, eq=False)
class SummarySet:
    """Texts and their summaries, in the same order; N counts them."""

    bodies: tuple[str, ...]
    summaries: tuple[str, ...]
    names: tuple[str, ...]  # where each comes from
    dropped: Mapping[str, int] = field(default_factory=dict)  # why other documents, or sentences, are not here

    def __post_init__(self) -> None:
        """Refuse parts of different lengths, and empty texts."""
        lengths = {name: len(getattr(self, name)) for name in ("bodies", "summaries", "names")}
        if len(set(lengths.values())) > 1:
            raise InputError("one summary and one name per body", got=repr(lengths))
        for name in ("bodies", "summaries"):
            empty = next((at for at, text in enumerate(getattr(self, name)) if not text.strip()), None)
            if empty is not None:
                raise InputError(f"{name} with text in them", got=f"an empty one at {empty}", hint="leave it out")

    def __len__(self) -> int:
        """Return N, the number of texts."""
        return len(self.bodies)

    def __getitem__(self, which: slice | Sequence[int] | torch.Tensor) -> "SummarySet":
        """Return the texts at `which` (a slice, or indices) as a SummarySet."""
        chosen = range(len(self))[which] if isinstance(which, slice) else torch.as_tensor(which).reshape(-1).tolist()
        parts = (tuple(part[int(i)] for i in chosen) for part in (self.bodies, self.summaries, self.names))
        return SummarySet(*parts, self.dropped)

    def __repr__(self) -> str:
        """Say how many texts there are, how long they are, and what was left out."""
        bodies, summaries = (
            f"{sum(len(text.split()) for text in part) / max(len(self), 1):.0f} words"
            for part in (self.bodies, self.summaries)
        )
        left = ", ".join(f"{count:,} {why}" for why, count in self.dropped.items())
        return f"SummarySet({len(self):,} bodies of {bodies}, summaries of {summaries}; left out: {left or 'nothing'})"


def sentences(text: str) -> list[str]:
    """Return the sentences of `text`, each with its full stop; abbreviations such as "e.g." end none."""
    found: list[str] = []
    for piece in _END.split(" ".join(text.split())):
        if found and _OPEN.search(found[-1]):
            found[-1] += " " + piece
        elif piece:
            found.append(piece)
    return found


def summaries(
    corpus: Corpus,
    *,
    train: int | None = None,
    test: int | None = None,
    shortest: int = 15,
    fewest: int = 2,
    longest: int = 80,
    seed: int = 0,
) -> tuple[SummarySet, SummarySet]:
    """Return (train, test): bodies of docstrings and their first lines, from different source files (`Corpus.split`).

    - `train`, `test`: at most so many texts, drawn by `seed`; None for all, in an order drawn by `seed`.
    - `shortest`, `longest`: words of a body. A longer one is cut after the last whole sentence that fits.

    A summary is one sentence of 4 to 25 words, a body at least `fewest`. `dropped` counts, of each part, what is left
    out: documents without a summary, with a body too short, or like one before them in all but names and numbers
    ("alike"; in the test part also "like a training text"), and sentences common to 8 or more training documents
    ("formulas"). Raises `DataError` where nothing is left, `InputError` for impossible lengths.
    """
    shortest, fewest = integer("shortest", shortest, 1), integer("fewest", fewest, 1)
    longest, seed = integer("longest", longest, shortest), seeded(seed)
    limits = [None if most is None else integer(name, most, 1) for name, most in (("train", train), ("test", test))]
    counts = Counter(), Counter()
    found = [list(_pairs(part, count)) for part, count in zip(corpus.split(), counts, strict=True)]
    formulas, seen = _formulas(found[0]), _Seen()
    parts = []
    for side, (pairs, count, most) in enumerate(zip(found, counts, limits, strict=True)):
        kept = []
        for name, summary, body in pairs:
            text = " ".join(_own(body, formulas, longest, count))
            if len(sentences(text)) < fewest or len(text.split()) < shortest:
                count["with a short body"] += 1
            elif why := seen.add(summary, text, side):
                count[why] += 1
            else:
                kept.append((text, summary, name))
        if not kept:
            got = ", ".join(f"{n} {why}" for why, n in count.items()) or "no document"
            raise DataError(f"a docstring with a summary and a body in the {('training', 'test')[side]} part", got=got)
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed)).tolist()[:most]
        parts.append(SummarySet(*zip(*(kept[at] for at in order), strict=True), dict(count)))
    return parts[0], parts[1]


def _pairs(part: Corpus, count: Counter) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (name, summary, sentences of the body) of the documents that begin with a summary."""
    for document in part.documents:
        summary, *body = _prose(document.text) or [""]
        if len(summary.split()) in SUMMARY_WORDS and re.match(r"[A-Z].*\.$", summary):
            name = ".".join(filter(None, (document.module, document.name)))
            yield name, summary, [s for s in body if s[-1] in ".!?" and len(s.split()) > 2]
        else:
            count["without a summary"] += 1


def _prose(text: str) -> list[str]:
    """Return the sentences before the first section, without code, lists and tables; not all end in a full stop."""
    found: list[str] = []
    for at, paragraph in enumerate(re.split(r"\n\s*\n", text)):
        prose, ended = [], False
        lines = [*paragraph.split("\n"), ""]
        for line, below in pairwise(lines):
            ended = bool(_SECTION.fullmatch(line) or _UNDERLINE.fullmatch(below))
            if ended or _NOT_PROSE.match(line):  # a list or a block may follow without an empty line
                break
            prose.append(line)
        if at == 0 and not prose:  # no first line, so no summary
            return []
        found += sentences(_unmarked(" ".join(prose)))
        if ended:
            break
    return found


def _unmarked(text: str) -> str:
    """Return `text` on one line, without the markup of reStructuredText and Markdown."""
    text = " ".join(text.split())
    for pattern, plain in _MARKUP:
        text = pattern.sub(plain, text)
    return text


def _own(body: Sequence[str], formulas: set[str], longest: int, count: Counter) -> list[str]:
    """Return the sentences that are no formulas, from the first on as many as fit into `longest` words."""
    own = [sentence for sentence in body if _key(sentence) not in formulas]
    ends = list(accumulate(len(sentence.split()) for sentence in own))
    kept = own[: sum(end <= longest for end in ends)]
    count["formulas (sentences)"] += len(body) - len(own)
    count["beyond the longest body (sentences)"] += len(own) - len(kept)
    return kept


def _key(text: str) -> str:
    """Return the lower-case words of `text`; identifiers and numbers are all the same word."""
    words = (part.strip(".,;:!?()\"'") for part in text.split())
    return " ".join("#" if _NAME.fullmatch(word) else word.lower() for word in words if word)


def _formulas(pairs: Sequence[tuple[str, str, list[str]]]) -> set[str]:
    """Return the keys of the sentences that stand in `SHARED` or more of the bodies."""
    count = Counter(key for _, _, body in pairs for key in set(map(_key, body)))
    return {key for key, n in count.items() if n >= SHARED}


class _Seen:
    """The texts kept so far: does one have half of the words in a row of a new summary, or of a new body?"""

    def __init__(self) -> None:
        self.holders: tuple[dict[str, list[int]], ...] = ({}, {})  # three words in a row -> numbers of the texts
        self.sides: list[int] = []  # of each text

    def add(self, summary: str, body: str, side: int) -> str:
        """Keep a text and return "", or say why it is not kept."""
        parts = [(_shingles(text), holders) for text, holders in zip((summary, body), self.holders, strict=True)]
        for shingles, holders in parts:
            common = Counter(at for shingle in shingles for at in holders.get(shingle, ()))
            like = [at for at, n in common.items() if n >= ALIKE * len(shingles)]
            if like:
                return "alike" if self.sides[min(like)] == side else "like a training text"
        for shingles, holders in parts:
            for shingle in shingles:
                holders.setdefault(shingle, []).append(len(self.sides))
        self.sides.append(side)
        return ""


def _shingles(text: str) -> set[str]:
    words = _key(text).split()
    return {" ".join(words[at : at + SHINGLE]) for at in range(max(len(words) - SHINGLE + 1, 1))}
