"""The directive `{quiz} 3`: the questions on a chapter, from `book/quizzes.yml`, as a form that needs no script.

Choosing an answer opens the explanation (the style sheet does that), with a link to the cell or the paper behind it.
Where a browser cannot, the explanation simply stands below. Texts are Markdown.
"""

from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from lab_claims import number
from sphinx.util.docutils import SphinxDirective

FILE = Path(__file__).parents[1] / "quizzes.yml"


def read(file: Path) -> dict[int, list[dict]]:
    """Return chapter -> its questions."""
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def tag(html: str) -> nodes.raw:
    """Return a piece of HTML."""
    return nodes.raw("", html, format="html")


class Quiz(SphinxDirective):
    """Draw the questions on one chapter."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        self.env.note_dependency(self.config.lab_quiz_file)
        quizzes, chapter = read(self.config.lab_quiz_file), self.arguments[0]
        if not chapter.isdecimal() or int(chapter) not in quizzes:
            raise self.error(f"quiz: expected a chapter with questions, one of {sorted(quizzes)}, got {chapter}")
        return [part for question in quizzes[int(chapter)] for part in self.question(question)]

    def question(self, question: dict) -> list[nodes.Node]:
        """Return one question with its choices and its explanation."""
        name = f"quiz-{question['id']}"
        parts = [
            tag(f'<div class="lab-question" id="{name}" role="radiogroup" aria-labelledby="{name}-asked">'),
            tag(f'<div class="lab-asked" id="{name}-asked">'),
            *self.parse(question["question"]),
            tag("</div>"),
        ]
        for place, choice in enumerate(question["choices"]):
            key = ' class="lab-key"' if place == question["answer"] else ""
            parts.append(tag(f'<label{key}><input type="radio" name="{name}" value="{place}">'))
            parts += [*self.parse(choice), tag("</label>")]
        right = question["choices"][question["answer"]]
        parts.append(tag('<div class="lab-answer" aria-live="polite">'))
        parts += [*self.parse(f"**{right.rstrip('.')}.** {question['explanation'].strip()} {self.shown(question)}")]
        return [*parts, tag("</div></div>")]

    def shown(self, question: dict) -> str:
        """Return what shows that the answer is right, as Markdown."""
        evidence = question["evidence"]
        if "cite" in evidence:
            return "{cite:p}`" + evidence["cite"] + "`"
        lesson = evidence["notebook"]
        return f"([lesson {number(lesson)}](../notebooks/{lesson}.ipynb))"

    def parse(self, text: str) -> list[nodes.Node]:
        """Parse Markdown from the file of questions."""
        box = nodes.container()
        self.state.nested_parse(StringList(text.strip().splitlines(), source=self.config.lab_quiz_file), 0, box)
        return box.children


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_config_value("lab_quiz_file", str(FILE), "env")
    app.add_directive("quiz", Quiz)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
