"""The teacher's guide: its tables name what there is and nothing else, its sums are right, its commands parse.

What the guide says of a lesson's minutes follows from the lesson; the rule is stated on the page and written here.
"""

import argparse
import contextlib
import io
import re
import shlex
import statistics
import sys
import tomllib

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bigmodel_lab.course.__main__ import _parser, main
from bigmodel_lab.course.questions import load
from bigmodel_lab.course.sandbox import Limits, find
from bigmodel_lab.data.public import SETS
from bigmodel_lab.errors import MissingExtraError
from tests.notebooks.ledger import MAX_CPU_SECONDS, ROOT, Ledger, lessons_in

BOOK = ROOT / "book"
GUIDE, COURSEWORK = "teachers.md", "teachers_coursework.md"
PAGES = {name: (BOOK / name).read_text(encoding="utf-8") for name in (GUIDE, COURSEWORK)}
WORDS_A_MINUTE, MINUTES_A_CELL, MINUTES_AN_EXERCISE = 150, 0.5, 10
STATED = {
    r"\*\*Time\*\* (?:about )?half an hour": 30,
    r"\*\*Time\*\* (?:about )?three quarters of an hour": 45,
    r"\*\*Time\*\* about 40 minutes": 40,
}
COURSE = "python -m bigmodel_lab.course"
IMAGE = "lab-judge"  # a container whose entry point is the course's command


# ---- reading the pages ----------------------------------------------------------------------------------------------


def table(page, first):
    """The rows, as lists of cells, of the table in `page` whose first column is headed `first`."""
    lines = [line.strip() for line in page.splitlines()]  # a table may stand in a list
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def links(text):
    """What the Markdown links of `text` lead to."""
    return re.findall(r"\]\(([^()\s]+)\)", text)


def lessons_linked(text):
    """File names of the lessons that `text` links to, in order."""
    return [target.removeprefix("../notebooks/") for target in links(text) if target.startswith("../notebooks/")]


def code(page):
    """The lines of fenced blocks, without their indentation; those that end in a backslash joined to the next."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines() if line.strip()]


def commands(page):
    """The course's commands on a page, in blocks and in the text; what holds an ellipsis only talks about one."""
    lines = [*code(page), *re.findall(r"`([^`\n]+)`", page)]
    lines = [re.sub(rf"^(?:docker|podman) run .* {IMAGE} ", f"{COURSE} ", line) for line in lines]
    lines = [line.removeprefix(".venv/bin/") for line in lines if "…" not in line]
    return [line for line in lines if line.startswith(COURSE)]


def complaint(command):
    """What the course's parser says against a command, with which the guide must agree; empty when nothing."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            _parser().parse_args(shlex.split(command.removeprefix(COURSE), comments=True))
    except SystemExit as stopped:
        return said.getvalue() if stopped.code else ""
    return ""


def options(parser=None):
    """Every option that some command has."""
    found = set()
    for action in (parser or _parser())._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*(options(one) for one in action.choices.values()))
    return found


def anchors(page):
    """The anchors of a page's headings, as MyST makes them."""
    heads = re.findall(r"^#{1,3} (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in heads}


def dead(page, name):
    """Links of a page that lead nowhere: a file that is not there, a heading that is not there."""
    found = []
    for target in links(page):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = BOOK / (file or name)
        if path.is_file():
            there = page if path.name == name else path.read_text(encoding="utf-8")
            if not anchor or anchor in anchors(there):
                continue
        found.append(target)
    return found


# ---- what the lessons say -------------------------------------------------------------------------------------------


class Lesson:
    """What the guide says of a lesson, taken from the lesson."""

    def __init__(self, path):
        cells = nbformat.read(path, as_version=4).cells
        self.text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        self.code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        self.title = re.search(r"^# (.+)$", self.text, re.MULTILINE)[1]
        self.gpu = "less on a GPU" in self.text
        self.switch = re.search(r'\bsource ?= ?"embedded"', self.code) is not None
        self.exercises = MINUTES_AN_EXERCISE * self.code.count("# @title Solution")
        counted = len(self.text.split()) / WORDS_A_MINUTE + MINUTES_A_CELL * sum(c.cell_type == "code" for c in cells)
        self.minutes = next((n for said, n in STATED.items() if re.search(said, self.text)), counted)


LESSONS = {path.name: Lesson(path) for path in lessons_in()}
ROWS = {lessons_linked(row[0])[0]: row for row in table(PAGES[GUIDE], "Lesson")}
ASSIGNMENTS = {path.stem: path for path in sorted((ROOT / "notebooks" / "assignments").glob("*.ipynb"))}
WEEKS, DAYS = table(PAGES[GUIDE], "Week"), table(PAGES[GUIDE], "Hour")


def chapter(lesson):
    return int(lesson[:2])


class TestTableOfLessons:
    def test_it_names_every_lesson_once_and_no_other(self):
        assert [lessons_linked(row[0]) for row in table(PAGES[GUIDE], "Lesson")] == [[name] for name in LESSONS]

    @pytest.mark.parametrize("name", LESSONS)
    def test_a_row_says_what_the_lesson_says(self, name):
        link, minutes, exercises, cpu, gpu, sets = ROWS[name]
        lesson = LESSONS[name]
        assert link.startswith(f"[{lesson.title}]")
        assert abs(int(minutes) - lesson.minutes) <= 5, f"{lesson.minutes:.0f} minutes by the rule"
        assert int(exercises) == lesson.exercises
        assert int(cpu) % 5 == 0
        assert 5 <= int(cpu) <= MAX_CPU_SECONDS
        assert (gpu == "yes") == lesson.gpu
        assert bool(sets) == lesson.switch
        assert set(re.findall(r"`(\w+)`", sets)) <= set(SETS)

    def test_its_seconds_are_those_of_the_last_run_up_to_the_machine(self):
        records = Ledger().read()
        if not records.keys() >= LESSONS.keys():
            pytest.skip("not every lesson has run here; run: make lessons")
        measured = {name: records[name]["cpu_seconds"] for name, one in LESSONS.items() if "twins" not in one.code}
        stated = {name: int(ROWS[name][3]) for name in measured}
        machine = statistics.median(measured[name] / stated[name] for name in measured)
        far = [n for n in measured if abs(measured[n] / machine - stated[n]) > max(10, stated[n] / 2)]
        assert not far, f"measured on a machine {machine:.2f} times as slow, other seconds: {far}"


class TestSyllabus:
    def test_ten_weeks_take_each_lesson_once(self):
        assert [int(row[0]) for row in WEEKS] == list(range(1, 11))
        assert sorted(name for row in WEEKS for name in lessons_linked(" ".join(row))) == sorted(LESSONS)

    @pytest.mark.parametrize("row", WEEKS, ids=[f"week {row[0]}" for row in WEEKS])
    def test_the_minutes_of_a_week_add_up(self, row):
        assert int(row[3]) == sum(int(ROWS[name][1]) + int(ROWS[name][2]) for name in lessons_linked(row[1]))

    def test_each_assignment_is_due_once_after_its_lessons_began(self):
        due = [(int(number), int(row[0])) for row in WEEKS for number in re.findall(r"chapter (\d)", row[4])]
        assert [number for number, _ in due] == sorted({load(path).chapter for path in ASSIGNMENTS.values()})
        for number, week in due:
            begun = [int(row[0]) for row in WEEKS if any(chapter(n) == number for n in lessons_linked(row[1]))]
            assert min(begun) <= week

    def test_both_cover_every_chapter(self):
        for rows in (WEEKS, DAYS):
            covered = {chapter(name) for row in rows for name in lessons_linked(" ".join(row))}
            assert covered == {chapter(name) for name in LESSONS}

    def test_two_days_have_six_hours_each(self):
        assert [row[0].split(",")[0] for row in DAYS] == ["Day 1"] * 6 + ["Day 2"] * 6
        assert len({row[0] for row in DAYS}) == 12


class TestTableOfAssignments:
    rows = table(PAGES[COURSEWORK], "Assignment")

    def test_it_names_every_assignment_once_and_no_other(self):
        assert [row[0].strip("`") for row in self.rows] == list(ASSIGNMENTS)

    @pytest.mark.parametrize("row", rows, ids=[row[0].strip("`") for row in rows])
    def test_a_row_says_what_the_assignment_says(self, row):
        name, title, questions, points, by_hand, minutes = row
        found = load(ASSIGNMENTS[name.strip("`")])
        assert title == found.title
        assert int(questions) == len(found.questions)
        assert float(points) == found.points
        assert float(by_hand) == sum(one.points for one in found.questions if one.kind == "written")
        assert int(minutes) == found.minutes


class TestCommands:
    @pytest.mark.parametrize("command", sorted({one for page in PAGES.values() for one in commands(page)}))
    def test_each_is_one(self, command):
        assert complaint(command) == ""

    def test_the_steps_of_coursework_are_there(self):
        verbs = {one.split()[3] for one in commands(PAGES[COURSEWORK]) if len(one.split()) > 3}
        assert {"release", "collect", "grade", "export"} <= verbs

    def test_each_option_in_the_text_is_one(self):
        for page in PAGES.values():
            engine = {word for line in code(page) if re.match(r"docker|podman", line) for word in line.split()}
            assert set(re.findall(r"`(--[\w-]+)[^`\n]*`", page)) <= options() | engine

    def test_each_extra_is_one(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        named = {name for page in PAGES.values() for name in re.findall(r"bigmodel-lab\[([\w-]+)\]", page)}
        assert named <= set(project["optional-dependencies"])

    def test_each_target_of_make_is_one(self):
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for page in PAGES.values():
            for target in re.findall(r"`make (\w+)`", page):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


class TestSandbox:
    def test_the_limits_are_those_of_the_judge(self):
        limits, gb, mb = Limits(), 2**30, 2**20
        assert {row[0]: row[1] for row in table(PAGES[COURSEWORK], "Limit")} == {
            "one cell": f"{limits.seconds:g} s",
            "one question put to an answer": f"{limits.probe_seconds:g} s",
            "one submission": f"{limits.total_seconds:g} s",
            "memory": f"{limits.memory / gb:g} GB",
            "processes and threads": f"{limits.processes}",
            "one file": f"{limits.file_size / mb:g} MB",
            "all files": f"{limits.disk / mb:g} MB",
        }

    def test_a_refusal_is_quoted_as_it_is(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(MissingExtraError) as refused:
            find()
        (quoted,) = re.findall(r"```text\n(expected: a sandbox.*?)\n```", PAGES[COURSEWORK], re.DOTALL)
        assert quoted == re.sub(r"--trust\b(?!-)", "--trust-students", str(refused.value).strip())

    def test_the_files_that_its_container_copies_are_there(self):
        copied = [line.split()[1:-1] for line in code(PAGES[COURSEWORK]) if line.startswith("COPY ")]
        assert copied
        assert all((ROOT / name).exists() for names in copied for name in names)

    def test_grade_writes_what_the_guide_lists_and_nothing_else(self, tmp_path):
        source, handed_in = tmp_path / "01_one.ipynb", tmp_path / "submissions" / "ada.ipynb"
        handed_in.parent.mkdir()
        for path in (source, handed_in):
            nbformat.write(one_written_question(), path)
        assert main(["grade", str(handed_in.parent), "--assignment", str(source), "--trust-students"]) == 0
        written = {path.name for path in (tmp_path / "submissions-graded").iterdir()}
        assert written == {row[0].strip("`") for row in table(PAGES[COURSEWORK], "File")}


def one_written_question():
    """A notebook that asks one thing, which no judge needs to run."""
    asks = {"question": "q1", "kind": "written", "points": 2, "title": "Why"}
    cells = [
        new_markdown_cell("Why?", metadata={"course": asks}),
        new_code_cell('student = "Ada"', metadata={"tags": ["student"]}),
        new_markdown_cell("*Your answer here.*", metadata={"course": {"answer": "q1"}}),
        new_markdown_cell("2 points: a reason", metadata={"course": {"rubric": "q1"}}),
    ]
    about = {"assignment": "01_one", "title": "One", "chapter": 1, "minutes": 5}
    return new_notebook(cells=cells, metadata={"course": about})


@pytest.mark.parametrize("name", PAGES)
class TestPages:
    def test_links_lead_somewhere(self, name):
        assert dead(PAGES[name], name) == []


# ---- what must be found ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", ["no-such-command", "point-at", "serve --port many", "check --no-such-option", "grade", "release"]
)
def test_a_command_that_is_none_is_found(wrong):
    assert complaint(f"{COURSE} {wrong}")


def test_commands_are_read_from_blocks_and_text():
    page = f"""
Type `{COURSE} check`, not `{COURSE} serve …`.

1. a step:

   ```
   .venv/bin/{COURSE} point-at \\
     https://github.com/a/b
   ls
   docker run --rm -v "${{PWD}}:/here" {IMAGE} serve --port 1
   ```
"""
    found = [f"{COURSE} point-at https://github.com/a/b", f"{COURSE} serve --port 1", f"{COURSE} check"]
    assert commands(page) == found


@pytest.mark.parametrize("wrong", ["gone.md", "../notebooks/gone.ipynb", "teachers.md#gone", "#gone"])
def test_a_dead_link_is_found(wrong):
    assert dead(f"# Here\n\n[x]({wrong}) [y](#here) [z](https://example.org/gone)", "teachers.md") == [wrong]


def test_anchors_are_those_of_headings_outside_code():
    assert anchors("# A `b`, c?\n\n```\n# no\n```\n## Two: x\n#### deep") == {"a-b-c", "two-x"}
