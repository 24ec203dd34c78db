"""The students' pages: all is said, on one page without anything else, and nothing in it runs."""

import re
from html.parser import HTMLParser

import pytest

from bigmodel_lab.course.feedback import LONGEST, page, write_pages
from bigmodel_lab.course.questions import Assignment, Grade, ProbeResult, Question, QuestionResult

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><svg onload=alert(1)>",
    "]]><!-- --><iframe srcdoc='x'>",
    "javascript:alert(1)",
    "&lt;b&gt;",
)
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "bdi", "section", "span", "ul", "li",
    "strong", "pre", "blockquote", "footer",
}  # fmt: skip


class Seen(HTMLParser):
    """What a browser would make of a page: its tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.names, self.text = [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def made(evil="", *, points=2.5, student="Änne <Müller>"):
    assignment = Assignment(
        name="03_try",
        title=f"Attention & more {evil}",
        chapter=3,
        minutes=60,
        questions=(
            Question(name="q1", title=f"A mask {evil}", kind="code", points=4, probes="x"),
            Question(name="q2", title="Why", kind="written", points=5, rubric="x"),
        ),
        path=None,
    )
    probes = (
        ProbeResult(name=f"a mask of one {evil}", share=1.0, points=2, message=""),
        ProbeResult(name="an empty row", share=0.25, points=2, message=f"got: nan\n  try: 1 < 2 {evil}"),
        ProbeResult(name="a long row", share=0.0, points=2, message="NameError"),
    )
    questions = (
        QuestionResult(name="q1", points=points, most=4, probes=probes),
        QuestionResult(name="q2", points=0, most=5, by_hand=True, comment=f"Well argued. {evil}"),
    )
    notes = (f"cell 4 ran out of time {evil}",)
    grade = Grade(
        student=f"{student} {evil}".strip(), assignment="03_try", submission="ab" * 32, questions=questions, notes=notes
    )
    return assignment, grade


def test_all_is_said():
    seen = Seen(page(*made(), waits=["q2"])).text
    for words in (
        "Attention & more", "Änne <Müller>", "2.5 of 9 points", "q1 · A mask", "2.5 of 4", "right a mask of one",
        "25 % right an empty row", "got: nan\n  try: 1 < 2", "not right yet a long row", "cell 4 ran out of time",
        "Well argued.", "waits for your teacher", "yet to read q2",
    ):  # fmt: skip
        assert words in seen


def test_lateness_is_explained():
    from dataclasses import replace

    assignment, grade = made()
    seen = Seen(page(assignment, replace(grade, late_days=2, penalty=0.2))).text
    assert "Handed in late, 2 days begun: 20 % of 2.5 points are taken off." in seen
    assert "2 of 9 points" in seen
    assert "late" not in Seen(page(assignment, grade)).text


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_a_student_writes_becomes_a_tag_or_an_attribute(evil):
    honest, hostile = Seen(page(*made())), Seen(page(*made(evil)))
    assert hostile.tags == honest.tags
    assert set(hostile.tags) <= TAGS
    assert hostile.names <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert hostile.text.count(evil) == 8  # two titles, name, question, comment, note, probe, message


def test_the_page_forbids_scripts_and_asks_for_nothing():
    text = page(*made())
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href|action|url)\s*[=(]|@import", text.replace("default-src", ""))
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_control_characters_and_endless_messages_are_tamed():
    assignment, grade = made("\x1b[2J\x00\u202e\udcff" + "x" * 3 * LONGEST)
    text = page(assignment, grade)
    assert not set("\x1b\x00\u202e\udcff") & set(text)
    assert len(text) < 12 * LONGEST
    assert "characters more)" in text


def test_colours_are_readable_in_both_schemes():
    text = page(*made())
    light, dark = re.findall(r":root \{([^}]*)\}", text)
    for scheme in (light, dark):
        colour = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        for front in ("ink", "soft", "full", "part", "none"):
            for back in ("paper", "card"):
                assert contrast(colour[front], colour[back]) >= 4.5, (front, back, scheme)


def contrast(one, other):
    """WCAG 2.2: the ratio of two colours' relative luminances."""

    def luminance(colour):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_each_student_has_a_file_of_his_own_inside_the_folder(tmp_path):
    names = ["../../evil", "..", "Änne", "anne", "M\udcfcller", "x" * 400, "con"]
    assignment, _ = made()
    grades = [made(student=name)[1] for name in names]
    paths = write_pages(tmp_path / "feedback", assignment, grades, waits={})
    assert len(set(paths)) == len(names)
    assert {path.parent for path in paths} == {tmp_path / "feedback"}
    assert sorted(tmp_path.rglob("*.html")) == sorted(paths)
    assert all(re.fullmatch(r"[a-z0-9-]+\.html", path.name) for path in paths)
    assert all(path.read_text(encoding="utf-8") for path in paths)
