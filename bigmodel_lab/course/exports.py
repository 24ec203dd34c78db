"""Grades into the files of Canvas and Moodle: their own export is read, one column is filled in, the rest stays.

Canvas: the gradebook's CSV (Student, ID, SIS User ID, SIS Login ID, Section, one column per assignment).
Moodle: the offline grading worksheet of an assignment (Identifier, Full name, Email address, Status, Grade, …).
Who is found in the file under no name, or under more than one row, is reported and gets nothing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bigmodel_lab.course.files import Sheet, plain, read_sheet, same, unharmed, write_sheet
from bigmodel_lab.course.marks import number
from bigmodel_lab.errors import DataError, InputError

__all__ = ["Filled", "Score", "canvas", "moodle", "read_scores"]

_POSSIBLE = "points possible"
_NUMBER = re.compile(r"\s*\d+([.,]\d+)?\s*")


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one student got."""

    student: str
    points: float
    most: float
    waiting: bool = False  # points given by hand are still to come
    filed_as: str = ""  # the name that the platform gave to the file


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What came of filling in a file."""

    path: Path
    column: str
    added: bool  # the column was not there before
    filled: int
    unmatched: tuple[str, ...]  # students with a grade that is not in the file, each with the reason
    empty: tuple[str, ...]  # people in the file for whom there is no grade


def read_scores(path: Path) -> tuple[str, list[Score]]:
    """Read `totals.csv` as `marks.totals` makes it: the assignment's name and the scores."""
    sheet = read_sheet(path)
    places = [sheet.column(name) for name in ("assignment", "student", "points", "most")]
    if None in places or not sheet.rows:
        expected = f"columns assignment, student, points, most and a row in {path.name}"
        raise DataError(expected, got=", ".join(sheet.header), hint="name the totals.csv that `grade` wrote")
    scores, waiting, filed_as = [], sheet.column("waiting"), sheet.column("filed_as")
    for line, row in zip(sheet.lines, sheet.rows, strict=True):
        name, student, points, most = (unharmed(row[at]) for at in places)
        if not _NUMBER.fullmatch(points) or not _NUMBER.fullmatch(most):
            raise DataError(f"numbers at line {line} of {path.name}", got=f"{plain(points)!r} of {plain(most)!r}")
        waits = waiting is not None and bool(row[waiting].strip())
        filed = "" if filed_as is None else unharmed(row[filed_as])
        scores.append(Score(student=student, points=_float(points), most=_float(most), waiting=waits, filed_as=filed))
    return name, scores


def canvas(source: Path, scores: Iterable[Score], to: Path, *, column: str, scale: bool = False) -> Filled:
    """Fill the column of the assignment `column` of an exported Canvas gradebook, and write it to `to`.

    Students are found by ID, SIS User ID, SIS Login ID (or the part before its @), or name. The column is named as
    Canvas names it, with or without the number in brackets; where it is missing it is added, and Canvas offers to make
    the assignment. Excused students (EX) stay excused. Where its points possible differ, `scale=True` converts.
    """
    sheet = read_sheet(source)
    if sheet.column("Student") is None or sheet.column("ID") is None:
        hint = "export it in Canvas: Grades, Export, Export Entire Gradebook"
        raise DataError(f"columns Student and ID in {source.name}", got=", ".join(sheet.header[:6]), hint=hint)
    ids = [at for at in map(sheet.column, ("Student", "ID", "SIS User ID", "SIS Login ID")) if at is not None]
    possible = next((row for row in sheet.rows if same(row[0]) == _POSSIBLE), None)
    people = [row for row in sheet.rows if any(row[at].strip() for at in ids[1:]) and row is not possible]
    where, added = _canvas_column(sheet, column)
    if added and possible is not None:
        possible[where] = ""
    scores = list(scores)
    most = possible[where].strip() if possible is not None else ""
    if most and not _NUMBER.fullmatch(most):
        raise DataError(f"points possible for {sheet.header[where]!r}", got=plain(most), hint="name another column")
    comma = possible is not None and any(re.fullmatch(r"\s*\d+,\d+\s*", cell) for cell in possible)
    as_text = _converter(scores, _float(most) if most else None, scale=scale, comma=comma)
    if possible is not None and scores and not most:
        possible[where] = as_text(Score(student="", points=scores[0].most, most=scores[0].most))
    return _fill(
        sheet, to, scores, people, ids, where, as_text, added=added, keep=lambda row: row[where].strip() == "EX"
    )


def moodle(source: Path, scores: Iterable[Score], to: Path, *, column: str = "Grade", scale: bool = False) -> Filled:
    """Fill the column `column` of a Moodle grading worksheet and write it to `to`.

    The columns before it say who it is: Identifier (also its number alone), full name, ID number, e-mail address (also
    the part before its @); the site's language may name them. The column after it holds the maximum, which has to be
    the assignment's (`scale=True` converts). Rows whose grade Moodle does not let be changed stay as they are.
    """
    sheet = read_sheet(source)
    where = sheet.column(column)
    if where is None or where == 0 or where + 1 >= len(sheet.header):
        hint = "download the grading worksheet; where your Moodle speaks another language, name the column: --column"
        raise DataError(
            f"a column {column!r} in {source.name}, between who and the maximum", got=", ".join(sheet.header), hint=hint
        )
    highest = {row[where + 1].strip() for row in sheet.rows} - {""}
    if len(highest) != 1 or not _NUMBER.fullmatch(next(iter(highest))):
        got = ", ".join(sorted(map(plain, highest))) or "nothing"
        raise DataError(
            f"one maximum after {column!r} in {source.name}", got=got, hint="the grade's type must be Point"
        )
    most = highest.pop()
    scores = list(scores)
    as_text = _converter(scores, _float(most), scale=scale, comma="," in most)
    locked = sheet.column("Grade can be changed")
    ids = [at for at in range(where) if same(sheet.header[at]) != "status"]
    keep = (lambda row: same(row[locked]) == "no") if locked is not None else (lambda row: False)
    return _fill(sheet, to, scores, sheet.rows, ids, where, as_text, added=False, keep=keep)


def _canvas_column(sheet: Sheet, column: str) -> tuple[int, bool]:
    """Return where the column is, and whether it had to be added at the end."""
    wanted = same(column)
    hits = [
        at for at, cell in enumerate(sheet.header) if wanted in (same(cell), same(re.sub(r"\s*\(\d+\)\s*$", "", cell)))
    ]
    if len(hits) > 1:
        got = ", ".join(repr(sheet.header[at]) for at in hits)
        raise InputError(f"one column named {column!r}", got=got, hint="give the name with its number")
    if hits:
        return hits[0], False
    sheet.header.append(column)
    for row in sheet.rows:
        row.append("")
    return len(sheet.header) - 1, True


def _converter(scores: list[Score], most: float | None, *, scale: bool, comma: bool) -> Callable[[Score], str]:
    """Return what writes a score as the file wants it; an error where the maxima differ and `scale` is not set."""
    ours = {score.most for score in scores}
    if most is not None and not scale and any(abs(value - most) > 1e-9 for value in ours):
        got = f"{number(most)} points in the file, {', '.join(map(number, sorted(ours)))} in the assignment"
        raise InputError("the same maximum on both sides", got=got, hint="change it there, or convert with --scale")

    def as_text(score: Score) -> str:
        points = score.points * most / score.most if scale and most is not None and score.most else score.points
        return number(points).replace(".", "," if comma else ".")

    return as_text


def _fill(
    sheet: Sheet,
    to: Path,
    scores: list[Score],
    people: list[list[str]],
    ids: list[int],
    where: int,
    as_text: Callable[[Score], str],
    *,
    added: bool,
    keep: Callable[[list[str]], bool],
) -> Filled:
    index: dict[str, set[int]] = {}
    for at, row in enumerate(people):
        for name in {name for place in ids for name in _names(row[place])}:
            index.setdefault(name, set()).add(at)
    hits = [_rows(score, index) for score in scores]
    claims = Counter(at for hit in hits if len(hit) == 1 for at in hit)
    unmatched, filled = [], 0
    for score, hit in zip(scores, hits, strict=True):
        row = people[min(hit)] if len(hit) == 1 else None
        if row is None:
            fitting = "; ".join(sorted({plain(people[at][ids[0]]) for at in hit}))
            reason = f"fits {len(hit)} rows: {fitting}" if hit else "not in the file"
        elif claims[min(hit)] > 1:
            reason = f"another grade fits the same row, {plain(row[ids[0]])}"
        elif keep(row):
            reason = "the file says that this grade must stay"
        else:
            row[where] = as_text(score)
            filled += 1
            continue
        unmatched.append(f"{plain(score.student)}: {reason}")
    empty = tuple(plain(row[ids[0]]) for at, row in enumerate(people) if not claims[at])
    write_sheet(to, sheet)
    return Filled(
        path=to, column=sheet.header[where], added=added, filled=filled, unmatched=tuple(unmatched), empty=empty
    )


def _rows(score: Score, index: Mapping[str, set[int]]) -> set[int]:
    """Return the rows that a score fits, by the student's name and by the name that the platform gave to the file.

    Where both fit, it is what they have in common; where that is nothing, all of both, for the teacher to decide.
    """
    by_name = index.get(same(score.student), set())
    by_file = index.get(same(score.filed_as), set()) or index.get(_letters(score.filed_as), set())
    return (by_name & by_file) or (by_name | by_file)


def _letters(name: str) -> str:
    """A name run together, as Canvas does in file names; the mark in front keeps it apart from other names."""
    split = unicodedata.normalize("NFKD", name.casefold())
    return "\0" + "".join(c for c in split if c.isalnum())


def _names(cell: str) -> set[str]:
    """Return under which names a cell of an identifying column is found."""
    whole = same(cell)
    names = {whole}
    if whole.count(",") == 1:  # Müller, Anna
        last, first = whole.split(",")
        names |= {same(f"{first} {last}"), _letters(whole)}
    if whole.count("@") == 1 and " " not in whole:
        names.add(whole.split("@")[0])
    if number_of := re.fullmatch(r"\D+ (\d+)", whole):  # Participant 1234
        names.add(number_of.group(1))
    return names - {"", "\0"}


def _float(text: str) -> float:
    return float(text.strip().replace(",", "."))
