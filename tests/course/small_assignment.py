"""A sound assignment of four questions as a source notebook: what the tests release, spoil, execute and grade."""

from pathlib import Path

import nbformat
from nbformat import v4

from bigmodel_lab.course import INSTALL_TAGS, install_cell

NAME = "03_small"
URL = "https://github.com/big-model-lab/course"

SETTING = f'''\
import numpy as np

from bigmodel_lab import check
from bigmodel_lab.course.questions import student_seed

seed = student_seed(student, "{NAME}")
data = np.random.default_rng(seed).normal(size=2000)'''
SOFTMAX = '''\
import numpy as np

def softmax(scores):
    """Return shares that sum to one."""
    ### BEGIN SOLUTION
    # subtract the largest, so that nothing overflows
    powers = np.exp(scores - np.max(scores))
    return powers / powers.sum()
    ### END SOLUTION'''
SOFTMAX_JUDGE = """\
import numpy as np

def probes(rng):
    scores = rng.normal(size=5)
    reference = np.exp(scores) / np.exp(scores).sum()
    given = {"scores": scores}
    yield Probe(expression="softmax(scores)", inputs=given, expected=reference, name="five scores", hint="the sum")
    yield Probe(
        expression="[float(one) for one in softmax(np.array([1000.0, 1000.0]))]",
        expected=[0.5, 0.5],
        name="large scores",
        hint="exp(1000) is infinite",
    )"""
COUNT = """\
parameters = ...
### BEGIN SOLUTION
parameters = sum(width * (before + 1) for before, width in zip(widths, widths[1:]))
### END SOLUTION"""
COUNT_JUDGE = """\
def probes(rng):
    yield Probe(expression="parameters", expected=12 * 9 + 3 * 13, name="all layers", hint="bias")"""
MEASURED = """\
share = (
    ### BEGIN SOLUTION
    float((data > 0.25).mean())
    ### END SOLUTION
)"""
MEASURED_JUDGE = """\
def probes(rng):
    near = lambda got: float(abs(got - 0.4013) < 0.1)
    yield Probe(expression="share", judge=near, name="the measured share", hint="count, and divide")"""
WRITTEN = """\
*In two sentences.*

<!-- BEGIN SOLUTION -->
Temperature divides the scores before the softmax. A small one makes the largest share grow towards one.
<!-- END SOLUTION -->"""
RUBRIC = """\
| criterion | points |
|---|---|
| Says that the scores are divided before the exponential | 2 |
| Says which share grows when it is small | 1 |"""


def text(source: str, **course) -> nbformat.NotebookNode:
    return v4.new_markdown_cell(source, metadata={"course": course} if course else {})


def code(source: str, *tags: str, **course) -> nbformat.NotebookNode:
    metadata = ({"tags": list(tags)} if tags else {}) | ({"course": course} if course else {})
    return v4.new_code_cell(source, metadata=metadata)


def small_assignment() -> nbformat.NotebookNode:
    """A fresh source notebook; 10 points."""
    cells = [
        text("# A small assignment\n\n**Time** about 30 minutes. **Points** 10."),
        code(install_cell(URL), *INSTALL_TAGS),
        code('student = ""  # your name or number, as your teacher knows it', "student"),
        code(SETTING),
        text("## Shares\n\nWrite a softmax.", question="q1", points=3, kind="code", title="Shares"),
        code(SOFTMAX, answer="q1"),
        code('check.close(softmax(np.zeros(2)), [0.5, 0.5], hint="two equal shares")', check="q1"),
        code(SOFTMAX_JUDGE, judge="q1"),
        text("## Counting (2 points)\n\nCount.", question="q2", points=2, kind="code", title="Counting"),
        code("widths = [8, 12, 3]"),
        code(COUNT, answer="q2"),
        code("check.between(parameters, 100, 200)", check="q2"),
        code(COUNT_JUDGE, judge="q2"),
        text("## Measuring\nHow many exceed a quarter?", question="q3", points=2, kind="experiment", title="Measure"),
        code(MEASURED, answer="q3"),
        code("check.between(share, 0, 1)", check="q3"),
        code(MEASURED_JUDGE, judge="q3"),
        text("What does temperature do?", question="q4", points=3, kind="written", title="Temperature"),
        text(WRITTEN, answer="q4"),
        text(RUBRIC, rubric="q4"),
    ]
    about = {"assignment": NAME, "title": "A small assignment", "chapter": 3, "minutes": 30}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = v4.new_notebook(cells=cells, metadata={"course": about, "kernelspec": kernel})
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"source-{number}"
    return notebook


def write(notebook: nbformat.NotebookNode, folder: Path, name: str = NAME) -> Path:
    """Save a source notebook under `folder`."""
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path
