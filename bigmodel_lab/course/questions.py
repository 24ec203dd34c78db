"""An assignment as data: its questions, what the judge asks of an answer, and what came of it.

An assignment is one notebook. Cells say in their metadata, under `course`, what they are: the `question` that is
asked, the `answer` that the student fills in, a public `check`, the `judge`'s probes, a `rubric` for the teacher.
The student's copy is made from it by `release`; the probes run in the judge's process and nowhere else.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_lab.errors import DataError, InputError

__all__ = [
    "KINDS",
    "Assignment",
    "Grade",
    "Probe",
    "ProbeResult",
    "Question",
    "QuestionResult",
    "load",
    "student_seed",
]

KINDS = ("code", "experiment", "written")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One thing that is asked of an answer: an expression, evaluated where the student's code ran."""

    expression: str  # evaluated in the student's kernel, with the inputs under their names
    inputs: Mapping[str, Any] = field(default_factory=dict)  # JSON-able values, or NumPy arrays
    expected: Any = None  # compared in the judge's process; it never reaches the student's
    judge: Callable[[Any], float] | None = None  # or a function of what came, to a share of the points in [0, 1]
    points: float = 1.0
    name: str = ""  # what is shown to the student in the feedback
    hint: str = ""
    tolerance: float = 1e-6  # relative and absolute

    def __post_init__(self) -> None:
        """Refuse a probe that could not fail."""
        if (self.expected is None) == (self.judge is None):
            raise InputError("either an expected value or a judge function", got=f"probe {self.expression!r}")
        if self.points <= 0:
            raise InputError("points above 0", got=repr(self.points))


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question of an assignment."""

    name: str  # q1, q2, …
    title: str
    kind: str  # one of KINDS; a written one gets its points by hand
    points: float
    probes: str = ""  # source of the judge's cell: it defines probes(rng)
    rubric: str = ""  # Markdown, for the teacher

    def ask(self, seed: int) -> Iterator[Probe]:
        """Yield the probes for one student."""
        if not self.probes:
            return
        space: dict[str, Any] = {"Probe": Probe}
        exec(compile(self.probes, f"<judge of {self.name}>", "exec"), space)  # the teacher's own code
        yield from space["probes"](np.random.default_rng(seed))


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One assignment, read from its source notebook."""

    name: str
    title: str
    chapter: int
    minutes: int
    questions: tuple[Question, ...]
    path: Path

    @property
    def points(self) -> float:
        """All points that can be had."""
        return sum(question.points for question in self.questions)


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What came of one probe."""

    name: str
    share: float  # of the probe's points, in [0, 1]
    points: float
    message: str = ""  # what the student is told: what was asked, what came, a hint; never the expected value


@dataclass(frozen=True, kw_only=True)
class QuestionResult:
    """What came of one question: the points of its probes, scaled to the question's."""

    name: str
    points: float
    most: float
    probes: tuple[ProbeResult, ...] = ()
    by_hand: bool = False  # waits for, or has, points given by hand
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What came of one submission."""

    student: str
    assignment: str
    submission: str  # SHA-256 of the file
    questions: tuple[QuestionResult, ...]
    notes: tuple[str, ...] = ()  # what went wrong on the way: cells that failed, time that ran out
    seconds: float = 0.0
    late_days: float = 0.0
    penalty: float = 0.0  # share of the points that is taken off

    @property
    def points(self) -> float:
        """Points after the penalty."""
        return sum(question.points for question in self.questions) * (1 - self.penalty)

    @property
    def most(self) -> float:
        """All points that could be had."""
        return sum(question.most for question in self.questions)


def student_seed(student: str, assignment: str) -> int:
    """Return the seed of a student's own data: the same for notebook and judge, another for each student.

    Spaces around the name and the case of its letters do not count. Raises `InputError` for an empty name.
    """
    plain = " ".join(student.split()).casefold()
    if not plain:
        raise InputError("your name or number", got="an empty text", hint='fill in student = "…" at the top')
    return int.from_bytes(hashlib.sha256(f"{assignment}\0{plain}".encode()).digest()[:4], "big")


def load(path: str | Path) -> Assignment:
    """Read an assignment from its source notebook. Raises `DataError` where the notebook does not hold together."""
    import nbformat  # a learner who needs only `student_seed` may not have it

    path = Path(path)
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise DataError(f"a notebook at {path}", got=str(error).splitlines()[0]) from error
    about = notebook.metadata.get("course", {})
    asked: dict[str, dict[str, Any]] = {}
    for number, cell in enumerate(notebook.cells, 1):
        mark = cell.metadata.get("course", {})
        if "question" in mark:
            name = mark["question"]
            if name in asked:
                raise DataError(f"one cell that asks {name}", got="two", hint=f"cell {number} of {path.name}")
            asked[name] = {"title": mark.get("title", name), "kind": mark.get("kind"), "points": mark.get("points")}
        for kind, part in (("judge", "probes"), ("rubric", "rubric")):
            if kind in mark:
                if mark[kind] not in asked:
                    raise DataError(f"a question {mark[kind]!r} before its {kind}", got=f"cell {number} of {path.name}")
                asked[mark[kind]][part] = cell.source
    return Assignment(
        name=_given(about, "assignment", path),
        title=_given(about, "title", path),
        chapter=_given(about, "chapter", path),
        minutes=_given(about, "minutes", path),
        questions=tuple(_question(name, parts, path) for name, parts in asked.items()),
        path=path,
    )


def _given(about: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in about:
        raise DataError(f"{key!r} in the notebook's metadata under 'course'", got=f"{sorted(about)} in {path.name}")
    return about[key]


def _question(name: str, parts: dict[str, Any], path: Path) -> Question:
    if parts["kind"] not in KINDS:
        raise DataError(f"a kind among {', '.join(KINDS)}", got=f"{parts['kind']!r} for {name} of {path.name}")
    if not isinstance(parts["points"], int | float) or parts["points"] <= 0:
        raise DataError("points above 0", got=f"{parts['points']!r} for {name} of {path.name}")
    needed = "rubric" if parts["kind"] == "written" else "probes"
    if not parts.get(needed):
        raise DataError(f"a cell with the {needed} of {name}, which is {parts['kind']}", got=f"none in {path.name}")
    return Question(name=name, **parts)
