"""Does a student's copy show anything that its source hides? Every string in the file is searched, decoded as well.

What is hidden is compared line by line, without white space: a line of a solution, of a judge's cell, a sentence or a
table's cell of a rubric. Lines that the student is given anyway, before the place where they are hidden, do not count.
"""

import ast
import base64
import binascii
import html
import json
import re
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bigmodel_lab.course.markers import MARKER_WORDS, SourceCell, read_source
from bigmodel_lab.errors import DataError

__all__ = ["leaks"]

SHORTEST = 8  # characters without white space: shorter lines are found everywhere
DEEPEST = 3  # text in base64 in a string of JSON in metadata, say
_KINDS = {"answer": "the solution", "judge": "the judge's probes", "rubric": "the rubric"}
_ALLOWED_ROLES = {"question", "answer", "check"}
# lines that any notebook may hold: they say nothing of how a thing is done
_TRIVIAL = re.compile(
    r"(?:import\b.*|from\b.*\bimport\b.*|(?:async )?def\b.*|class\b.*|@\w+|(?:return|yield) [A-Za-z_][\w.]*|[\w.]+\(\)"
    r"|(?:for|while|if|elif|with|except)\b[\w ,.()]*:|else:|try:|finally:|\w+ = [A-Za-z_][\w.]*|\W*"
    r"|(?:return |yield |\w+ = )?[\w.]*[\[({]+"
    r"|(?:points|tolerance)=[\d.e-]+,?|(?:hint|name)=f?\"[^\"]*\",?)"
)
_LITERAL = re.compile(r'"[^"]{,20}"(?:: (?:[\d.]{,3}|True|False|None|"[^"]{,20}"))?,?')  # an input of the judge's
_BASE64 = (re.compile(r"[\w+/-]{15,}={0,2}", re.ASCII), re.compile(r"(?:[\w+/-]{4,}(?:\s|\\n)?){2,}={0,2}", re.ASCII))
_MARKS = (
    (MARKER_WORDS, "a solution's marker"),
    (re.compile(r"\bdef\s+probes\s*\(|\bProbe\s*\("), "a judge's probe"),
    (re.compile(r"\bHIDDEN[\s_-]*TESTS?\b", re.IGNORECASE), "hidden tests"),
)


def leaks(source: Path, copy: Path) -> list[str]:
    """Return one line for each place in the notebook `copy` that shows what `source` hides; empty when there is none.

    Searched are all keys and strings of the file (text, metadata, outputs, attachments, ids), and what they hold in
    base64, compressed, as escaped JSON, HTML or percent signs. Outputs, execution counts and attachments, metadata that
    says more than the names of questions, and ids taken from cells with something hidden are reported as such.
    Raises `DataError` where `copy` is no JSON.
    """
    _, cells = read_source(source)
    taken = {cell.cell["id"] for cell in cells if cell.role in ("answer", "judge", "rubric") and "id" in cell.cell}
    try:
        notebook = json.loads(Path(copy).read_text(encoding="utf-8"))
        found = list(_in_structure(notebook, taken))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"a notebook at {copy}", got=f"{type(error).__name__}: {error}") from error
    telling = ((secret, what) for secret, what in _secrets(cells) if not _TRIVIAL.fullmatch(secret))
    secrets = {_bare(s): (_pattern(s), f"{what}: {s[:60]}") for s, what in telling if len(_bare(s)) >= SHORTEST}
    for place, text in _strings(notebook):
        seen = set()
        for form in _forms(text):
            bare = _bare(form)
            seen |= {what for secret, (words, what) in secrets.items() if secret in bare and words.search(form)}
            seen |= {what for mark, what in _MARKS if mark.search(form)}
        found += [f"{place}: {what}" for what in sorted(seen)]
    return list(dict.fromkeys(found))


def _secrets(cells: list[SourceCell]) -> Iterator[tuple[str, str]]:
    """Each hidden line, and what it is and where it stands."""
    given: set[str] = set()
    for cell in cells:
        parts = _code_parts if cell.cell.cell_type == "code" else _prose_parts
        what, lines = _KINDS.get(cell.role, ""), cell.hidden if cell.role == "answer" else cell.kept
        if cell.role in ("", "answer") and cell.cell.cell_type == "code":
            given |= {_bare(part) for line in cell.kept for part in parts(line)}
        for part in (part for line in lines if what for part in parts(line)):
            if part and _bare(part) not in given and not (cell.role == "judge" and _LITERAL.fullmatch(part)):
                yield part, f"a line of {what} in {cell.where}"
        for part in _expected(cell) if cell.role == "judge" else ():
            if _bare(part) not in given:
                yield part, f"what the judge expects, in {cell.where}"


def _expected(cell: SourceCell) -> Iterator[str]:
    """Expected values and judge functions of a judge's cell as they are spelled; short lists of numbers left out."""
    try:
        tree = ast.parse(cell.cell.source)
    except SyntaxError as error:
        raise DataError(f"Python in {cell.where}", got=f"line {error.lineno}: {error.msg}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("expected", "judge"):
            part = ast.get_source_segment(cell.cell.source, node.value) or ""
            if not re.fullmatch(r"[\[\](){}\d., -]{,20}", part):
                yield part


def _code_parts(line: str) -> list[str]:
    """A line's code and its comment."""
    code, _, comment = line.strip().partition("  # ")
    return [code.strip("# ") if code.startswith("#") else code.strip(), comment.strip()]


def _prose_parts(line: str) -> list[str]:
    """The sentences and the table's cells of a line of Markdown, without list marks and emphasis."""
    plain = re.sub(r"^\s*(?:[-*+>#]+|\d+[.)])\s+", "", line)
    return [part.strip(" *_`:") for part in re.split(r"(?<=[.!?;])\s+|\|", plain)]


def _pattern(secret: str) -> re.Pattern[str]:
    """The secret's words and signs with any white space between them, and no word that goes on at either end."""
    words = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", secret)))
    return re.compile(rf"(?:(?<!\w)|(?!\w)){words}(?:(?!\w)|(?<!\w))")


def _bare(text: str) -> str:
    return "".join(text.split())


def _in_structure(notebook: dict[str, Any], ids: set[str]) -> Iterator[str]:
    """What a copy may not carry, whatever it says."""
    for number, cell in enumerate(notebook["cells"], 1):
        for part in ("outputs", "execution_count", "attachments"):
            if cell.get(part):
                yield f"cell {number}: has {part}"
        mark = cell["metadata"].get("course", {})
        if not isinstance(mark, dict) or set(mark) - _ALLOWED_ROLES:
            yield f"cell {number}: its metadata says more than the name of a question"
        if cell.get("id") in ids:
            yield f"cell {number}: its id is that of a cell with something hidden"


def _strings(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with its place: keys, and lists of strings (as notebooks spell lines) as one text."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        yield place, "".join(value)
        yield place, "\n".join(value)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _strings(one, f"{place}[{number + 1}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield f"{place}.{key} (its name)", key
            yield from _strings(one, f"{place}.{key}" if place else key)


def _forms(text: str, depth: int = DEEPEST) -> Iterable[str]:
    """The text, and all that it may be an encoding of."""
    seen, todo = {text}, [(text, depth)]
    while todo:
        one, left = todo.pop()
        yield one
        if left:
            fresh = [form for form in _decoded(one) if form and form not in seen]
            seen.update(fresh)
            todo += [(form, left - 1) for form in fresh]


def _decoded(text: str) -> Iterator[str]:
    yield html.unescape(text)
    yield urllib.parse.unquote(text)
    yield re.sub(r'\\(["\\/])', r"\1", text.replace("\\n", "\n").replace("\\t", "\t"))
    for run in (run for spelled in _BASE64 for run in spelled.findall(text)):
        plain = re.sub(r"\s|\\n", "", run).rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(plain[: len(plain) - (len(plain) % 4 == 1)] + "=" * (-len(plain) % 4 % 3))
        except (binascii.Error, ValueError):
            continue
        yield data.decode("utf-8", "ignore")
        for bits in (15, 31):  # zlib, gzip
            try:
                yield zlib.decompressobj(bits).decompress(data, 10_000_000).decode("utf-8", "ignore")
            except zlib.error:
                continue
