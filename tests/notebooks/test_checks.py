"""Every check accepts a sound lesson and rejects one that breaks its rule."""

import nbformat
import pytest
from nbformat import v4

from tests.notebooks import checks
from tests.notebooks.build import URL, as_if_run, code, lesson
from tests.notebooks.ledger import MAX_CPU_SECONDS, WARN_CPU_SECONDS
from tests.notebooks.tidy import tidy_text

by_name = {"ids": lambda value: getattr(value, "__name__", None)}


@pytest.mark.parametrize("check", checks.SOURCE, **by_name)
def test_a_sound_lesson_passes(check):
    assert check(lesson()) == []


@pytest.mark.parametrize("check", checks.EXECUTED, **by_name)
def test_a_sound_run_passes(check):
    assert check(as_if_run(lesson())) == []


def cell(notebook, id):
    return next(one for one in notebook.cells if one.id == id)


def repeat_an_id(nb):
    cell(nb, "c4").id = "c3"


def be_old(nb):
    nb.nbformat_minor = 4


def want_another_kernel(nb):
    nb.metadata.kernelspec.name = "my-env"


def lose_the_cell_type(nb):
    cell(nb, "t2").cell_type = "prose"


def keep_an_output(nb):
    cell(nb, "c2").outputs = [v4.new_output("stream", text="1\n")]


def keep_a_count(nb):
    cell(nb, "c2").execution_count = 7


def compare_with_nothing(nb):
    cell(nb, "c2").source = "# NBVAL_CHECK_OUTPUT\nprint(one)"


def assert_nothing(nb):
    cell(nb, "c4").source = "one"


def say_assert_in_a_comment(nb):
    cell(nb, "c4").source = "x = 1  # assert nothing"


def drop_the_exercises(nb):
    cell(nb, "t4").source = "## What we learned\n\n## References"


def hide_a_section_in_a_fence(nb):
    cell(nb, "t4").source = "## Exercises\n\n```\n## What we learned\n```\n\n## References"


def have_two_titles(nb):
    cell(nb, "t2").source = "# Another"


def put_three_code_cells_in_a_row(nb):
    nb.cells.insert(7, code("1", "c5"))


def fill_a_screen(nb):
    cell(nb, "c2").source = "x = 1\n" * 26


def write_a_long_line(nb):
    cell(nb, "c2").source = f"x = '{'a' * 120}'"


def leave_a_cell_empty(nb):
    cell(nb, "c2").source = "\n"


def name_a_home_folder(nb):
    cell(nb, "c2").source = "open('" + "/home" + "/me/data.csv')"


def name_a_registry(nb):
    cell(nb, "t2").source = "See https://" + "pypi" + ".org/project/numpy."


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        (checks.valid, repeat_an_id),
        (checks.valid, be_old),
        (checks.valid, want_another_kernel),
        (checks.valid, lose_the_cell_type),
        (checks.stripped, keep_an_output),
        (checks.stripped, keep_a_count),
        (checks.stripped, compare_with_nothing),
        (checks.asserts_something, assert_nothing),
        (checks.asserts_something, say_assert_in_a_comment),
        (checks.has_sections, drop_the_exercises),
        (checks.has_sections, hide_a_section_in_a_fence),
        (checks.has_sections, have_two_titles),
        (checks.has_rhythm, put_three_code_cells_in_a_row),
        (checks.has_rhythm, fill_a_screen),
        (checks.has_rhythm, write_a_long_line),
        (checks.has_rhythm, leave_a_cell_empty),
        (checks.names_no_machine, name_a_home_folder),
        (checks.names_no_machine, name_a_registry),
    ],
    **by_name,
)
def test_a_spoilt_source_is_rejected(check, spoil):
    notebook = lesson()
    spoil(notebook)
    assert check(notebook)


def test_a_folded_cell_may_be_long():
    notebook = lesson()
    cell(notebook, "c2").source = "x = 1\n" * 40
    cell(notebook, "c2").metadata["tags"] = ["hide-input"]
    assert checks.has_rhythm(notebook) == []


def skip_a_cell(nb):
    cell(nb, "c2").execution_count = None


def run_the_install_cell(nb):
    cell(nb, "c1").execution_count = 1


def raise_an_error(nb):
    cell(nb, "c2").outputs = [v4.new_output("error", ename="ValueError", evalue="no", traceback=["no"])]


def raise_nothing_where_promised(nb):
    cell(nb, "c2").metadata["tags"] = ["raises-exception"]


def warn(nb):
    cell(nb, "c2").outputs = [v4.new_output("stream", name="stderr", text="x.py:1: FutureWarning: soon\n")]


def draw_nothing(nb):
    cell(nb, "c3").outputs = []


def describe_nothing(nb):
    cell(nb, "c3").metadata = {}


def describe_by_file_name(nb):
    cell(nb, "c3").metadata["mystnb"]["image"]["alt"] = "../images/a b c.png"


def show_an_address(nb):
    shown = {"text/plain": "<matplotlib.lines.Line2D at 0x7f21b86c1f90>"}
    cell(nb, "c2").outputs = [v4.new_output("execute_result", shown)]


def show_a_path(nb):
    cell(nb, "c2").outputs = [v4.new_output("stream", text="saved to /" + "tmp/model.pt\n")]


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        (checks.ran_whole, skip_a_cell),
        (checks.ran_whole, run_the_install_cell),
        (checks.ran_whole, raise_an_error),
        (checks.ran_whole, raise_nothing_where_promised),
        (checks.warns_not, warn),
        (checks.draws, draw_nothing),
        (checks.describes_figures, describe_nothing),
        (checks.describes_figures, describe_by_file_name),
        (checks.prints_no_debris, show_an_address),
        (checks.prints_no_debris, show_a_path),
    ],
    **by_name,
)
def test_a_spoilt_run_is_rejected(check, spoil):
    notebook = as_if_run(lesson())
    spoil(notebook)
    assert check(notebook)


def test_a_promised_error_is_accepted():
    notebook = as_if_run(lesson())
    raise_an_error(notebook)
    raise_nothing_where_promised(notebook)
    assert checks.ran_whole(notebook) == []


def spoil_the_source(first):
    first.source = first.source.replace("course", "fork")


def spoil_the_tags(first):
    first.metadata["tags"] = ["remove-cell"]


def test_install_cell_is_accepted():
    assert checks.installs_first(lesson(), URL) == []


@pytest.mark.parametrize("spoil", [spoil_the_source, spoil_the_tags], **by_name)
def test_a_spoilt_install_cell_is_rejected(spoil):
    notebook = lesson()
    spoil(cell(notebook, "c1"))
    assert checks.installs_first(notebook, URL)


def test_a_missing_install_cell_is_rejected():
    notebook = lesson()
    notebook.cells.remove(cell(notebook, "c1"))
    assert checks.installs_first(notebook, URL)


def test_tidying_leaves_a_sound_lesson_alone():
    written = nbformat.writes(lesson()) + "\n"
    assert tidy_text(written) == written
    assert checks.written_as_tidied(written) == []


def test_tidying_removes_what_editors_leave():
    notebook = as_if_run(lesson())
    notebook.metadata["colab"] = {"provenance": []}
    cell(notebook, "c2").metadata["executionInfo"] = {"user": "me"}
    messy = nbformat.writes(notebook)
    assert checks.written_as_tidied(messy)
    assert tidy_text(messy) == nbformat.writes(lesson()) + "\n"


def test_tidying_keeps_an_output_that_nbval_compares():
    notebook = lesson()
    kept = cell(notebook, "c4")
    kept.source, kept.execution_count = "# NBVAL_CHECK_OUTPUT\nprint(2)", 31
    kept.outputs = [v4.new_output("stream", text="2\n")]
    tidied = nbformat.reads(tidy_text(nbformat.writes(notebook)), as_version=4)
    assert cell(tidied, "c4").outputs[0].text == "2\n"
    assert cell(tidied, "c4").execution_count not in (None, 31)
    assert checks.stripped(tidied) == []


TOC = {"root": "book/index", "parts": [{"chapters": [{"file": "book/a", "sections": [{"file": "notebooks/one"}]}]}]}


def test_a_matching_table_of_contents_passes():
    assert checks.toc_agrees(TOC, ["notebooks/one"]) == []


@pytest.mark.parametrize("lessons", [[], ["notebooks/one", "notebooks/two"]])
def test_a_table_of_contents_that_differs_is_rejected(lessons):
    assert checks.toc_agrees(TOC, lessons)


def test_a_lesson_named_twice_is_rejected():
    assert checks.toc_agrees([TOC, TOC], ["notebooks/one"])


@pytest.mark.parametrize(
    ("record", "sound"),
    [
        ({"cells": 5, "seconds": 30.0, "cpu_seconds": 40.0}, True),
        ({"cells": 5, "seconds": 0.0, "cpu_seconds": 0.0}, False),
        ({"cells": 0, "seconds": 3.0, "cpu_seconds": 2.0}, False),
        ({"cells": 5, "seconds": 80.0, "cpu_seconds": 91.0}, False),
    ],
)
def test_cost(record, sound):
    assert (checks.cost_fits(record, WARN_CPU_SECONDS, MAX_CPU_SECONDS) == []) is sound
