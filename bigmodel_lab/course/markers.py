"""An assignment's source notebook: what each cell is for, and which of its lines are the solution.

The markers are those that nbgrader and Otter share, alone on their lines, so that a source can move there.
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat

from bigmodel_lab.errors import DataError

__all__ = ["GAPS", "MARKERS", "MARKER_WORDS", "NAME_LINE", "ROLES", "SourceCell", "read_source"]

ROLES = ("question", "answer", "check", "judge", "rubric")
MARKERS = {
    "code": ("### BEGIN SOLUTION", "### END SOLUTION"),
    "markdown": ("<!-- BEGIN SOLUTION -->", "<!-- END SOLUTION -->"),
}
GAPS = {"code": "...  # your code", "markdown": "*Your answer here.*"}
MARKER_WORDS = re.compile(r"\b(?:BEGIN|END)[\s_-]*SOLUTION\b", re.IGNORECASE)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
NAME_LINE = re.compile(r'^(student = )"[^"\n]*"', re.MULTILINE)

_TYPES = {"question": "markdown", "check": "code", "judge": "code", "rubric": "markdown"}  # an answer may be either
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class SourceCell:
    """One cell of a source notebook, taken apart."""

    cell: nbformat.NotebookNode
    role: str  # one of ROLES, or empty: shown to the student as it is
    question: str  # the question that it belongs to, or empty
    where: str  # "cell 7 of 03_attention.ipynb"
    pieces: tuple[tuple[bool, tuple[str, ...]], ...]  # (is it solution?, lines), in order, markers left out

    @property
    def solved(self) -> str:
        """The text with the solution in it, the markers gone."""
        return "\n".join(line for _, lines in self.pieces for line in lines)

    @property
    def opened(self) -> str:
        """The text with a gap, as deeply indented, in place of each solution."""
        text: list[str] = []
        for hidden, lines in self.pieces:
            text += [_gap(lines, self.cell.cell_type)] if hidden else lines
        return "\n".join(text)

    @property
    def kept(self) -> list[str]:
        """The lines that the student sees, gaps left out."""
        return [line for hidden, lines in self.pieces if not hidden for line in lines]

    @property
    def hidden(self) -> list[str]:
        """The lines of the solution."""
        return [line for hidden, lines in self.pieces if hidden for line in lines]


def read_source(path: Path) -> tuple[nbformat.NotebookNode, list[SourceCell]]:
    """Read a source notebook and take its cells apart.

    Raises `DataError`, naming the cell, where a marker or a role is not as it must be: unbalanced, nested or not alone
    on its line; a solution outside an answer; an answer without one, or of which nothing would be left; a cell of no
    question, or of the wrong type; a question without an answer; no cell for the student's name.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        cells = [_taken_apart(cell, f"cell {n} of {path.name}") for n, cell in enumerate(notebook.cells, 1)]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError) as error:
        raise DataError(f"a notebook at {path}", got=f"{type(error).__name__}: {error}".splitlines()[0]) from error
    _check_questions(cells, path.name)
    _check_name_cell(cells, path.name)
    for at, cell in enumerate(cells):
        if cell.role == "answer":
            _check_answer(cell, cells[:at], cells)
    return notebook, cells


def _taken_apart(cell: nbformat.NotebookNode, where: str) -> SourceCell:
    if cell.cell_type not in MARKERS:
        raise DataError("cells of code or Markdown", got=f"a {cell.cell_type} cell", hint=f"change {where}")
    if cell.get("attachments") and "attachment:" in cell.source:
        raise DataError("pictures drawn by a cell", got="an attachment", hint=f"{where}: draw it, or link to it")
    role, question = _role(cell, where)
    pieces = tuple(_pieces(cell, where))
    if role != "answer" and any(hidden for hidden, _ in pieces):
        raise DataError("solutions in answer cells only", got=f"one in a {role or 'plain'} cell", hint=f"see {where}")
    return SourceCell(cell=cell, role=role, question=question, where=where, pieces=pieces)


def _role(cell: nbformat.NotebookNode, where: str) -> tuple[str, str]:
    mark = cell.metadata.get("course", {})
    roles = [role for role in ROLES if role in mark] if isinstance(mark, Mapping) else []
    if not mark and isinstance(mark, Mapping):
        return "", ""
    if len(roles) != 1:
        raise DataError(f"one of {', '.join(ROLES)} in the metadata 'course'", got=f"{mark!r}", hint=f"see {where}")
    role, name = roles[0], mark[roles[0]]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError("a question's name, such as q1", got=f"{name!r} as {role}", hint=f"see {where}")
    if cell.cell_type != _TYPES.get(role, cell.cell_type):
        raise DataError(f"a {role} in a {_TYPES[role]} cell", got=f"a {cell.cell_type} cell", hint=f"see {where}")
    return role, name


def _pieces(cell: nbformat.NotebookNode, where: str) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """Split a cell at its markers."""
    begin, end = MARKERS[cell.cell_type]
    lines: list[str] = []
    opened: str | None = None  # the line of the marker that is open
    for line in cell.source.split("\n"):
        if not MARKER_WORDS.search(line):
            lines.append(line)
            continue
        if line.strip() not in (begin, end):
            raise DataError(f"the marker {begin!r} or {end!r} alone on its line", got=repr(line), hint=f"see {where}")
        starts = line.strip() == begin
        if starts == (opened is not None):
            raise DataError(f"{begin!r} and {end!r} in turn", got=f"a second {line.strip()!r}", hint=f"see {where}")
        if not starts and (_indent([opened or ""]) != _indent([line]) or _indent(lines) != _indent([line])):
            raise DataError("a solution as deeply indented as its two markers", got=repr(line), hint=f"see {where}")
        if not starts and not "".join(lines).strip():
            raise DataError("a solution between the markers", got="nothing", hint=f"see {where}")
        if lines or not starts:
            yield not starts, tuple(lines)
        lines, opened = [], line if starts else None
    if opened is not None:
        raise DataError(f"{end!r} after {begin!r}", got="the end of the cell", hint=f"see {where}")
    if lines:
        yield False, tuple(lines)


def _indent(lines: list[str] | tuple[str, ...]) -> str:
    """White space at the beginning of the first line that is not blank."""
    first = next((line for line in lines if line.strip()), "")
    return first[: len(first) - len(first.lstrip())]


def _gap(lines: tuple[str, ...], cell_type: str) -> str:
    """What stands in place of a solution; where that ended by returning something, the gap returns the dots."""
    gap = GAPS[cell_type]
    if cell_type == "code":
        try:
            body = ast.parse("def _():\n" + textwrap.indent(textwrap.dedent("\n".join(lines)), " ")).body[0].body
        except SyntaxError:  # a part of a statement, say
            body = [None]
        gap = f"return {gap}" if isinstance(body[-1], ast.Return) and body[-1].value else gap
    return _indent(lines) + gap


def _check_questions(cells: list[SourceCell], name: str) -> None:
    asked: set[str] = set()
    for cell in cells:
        if cell.role == "question":
            asked.add(cell.question)
        elif cell.role and cell.question not in asked:
            raise DataError(f"a question {cell.question} before its {cell.role}", got="none", hint=f"see {cell.where}")
    for question in sorted(asked - {cell.question for cell in cells if cell.role == "answer"}):
        raise DataError(f"a cell that answers {question}", got="none", hint=f"add one to {name}")


def _check_name_cell(cells: list[SourceCell], name: str) -> None:
    """One cell asks for the student's name; the source may hold an example, so that it runs."""
    found = [cell for cell in cells if "student" in cell.cell.metadata.get("tags", [])]
    if len(found) != 1:
        raise DataError('one cell `student = ""` tagged "student"', got=f"{len(found)} in {name}")
    if not NAME_LINE.search(found[0].cell.source):
        raise DataError('`student = ""`', got=found[0].cell.source.split("\n")[0], hint=f"see {found[0].where}")


def _check_answer(answer: SourceCell, before: list[SourceCell], cells: list[SourceCell]) -> None:
    """Something is hidden; what stays is Python, and says what is to be defined."""
    if not answer.hidden:
        raise DataError("a solution between markers in an answer", got="no marker", hint=f"see {answer.where}")
    if answer.cell.cell_type != "code":
        return
    solved, opened = _parsed(answer.solved, answer.where), _parsed(answer.opened, f"{answer.where}, solution taken out")
    given = _bound(opened)
    for cell in before:
        if cell.role in ("", "answer") and cell.cell.cell_type == "code":
            given |= _bound(_parsed(cell.opened, cell.where))
    if (
        not any(line.strip() and not line.lstrip().startswith("#") for line in answer.kept)
        and not _bound(solved) & given
    ):
        hint = f'{answer.where}: leave the signature, or "name = ..." before the solution'
        raise DataError("code around the solution, to be filled in", got="nothing but the solution", hint=hint)
    asking = "\n".join(text for c in cells if c.question == answer.question for text in _asking(c))
    for node in solved.body:
        if isinstance(node, _DEFINITIONS) and node.name not in given and re.search(rf"\b{node.name}\b", asking):
            hint = f"{answer.where}: leave the line that defines it outside the markers"
            raise DataError(f"the signature of {node.name} in the student's copy", got="it is hidden", hint=hint)


def _asking(cell: SourceCell) -> list[str]:
    """Where a check or a judge calls what the student defines: a check's code, the texts in a judge's."""
    if cell.role == "check":
        return [cell.cell.source]
    nodes = ast.walk(_parsed(cell.cell.source, cell.where)) if cell.role == "judge" else ()
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _bound(tree: ast.Module) -> set[str]:
    """Names of functions and classes at the top level, and of what is assigned, or assigned into, anywhere."""
    stored = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Store)]
    stored += [node.value for node in stored if isinstance(node, ast.Subscript)]
    names = {node.id for node in stored if isinstance(node, ast.Name)}
    return names | {node.name for node in tree.body if isinstance(node, _DEFINITIONS)}


def _parsed(source: str, where: str) -> ast.Module:
    try:
        return ast.parse(_MAGIC.sub(r"\1pass", source))
    except SyntaxError as error:
        raise DataError("Python", got=f"line {error.lineno}: {error.msg}", hint=f"see {where}") from None
