"""What is made of an assignment's source notebook: the copy that students fill in, and the solved one for the teacher.

Both are generated, the same bytes each time; the source is the only file that is written by hand.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from bigmodel_lab.course.collect import Submission, collect
from bigmodel_lab.course.leaks import leaks
from bigmodel_lab.course.markers import NAME_LINE, SourceCell, read_source
from bigmodel_lab.course.questions import Assignment, load
from bigmodel_lab.errors import DataError

__all__ = ["Submission", "collect", "drifted", "leaks", "release", "solution_copy", "student_copy"]

_ABOUT = ("assignment", "title", "chapter", "minutes")
_TAGS = ("hide-input", "nbval-skip", "raises-exception", "remove-cell", "skip-execution", "student")


def student_copy(source: Path) -> NotebookNode:
    """Make the student's notebook: gaps for solutions, no judge's cells, no rubrics, no outputs.

    Metadata says no more than which question a cell asks, answers or checks; ids are given anew, because those of the
    source depend on what was taken out. The name is left empty. A question whose text does not name its points gets a
    line that does.
    Raises `DataError` where the source does not hold together (see `markers.read_source` and `questions.load`).
    """
    assignment, (notebook, cells) = load(source), read_source(source)
    points = {question.name: question.points for question in assignment.questions}
    made = []
    for cell in cells:
        if cell.role == "question":
            made.append((cell, _with_points(cell.opened, points[cell.question])))
        elif "student" in cell.cell.metadata.get("tags", []):
            made.append((cell, NAME_LINE.sub(r'\1""', cell.opened)))
        elif cell.role not in ("judge", "rubric"):
            made.append((cell, cell.opened))
    return _notebook(notebook, assignment, made)


def solution_copy(source: Path, *, judge: bool = False) -> NotebookNode:
    """Make the teacher's solved notebook: no markers, rubrics kept, the judge's cells only with `judge=True`."""
    assignment, (notebook, cells) = load(source), read_source(source)
    return _notebook(notebook, assignment, [(c, c.solved) for c in cells if c.role != "judge" or judge])


def release(source: Path, folder: Path) -> tuple[Path, ...]:
    """Write `students/NAME.ipynb` and `teacher/NAME-solution.ipynb` under `folder`; return the two paths.

    Each file is replaced in one step, and none is before both are made and the student's copy has been searched.
    Raises `DataError` where the copy would show something that it must not.
    """
    texts = _texts(source, folder)
    parts = {path: path.with_name(f".{path.name}.part") for path in texts}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parts[path].write_text(text, encoding="utf-8", newline="\n")
        if found := leaks(source, parts[next(iter(texts))]):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise DataError(
                "a student's copy that hides the solution", got=f"{found[0]}{more}", hint="reword the source"
            )
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return tuple(texts)


def drifted(source: Path, folder: Path) -> list[str]:
    """Say which released files under `folder` are missing, or are not what `release` would write today."""
    problems = []
    for path, text in _texts(source, folder).items():
        if not path.is_file():
            problems.append(f"{path.name} is missing")
        elif path.read_bytes() != text.encode():
            problems.append(f"{path.name} is not what its source makes: it was edited, or the source was")
    return problems


def _texts(source: Path, folder: Path) -> dict[Path, str]:
    """What is to be written, the student's copy first."""
    name = load(source).name
    if name != source.stem or not re.fullmatch(r"\w[\w.-]*", name):
        raise DataError(f"the assignment's name in {source.name} to be {source.stem!r}", got=repr(name))
    return {
        folder / "students" / f"{name}.ipynb": nbformat.writes(student_copy(source)) + "\n",
        folder / "teacher" / f"{name}-solution.ipynb": nbformat.writes(solution_copy(source)) + "\n",
    }


def _notebook(source: NotebookNode, assignment: Assignment, made: Iterable[tuple[SourceCell, str]]) -> NotebookNode:
    """Put cells together, with nothing of the source's but what is named here."""
    metadata = {
        "course": {key: getattr(assignment, "name" if key == "assignment" else key) for key in _ABOUT},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if source.metadata.get("accelerator") == "GPU":
        metadata["accelerator"] = "GPU"
    notebook, seen = nbformat.v4.new_notebook(metadata=metadata), Counter()
    for cell, text in made:
        kind = f"{cell.question}-{cell.role}" if cell.role else "cell"
        seen[kind] += 1
        make = nbformat.v4.new_code_cell if cell.cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        fresh = make(text, id=f"{kind}-{seen[kind]}")
        if cell.role:
            fresh.metadata["course"] = {cell.role: cell.question}
        if tags := [tag for tag in cell.cell.metadata.get("tags", []) if tag in _TAGS]:
            fresh.metadata["tags"] = tags
        notebook.cells.append(fresh)
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def _with_points(text: str, points: float) -> str:
    """`text` with its points named below its heading, or at its end; unchanged where it names them."""
    if re.search(rf"(?<![\d.]){points:g}\s*points?\b", text, re.IGNORECASE):
        return text
    label = f"*{points:g} point{'' if points == 1 else 's'}*"
    first, _, rest = text.partition("\n")
    return f"{first}\n\n{label}\n\n{rest.lstrip()}".rstrip() if first.startswith("#") else f"{text}\n\n{label}"
