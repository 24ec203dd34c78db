"""A gradebook on disk: what came of each submission, one JSON file each, written in one step.

A record is named after the student, the content of the file and what was asked. So a run that was killed goes on
where it was, and when questions of the assignment have changed, those alone are judged again.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bigmodel_lab.course.files import file_name, write
from bigmodel_lab.course.questions import Assignment, Grade, ProbeResult, QuestionResult
from bigmodel_lab.errors import InputError

__all__ = ["Gradebook", "Record", "fingerprints"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the book knows of one submission."""

    grade: Grade
    asked: Mapping[str, str]  # fingerprint of each question that was judged, as it was asked
    judged: Mapping[str, float]  # when, in seconds since 1970
    problem: str = ""  # why the rest could not be judged, for the teacher's eyes; the next run tries again

    def results(self, assignment: Assignment) -> dict[str, QuestionResult]:
        """Return the results that still hold: of questions that were judged as they are asked now."""
        now = fingerprints(assignment)
        return {
            result.name: result
            for result in self.grade.questions
            if self.asked.get(result.name) == now.get(result.name, "")
        }


def fingerprints(assignment: Assignment) -> dict[str, str]:
    """Return for each question a hash of all that decides its points; titles, rubrics and prose do not."""
    return {
        question.name: hashlib.sha256(
            json.dumps([assignment.name, question.name, question.kind, question.points, question.probes]).encode()
        ).hexdigest()
        for question in assignment.questions
    }


class Gradebook:
    """The records in one folder. One run at a time fills it; reading is always safe."""

    def __init__(self, folder: str | Path) -> None:
        """Open the book, or begin one."""
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"a folder for the gradebook at {folder}", got=str(error)) from error

    def find(self, assignment: Assignment, student: str, submission: str) -> Record | None:
        """Return the record of this file by this student: of the assignment as it is, else the newest of an older one.

        `submission` is the SHA-256 of the file. A record that cannot be read (a disk that failed) counts as none.
        """
        exact = self._path(assignment, student, submission)
        start = exact.name[: -len(exact.name.rpartition("-")[2])]
        older = (_read(path, assignment.name) for path in self.folder.glob(f"{start}*.json") if path != exact)
        by_age = sorted(
            (record for record in older if record), key=lambda record: max(record.judged.values(), default=0)
        )
        return _read(exact, assignment.name) or (by_age[-1] if by_age else None)

    def save(self, assignment: Assignment, record: Record) -> None:
        """Write a record, in one step."""
        path = self._path(assignment, record.grade.student, record.grade.submission)
        write(path, json.dumps(asdict(record), indent=1) + "\n")

    def _path(self, assignment: Assignment, student: str, submission: str) -> Path:
        asked = hashlib.sha256(json.dumps(fingerprints(assignment)).encode()).hexdigest()
        return self.folder / f"{file_name(student)}-{submission[:16]}-{asked[:16]}.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the book for one run; `InputError` where another run has it. A killed run lets go of it.

        On Windows nothing keeps two runs apart.
        """
        try:
            import fcntl
        except ImportError:
            yield
            return
        with (self.folder / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                expected = f"the gradebook {self.folder} for this run alone"
                raise InputError(expected, got="another run is filling it", hint="wait for it to end") from None
            yield

    @contextmanager
    def regrading(self, again: Sequence[str]) -> Iterator[float]:
        """Yield since when (seconds since 1970) results of the questions `again` count.

        A regrading that was killed goes on with the time at which it began; a run without questions forgets it.
        """
        path = self.folder / ".regrade"
        if not again:
            path.unlink(missing_ok=True)
            yield 0.0
            return
        try:
            request = json.loads(path.read_text(encoding="utf-8"))
            begun = request["since"] if request["again"] == sorted(again) else None
        except (OSError, ValueError, KeyError, TypeError):
            begun = None
        if begun is None:
            begun = time.time()
            write(path, json.dumps({"again": sorted(again), "since": begun}))
        yield begun
        path.unlink()


def _read(path: Path, assignment: str) -> Record | None:
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        grade = parts.pop("grade")
        questions = tuple(
            QuestionResult(**{**result, "probes": tuple(ProbeResult(**probe) for probe in result["probes"])})
            for result in grade["questions"]
        )
        grade |= {"questions": questions, "notes": tuple(grade["notes"])}
        record = Record(grade=Grade(**grade), **parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if record.grade.assignment == assignment else None
