"""Whose is which file: a folder of submissions as Canvas, Moodle or a teacher lays it out, read without running any.

Canvas   doejane_12345_67890_03_attention.ipynb, doejane_LATE_12345_67890_03_attention-1.ipynb
Moodle   Jane Doe_123456_assignsubmission_file_/03_attention.ipynb
plain    Jane Doe/03_attention.ipynb, Jane Doe.ipynb
"""

import ast
import itertools
import json
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bigmodel_lab.course.files import plain, same
from bigmodel_lab.errors import InputError

__all__ = ["Submission", "collect"]

LARGEST = 50_000_000  # bytes of a file that is read for the name in it
LONGEST = 10_000  # letters of the cell with the name
_CANVAS = re.compile(r"(?P<who>.+?)(?:_LATE)?_(?P<id>\d{2,})_\d{3,}_.+", re.DOTALL)
_MOODLE = re.compile(r"(?P<who>.+?)_(?P<id>\d+)_assignsubmission_\w+", re.DOTALL)
_COPY = re.compile(r"[\s_-]*(?:\(\d+\)|copy|-?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One file that was handed in, and by whom."""

    student: str
    path: Path
    modified: datetime  # with time zone
    notes: tuple[str, ...] = ()  # what the student and the teacher should know; names nobody else
    filed_as: str = ""  # the name that the file or folder carries, "" where it carries none


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A file, before it is known what the others say."""

    submission: Submission
    sender: str  # what tells senders apart: the platform's number, or the name of the file or folder
    said: str = ""  # the name that the notebook gives
    notebook: bool = True


def collect(folder: Path, assignment: str = "") -> list[Submission]:
    """Find the submissions in `folder`, in the order of students' names, each student's oldest file first.

    The student is who the notebook's `student = "…"` says, because data depends on it. Where the file carries another
    name, a note says so; where files of different senders give the same name, it belongs to the one whose file carries
    it, and each of the others stands under the name that the file carries. Nothing stops it: what cannot be read, is a
    link, or is no notebook, is listed with a note. With `assignment`, notebooks of others get a note.
    Raises `InputError` where `folder` is none.
    """
    if not Path(folder).is_dir():
        raise InputError("a folder of submissions", got=str(folder), hint="unpack the archive that you downloaded")
    found = [_look(path, Path(folder), assignment) for path in _files(Path(folder))]
    senders = {one.sender for one in found if one.notebook}
    found = [one for one in found if one.notebook or (one.sender and one.sender not in senders)]
    named: dict[str, list[_Found]] = defaultdict(list)
    for one in found:
        named[same(one.said)].append(one)
    settled = [_settled(one, named[same(one.said)]) for one in found]
    return list(_counted(sorted(settled, key=lambda s: (same(s.student), s.modified, str(s.path)))))


def _files(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, without what is hidden and what archives and editors leave."""
    for where, folders, names in os.walk(folder):
        names += [name for name in folders if Path(where, name).is_symlink()]  # listed, and not entered
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))


def _look(path: Path, folder: Path, assignment: str) -> _Found:
    """Read one file."""
    notes: list[str] = []
    notebook, said, about = path.suffix.lower() == ".ipynb", "", ""
    try:
        status = path.lstat()
    except OSError as error:
        return _Found(submission=_submission(path, 0.0, (f"the file cannot be read: {error.strerror}",), ""), sender="")
    try:
        if not stat.S_ISREG(status.st_mode):
            notes.append("this is a link or another special file, which is not followed")
        elif not notebook:
            notes.append(f"this is no notebook (.ipynb): {_text(path.suffix) or 'a file without an ending'}")
        elif status.st_size > LARGEST:
            notes.append(f"the file is too large: {status.st_size / 1e6:.0f} MB, {LARGEST / 1e6:.0f} at most")
        else:
            said, about, problem = _read(path)
            notes += [problem] if problem else []
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        notes.append(f"the file cannot be read as a notebook: {type(error).__name__}")
    if assignment and about and about != assignment:
        notes.append(f"this is a notebook of {_text(about)}, not of {assignment}")
    who, sender = _filed(path.relative_to(folder), about or assignment)
    return _Found(
        submission=_submission(path, status.st_mtime, tuple(notes), who), sender=sender, said=said, notebook=notebook
    )


def _submission(path: Path, modified: float, notes: tuple[str, ...], who: str) -> Submission:
    when = datetime.fromtimestamp(modified).astimezone()
    return Submission(student=who or _text(path.stem), path=path, modified=when, notes=notes, filed_as=who)


def _filed(path: Path, assignment: str) -> tuple[str, str]:
    """The name that a file carries, and what tells its sender from others."""
    parts = [_text(part) for part in path.parts]
    for part in parts:
        if found := _MOODLE.match(part):
            return " ".join(found["who"].split()), f"moodle {found['id']}"
    if found := _CANVAS.fullmatch(parts[-1]):
        return found["who"], f"canvas {found['id']}"
    who = parts[0] if len(parts) > 1 else _text(path.stem)
    if len(parts) == 1 and assignment and who.startswith(assignment) and _COPY.fullmatch(who[len(assignment) :]):
        return "", f"file {who}"  # as it was handed out: it says nothing of who sent it
    return who, f"name {same(who)}"


def _text(name: str | Path) -> str:
    """A file's name as text that can be printed, also where it is not UTF-8."""
    return plain(os.fsencode(str(name)).decode("utf-8", "replace"))


def _read(path: Path) -> tuple[str, str, str]:
    """The student's name and the assignment's as the notebook gives them, and what is wrong with the first."""
    notebook = json.loads(path.read_bytes())
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        return "", "", "the file cannot be read as a notebook: it has no cells"
    about: Any = notebook.get("metadata")
    for key in ("course", "assignment"):
        about = about.get(key) if isinstance(about, dict) else None
    about = about if isinstance(about, str) else ""
    for cell in notebook["cells"]:
        source = cell.get("source") if isinstance(cell, dict) and cell.get("cell_type") == "code" else ""
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if len(text) <= LONGEST and re.search(r"^student\s*=", text, re.MULTILINE):
            said, problem = _name_in(text)
            return said, about, problem
    return "", about, 'there is no cell student = "…" in it'


def _name_in(text: str) -> tuple[str, str]:
    """What a cell assigns to `student`, and what is wrong with it; nothing is run."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", 'the cell student = "…" is not Python'
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "student" for to in node.targets):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(value, bool) or not isinstance(value, str | int):
                return "", 'student = "…" is not a text in quotes'
            name = plain(str(value))[:100]
            return name, "" if name else 'student = "" was left empty'
    return "", 'the cell student = "…" gives no name'


def _settled(one: _Found, alike: Iterable[_Found]) -> Submission:
    """Decide whose a file is, by what it says, what it is called, and who else says the same."""
    submission = one.submission
    if not one.said:
        if submission.filed_as or not one.notebook:
            return submission
        return replace(submission, notes=(*submission.notes, "nobody's name is in it: its file name stands for one"))
    if not submission.filed_as or _agree(one.said, submission.filed_as):
        return replace(submission, student=one.said)
    others = {other.sender for other in alike} - {one.sender}
    if others:
        note = f"the notebook gives the name {one.said!r}, which others give too; the file carries another"
        return replace(submission, notes=(*submission.notes, note))
    note = f"the notebook gives the name {one.said!r}, the file carries {submission.filed_as!r}"
    return replace(submission, student=one.said, notes=(*submission.notes, note))


def _agree(said: str, filed: str) -> bool:
    """Whether two spellings can be of one name: other order, accents, case, or run together as Canvas does."""
    words = [_letters(word) for word in re.split(r"[\s,._-]+", said) if _letters(word)]
    orders = itertools.permutations(words) if len(words) <= 5 else [tuple(words)]
    return _letters(filed) in {"".join(order) for order in orders}


def _letters(text: str) -> str:
    """Letters and digits only, without case and accents."""
    split = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in split if c.isalnum())


def _counted(submissions: list[Submission]) -> Iterator[Submission]:
    """Tell those who handed in several files."""
    for _, group in itertools.groupby(submissions, key=lambda submission: same(submission.student)):
        files = list(group)
        for number, one in enumerate(files, 1):
            note = (f"file {number} of {len(files)} under this name, the oldest first",) if len(files) > 1 else ()
            yield replace(one, notes=one.notes + note)
