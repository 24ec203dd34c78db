"""A student's notebook as it was handed in: read as a file that anybody may have made, down to the cells to run."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from bigmodel_lab.course.questions import Assignment
from bigmodel_lab.errors import DataError

__all__ = ["Cell", "read_submission", "sha256"]

LARGEST = 20 * 2**20  # bytes of a notebook; figures make up most of it
MOST_CELLS = 1000
_STUDENT = re.compile(r"^student\s*=\s*(\"[^\"\n]*\"|'[^'\n]*')", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """One code cell that the judge runs."""

    name: str  # "cell 7", or "cell 7 (q2)", for the notes
    source: str


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; empty where it is none, or cannot be read."""
    if not path.is_file():  # a pipe would never end
        return ""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def read_submission(path: Path, assignment: Assignment, student: str) -> list[Cell]:
    """Return the code cells to run, `student` set to the name the judge knows; public checks and installing left out.

    Raises `DataError` for a file that is no notebook of format 4, too large, or of another assignment.
    """
    notebook = _notebook(path)
    cells = notebook["cells"]
    _refuse_foreign(notebook, assignment)
    run = [Cell("the student's name", f"student = {student!r}")]
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] != "code":
            continue
        mark, tags, source = _mark(cell), _metadata(cell).get("tags", []), _source(cell)
        if "check" in mark or "judge" in mark or (isinstance(tags, list) and "public-check" in tags):
            continue
        if "find_spec(" in source and "bigmodel_lab" in source and "%pip install" in source:
            continue
        answered = mark.get("answer")
        known = isinstance(answered, str) and re.fullmatch(r"\w{1,20}", answered)
        name = f"cell {number} ({answered})" if known else f"cell {number}"
        run.append(Cell(name, _STUDENT.sub(lambda _: f"student = {student!r}", source)))
    return run


def _notebook(path: Path) -> dict[str, Any]:
    """The notebook as JSON, every cell a dictionary with a text."""
    expected = "a Jupyter notebook (.ipynb, format 4)"
    try:
        if not path.is_file():
            raise DataError(expected, got="no file, or no ordinary one")
        if path.stat().st_size > LARGEST:
            got, hint = f"{path.stat().st_size / 2**20:.0f} MB", "clear the outputs and hand it in again"
            raise DataError(f"a notebook of at most {LARGEST / 2**20:.0f} MB", got=got, hint=hint)
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
        if notebook["nbformat"] != 4:
            raise DataError(
                expected, got=f"format {str(notebook['nbformat'])[:20]}", hint="save it with a newer Jupyter"
            )
        for cell in notebook["cells"]:
            cell["cell_type"], _source(cell).encode(), _mark(cell)
    except OSError as error:
        raise DataError(expected, got=f"a file that cannot be read ({error.strerror})") from error
    except UnicodeError as error:
        raise DataError(expected, got="text that is not UTF-8", hint="download the notebook again") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(expected, got="a file of another kind", hint="download the notebook again") from error
    if len(notebook["cells"]) > MOST_CELLS:
        raise DataError(f"at most {MOST_CELLS} cells", got=f"{len(notebook['cells'])}")
    return notebook


def _refuse_foreign(notebook: Mapping[str, Any], assignment: Assignment) -> None:
    """By its own name, else by marks on its cells, else by the headings of the questions, it is of this assignment."""
    expected = f"the notebook of assignment {assignment.name}"
    name = _mark(notebook).get("assignment")
    if name == assignment.name:
        return
    if isinstance(name, str):
        raise DataError(expected, got=f"that of {name[:60]}", hint="hand in the file that was given out")
    if any({"question", "answer"} & _mark(cell).keys() for cell in notebook["cells"]):
        return
    source = nbformat.read(assignment.path, as_version=4)
    asked = [cell.source.strip().splitlines()[0] for cell in source.cells if "question" in _mark(cell)]
    texts = "\n".join(_source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    if not asked or sum(line in texts for line in asked) < len(asked) / 2:
        raise DataError(expected, got="a notebook without its questions", hint="hand in the file that was given out")


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _metadata(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = cell.get("metadata", {})
    return metadata if isinstance(metadata, Mapping) else {}


def _mark(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    mark = _metadata(cell).get("course", {})
    return mark if isinstance(mark, Mapping) else {}
