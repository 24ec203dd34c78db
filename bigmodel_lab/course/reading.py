"""What a teacher reads: all answers to a written question on one page, below its rubric, as text that cannot run."""

import json
from collections.abc import Iterable
from pathlib import Path

from bigmodel_lab.course.collect import Submission
from bigmodel_lab.course.feedback import html_head, html_text
from bigmodel_lab.course.files import write
from bigmodel_lab.course.questions import Assignment, Question

__all__ = ["answer", "write_reading"]

LARGEST = 20 * 2**20
"""Bytes of a notebook that is read."""

LONGEST = 50_000
"""Characters of an answer that are shown."""


def answer(path: Path, question: str) -> str:
    """Return the source of the cells that answer `question` in the notebook at `path`, "" where none can be read."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
            return ""
        cells = json.loads(path.read_bytes())["cells"]
        mine = [cell for cell in cells if cell["metadata"].get("course", {}).get("answer") == question]
        return "\n\n".join("".join(cell["source"]) for cell in mine).strip()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def write_reading(folder: Path, assignment: Assignment, submissions: Iterable[Submission]) -> list[Path]:
    """Write one page for each written question into `folder`, with the answers in the order of `submissions`."""
    submissions = list(submissions)
    written = [question for question in assignment.questions if question.kind == "written"]
    return [write(folder / f"{question.name}.html", _page(assignment, question, submissions)) for question in written]


def _page(assignment: Assignment, question: Question, submissions: Iterable[Submission]) -> str:
    answers = "\n".join(
        f"<section><h2><bdi>{html_text(one.student)}</bdi></h2>"
        f"<pre>{html_text(answer(one.path, question.name), LONGEST) or 'no answer was found'}</pre></section>"
        for one in submissions
    )
    return f"""{html_head(f"{question.name} · {question.title}")}
<body>
<main>
<h1>{html_text(question.name)} · {html_text(question.title)}</h1>
<p class="soft">{html_text(assignment.title)} · {question.points:g} points</p>
<section><h2>Rubric</h2><pre>{html_text(question.rubric)}</pre></section>
{answers}
</main>
</body>
</html>
"""
