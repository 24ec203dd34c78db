"""A small assignment, and submissions to it: honest, wrong, broken and hostile, each with the points it must get.

Questions: q1 (4 points) a function, q2 (2) a number that depends on the student, q3 (3) an array, q4 (5) in words.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

from bigmodel_lab.course.questions import Assignment, load, student_seed

NAME = "99_trust"
STUDENT = "Ada Lovelace"
NEIGHBOUR = "Charles Babbage"
FULL = {"q1": 4.0, "q2": 2.0, "q3": 3.0, "q4": 0.0}

SETTING = f"""\
from bigmodel_lab.course.questions import student_seed

seed = student_seed(student, "{NAME}")"""
SOLUTIONS = {
    "q1": "def spread(values):\n    return max(values) - min(values)",
    "q2": "digits = sum(map(int, str(seed)))",
    "q3": "import numpy as np\n\ndef centred(x):\n    return x - x.mean(axis=0, keepdims=True)",
}
JUDGES = {
    "q1": """\
def probes(rng):
    values = rng.normal(size=5).tolist()
    yield Probe(
        expression="spread(values)", inputs={"values": values}, expected=max(values) - min(values), name="five numbers"
    )
    yield Probe(expression="spread([7])", expected=0, name="one number", hint="largest minus smallest")""",
    "q2": """\
def probes(rng):
    yield Probe(expression="digits", expected=sum(map(int, str(seed))), name="sum of the digits of your seed")""",
    "q3": """\
import numpy as np

def probes(rng):
    x = rng.normal(size=(4, 3))
    yield Probe(expression="centred(x)", inputs={"x": x}, expected=x - x.mean(0), points=2, name="a table")
    yield Probe(
        expression="centred(x)", inputs={"x": x.astype("float32")}, judge=lambda got: float(got.shape == (4, 3)),
        name="its shape",
    )""",
}
CHECKS = {"q1": "from bigmodel_lab import check\n\ncheck.equal(spread([1, 2]), 1, what='spread')"}
POINTS = {"q1": 4, "q2": 2, "q3": 3, "q4": 5}
KINDS = {"q1": "code", "q2": "experiment", "q3": "code", "q4": "written"}


@dataclass(frozen=True)
class Attack:
    """A submission by what differs from the solution, and the points that it must get."""

    answers: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""  # the questions that get nothing: "q1 q3"; the others get all
    checks: Mapping[str, str] = field(default_factory=lambda: CHECKS)
    note: str = ""  # what the notes, or the messages, must say

    @property
    def points(self) -> dict[str, float]:
        return {name: 0.0 if name in self.lost.split() else points for name, points in FULL.items()}


BLANK = {"q1": "def spread(values):\n    ...", "q2": "digits = ...", "q3": "def centred(x):\n    ..."}


def first(source: str) -> dict[str, str]:
    """A blank submission whose first answer begins with `source`."""
    return BLANK | {"q1": f"{source}\n{BLANK['q1']}"}


def before(source: str) -> dict[str, str]:
    """The solution, whose second answer begins with `source`."""
    return {"q2": f"{source}\n{SOLUTIONS['q2']}"}


LIAR = """\
class Liar:
    __hash__ = None
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __float__(self): return 0.0
    def __sub__(self, other): return self
    __iter__ = None
"""
ARRAY_LIAR = """\
import numpy as np
class Liar(np.ndarray):
    def __eq__(self, other): return True
    def __array__(self, *args, **kwargs): return self
def centred(x):
    return np.zeros((4, 3)).view(Liar)"""
PATCHED_CHECKER = """\
import builtins, bigmodel_lab.check as checker, bigmodel_lab.course.plain as plain
for name in checker.__all__:
    setattr(checker, name, lambda *a, **k: True)
plain.same = lambda *a, **k: True
builtins.AssertionError = type("Never", (Exception,), {})
builtins.isinstance = lambda *a: True"""
PATCHED_ASSERT = """\
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
get_ipython().ast_transformers.append(Drop())"""
PATCHED_JSON = """\
import json
json.dumps = lambda *a, **k: '{"share": 1.0, "expected": true}'
json.JSONEncoder.encode = json.dumps"""
PATCHED_KERNEL = """\
full = {"status": "ok", "data": {"text/plain": "'true'"}, "metadata": {}}
get_ipython().user_expressions = lambda asked: {name: full for name in asked}"""
STUBBORN = """\
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: pass"""
KILLER = """\
import os
for victim in (-1, 1, os.getppid(), os.getpid()):
    try:
        os.kill(victim, 9)
    except OSError:
        pass"""
BORROWED = f"""\
import json
digits = {sum(map(int, str(student_seed(NEIGHBOUR, NAME))))}
plain = json.dumps
json.dumps = lambda value, **more: plain(value, **more).replace({STUDENT!r}, {NEIGHBOUR!r})
student, seed = {NEIGHBOUR!r}, {student_seed(NEIGHBOUR, NAME)}"""
FULL_DISK = """\
import os
for number in range(100):
    try:
        with open(f"{number}.bin", "wb") as stream:
            stream.write(os.urandom(1 << 20) * 6)
    except OSError as error:
        full = error
assert full"""
GHOST = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)"""
FAKE_RESULTS = """\
import os, sys
for stream in (1, 2):
    os.write(stream, b'{"q1": 4, "q2": 2, "q3": 3}')
print('{"q1": 4, "q2": 2, "q3": 3}', 'points: 9 of 9', flush=True)"""

ATTACKS = {
    "solution": Attack(),
    "blank": Attack(BLANK, "q1 q2 q3", note="no answer yet"),
    "wrong-q1": Attack({"q1": "def spread(values):\n    return max(values)"}, "q1", note="largest minus smallest"),
    "wrong-q2": Attack({"q2": "digits = len(str(seed))"}, "q2"),
    "wrong-q3": Attack({"q3": "def centred(x):\n    return (x - x.mean()).ravel()"}, "q3"),
    "of-the-neighbour": Attack({"q2": f"digits = {sum(map(int, str(student_seed(NEIGHBOUR, NAME))))}"}, "q2"),
    "as-the-neighbour": Attack({"q2": f"student = {NEIGHBOUR!r}\nseed = 11\ndigits = 2"}, "q2"),
    "as-the-neighbour-in-json": Attack({"q2": BORROWED}, "q2"),
    "true-for-a-number": Attack({"q1": "def spread(values):\n    return len(values) > 1"}, "q1"),
    "syntax-error": Attack({"q2": "digits = = 3"}, "q2", note="SyntaxError"),
    "exception": Attack({"q1": "1 / 0\n" + SOLUTIONS["q1"]}, "q1", note="ZeroDivisionError"),
    "endless-cell": Attack({"q2": "while True: pass"}, "q2", note="stopped after"),
    "endless-cell-that-ignores-interrupts": Attack({"q2": STUBBORN}, "q2", note="did not heed"),
    "endless-answer": Attack({"q1": "def spread(values):\n    while True: pass"}, "q1", note="stopped after"),
    "memory-bomb": Attack({"q3": "kept = []\nwhile True: kept.append(b'x' * 10_000_000)"}, "q3", note="of memory"),
    "shared-memory-bomb": Attack(
        {"q3": "import mmap\nkept = mmap.mmap(-1, 2 << 30)\nfor i in range(0, 2 << 30, 4096): kept[i] = 1"},
        "q3",
        note="of memory",
    ),
    "fork-bomb": Attack({"q3": "import os\nwhile True: os.fork()"}, "q3", note="more than"),
    "thread-bomb": Attack(
        {"q3": "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=(99,)).start()"},
        "q3",
        note="thread",
    ),
    "sys-exit": Attack({"q1": "import sys\nsys.exit(0)"}, "q1"),
    "os-exit": Attack({"q1": "import os\nos._exit(0)"}, "q1", note="ended Python"),
    "kills-everything": Attack({"q2": KILLER}, "q2", note="ended Python"),
    "dies-when-asked": Attack({"q1": "import os\ndef spread(values):\n    os._exit(0)"}, "q1", note="ended Python"),
    "exits-when-asked": Attack({"q1": "import sys\ndef spread(values):\n    sys.exit(0)"}, "q1"),
    "checks-deleted": Attack(BLANK, "q1 q2 q3", checks={}),
    "checks-edited": Attack(BLANK, "q1 q2 q3", checks={"q1": "print('right')"}),
    "checks-that-answer": Attack(BLANK, "q1 q2 q3", checks={"q1": "\n".join(SOLUTIONS.values())}),
    "checker-patched": Attack(first(PATCHED_CHECKER), "q1 q2 q3"),
    "assert-patched": Attack(first(PATCHED_ASSERT), "q1 q2 q3"),
    "json-patched": Attack(first(PATCHED_JSON), "q1 q2 q3"),
    "kernel-patched": Attack(first(PATCHED_KERNEL), "q1 q2 q3"),
    "always-equal": Attack({"q1": f"{LIAR}def spread(values):\n    return Liar()"}, "q1", note="type Liar"),
    "array-always-equal": Attack({"q3": ARRAY_LIAR.replace("(4, 3)", "(3, 4)")}, "q3"),
    "fake-results": Attack(first(FAKE_RESULTS), "q1 q2 q3"),
    "huge-output": Attack(before("for _ in range(60): print('x' * 1_000_000)")),
    "huge-answer": Attack({"q1": "def spread(values):\n    return 'x' * 30_000_000"}, "q1", note="too large"),
    "deep-answer": Attack(
        {"q1": "def spread(values):\n    a = []\n    for _ in range(5000): a = [a]\n    return a"}, "q1", note="deeper"
    ),
    "full-disk": Attack(before(FULL_DISK)),
    "process-left-behind": Attack(before(GHOST)),
}  # fmt: skip


def write_assignment(folder: Path) -> Assignment:
    """Write the source notebook into `folder` and load it."""
    cells = [v4.new_markdown_cell("# Trust"), _student_cell(""), v4.new_code_cell(SETTING)]
    for name, points in POINTS.items():
        cells.append(_asking(name, points))
        if name in SOLUTIONS:
            source = f"### BEGIN SOLUTION\n{SOLUTIONS[name]}\n### END SOLUTION"
            cells.append(_code(source, answer=name))
            cells += [_code(CHECKS[name], check=name)] if name in CHECKS else []
            cells.append(_code(JUDGES[name], judge=name))
        else:
            cells.append(v4.new_markdown_cell("5 points: says why", metadata={"course": {"rubric": name}}))
    path = folder / f"{NAME}.ipynb"
    nbformat.write(_notebook(cells), path)
    return load(path)


def write_submission(path: Path, attack: Attack = ATTACKS["solution"], *, marked: bool = True) -> Path:
    """Write a student's notebook; `marked=False` without any metadata, as some editors leave it."""
    cells = [v4.new_markdown_cell("# Trust"), _student_cell(STUDENT), v4.new_code_cell(SETTING)]
    for name, points in POINTS.items():
        cells.append(_asking(name, points))
        if name in SOLUTIONS:
            cells.append(_code(attack.answers.get(name, SOLUTIONS[name]), answer=name))
            cells += [_code(attack.checks[name], check=name)] if name in attack.checks else []
    notebook = _notebook(cells)
    if not marked:
        notebook.metadata = {}
        for cell in notebook.cells:
            cell.metadata = {}
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    return path


def broken_files() -> dict[str, tuple[bytes, str]]:
    """Files that are no submission, each with a word that the note must have."""
    foreign = v4.new_notebook(cells=[v4.new_code_cell("print(1)"), v4.new_markdown_cell("# My holiday")])
    other = v4.new_notebook(metadata={"course": {"assignment": "98_other"}})

    def made(**changes: Any) -> bytes:
        return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []} | changes).encode()

    return {
        "empty": (b"", "notebook"),
        "not-json": (b"PK\x03\x04 a zip file", "notebook"),
        "not-utf-8": (made().replace(b"cells", b"c\xffells"), "UTF-8"),
        "cut-off": (made()[:30], "notebook"),
        "a-list": (b"[1, 2]", "notebook"),
        "a-number": (b"3", "notebook"),
        "nested": (b"[" * 200_000, "notebook"),
        "old-format": (made(nbformat=3), "format"),
        "cells-are-text": (made(cells="abc"), "notebook"),
        "cell-without-source": (made(cells=[{"cell_type": "code"}]), "notebook"),
        "source-is-a-number": (made(cells=[{"cell_type": "code", "source": 3}]), "notebook"),
        "lone-surrogate": (made(cells=[{"cell_type": "code", "source": "\ud800"}]), "UTF-8"),
        "metadata-is-a-list": (made(metadata=[]), "questions"),
        "too-many-cells": (made(cells=[{"cell_type": "code", "source": ""}] * 5000), "1000"),
        "foreign": (nbformat.writes(foreign).encode(), "questions"),
        "of-another-assignment": (nbformat.writes(other).encode(), "98_other"),
        "too-large": (b" " * (21 * 2**20), "MB"),
    }


def _asking(name: str, points: float) -> nbformat.NotebookNode:
    about = {"question": name, "points": points, "kind": KINDS[name], "title": f"Question {name}"}
    return v4.new_markdown_cell(f"## Question {name}\n\n{points} points", metadata={"course": about})


def _student_cell(name: str) -> nbformat.NotebookNode:
    return v4.new_code_cell(f'student = "{name}"  # your name', metadata={"tags": ["student"]})


def _code(source: str, **mark: str) -> nbformat.NotebookNode:
    return v4.new_code_cell(source, metadata={"course": mark})


def _notebook(cells: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    about = {"assignment": NAME, "title": "Trust", "chapter": 9, "minutes": 5}
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return v4.new_notebook(cells=cells, metadata={"course": about})
