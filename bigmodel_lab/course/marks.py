"""From what was judged to what counts: the submission that counts, points given by hand, lateness, the tables."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bigmodel_lab.course.collect import Submission
from bigmodel_lab.course.files import Sheet, file_name, harmless, plain, read_sheet, same, unharmed
from bigmodel_lab.course.questions import Assignment, Grade, QuestionResult
from bigmodel_lab.errors import DataError, InputError

__all__ = [
    "KEEP",
    "ByHand",
    "Late",
    "counting",
    "latest",
    "read_by_hand",
    "settled",
    "table",
    "totals",
    "waiting",
    "waits",
]

KEEP = ("latest", "best")
TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Late:
    """A late policy: a share of the points is taken off for each day begun after the deadline."""

    deadline: datetime  # without a time zone: in this machine's
    per_day: float = 0.1
    most: float = 0.5
    grace: timedelta = timedelta()

    def __post_init__(self) -> None:
        """Refuse shares outside [0, 1] and a negative grace."""
        for name in ("per_day", "most"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}, a share of the points in [0, 1]", got=repr(getattr(self, name)))
        if self.grace < timedelta():
            raise InputError("a grace of no less than 0", got=repr(self.grace))

    def of(self, modified: datetime) -> tuple[int, float]:
        """Return the days begun since the deadline and the share taken off; 0 and 0 within the grace."""
        late = modified.astimezone() - self.deadline.astimezone()
        days = math.ceil(late / timedelta(days=1)) if late > self.grace else 0
        days = max(days, 0)
        return days, min(self.most, self.per_day * days)


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """Points that a teacher gave."""

    points: float
    comment: str = ""


def latest(submissions: Iterable[Submission]) -> list[Submission]:
    """Return the newest submission of each student, in the order in which the students came."""
    newest: dict[str, Submission] = {}
    for submission in submissions:
        name = same(submission.student)
        if name not in newest or submission.modified >= newest[name].modified:
            newest[name] = submission
    return list(newest.values())


def settled(grade: Grade, modified: datetime, *, late: Late | None, by_hand: Mapping[tuple[str, str], ByHand]) -> Grade:
    """Return `grade` with points given by hand in place of those judged, and with what is taken off for lateness."""
    questions = []
    for result in grade.questions:
        given = by_hand.get((same(grade.student), result.name))
        if given:
            result = replace(result, points=given.points, by_hand=True, comment=given.comment or result.comment)
        questions.append(result)
    days, penalty = late.of(modified) if late else (0, 0.0)
    return replace(grade, questions=tuple(questions), late_days=days, penalty=penalty)


def counting(grades: Iterable[Grade], *, keep: str = "latest") -> list[Grade]:
    """Return one settled grade for each student: the last that is given for him, or the best."""
    if keep not in KEEP:
        raise InputError(f"keep, one of {', '.join(KEEP)}", got=repr(keep))
    chosen: dict[str, Grade] = {}
    for grade in grades:
        name = same(grade.student)
        if name not in chosen or keep == "latest" or grade.points > chosen[name].points:
            chosen[name] = grade
    return list(chosen.values())


def read_by_hand(path: Path, assignment: Assignment, students: Iterable[str]) -> dict[tuple[str, str], ByHand]:
    """Read points given by hand: columns student, question, points, comment. A row without points still waits.

    The keys are (student as `files.same` writes it, question). A comma may stand for the decimal point. Raises
    `DataError` with all that is wrong, line by line: an unknown student or question, points that are no number, below
    0 or above the question's, a pair that comes twice.
    """
    sheet = read_sheet(path)
    places = [sheet.column(name) for name in ("student", "question", "points", "comment")]
    if None in places[:3]:
        raise DataError(f"columns student, question, points (and comment) in {path.name}", got=", ".join(sheet.header))
    known = {same(student) for student in students}
    most = {question.name: question.points for question in assignment.questions}
    found: dict[tuple[str, str], ByHand] = {}
    wrong = []
    for line, row in zip(sheet.lines, sheet.rows, strict=True):
        student, question, points, comment = ("" if at is None else unharmed(row[at].strip()) for at in places)
        if not points:
            continue
        try:
            value = float(points.replace(",", "."))
        except ValueError:
            value = math.nan
        key = (same(student), question)
        problem = _problem(student, question, points, value, known, most) or (
            f"{plain(student)} has points for {question} already" if key in found else ""
        )
        if problem:
            wrong.append(f"line {line}: {problem}")
        else:
            found[key] = ByHand(points=value, comment=comment)
    if wrong:
        hint = "nothing was changed: correct these lines and start again"
        raise DataError(
            f"points for known students and questions in {path.name}", got="\n          ".join(wrong), hint=hint
        )
    return found


def _problem(student: str, question: str, points: str, value: float, known: set[str], most: Mapping[str, float]) -> str:
    """What is wrong with one row, or nothing."""
    if same(student) not in known:
        return f"no submission by {plain(student) or 'a student without a name'}"
    if question not in most:
        return f"no question {plain(question)!r}, only {', '.join(most)}"
    if not math.isfinite(value):
        return f"{plain(points)!r} is no number of points"
    if not 0 <= value <= most[question] + TOLERANCE:
        return f"{value:g} points for {question}, which has {most[question]:g}"
    return ""


def table(grades: Iterable[Grade], by_hand: Mapping[tuple[str, str], ByHand]) -> Sheet:
    """Return one row per student and question, before anything is taken off for lateness."""
    header = ["student", "question", "points", "most", "state", "comment"]
    rows = [
        [
            harmless(plain(grade.student)),
            result.name,
            number(result.points),
            number(result.most),
            _state(grade, result, by_hand),
            harmless(plain(result.comment)),
        ]
        for grade in grades
        for result in grade.questions
    ]
    return Sheet(header=header, rows=rows)


def totals(
    assignment: Assignment,
    grades: Iterable[Grade],
    by_hand: Mapping[tuple[str, str], ByHand],
    filed_as: Mapping[str, str],
) -> Sheet:
    """Return one row per student: the points that count, how they came about, and the file with the feedback.

    `filed_as` maps a student, as `files.same` writes the name, to the name that his file carries.
    """
    questions = [question.name for question in assignment.questions]
    header = [
        "assignment",
        "student",
        "points",
        "most",
        *questions,
        "late_days",
        "penalty",
        "waiting",
        "filed_as",
        "notes",
        "feedback",
    ]
    rows = []
    for grade in grades:
        points = {result.name: number(result.points) for result in grade.questions}
        rows.append(
            [
                harmless(assignment.name),
                harmless(plain(grade.student)),
                number(grade.points),
                number(grade.most),
                *(points[name] for name in questions),
                number(grade.late_days),
                number(grade.penalty),
                " ".join(waits(grade, by_hand)),
                harmless(plain(filed_as.get(same(grade.student), ""))),
                harmless(plain("; ".join(grade.notes))),
                f"feedback/{file_name(grade.student)}.html",
            ]
        )
    return Sheet(header=header, rows=rows)


def waits(grade: Grade, by_hand: Mapping[tuple[str, str], ByHand]) -> list[str]:
    """Return the questions of a grade that wait for points given by hand."""
    return [result.name for result in grade.questions if _state(grade, result, by_hand) == "waits"]


def waiting(grades: Iterable[Grade], by_hand: Mapping[tuple[str, str], ByHand]) -> Sheet:
    """Return the rows that a teacher still has to fill in; `read_by_hand` reads them."""
    rows = [
        [harmless(plain(grade.student)), question, "", ""] for grade in grades for question in waits(grade, by_hand)
    ]
    return Sheet(header=["student", "question", "points", "comment"], rows=rows)


def number(value: float) -> str:
    """Return `value` with at most two decimals and no needless zero."""
    return f"{round(value, 2):.2f}".rstrip("0").rstrip(".")


def _state(grade: Grade, result: QuestionResult, by_hand: Mapping[tuple[str, str], ByHand]) -> str:
    if (same(grade.student), result.name) in by_hand:
        return "by hand"
    return "waits" if result.by_hand else "judged"
