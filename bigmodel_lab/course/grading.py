"""One run over all submissions: what the gradebook does not hold yet is judged, the rest is taken from it."""

import math
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from bigmodel_lab.course.collect import Submission
from bigmodel_lab.course.files import same
from bigmodel_lab.course.gradebook import Gradebook, Record, fingerprints
from bigmodel_lab.course.questions import Assignment, Grade, Question, QuestionResult
from bigmodel_lab.course.submission import sha256
from bigmodel_lab.errors import DataError, InputError

if TYPE_CHECKING:
    from bigmodel_lab.course.sandbox import Sandbox

__all__ = ["Run", "Step", "grade_all", "sandbox", "sandboxed"]

Judge = Callable[..., Grade]  # judge(assignment, path, *, student)
Submit = Callable[[Judge, Assignment, Path, str], "Future[Grade]"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One submission is done: what `progress` is told."""

    done: int
    total: int
    grade: Grade
    reused: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of one run."""

    grades: tuple[tuple[Submission, Grade], ...]  # in the order of the submissions
    graded: int
    reused: int
    failed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Task:
    student: str
    path: Path
    submission: str  # SHA-256 of the file, "" where it cannot be read
    record: Record | None
    valid: Mapping[str, QuestionResult] = field(default_factory=dict)  # results that hold if nothing better comes
    open: tuple[Question, ...] = ()  # questions to judge


def grade_all(
    assignment: Assignment,
    submissions: Iterable[Submission],
    book: Gradebook,
    judge: Judge,
    *,
    workers: int = 2,
    again: Iterable[str] = (),
    submit: Submit | None = None,
    progress: Callable[[Step], None] | None = None,
) -> Run:
    """Judge what the book does not hold yet, and return the grades of all.

    `workers` submissions are judged at a time, or `submit` starts each elsewhere (see `cluster.spread`). `again` names
    questions to judge once more, or "all". A submission on which the judge fails gets 0 points for what was not
    judged before, and a note; it never stops the rest, and the next run tries it again. Raises `InputError` for an
    unknown question, for no worker, and where another run fills the book.
    """
    if workers < 1:
        raise InputError("at least one worker", got=repr(workers))
    start, submissions, again = time.monotonic(), list(submissions), _named(assignment, again)
    keys = [(same(submission.student), _sha256(submission.path)) for submission in submissions]
    grades: dict[tuple[str, str], Grade] = {}
    counts = {"graded": 0, "reused": 0, "failed": 0}
    kept: SimpleQueue[tuple[_Task, Record | BaseException]] = SimpleQueue()

    def keep(task: _Task, future: "Future[Grade]") -> None:
        """Save what came, in the thread that brings it: none begins another submission before this one is on disk."""
        try:
            record = _record(assignment, task, future)
            if task.submission and (not record.problem or len(task.valid) < len(assignment.questions)):
                book.save(assignment, record)
            kept.put((task, record))
        except BaseException as error:
            kept.put((task, error))

    def done(task: _Task, grade: Grade, how: str, problem: str = "") -> None:
        grades[same(task.student), task.submission] = grade
        counts[how] += 1
        if progress:
            progress(Step(done=len(grades), total=len(tasks), grade=grade, reused=how == "reused", problem=problem))

    with book.alone(), book.regrading(again) as since, ThreadPoolExecutor(workers) as pool:
        first = dict(zip(reversed(keys), reversed(submissions), strict=True))
        tasks = [_task(assignment, first[key], key[1], book, again, since) for key in dict.fromkeys(keys)]
        start_one, running = submit or partial(_submit, pool), []
        for task in tasks:
            if task.record and not task.open:
                done(task, _grade(assignment, task, task.valid, task.record.grade), "reused")
            else:
                part = replace(assignment, questions=task.open)
                future = start_one(judge, part, task.path, task.student) if task.submission else _unread(task.path)
                running.append(future)
                future.add_done_callback(partial(keep, task))
        try:
            for _ in running:
                task, record = kept.get()
                if isinstance(record, BaseException):
                    raise record
                done(task, record.grade, "failed" if record.problem else "graded", record.problem)
        finally:
            for future in running:
                future.cancel()
    noted = [
        replace(grades[key], notes=(*one.notes, *grades[key].notes)) for one, key in zip(submissions, keys, strict=True)
    ]
    return Run(grades=tuple(zip(submissions, noted, strict=True)), seconds=time.monotonic() - start, **counts)


@cache
def sandbox(trust: bool = False) -> "Sandbox":
    """Return this machine's sandbox, looked for once. Raises as `sandbox.find` does."""
    from bigmodel_lab.course.sandbox import find

    return find(trust)


def sandboxed(assignment: Assignment, path: Path, *, student: str, trust: bool = False) -> Grade:
    """Judge one submission in the sandbox of the machine that this runs on."""
    from bigmodel_lab.course import judge

    return judge.grade(assignment, path, student=student, sandbox=sandbox(trust))


def _submit(pool: ThreadPoolExecutor, judge: Judge, part: Assignment, path: Path, student: str) -> "Future[Grade]":
    """Threads suffice: a submission runs in a process of its own, and the judge waits for it."""
    return pool.submit(judge, part, path, student=student)


def _named(assignment: Assignment, again: Iterable[str]) -> tuple[str, ...]:
    have = tuple(question.name for question in assignment.questions)
    again = (again,) if isinstance(again, str) else tuple(again)
    unknown = [name for name in again if name not in (*have, "all")]
    if unknown:
        raise InputError(f"questions among {', '.join(have)}, or all", got=", ".join(unknown))
    return have if "all" in again else again


def _sha256(path: Path) -> str:
    """Return the hash of a file, "" where there is none to read: a link or a pipe is not opened."""
    try:
        return sha256(path) if stat.S_ISREG(path.lstat().st_mode) else ""
    except OSError:
        return ""


def _unread(path: Path) -> "Future[Grade]":
    future: Future[Grade] = Future()
    future.set_exception(DataError("a file that can be read", got=f"none at {path}, or a link"))
    return future


def _task(
    assignment: Assignment, submission: Submission, sha256: str, book: Gradebook, again: Iterable[str], since: float
) -> _Task:
    record = book.find(assignment, submission.student, sha256) if sha256 else None
    valid = record.results(assignment) if record else {}
    kept = {name for name in valid if name not in again or record.judged[name] >= since}
    return _Task(
        student=submission.student,
        path=submission.path,
        submission=sha256,
        record=record,
        valid=valid,
        open=tuple(question for question in assignment.questions if question.name not in kept),
    )


def _record(assignment: Assignment, task: _Task, future: "Future[Grade]") -> Record:
    """Join what was judged now with what holds from before."""
    asked, results, problem = fingerprints(assignment), dict(task.valid), ""
    judged = {name: task.record.judged[name] for name in results}
    try:
        grade = future.result()
        new = _checked(task, grade)
        results |= new
        judged |= dict.fromkeys(new, time.time())
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        kept = "the points from before are kept" if task.valid else "it got no points"
        note = f"this submission could not be judged now, {kept}: ask your teacher"
        grade = Grade(student=task.student, assignment=assignment.name, submission="", questions=(), notes=(note,))
    grade = _grade(assignment, task, results, grade)
    return Record(grade=grade, asked={name: asked[name] for name in results}, judged=judged, problem=problem)


def _checked(task: _Task, grade: Grade) -> dict[str, QuestionResult]:
    """Return the new results by name; a ValueError where they are not what was asked for."""
    results = {result.name: result for result in grade.questions}
    if results.keys() != {question.name for question in task.open}:
        raise ValueError(f"the judge was asked for {[q.name for q in task.open]} and gave {sorted(results)}")
    if grade.submission and grade.submission != task.submission:
        raise ValueError("the file changed while it was judged")
    for question in task.open:
        points = results[question.name].points
        if not 0 <= points <= question.points + 1e-9 or not math.isclose(results[question.name].most, question.points):
            raise ValueError(f"the judge gave {points} of {question.points} points for {question.name}")
    return results


def _grade(assignment: Assignment, task: _Task, results: Mapping[str, QuestionResult], last: Grade) -> Grade:
    """Return a grade for the whole assignment: 0 for each question that has no result; notes and time are the last."""
    none = {
        question.name: QuestionResult(
            name=question.name, points=0.0, most=question.points, by_hand=question.kind == "written"
        )
        for question in assignment.questions
    }
    return Grade(
        student=task.student,
        assignment=assignment.name,
        submission=task.submission,
        questions=tuple((none | dict(results))[question.name] for question in assignment.questions),
        notes=last.notes,
        seconds=last.seconds,
    )
