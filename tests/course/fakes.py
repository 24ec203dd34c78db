"""What the tests of coursework share: a small assignment, and a judge that needs no kernel."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from bigmodel_lab.course.questions import Assignment, Grade, Question, QuestionResult

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def assignment(**changed):
    questions = {
        "q1": Question(name="q1", title="Attention", kind="code", points=4, probes="def probes(rng): ..."),
        "q2": Question(name="q2", title="A bug", kind="code", points=6, probes="def probes(rng): ..."),
        "q3": Question(name="q3", title="Why", kind="written", points=5, rubric="5: all of it"),
    }
    for name, change in changed.items():
        questions[name] = replace(questions[name], **change)
    return Assignment(
        name="03_try",
        title="A try",
        chapter=3,
        minutes=60,
        questions=tuple(questions.values()),
        path=Path("03_try.ipynb"),
    )


class Judge:
    """Gives each question half its points, and remembers what it was asked."""

    def __init__(self, share=0.5):
        self.share, self.asked = share, []

    def __call__(self, assignment, path, *, student):
        self.asked.append((student, *[question.name for question in assignment.questions]))
        if path.read_text() == "breaks the judge":
            raise RuntimeError(f"no\nway; expected 42 in {path}")
        if path.read_text() == "leaves the judge":
            sys.exit(3)
        questions = [
            QuestionResult(
                name=question.name,
                points=0.0 if question.kind == "written" else question.points * self.share,
                most=question.points,
                by_hand=question.kind == "written",
            )
            for question in assignment.questions
        ]
        return Grade(
            student=student,
            assignment=assignment.name,
            submission=sha256(path.read_bytes()).hexdigest(),
            questions=tuple(questions),
            notes=("cell 3 failed",),
            seconds=0.25,
        )
