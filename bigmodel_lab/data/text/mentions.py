"""Sentences of docstrings as plain prose, and which of their words name a parameter, a type or a module.

The answer comes from the source code, not from the sentence: a function's signature lists its parameters, class
statements list types, files are modules. Where an author marked a word as code (`x`, *x*, :class:`Figure`), the mark
helps to decide and is then taken away, so that it cannot give the answer away. Sections: numpydoc and Google style.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Known", "prose", "tagged"]

# --- sentences ------------------------------------------------------------------------------------------------------

UNREAD = {"example", "examples", "methods", "raises", "references", "see also", "warns"}  # lists and code, no prose
LISTS = {"attributes", "other parameters", "parameters", "returns", "yields"}  # of numpydoc: entries at the margin
UNDERLINE = re.compile(r"[-=~^]{3,}$")
GOOGLE = re.compile(r"(arg(?:ument)?s|attributes|examples?|inputs|keyword arguments?|notes?|outputs|raises|returns):+$")
ENTRY = re.compile(r"\*{0,2}`?\w+`?(?: ?\([^)]*\))?: +(?P<text>.*)$")  # Google's  name (type): text
HEADER = re.compile(r"[\w*, .()\"'{}\[\]|-]{1,60} : ")  # numpydoc's  name : type
ITEM = re.compile(r"(?:[-*•]|\d+\.|:\w+(?: \w+)?:) +(?P<text>.*)$")
NOTE = re.compile(r"\.\. (?:note|warning|tip|important|versionchanged|deprecated)::")
END = re.compile(r"(?<=[.!?])(?<!\b[eE]\.g\.)(?<!\b[iI]\.e\.)(?<!\bvs\.)(?<!\bcf\.)\s+(?=[A-Z`*:])")
MARK = re.compile(r"(?P<role>:[\w:+-]+:)?(``|`|\*\*|\*)(?=[^\s`*])([^`*\n]+?)(?<=[^\s`*])\2(?![`\w*])")
NO_PROSE = re.compile(r"[\\|{}=$%#@\[\]]|[<>](?!`)|:(?:math|doc|eq):|::|https?:|\.\.\.")  # formulas, code, links
SHORTEST, LONGEST = 6, 40  # words of a sentence, as `str.split` counts them


def prose(docstring: str) -> Iterator[str]:
    """Yield the whole sentences of a cleaned docstring, marks and all: no code, no formulas, no lists of names."""
    for paragraph in _paragraphs(docstring.split("\n")):
        for sentence in END.split(paragraph):
            if (
                sentence.endswith(".")
                and re.match(r"[A-Z`*:]", sentence)
                and SHORTEST <= len(sentence.split()) <= LONGEST
                and not NO_PROSE.search(sentence)
                and not any(" " in mark[3].partition(" <")[0] for mark in MARK.finditer(sentence))
            ):
                yield sentence


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield each paragraph, list item and description of an entry as one line."""
    section, skipped, paragraph = "", None, []  # `skipped`: the indent of what opened a block that is left out
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if skipped is not None and (not text or indent > skipped):
            continue
        skipped = None
        begins, keeps = _read(text, after.strip(), section, indent)
        if begins and paragraph:
            yield " ".join(paragraph)
            paragraph = []
        if text and UNDERLINE.match(after.strip()):
            section = text.lower()
        elif google := GOOGLE.match(text.lower()):
            section = google[1] if google[1] in UNREAD else "google"
        elif text.startswith(">>>") or (text.startswith("..") and not NOTE.match(text)):
            skipped = indent
        elif keeps:
            paragraph.append(keeps.removesuffix("::"))
        if text.endswith("::") and not NOTE.match(text):
            skipped = indent
    if paragraph:
        yield " ".join(paragraph)


def _read(text: str, after: str, section: str, indent: int) -> tuple[bool, str]:
    """Say of one line whether a new paragraph begins here, and which part of it is prose."""
    if not text or UNDERLINE.match(text) or UNDERLINE.match(after) or GOOGLE.match(text.lower()):
        return True, ""
    if section in UNREAD or text.startswith((">>>", "..", "+-")):
        return True, ""
    if HEADER.match(text) or (section in LISTS and indent == 0):
        return True, ""
    found = (ENTRY.match(text) if section == "google" else None) or ITEM.match(text)
    return (True, found["text"]) if found else (False, text)


# --- mentions -------------------------------------------------------------------------------------------------------

ALWAYS = {"array-like", "array_like", "bool", "dict", "float", "int", "list", "ndarray", "str", "tuple"}
WORD = re.compile(
    r"[eE]\.g\.|[iI]\.e\."  # kept whole
    r"|\w+(?:[-'’]\w+)+"  # array-like, it's: one word, and never code
    r"|(?P<chain>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"  # a name, or several joined by dots
    r"|\d+(?:\.\d+)*\w*|[^\w\s]"
)
CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2}.*[a-z]")
QUOTES = set("'\"`*~‘’“”")


@dataclass(frozen=True)
class Known:
    """What the source code tells of the names that one docstring may use."""

    parameters: frozenset[str] = field(default_factory=frozenset)  # of the function and the class around it
    declared: frozenset[str] = field(default_factory=frozenset)  # types of its parameters, classes around it
    classes: frozenset[str] = field(default_factory=frozenset)  # of all packages
    modules: frozenset[str] = field(default_factory=frozenset)  # dotted, of all packages


def tagged(sentence: str, known: Known) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words (T) of a sentence without its marks and quotes, and their BIO tags (T).

    A dotted name is cut at its dots: in `scipy.sparse.linalg.norm` the words "scipy . sparse . linalg" are one MODULE.
    """
    words: list[str] = []
    tags: list[str] = []
    at = 0
    for mark in [*MARK.finditer(sentence), None]:
        _cut(sentence[at : mark.start() if mark else None], False, known, words, tags)
        if mark:
            code = mark["role"] not in (":ref:", ":term:")
            _cut(re.sub(r"\s*<.*>$", "", mark[3]).lstrip("~!."), code, known, words, tags)
            at = mark.end()
    return tuple(words), tuple(tags)


def _cut(text: str, marked: bool, known: Known, words: list[str], tags: list[str]) -> None:
    """Append the words of `text`, marked as code or not, and their tags."""
    for found in WORD.finditer(text):
        word = found[0]
        if found["chain"] is None or (word.islower() and word.isalpha() and not marked):  # most words: no code
            if word not in QUOTES:
                words.append(word)
                tags.append("B-TYPE" if word in ALWAYS else "O")
            continue
        parts, before = word.split("."), ""
        for place, (part, kind) in enumerate(zip(parts, _kinds(parts, marked, known), strict=True)):
            inside = kind == before == "MODULE"
            if place:
                words.append(".")
                tags.append("I-MODULE" if inside else "O")
            words.append(part)
            tags.append(f"{'I' if inside else 'B'}-{kind}" if kind else "O")
            before = kind


def _kinds(parts: list[str], marked: bool, known: Known) -> list[str]:
    """Return of each part of a dotted name what it names: "NAME", "TYPE", "MODULE" or "" for something else."""
    first, dotted = parts[0], len(parts) > 1
    if first in known.parameters and (marked or "_" in first.strip("_")):
        return ["NAME", *[""] * (len(parts) - 1)]
    lengths = (n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known.modules)
    path = next(lengths, 0) if marked or dotted else 0
    return ["MODULE"] * path + ["TYPE" if _is_type(part, marked, dotted, known) else "" for part in parts[path:]]


def _is_type(word: str, marked: bool, dotted: bool, known: Known) -> bool:
    """Say whether `word` names a type here: it is the name of one, and code, or declared around the docstring."""
    if word in ALWAYS or word not in known.classes:
        return word in ALWAYS
    if word[0].isupper():
        return marked or dotted or word in known.declared or bool(CAMEL.search(word))
    return marked and not dotted
