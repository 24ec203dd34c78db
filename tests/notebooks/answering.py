"""Execute a copy of an assignment in a kernel of its own, and ask it what the judge asks; without the judge's sandbox.

Only for notebooks of the course itself: what a stranger hands in runs in `bigmodel_lab.course.sandbox`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from bigmodel_lab.course.markers import NAME_LINE
from bigmodel_lab.course.plain import as_plain, decode, pack, same
from bigmodel_lab.course.questions import Assignment, Probe, Question, student_seed
from bigmodel_lab.errors import DataError

SECONDS = 240  # for one cell


@dataclass(frozen=True)
class Answer:
    """What came of one probe."""

    question: str
    probe: str
    share: float
    problem: str  # what was wrong, for the author of the assignment


def signed(notebook: nbformat.NotebookNode, student: str) -> nbformat.NotebookNode:
    """`notebook` with the student's name filled in, changed in place."""
    (cell,) = (cell for cell in notebook.cells if "student" in cell.metadata.get("tags", []))
    cell.source, count = NAME_LINE.subn(rf'\1"{student}"', cell.source)
    assert count == 1
    return notebook


def probes(question: Question, assignment: str, student: str) -> list[Probe]:
    """What the judge asks one student; its cell finds `student` and `seed` as names of its own."""
    known = f"student, seed = {student!r}, {student_seed(student, assignment)}\n"
    asked = replace(question, probes=known + question.probes) if question.probes else question
    return list(asked.ask(student_seed(student, f"{assignment}/{question.name}")))


def answers(notebook: nbformat.NotebookNode, assignment: Assignment, student: str, folder: Path) -> list[Answer]:
    """Run `notebook` as `student` in `folder`, ask all probes, and return what came of each.

    Raises `nbclient`'s `CellExecutionError`, which shows the cell, where one fails.
    """
    found = []
    with _running(notebook, student, folder) as client:
        for question in assignment.questions:
            for probe in probes(question, assignment.name, student):
                share, problem = _asked(client, probe, student)
                found.append(Answer(question.name, probe.name or probe.expression, share, problem))
    return found


@contextmanager
def _running(notebook: nbformat.NotebookNode, student: str, folder: Path) -> Iterator[NotebookClient]:
    """A kernel in which `notebook` has run as `student`, and that can be asked."""
    client = NotebookClient(signed(notebook, student), timeout=SECONDS, resources={"metadata": {"path": str(folder)}})
    inside = files("bigmodel_lab.course").joinpath("inside.py").read_text(encoding="utf-8")
    with client.setup_kernel():
        for number, cell in enumerate(list(notebook.cells)):
            client.execute_cell(cell, number)
        _say(client, f"_asking = {{'__name__': 'question'}}\nexec({inside!r}, _asking)")
        yield client


def _asked(client: NotebookClient, probe: Probe, student: str) -> tuple[float, str]:
    """What came of one probe, and what was wrong."""
    inputs = pack({"student": student, **probe.inputs})
    try:
        text = _say(client, f"print(_asking['ask'](globals(), {probe.expression!r}, {inputs!r}))")
        return _share(probe, decode(text.splitlines()[-1]))
    except (CellExecutionError, DataError) as error:
        return 0.0, str(error).strip().splitlines()[-1]


def changed(answer: str, wrong: dict) -> str:
    """The solution's cell with what is wrong put in."""
    if "answer" in wrong:
        return wrong["answer"]
    for old, new in wrong["edits"]:
        assert answer.count(old) == 1, f"expected once in the answer: {old!r}"
        answer = answer.replace(old, new)
    return answer


def shares(
    notebook: nbformat.NotebookNode, assignment: Assignment, student: str, folder: Path, wrong: dict[str, dict]
) -> dict[str, float]:
    """Run the solution once, then put in each wrong answer in turn: name -> the share of its question's points."""
    cells = {c.metadata["course"]["answer"]: c.source for c in notebook.cells
             if c.cell_type == "code" and "answer" in c.metadata.get("course", {})}  # fmt: skip
    found = {}
    with _running(notebook, student, folder) as client:
        for name, one in wrong.items():
            (question,) = (q for q in assignment.questions if q.name == one["question"])
            answer = changed(cells[question.name], one)
            _try(client, answer)
            asked = probes(question, assignment.name, student)
            got = [_asked(client, probe, student)[0] for probe in asked]
            found[name] = sum(s * p.points for s, p in zip(got, asked, strict=True)) / sum(p.points for p in asked)
            _try(client, cells[question.name])
    return found


def _try(client: NotebookClient, source: str) -> None:
    """Run an answer; one that fails leaves what was there, so the names it defines are taken away before."""
    defined = [line.split("(")[0].split()[1] for line in source.splitlines() if line.startswith(("def ", "class "))]
    _say(client, "\n".join(f"globals().pop({name.rstrip(':')!r}, None)" for name in defined))
    _say(client, f"try:\n    exec({source!r}, globals())\nexcept Exception as error:\n    print(type(error).__name__)")


def _say(client: NotebookClient, source: str) -> str:
    """Run `source` in the kernel and return what it prints."""
    cell = nbformat.v4.new_code_cell(source)
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1, store_history=False)
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def _share(probe: Probe, got: object) -> tuple[float, str]:
    share = probe.judge(got) if probe.judge else float(same(got, as_plain(probe.expected), probe.tolerance))
    return share, "" if share >= 1 else f"came {got!r:.300}"
