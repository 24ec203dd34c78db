"""The judge: runs a submission in a kernel of its own, asks it the questions, and compares in this process.

What is expected never leaves this process, so nothing that a submission does to its own can forge a point. The cells
that check, and those that judge, are never taken from the student's copy.
"""

import base64
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from bigmodel_lab.course.kernel import Kernel
from bigmodel_lab.course.plain import as_plain, decode, pack, printable, same, shown
from bigmodel_lab.course.questions import (
    Assignment,
    Grade,
    Probe,
    ProbeResult,
    Question,
    QuestionResult,
    student_seed,
)
from bigmodel_lab.course.sandbox import Limits, Sandbox, find
from bigmodel_lab.course.submission import Cell, read_submission, sha256
from bigmodel_lab.errors import DataError

__all__ = ["grade"]

MOST_RESTARTS = 6  # of the kernel in one submission
SHARE_OF_CELLS = 0.75  # of the time: the rest is for the questions
LETTERS_OF_ERROR = 300


def grade(
    assignment: Assignment,
    submission: Path,
    *,
    student: str,
    limits: Limits | None = None,
    sandbox: Sandbox | None = None,
    keep: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Grade:
    """Judge one submission; whatever it does costs its own points only.

    `sandbox` defaults to `sandbox.find()`. `keep` names a folder for a record of what was asked and what came, for the
    teacher. `progress` is told which cell runs and which question is asked. Written questions wait for points by hand.
    A judge's cell finds `student` and `seed = student_seed(student, assignment)` as names of its own: what a notebook
    says of either may be a lie.
    Raises `DataError` where a judge's cell of the assignment fails, `InputError` for an empty name of a student,
    `MissingExtraError` without a sandbox, and `KernelError` where no kernel starts.
    """
    start, limits = time.monotonic(), limits or Limits()
    student = student.encode("utf-8", "replace").decode()
    asked = {question.name: _asked(question, assignment.name, student) for question in assignment.questions}
    notes, cells = [], None
    try:
        cells = read_submission(submission, assignment, student)
    except DataError as error:
        said = filter(None, (f"expected {error.expected}", error.got, error.hint))
        notes.append(printable("; ".join(said), LETTERS_OF_ERROR))
    came: list[dict[str, Any]] = []
    results: dict[str, list[ProbeResult]] = {name: [] for name in asked}
    if cells is not None and any(asked.values()):
        hidden = [assignment.path.parent, Path(submission).parent]
        where = (student, sandbox or find(), limits, hidden)
        with _Course(*where, cells, notes, start, progress or (lambda _: None)) as course:
            for name, probes in asked.items():
                for number, (probe, want) in enumerate(probes, 1):
                    course.progress(f"{name}: {number} of {len(probes)}")
                    results[name].append(_judged(probe, want, course, came))
    questions = tuple(
        _result(question, results[question.name], asked[question.name]) for question in assignment.questions
    )
    result = Grade(
        student=student,
        assignment=assignment.name,
        submission=sha256(submission),
        questions=questions,
        notes=tuple(notes),
        seconds=time.monotonic() - start,
    )
    if keep:
        record = {"student": student, "points": result.points, "most": result.most, "notes": notes, "asked": came}
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{result.submission[:16]}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return result


def _asked(question: Question, assignment: str, student: str) -> list[tuple[Probe, Any]]:
    """The probes of a question with their expected values as plain data; the teacher's own mistakes show here."""
    if question.kind == "written":
        return []
    known = f"student, seed = {student!r}, {student_seed(student, assignment)}\n"  # for the judge's cell
    question = replace(question, probes=known + question.probes)
    try:
        found = question.ask(student_seed(student, f"{assignment}/{question.name}"))
        probes = [(probe, None if probe.judge else as_plain(probe.expected)) for probe in found]
        for probe, _ in probes:
            pack(probe.inputs)
            compile(f"(\n{probe.expression}\n)", question.name, "eval")
    except Exception as error:
        hint = "run the judge's cell in the source notebook, and next(probes(np.random.default_rng(0)))"
        got = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise DataError(f"probes from the judge's cell of {question.name}", got=got, hint=hint) from error
    if not probes:
        raise DataError(f"at least one probe for {question.name}", got="none")
    return probes


# --- the student's side, from here ------------------------------------------------------------------------------------


@dataclass
class _Course:
    """A submission as it runs: its kernel, started anew when it dies, and the cells that must not run again."""

    student: str
    sandbox: Sandbox
    limits: Limits
    hidden: Sequence[Path]
    cells: Sequence[Cell]
    notes: list[str]
    start: float
    progress: Callable[[str], None]

    def __enter__(self) -> "_Course":
        self.barred: set[int] = set()
        self.restarts = 0
        self.kernel: Kernel | None = None
        self._run_cells()
        return self

    def __exit__(self, *_: object) -> None:
        if self.kernel:
            self.kernel.close()

    def ask(self, probe: Probe) -> tuple[str, str]:
        """Return (answer as JSON, "") or ("", what went wrong)."""
        if self.kernel is None:
            return "", "it was not asked: Python had ended too often, or the time was over"
        left = self._left(1.0)
        if left <= 0:
            return "", "it was not asked: the time of the whole submission was over"
        source = files("bigmodel_lab.course").joinpath("inside.py").read_text(encoding="utf-8")
        call = f"s['say'](globals(), {probe.expression!r}, {pack({'student': self.student, **probe.inputs})!r})"
        expression = f"(lambda s: (exec({source!r}, s), {call})[1])({{'__name__': 'question'}})"
        reply = self.kernel.run("", min(self.limits.probe_seconds, left), expression)
        if reply.status == "dead":
            self.restarts += 1
            self._run_cells()
        if reply.status != "ok":
            return "", reply.error
        try:
            return base64.b64decode(reply.answer.strip("'"), validate=True).decode("ascii"), ""
        except ValueError:
            return "", "the answer did not come through"

    def _run_cells(self) -> None:
        while not self._ran_to_the_end():
            self.restarts += 1

    def _ran_to_the_end(self) -> bool:
        """Start a kernel and run the cells, but those that ended or stalled one before; False when one does it now."""
        if self.kernel:
            self.kernel.close()
            self.kernel = None
        if self.restarts > MOST_RESTARTS:
            self._note(f"Python ended {self.restarts} times, and was not started again")
            return True
        self.kernel = Kernel(self.sandbox, self.limits, self.hidden)
        for index, cell in enumerate(self.cells):
            left = self._left(SHARE_OF_CELLS)
            if left <= 0:
                self._note(f"the time for all cells was over before {cell.name}")
                return True
            if index in self.barred:
                continue
            self.progress(cell.name)
            reply = self.kernel.run(cell.source, min(self.limits.seconds, left))
            if reply.status != "ok":
                self._note(f"{cell.name}: {printable(reply.error, LETTERS_OF_ERROR)}")
            if reply.status in ("late", "dead"):
                self.barred.add(index)
            if reply.status == "dead":
                return False
        return True

    def _left(self, share: float) -> float:
        return self.start + share * self.limits.total_seconds - time.monotonic()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


# --- the judge's side, from here --------------------------------------------------------------------------------------


def _judged(probe: Probe, want: Any, course: _Course, came: list[dict[str, Any]]) -> ProbeResult:
    text, problem = course.ask(probe)
    got, share = None, 0.0
    if not problem:
        try:
            got = decode(text)
            share, problem = _share(probe, want, got)
        except DataError as error:
            problem = f"the answer could not be read: {error.got}"
    came.append({"expression": probe.expression, "came": text or problem, "share": share})
    name = probe.name or probe.expression
    if share >= 1:
        return ProbeResult(name=name, share=1.0, points=probe.points)
    lines = [
        f"asked: {name}",
        f"came: {printable(problem, LETTERS_OF_ERROR) if problem else shown(got)}",
        probe.hint and f"hint: {probe.hint}",
    ]
    return ProbeResult(name=name, share=share, points=probe.points, message="\n".join(line for line in lines if line))


def _share(probe: Probe, want: Any, got: Any) -> tuple[float, str]:
    """The share of a probe's points, and a word where the judge's function could make nothing of the answer."""
    if probe.judge is None:
        return float(same(got, want, probe.tolerance)), ""
    try:
        share = float(probe.judge(got))
    except Exception as error:  # a teacher's function meets whatever a student sends
        return 0.0, f"{shown(got)}, of which the judge could make nothing ({type(error).__name__})"
    return (0.0 if math.isnan(share) else min(1.0, max(0.0, share))), ""


def _result(question: Question, results: Sequence[ProbeResult], asked: Sequence[tuple[Probe, Any]]) -> QuestionResult:
    result = QuestionResult(name=question.name, points=0.0, most=question.points, by_hand=question.kind == "written")
    if not results:
        return result
    whole = sum(probe.points for probe, _ in asked)
    had = sum(one.share * one.points for one in results)
    points = question.points if had == whole else question.points * had / whole
    return replace(result, points=points, probes=tuple(results))
