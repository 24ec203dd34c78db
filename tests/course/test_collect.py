"""Submissions are found in each layout; nothing in a file runs, stops the rest, or takes another's place."""

import json
import os
import sys
from datetime import UTC, datetime

import pytest

from bigmodel_lab.course.collect import LARGEST, collect
from bigmodel_lab.errors import InputError

ASSIGNMENT = "03_small"


def notebook(name='student = "Jane Doe"', assignment=ASSIGNMENT):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": 'student = "not this one"'},
        {"cell_type": "code", "metadata": {}, "source": ["# first\n", "x = 1"], "outputs": [], "execution_count": None},
        {"cell_type": "code", "metadata": {}, "source": name, "outputs": [], "execution_count": None},
    ]
    return json.dumps({"cells": cells, "metadata": {"course": {"assignment": assignment}}, "nbformat": 4})


def put(folder, name, content=None, hours=0):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = notebook() if content is None else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (1_700_000_000 + 3600 * hours,) * 2)
    return path


def only(folder, assignment=""):
    (found,) = collect(folder, assignment)
    return found


@pytest.mark.parametrize(
    ("name", "filed_as"),
    [
        ("doejane_12345_67890_03_small.ipynb", "doejane"),
        ("doejane_LATE_12345_67890_03_small-1.ipynb", "doejane"),
        ("Jane Doe_123456_assignsubmission_file_/03_small.ipynb", "Jane Doe"),
        ("Jane Doe_123456_assignsubmission_file/deep/er.ipynb", "Jane Doe"),
        ("Jane Doe_123456_assignsubmission_file_03_small.ipynb", "Jane Doe"),
        ("download/Jane Doe_123456_assignsubmission_file_/x.IPYNB", "Jane Doe"),
        ("Jane Doe/03_small.ipynb", "Jane Doe"),
        ("Jane Doe/work/03_small.ipynb", "Jane Doe"),
        ("jane-doe.ipynb", "jane-doe"),
        ("Doe, Jane.ipynb", "Doe, Jane"),
        ("03_small.ipynb", ""),
        ("03_small (1).ipynb", ""),
    ],
    ids=range(12),
)
def test_each_layout(tmp_path, name, filed_as):
    path = put(tmp_path, name, hours=2)
    found = only(tmp_path, ASSIGNMENT)
    assert (found.student, found.filed_as, found.path, found.notes) == ("Jane Doe", filed_as, path, ())
    assert found.modified == datetime.fromtimestamp(1_700_007_200, UTC)
    assert found.modified.tzinfo is not None


@pytest.mark.parametrize(
    ("said", "filed", "agree"),
    [
        ("Jane Doe", "doejane_12345_67890_a.ipynb", True),
        ("José Núñez-Prat", "nunezpratjose_12345_67890_a.ipynb", True),
        ("王小明", "王小明_12345_assignsubmission_file_/a.ipynb", True),
        ("JANE  DOE", "Jane Doe/a.ipynb", True),
        ("s1234567", "doejane_12345_67890_a.ipynb", False),
        ("Jane", "Jane Doe/a.ipynb", False),
        ("Doe Janet", "doejane_12345_67890_a.ipynb", False),
    ],
    ids=range(7),
)
def test_a_name_that_the_file_does_not_carry_is_noted(tmp_path, said, filed, agree):
    put(tmp_path, filed, notebook(f'student = "{said}"'))
    found = only(tmp_path)
    assert found.student == " ".join(said.split())
    assert (found.notes == ()) == agree
    assert agree or (said in found.notes[0] and found.filed_as in found.notes[0])


@pytest.mark.parametrize(
    ("cell", "note"),
    [
        ('student = ""', "left empty"),
        ('student = "   "', "left empty"),
        ("student = input()", "not a text in quotes"),
        ("student = True", "not a text in quotes"),
        ("student = 'Jane", "not Python"),
        ("pupil = 'Jane'", "no cell"),
        ("x = 1\nif x:\n    student = 'Jane'", "no cell"),
        ("student = " + "(" * 300 + ")" * 300, "not Python"),
        ("student = 'x'" + " " * 20_000, "no cell"),
    ],
    ids=range(9),
)
def test_without_a_name_in_it_the_file_name_stands_for_one(tmp_path, cell, note):
    put(tmp_path, "Doe Jane.ipynb", notebook(cell))
    found = only(tmp_path)
    assert (found.student, found.filed_as) == ("Doe Jane", "Doe Jane")
    assert note in found.notes[0]


def test_nobody_at_all(tmp_path):
    put(tmp_path, "03_small.ipynb", notebook('student = ""'))
    found = only(tmp_path, ASSIGNMENT)
    assert (found.student, found.filed_as) == ("03_small", "")
    assert "nobody's name" in found.notes[-1]


def test_a_number_is_a_name_and_a_name_is_one_line(tmp_path):
    put(tmp_path, "a/x.ipynb", notebook("student = 123"))
    put(tmp_path, "b/x.ipynb", notebook(f'student = "Eve\\n\\x1b[2J {"e" * 500}"'))
    eve, number = sorted(collect(tmp_path), key=lambda found: len(found.student), reverse=True)
    assert number.student == "123"
    assert eve.student.startswith("Eve ")
    assert eve.student.isprintable()
    assert len(eve.student) == 100


def test_nothing_is_executed(tmp_path):
    trap = tmp_path / "ran"
    put(tmp_path / "in", "Jane.ipynb", notebook(f"open({str(trap)!r}, 'w')\nstudent = 'Jane'"))
    assert only(tmp_path / "in").student == "Jane"
    assert not trap.exists()


def test_files_of_one_student_are_listed_oldest_first(tmp_path):
    names = ["doejane_12345_67891_a-1.ipynb", "doejane_12345_67890_a.ipynb"]
    newer, older = (put(tmp_path, name, hours=hours) for name, hours in zip(names, (5, 1), strict=True))
    put(tmp_path, "roerick_12346_67892_a.ipynb", notebook('student = "Rick Roe"'))
    found = collect(tmp_path)
    assert [one.path.name for one in found] == [older.name, newer.name, "roerick_12346_67892_a.ipynb"]
    assert [one.notes[-1:] for one in found] == [
        ("file 1 of 2 under this name, the oldest first",), ("file 2 of 2 under this name, the oldest first",), (),
    ]  # fmt: skip


@pytest.mark.parametrize("hours", [-1, 1])
def test_who_gives_anothers_name_does_not_take_that_ones_place(tmp_path, hours):
    honest = put(tmp_path, "Jane Doe_111_assignsubmission_file_/a.ipynb")
    forged = put(tmp_path, "Mal Ory_222_assignsubmission_file_/a.ipynb", hours=hours)
    by_path = {one.path: one for one in collect(tmp_path)}
    assert by_path[honest].student == "Jane Doe"
    assert by_path[honest].notes == ()
    assert by_path[forged].student == "Mal Ory"
    assert "which others give too" in by_path[forged].notes[0]


def test_namesakes_stay_apart_from_what_neither_file_carries(tmp_path):
    put(tmp_path, "Jane Doe/a.ipynb", notebook('student = "007"'))
    put(tmp_path, "Mal Ory/a.ipynb", notebook('student = "007"'))
    assert [one.student for one in collect(tmp_path)] == ["Jane Doe", "Mal Ory"]


BAD = {
    "empty": b"",
    "no JSON": b"PK\x03\x04 not a notebook",
    "not UTF-8": b'{"cells": ["\xff"]}',
    "a list": b"[]",
    "cells of nothing": b'{"cells": null}',
    "deep": b"[" * 100_000,
    "a huge number": b'{"cells": [], "n": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", BAD.values(), ids=[name.replace(" ", "-") for name in BAD])
def test_what_cannot_be_read_is_noted_and_the_rest_goes_on(tmp_path, content):
    put(tmp_path, "Bad One/a.ipynb", content)
    put(tmp_path, "Jane Doe/a.ipynb")
    bad, jane = collect(tmp_path)
    assert (bad.student, jane.student, jane.notes) == ("Bad One", "Jane Doe", ())
    assert "cannot be read as a notebook" in bad.notes[0]


def test_cells_of_any_kind_are_passed_over(tmp_path):
    cells = [None, 3, [], {}, {"cell_type": "code"}, {"cell_type": "code", "source": [1, None]}]
    named = {"cell_type": "code", "source": ["import os\n", 'student = "Jane Doe"']}
    put(tmp_path, "Jane Doe/a.ipynb", json.dumps({"cells": [*cells, named], "metadata": 5}))
    assert only(tmp_path).notes == ()


def test_too_large_a_file_is_not_read(tmp_path):
    path = put(tmp_path, "Jane Doe/a.ipynb")
    os.truncate(path, LARGEST + 1)  # sparse: it takes no room
    assert "too large: 50 MB" in only(tmp_path).notes[0]


def test_links_and_pipes_are_not_followed(tmp_path):
    secret = put(tmp_path / "elsewhere", "a.ipynb")
    for name, make in {"Link": lambda to: to.symlink_to(secret), "Pipe": os.mkfifo}.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        make(tmp_path / "in" / name / "a.ipynb")
    (tmp_path / "in" / "Folder").symlink_to(secret.parent)
    found = collect(tmp_path / "in")
    assert [one.student for one in found] == ["Folder", "Link", "Pipe"]
    assert all("special file" in one.notes[0] for one in found)


@pytest.mark.parametrize("name", ["answer.pdf", "03_small.py", "noending"])
def test_who_sent_no_notebook_is_listed(tmp_path, name):
    put(tmp_path, f"Jane Doe_123_assignsubmission_file_/{name}", b"x")
    put(tmp_path, "Rick Roe_124_assignsubmission_file_/a.ipynb", notebook('student = "Rick Roe"'))
    put(tmp_path, "Rick Roe_124_assignsubmission_file_/plot.png", b"x")
    jane, rick = collect(tmp_path)
    assert jane.student == "Jane Doe"
    assert "no notebook" in jane.notes[0]
    assert rick.notes == ()


def test_what_archives_and_editors_leave_is_passed_over(tmp_path):
    for name in (
        ".DS_Store",
        "__MACOSX/._a.ipynb",
        "Jane Doe/.ipynb_checkpoints/a-checkpoint.ipynb",
        "Jane Doe/._a.ipynb",
    ):
        put(tmp_path, name, b"x")
    put(tmp_path, "Jane Doe/a.ipynb")
    assert only(tmp_path).path.name == "a.ipynb"


def test_a_notebook_of_another_assignment_is_noted(tmp_path):
    put(tmp_path, "Jane Doe.ipynb", notebook(assignment="02_other"))
    assert only(tmp_path, ASSIGNMENT).notes == ("this is a notebook of 02_other, not of 03_small",)
    assert only(tmp_path).notes == ()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_a_file_name_that_is_not_utf_8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/J\xfcrgen M"
    os.mkdir(folder)
    with open(folder + b"/a.ipynb", "w") as file:
        file.write(notebook('student = ""'))
    found = only(tmp_path)
    assert found.student == "J�rgen M"
    assert found.student.encode()
    assert found.path.read_bytes()


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        collect(tmp_path / "nowhere")
    assert collect(tmp_path) == []
