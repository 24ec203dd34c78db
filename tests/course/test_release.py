"""The student's copy shows nothing that the source hides: each leak, planted, is found."""

import ast
import base64
import gzip
import json
import re

import nbformat
import pytest

from bigmodel_lab.course.markers import GAPS, read_source
from bigmodel_lab.course.release import drifted, leaks, release, solution_copy, student_copy
from bigmodel_lab.errors import DataError
from tests.course.small_assignment import NAME, RUBRIC, small_assignment, write
from tests.notebooks.tidy import tidy_text

POWERS = "powers = np.exp(scores - np.max(scores))"
SECRETS = {
    "a solution's line": POWERS,
    "a solution's comment": "subtract the largest, so that nothing overflows",
    "a solution's sentence": "A small one makes the largest share grow towards one.",
    "a judge's line": "reference = np.exp(scores) / np.exp(scores).sum()",
    "a judge's expected value": "12 * 9 + 3 * 13",
    "a rubric's criterion": "Says which share grows when it is small",
    "a marker": "### BEGIN SOLUTION",
    "a marker of text": "<!-- END SOLUTION -->",
    "a judge's function": "def probes(rng):",
}


@pytest.fixture
def source(tmp_path):
    return write(small_assignment(), tmp_path)


def cell_of(notebook, role, question):
    return next(cell for cell in notebook.cells if cell.metadata.get("course", {}).get(role) == question)


def spoiled(tmp_path, change):
    """The path of a source that `change` has changed in place."""
    notebook = small_assignment()
    change(notebook)
    return write(notebook, tmp_path)


class TestStudentCopy:
    def test_gaps_stand_where_solutions_stood(self, source):
        copy = student_copy(source)
        softmax = cell_of(copy, "answer", "q1").source.split("\n")
        assert softmax[2:] == [
            "def softmax(scores):",
            '    """Return shares that sum to one."""',
            "    return ...  # your code",
        ]
        assert cell_of(copy, "answer", "q2").source == "parameters = ...\n...  # your code"
        assert cell_of(copy, "answer", "q3").source == "share = (\n    ...  # your code\n)"
        assert cell_of(copy, "answer", "q4").source == f"*In two sentences.*\n\n{GAPS['markdown']}"

    def test_every_code_cell_is_python(self, source):
        sources = [c.source for c in student_copy(source).cells if c.cell_type == "code"]
        assert len(sources) == 10
        for text in sources:
            ast.parse(re.sub(r"%pip.*", "pass", text))

    def test_what_is_for_the_judge_and_the_teacher_is_gone(self, source):
        copy = student_copy(source)
        roles = [next(iter(cell.metadata.get("course", {})), "") for cell in copy.cells]
        asked = ["question", "answer", "check"]
        assert roles == [*[""] * 4, *asked, "question", "", "answer", "check", *asked, "question", "answer"]
        assert all(set(cell.metadata) <= {"course", "tags"} for cell in copy.cells)
        assert cell_of(copy, "question", "q1").metadata == {"course": {"question": "q1"}}
        about = {"assignment": NAME, "title": "A small assignment", "chapter": 3, "minutes": 30}
        assert copy.metadata["course"] == about

    def test_metadata_tags_and_outputs_that_could_tell_are_gone(self, tmp_path):
        def change(notebook):
            notebook.metadata["notes"] = POWERS
            notebook.metadata["course"]["key"] = POWERS
            cell = cell_of(notebook, "answer", "q2")
            cell.metadata |= {"tags": ["hide-input", "is-147"], "note": "147", "mystnb": {"image": {"alt": "147"}}}
            cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="147")], 3
            cell_of(notebook, "question", "q3").attachments = {"a.png": {"image/png": "iVBORw0KGgo="}}

        path = spoiled(tmp_path, change)
        copy = student_copy(path)
        cell = cell_of(copy, "answer", "q2")
        assert "147" not in json.dumps(copy)
        assert cell.metadata == {"course": {"answer": "q2"}, "tags": ["hide-input"]}
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert "attachments" not in cell_of(copy, "question", "q3")
        assert POWERS not in json.dumps(copy)

    def test_ids_do_not_depend_on_what_is_hidden(self, source, tmp_path):
        def change(notebook):
            for number, cell in enumerate(notebook.cells):
                cell["id"] = f"other-{number}"
            answer = cell_of(notebook, "answer", "q2")
            answer.source = answer.source.replace("before + 1", "before")
            notebook.cells = [c for c in notebook.cells if c.metadata.get("course", {}).get("rubric") != "q4"]
            notebook.cells.insert(
                -1, nbformat.v4.new_markdown_cell("- other: 3", metadata={"course": {"rubric": "q4"}})
            )

        ids = [cell.id for cell in student_copy(source).cells]
        assert ids == [cell.id for cell in student_copy(spoiled(tmp_path, change)).cells]
        assert len(set(ids)) == len(ids)
        assert not any(one.startswith("source-") for one in ids)
        assert "q1-answer-1" in ids

    def test_points_are_named_once(self, source):
        copy = student_copy(source)
        assert cell_of(copy, "question", "q1").source == "## Shares\n\n*3 points*\n\nWrite a softmax."
        assert cell_of(copy, "question", "q2").source == "## Counting (2 points)\n\nCount."
        assert cell_of(copy, "question", "q3").source.startswith("## Measuring\n\n*2 points*\n\nHow many")
        assert cell_of(copy, "question", "q4").source == "What does temperature do?\n\n*3 points*"

    @pytest.mark.parametrize(("points", "label"), [(1, "*1 point*"), (2.5, "*2.5 points*"), (12, "*12 points*")])
    def test_points_of_any_size(self, tmp_path, points, label):
        def change(notebook):
            cell = cell_of(notebook, "question", "q2")  # its text says 2 points: neither 12 nor 2.5
            cell.metadata["course"]["points"] = points

        assert label in cell_of(student_copy(spoiled(tmp_path, change)), "question", "q2").source

    def test_the_name_cell_and_the_install_cell_keep_their_tags(self, source):
        tags = [cell.metadata["tags"] for cell in student_copy(source).cells if "tags" in cell.metadata]
        assert tags == [["remove-cell", "skip-execution", "nbval-skip"], ["student"]]

    def test_an_example_of_a_name_is_taken_out(self, tmp_path):
        path = spoiled(tmp_path, lambda notebook: notebook.cells[2].update(source='student = "Ada Example"  # yours'))
        assert student_copy(path).cells[2].source == 'student = ""  # yours'
        assert solution_copy(path).cells[2].source == 'student = "Ada Example"  # yours'

    def test_a_gap_returns_only_where_the_solution_did(self, tmp_path):
        def change(notebook):
            cell_of(notebook, "answer", "q1").source = (
                "def softmax(scores):\n    ### BEGIN SOLUTION\n    total = 0\n\n    scores.sort()\n"
                "    ### END SOLUTION\n    return scores"
            )

        kept = cell_of(student_copy(spoiled(tmp_path, change)), "answer", "q1").source
        assert kept == "def softmax(scores):\n    ...  # your code\n    return scores"


class TestSolutionCopy:
    def test_is_solved_and_without_markers(self, source):
        copy = solution_copy(source)
        softmax = cell_of(copy, "answer", "q1").source
        assert f"    {POWERS}\n    return powers / powers.sum()" in softmax
        assert "SOLUTION" not in json.dumps(copy)
        assert "your code" not in json.dumps(copy)
        assert cell_of(copy, "answer", "q4").source.startswith("*In two sentences.*\n\nTemperature divides")
        assert cell_of(copy, "rubric", "q4").source == RUBRIC

    @pytest.mark.parametrize("judge", [False, True])
    def test_the_judge_comes_only_when_asked_for(self, source, judge):
        copy = solution_copy(source, judge=judge)
        assert sum("judge" in cell.metadata.get("course", {}) for cell in copy.cells) == (3 if judge else 0)
        assert ("def probes" in json.dumps(copy)) == judge

    def test_it_leaks_all_that_the_student_must_not_see(self, source, tmp_path):
        nbformat.write(solution_copy(source, judge=True), tmp_path / "solved.ipynb")
        found = leaks(source, tmp_path / "solved.ipynb")
        for what in ("solution", "judge's probes", "judge expects", "rubric", "judge's probe"):
            assert any(what in line for line in found)


class TestRelease:
    def test_writes_two_files_each_in_its_folder(self, source, tmp_path):
        student, solution = release(source, tmp_path / "out")
        assert student == tmp_path / "out" / "students" / f"{NAME}.ipynb"
        assert solution == tmp_path / "out" / "teacher" / f"{NAME}-solution.ipynb"
        assert nbformat.read(student, as_version=4) == student_copy(source)
        assert nbformat.read(solution, as_version=4) == solution_copy(source)
        assert {path.name for path in (tmp_path / "out").rglob("*")} == {
            "students", "teacher", student.name, solution.name,
        }  # fmt: skip
        assert leaks(source, student) == []

    def test_the_same_bytes_each_time_in_the_committed_form(self, source, tmp_path):
        first = [path.read_bytes() for path in release(source, tmp_path / "one")]
        assert first == [path.read_bytes() for path in release(source, tmp_path / "two")]
        assert first == [path.read_bytes() for path in release(source, tmp_path / "one")]
        for content in first:
            assert tidy_text(content.decode()) == content.decode()

    def test_a_leak_stops_it_and_the_old_files_stay(self, source, tmp_path):
        student, solution = release(source, tmp_path)
        before = student.read_bytes(), solution.read_bytes()

        def change(notebook):
            cell_of(notebook, "check", "q1").source += f"\nassert softmax is not None  # {POWERS}"

        spoiled(tmp_path, change)
        with pytest.raises(DataError, match="line of the solution in cell 6"):
            release(source, tmp_path)
        assert (student.read_bytes(), solution.read_bytes()) == before
        assert not list(tmp_path.rglob("*.part"))

    def test_another_name_than_the_file_has_is_refused(self, tmp_path):
        path = write(small_assignment(), tmp_path, "04_other")
        with pytest.raises(DataError, match="04_other"):
            release(path, tmp_path)
        assert list(tmp_path.iterdir()) == [path]

    def test_drift_is_seen(self, source, tmp_path):
        assert drifted(source, tmp_path) == [f"{NAME}.ipynb is missing", f"{NAME}-solution.ipynb is missing"]
        student, _ = release(source, tmp_path)
        assert drifted(source, tmp_path) == []
        student.write_bytes(student.read_bytes().replace(b"Write a softmax", b"Write the softmax"))
        (problem,) = drifted(source, tmp_path)
        assert problem.startswith(f"{NAME}.ipynb is not what its source makes")


def in_text(copy, secret):
    cell_of(copy, "question", "q2").source += f"\nHint: {secret}"


def in_code_otherwise_spaced(copy, secret):
    cell_of(copy, "check", "q2").source += "\n" + secret.replace(" ", "   ").replace("(", "(\n    ")


def in_a_comment(copy, secret):
    cell_of(copy, "answer", "q2").source += f"\n# {secret}"


def in_cell_metadata(copy, secret):
    copy.cells[0].metadata["note"] = {"deep": [{"er": secret}]}


def in_a_name_of_metadata(copy, secret):
    copy.metadata[secret] = 1


def in_notebook_metadata(copy, secret):
    copy.metadata["widgets"] = [1, secret]


def in_a_printed_output(copy, secret):
    cell_of(copy, "answer", "q2").outputs = [nbformat.v4.new_output("stream", text=f"3\n{secret}\n")]


def in_an_html_output(copy, secret):
    shown = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")
    data = {"text/html": f"<b>{shown}</b>"}
    cell_of(copy, "answer", "q2").outputs = [nbformat.v4.new_output("display_data", data)]


def in_an_attachment(copy, secret):
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n\x00\x80\xfe" + secret.encode() + b"\x00\xffIEND").decode()
    cell_of(copy, "question", "q2").attachments = {"a.png": {"image/png": picture}}


def in_a_data_address(copy, secret):
    data = base64.b64encode(f"<svg><desc>{secret}</desc></svg>".encode()).decode()
    cell_of(copy, "question", "q2").source += f"\n![](data:image/svg+xml;base64,{data})"


def in_base64_on_many_lines(copy, secret):
    cell_of(copy, "question", "q2").source += "\n\n" + base64.encodebytes(b"." * 70 + secret.encode()).decode()


def compressed(copy, secret):
    copy.metadata["state"] = base64.b64encode(gzip.compress(secret.encode())).decode()


def in_json_in_a_string(copy, secret):
    copy.metadata["undo"] = json.dumps({"source": json.dumps(["x\n", secret])})


def in_percent_signs(copy, secret):
    quoted = "".join(c if c.isalnum() else "".join(f"%{b:02X}" for b in c.encode()) for c in secret)
    cell_of(copy, "question", "q2").source += f"\n[link](https://example.invalid/?{quoted})"


PLACES = (
    in_text,
    in_code_otherwise_spaced,
    in_a_comment,
    in_cell_metadata,
    in_a_name_of_metadata,
    in_notebook_metadata,
    in_a_printed_output,
    in_an_html_output,
    in_an_attachment,
    in_a_data_address,
    in_base64_on_many_lines,
    compressed,
    in_json_in_a_string,
    in_percent_signs,
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A source and the text of its copy, made once."""
    path = write(small_assignment(), tmp_path_factory.mktemp("clean"))
    return path, nbformat.writes(student_copy(path))


class TestLeaks:
    @pytest.mark.parametrize("plant", PLACES, ids=lambda plant: plant.__name__)
    @pytest.mark.parametrize("secret", SECRETS.values(), ids=[name.replace(" ", "-") for name in SECRETS])
    def test_each_secret_is_found_in_each_place(self, clean, tmp_path, plant, secret):
        source, text = clean
        copy, path = nbformat.reads(text, as_version=4), tmp_path / "copy.ipynb"
        plant(copy, secret)
        path.write_text(json.dumps(copy), encoding="utf-8")
        found = [line for line in leaks(source, path) if re.search(r"the solution|judge|rubric|marker", line)]
        assert found

    @pytest.mark.parametrize("plant", PLACES, ids=lambda plant: plant.__name__)
    def test_what_is_no_secret_is_not_found(self, clean, tmp_path, plant):
        source, text = clean
        copy, path = nbformat.reads(text, as_version=4), tmp_path / "copy.ipynb"
        plant(copy, "powers of ten = np.exp(scores) and the largest share")
        path.write_text(json.dumps(copy), encoding="utf-8")
        assert [line for line in leaks(source, path) if not re.search(r"cell \d+: has (outputs|att)", line)] == []

    @pytest.mark.parametrize(
        "line", ["loss.backward()", "for one in range(3):", "curve = measure(", "model = net", "}"]
    )
    def test_lines_that_any_notebook_holds_are_no_secret(self, tmp_path, line):
        body = {"for one in range(3):": f"{line}\n    pass", "curve = measure(": f"{line}\n    147\n)", "}": "a = {\n}"}

        def change(notebook):
            cell_of(notebook, "answer", "q2").source = f"parameters = ...\n{BEGIN}\n{body.get(line, line)}\n{END}"
            cell_of(notebook, "question", "q3").source += f"\n\n    {line}"

        path = spoiled(tmp_path, change)
        nbformat.write(student_copy(path), tmp_path / "copy.ipynb")
        assert leaks(path, tmp_path / "copy.ipynb") == []

    def test_it_says_where_and_what(self, clean, tmp_path):
        source, text = clean
        copy, path = nbformat.reads(text, as_version=4), tmp_path / "copy.ipynb"
        copy.cells[2].metadata["note"] = POWERS
        path.write_text(json.dumps(copy), encoding="utf-8")
        assert leaks(source, path) == [
            f"cells[3].metadata.note: a line of the solution in cell 6 of {NAME}.ipynb: {POWERS}"
        ]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda cell: cell.update(outputs=[nbformat.v4.new_output("stream", text="5")]), "has outputs"),
            (lambda cell: cell.update(execution_count=1), "has execution_count"),
            (lambda cell: cell.update(attachments={"a": {"text/plain": "5"}}), "has attachments"),
            (lambda cell: cell.metadata["course"].update(points=2), "says more"),
            (lambda cell: cell.metadata["course"].update(judge="q2"), "says more"),
            (lambda cell: cell.update(id="source-10"), "its id is that of a cell with something hidden"),
        ],
        ids=["output", "count", "attachment", "points", "judge", "id"],
    )
    def test_what_a_copy_may_not_carry(self, clean, tmp_path, change, said):
        source, text = clean
        copy, path = nbformat.reads(text, as_version=4), tmp_path / "copy.ipynb"
        change(cell_of(copy, "answer", "q2"))
        path.write_text(json.dumps(copy), encoding="utf-8")
        (found,) = leaks(source, path)
        assert said in found

    def test_a_line_that_was_given_before_is_no_secret_and_after_it_is(self, tmp_path):
        line = "centred = data - data.mean(axis=0)"

        def change(notebook, at):
            answer = cell_of(notebook, "answer", "q3")
            answer.source = answer.source.replace(
                "share = (", f"### BEGIN SOLUTION\n{line}\n### END SOLUTION\nshare = ("
            )
            notebook.cells.insert(at, nbformat.v4.new_code_cell(line))

        for at, clean in ((4, True), (len(small_assignment().cells), False)):
            path = spoiled(tmp_path, lambda notebook, at=at: change(notebook, at))
            nbformat.write(student_copy(path), tmp_path / "copy.ipynb")
            assert (leaks(path, tmp_path / "copy.ipynb") == []) == clean

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": [1]}', "\x00"], ids=range(5))
    def test_what_is_no_notebook_is_an_error(self, clean, tmp_path, content):
        (tmp_path / "copy.ipynb").write_text(content)
        with pytest.raises(DataError, match=r"copy\.ipynb"):
            leaks(clean[0], tmp_path / "copy.ipynb")


def answer(question, source):
    return lambda notebook: cell_of(notebook, "answer", question).update(source=source)


def added(role, question, source, where=None):
    def change(notebook):
        new, target = nbformat.v4.new_code_cell(source), where
        if role:
            new.metadata["course"] = {role: question}
        notebook.cells.insert(len(notebook.cells) if target is None else target, new)

    return change


def removed(role, question):
    return lambda notebook: notebook.cells.remove(cell_of(notebook, role, question))


BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
BROKEN = {
    "no end": (answer("q2", f"a = ...\n{BEGIN}\na = 1"), "the end of the cell", 11),
    "no begin": (answer("q2", f"a = ...\na = 1\n{END}"), "a second '### END SOLUTION'", 11),
    "nested": (answer("q2", f"a = ...\n{BEGIN}\n{BEGIN}\na = 1\n{END}\n{END}"), "a second '### BEGIN SOLUTION'", 11),
    "nothing between": (answer("q2", f"a = ...\n{BEGIN}\n\n{END}"), "nothing", 11),
    "not alone on its line": (answer("q2", f"a = 1  {BEGIN}\na = 1\n{END}"), "alone on its line", 11),
    "one hash": (answer("q2", "a = ...\n# BEGIN SOLUTION\na = 1\n# END SOLUTION"), "alone on its line", 11),
    "the other kind": (answer("q4", f"{BEGIN}\nText.\n{END}"), "alone on its line", 19),
    "unlike indents": (answer("q1", f"def softmax(x):\n    {BEGIN}\n    return 1\n{END}"), "as deeply indented", 6),
    "inner indent": (answer("q1", f"def softmax(x):\n{BEGIN}\n    return 1\n{END}"), "as deeply indented", 6),
    "solution in a plain cell": (added("", "", f"{BEGIN}\na = 1\n{END}"), "one in a plain cell", 21),
    "solution in a check": (added("check", "q1", f"{BEGIN}\na = 1\n{END}"), "one in a check cell", 21),
    "marker in a judge": (added("judge", "q4", f"{BEGIN}\ndef probes(rng): ...\n{END}"), "one in a judge cell", 21),
    "answer without": (answer("q2", "parameters = ..."), "no marker", 11),
    "nothing but the solution": (answer("q2", f"# yours\n{BEGIN}\nparameters = 1\n{END}"), "nothing but", 11),
    "signature gone": (answer("q1", f"import math\n{BEGIN}\ndef softmax(x):\n    return x\n{END}"), "softmax", 6),
    "judge no Python": (lambda nb: cell_of(nb, "judge", "q1").update(source="def probes(rng"), "line 1", 8),
    "solution no Python": (answer("q2", f"a = ...\n{BEGIN}\na = = 1\n{END}"), "line 2", 11),
    "answer to nothing": (added("answer", "q9", f"a = ...\n{BEGIN}\na = 1\n{END}"), "a question q9 before", 21),
    "check before its question": (added("check", "q1", "assert True", where=2), "a question q1 before", 3),
    "unknown role": (added("anwser", "q1", "a = 1"), "'anwser'", 21),
    "no name": (added("check", 5, "a = 1"), "5 as check", 21),
    "judge in text": (lambda nb: cell_of(nb, "judge", "q1").update(cell_type="markdown"), "a markdown cell", 8),
    "question in code": (lambda nb: cell_of(nb, "question", "q1").update(cell_type="code", outputs=[]), "code cell", 5),
    "raw cell": (lambda nb: nb.cells.append(nbformat.v4.new_raw_cell("x")), "a raw cell", 21),
    "attachment": (
        lambda nb: nb.cells[0].update(source="![](attachment:a.png)", attachments={"a.png": {"image/png": "aa"}}),
        "an attachment",
        1,
    ),
    "a name that is computed": (lambda nb: nb.cells[2].update(source="student = input()"), "student = input()", 3),
}


class TestBrokenSources:
    @pytest.mark.parametrize(
        ("change", "said", "cell"), BROKEN.values(), ids=[name.replace(" ", "-") for name in BROKEN]
    )
    def test_is_refused_and_the_cell_is_named(self, tmp_path, change, said, cell):
        path = spoiled(tmp_path, change)
        for make in (student_copy, solution_copy, lambda source: release(source, tmp_path / "out")):
            with pytest.raises(DataError) as caught:
                make(path)
            assert said in str(caught.value)
            assert f"cell {cell} of {NAME}.ipynb" in str(caught.value)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("question", ["q1", "q4"])
    def test_a_question_without_an_answer(self, tmp_path, question):
        with pytest.raises(DataError, match=f"a cell that answers {question}"):
            student_copy(spoiled(tmp_path, removed("answer", question)))

    @pytest.mark.parametrize("count", [0, 2])
    def test_one_cell_asks_for_the_name(self, tmp_path, count):
        def change(notebook):
            notebook.cells[2:3] = [nbformat.from_dict(dict(notebook.cells[2], id=f"s{n}")) for n in range(count)]

        with pytest.raises(DataError, match=f"{count} in {NAME}"):
            student_copy(spoiled(tmp_path, change))

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"cells": 3}', b"[1]"], ids=range(5))
    def test_what_is_no_notebook(self, tmp_path, content):
        path = tmp_path / f"{NAME}.ipynb"
        path.write_bytes(content)
        with pytest.raises(DataError, match=NAME):
            read_source(path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="nowhere"):
            student_copy(tmp_path / "nowhere.ipynb")

    @pytest.mark.parametrize("given", ["parameters = ...", "parameters = {}  # layer -> number", "parameters = None"])
    def test_an_answer_may_be_all_solution_where_its_name_was_given_before(self, tmp_path, given):
        def change(notebook):
            at = notebook.cells.index(cell_of(notebook, "answer", "q2"))
            notebook.cells[at].source = f"{BEGIN}\nparameters[0] = 147\n{END}"
            notebook.cells[at - 1].source = given

        assert cell_of(student_copy(spoiled(tmp_path, change)), "answer", "q2").source == GAPS["code"]

    def test_helpers_of_a_solution_may_be_in_it(self, tmp_path):
        helper = (
            f"def softmax(x):\n    {BEGIN}\n    return _all(x)\n    {END}\n\n{BEGIN}\ndef _all(x):\n    return x\n{END}"
        )
        assert "_all" not in json.dumps(student_copy(spoiled(tmp_path, answer("q1", helper))))
