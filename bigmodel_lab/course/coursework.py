"""The work behind the commands of coursework: hand out, see what came back, grade it, export the grades."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bigmodel_lab.course import exports, marks
from bigmodel_lab.course.collect import Submission
from bigmodel_lab.course.collect import collect as find_submissions
from bigmodel_lab.course.feedback import write_pages
from bigmodel_lab.course.files import Sheet, plain, read_sheet, same, write_sheet
from bigmodel_lab.course.gradebook import Gradebook
from bigmodel_lab.course.grading import Run, Step, Submit, grade_all, sandbox, sandboxed
from bigmodel_lab.course.questions import load
from bigmodel_lab.course.reading import write_reading
from bigmodel_lab.course.release import release as make_release
from bigmodel_lab.errors import InputError

__all__ = ["STOPPED", "collect", "export", "grade", "release"]

STOPPED = 130
"""Exit code after Ctrl-C, as of a shell."""


def release(args: argparse.Namespace) -> int:
    """Write the students' copy of an assignment and the teacher's solution."""
    for path in make_release(_source(args.root, args.name), args.to):
        print(f"wrote {path}")
    return 0


def collect(args: argparse.Namespace) -> int:
    """List what is in a folder of submissions."""
    submissions = _submissions(args.folder)
    for one in submissions:
        notes = "".join(f"\n    {plain(note)}" for note in one.notes)
        print(f"{plain(one.student)}  {one.modified:%Y-%m-%d %H:%M}  {plain(str(one.path))}{notes}")
    print(f"{len(submissions)} submissions by {len({same(one.student) for one in submissions})} students")
    return 0


def grade(args: argparse.Namespace) -> int:
    """Grade a folder of submissions; 1 where one could not be judged."""
    late = _late(args)
    assignment = load(_source(args.root, args.assignment))
    submissions = _submissions(args.folder, assignment.name)
    to = _outside(args.folder, args.to or args.folder.resolve().parent / f"{args.folder.resolve().name}-graded")
    by_hand = marks.read_by_hand(args.manual, assignment, [one.student for one in submissions]) if args.manual else {}
    judged = submissions if args.count == "best" else marks.latest(submissions)
    for one in judged:
        several = sum(same(other.student) == same(one.student) for other in submissions)
        if args.count == "latest" and several > 1:
            _say(f"{plain(one.student)} handed in {several} files; {plain(one.path.name)} is the latest and counts")
    try:
        with _elsewhere(args) as submit:
            run = grade_all(
                assignment,
                judged,
                Gradebook(to / "book"),
                partial(sandboxed, trust=args.trust_students),
                workers=args.workers,
                again=args.regrade,
                submit=submit,
                progress=_Progress(),
            )
    except KeyboardInterrupt:
        _say("stopped; what was graded is kept, the same command goes on")
        return STOPPED
    _tell_copies(run)
    made = (marks.settled(grade, one.modified, late=late, by_hand=by_hand) for one, grade in run.grades)
    grades = marks.counting(made, keep=args.count)
    write_sheet(to / "grades.csv", marks.table(grades, by_hand))
    filed_as = {same(one.student): one.filed_as for one in judged}
    write_sheet(to / "totals.csv", marks.totals(assignment, grades, by_hand, filed_as))
    write_pages(to / "feedback", assignment, grades, waits={one.student: marks.waits(one, by_hand) for one in grades})
    write_reading(to / "reading", assignment, judged)
    print(f"wrote {to / 'grades.csv'}, totals.csv and {len(grades)} pages in feedback")
    _keep_waiting(to / "waiting.csv", marks.waiting(grades, by_hand))
    print(_summary(run))
    return 1 if run.failed else 0


def export(args: argparse.Namespace) -> int:
    """Fill the grades into a file of Canvas or Moodle; 1 where a student is not in it."""
    name, scores = exports.read_scores(args.grades / "totals.csv" if args.grades.is_dir() else args.grades)
    to = args.to or args.file.with_name(f"{args.file.stem}-filled.csv")
    if to.resolve() == args.file.resolve():
        raise InputError("another file to write", got=str(to), hint="keep the exported file as it is")
    if args.system == "canvas":
        filled = exports.canvas(args.file, scores, to, column=args.column or name, scale=args.scale)
    else:
        filled = exports.moodle(args.file, scores, to, column=args.column or "Grade", scale=args.scale)
    for line in filled.unmatched:
        _say(f"not exported: {line}")
    for person in filled.empty:
        _say(f"no grade for {person}")
    if open_grades := sum(score.waiting for score in scores):
        _say(f"{open_grades} grades still wait for points given by hand")
    if filled.added:
        _say(f"the column {filled.column!r} is new: Canvas will offer to make this assignment")
    print(f"wrote {filled.path}: {filled.filled} of {len(scores)} grades in {filled.column!r}")
    return 1 if filled.unmatched else 0


def _source(root: Path, name: str) -> Path:
    """The source notebook of an assignment, by its name or its path."""
    folder = root / "notebooks" / "assignments"
    for path in (Path(name), folder / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    have = ", ".join(sorted(path.stem for path in folder.glob("*.ipynb"))) or f"none in {folder}"
    raise InputError(f"the name of an assignment: {have}", got=repr(name), hint="run this in the course's folder")


def _submissions(folder: Path, assignment: str = "") -> list[Submission]:
    if not (submissions := find_submissions(folder, assignment)):
        raise InputError("at least one notebook that was handed in", got=f"none in {folder}")
    return submissions


def _outside(folder: Path, to: Path) -> Path:
    if to.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"a place outside {folder}", got=str(to), hint="what is written must not be collected")
    return to


def _late(args: argparse.Namespace) -> marks.Late | None:
    if args.deadline is None:
        if args.late is not None or args.late_most is not None:
            raise InputError("a deadline, to be late by", got="none", hint="--deadline 2027-01-31T18:00")
        return None
    try:
        deadline = datetime.fromisoformat(args.deadline)
    except ValueError:
        raise InputError("a date and time: 2027-01-31T18:00", got=repr(args.deadline)) from None
    if len(args.deadline) <= len("2027-01-31"):
        deadline = datetime.combine(deadline, datetime.max.time())
    _say(f"deadline: {deadline.astimezone():%Y-%m-%d %H:%M:%S %z}")
    given = {"per_day": args.late, "most": args.late_most, "grace": timedelta(minutes=args.grace)}
    return marks.Late(deadline=deadline, **{name: value for name, value in given.items() if value is not None})


@contextmanager
def _elsewhere(args: argparse.Namespace) -> Iterator[Submit | None]:
    """How to start a task on a cluster, or None where this machine does the work: then it must have a sandbox."""
    if args.scheduler:
        from bigmodel_lab.course.cluster import spread

        with spread(args.scheduler) as submit:
            yield submit
    else:
        found = sandbox(args.trust_students)
        _say(f"sandbox: {found.name}" if found.isolated else "NO SANDBOX: submissions can reach your files and network")
        yield None


class _Progress:
    """Tells of each submission that is done, and about how long the others will take."""

    def __init__(self) -> None:
        self.start, self.judged, self.reused = time.monotonic(), 0, 0

    def __call__(self, step: Step) -> None:
        if step.reused:
            self.reused += 1
            return
        if self.reused and not self.judged:
            _say(f"{self.reused} of {step.total} were graded before")
        self.judged += 1
        grade = step.grade
        line = f"[{step.done:{len(str(step.total))}}/{step.total}] {plain(grade.student)}: "
        line += f"{marks.number(grade.points)} of {marks.number(grade.most)}"
        left = (time.monotonic() - self.start) / self.judged * (step.total - step.done)
        _say(f"{line}, {grade.seconds:.1f} s" + (f"; about {left / 60:.0f} min left" if left > 60 else ""))
        if step.problem:
            _say(f"    could not be judged: {plain(step.problem)}")


def _tell_copies(run: Run) -> None:
    """Say where different students handed in the same file, to the byte."""
    senders: dict[str, dict[str, str]] = {}
    for _, grade in run.grades:
        if grade.submission:
            senders.setdefault(grade.submission, {})[same(grade.student)] = plain(grade.student)
    for names in senders.values():
        if len(names) > 1:
            _say(f"one file, several names: {', '.join(names.values())}")


def _keep_waiting(path: Path, rows: Sheet) -> None:
    """Write what a teacher has to fill in, but never over what was filled in already."""
    if path.exists() and any(any(cell.strip() for cell in row[2:]) for row in read_sheet(path).rows):
        print(f"{path} holds points and stays as it is: give it with --manual {path}")
    elif rows.rows or path.exists():
        write_sheet(path, rows)
        print(f"{len(rows.rows)} answers wait for points: read them in reading, then {path} and --manual {path}")


def _summary(run: Run) -> str:
    new = run.graded + run.failed
    each = f"; {run.seconds / new:.2f} s per submission, {run.seconds:.0f} s in all" if new else ""
    return f"{run.graded} graded, {run.reused} reused, {run.failed} failed{each}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
