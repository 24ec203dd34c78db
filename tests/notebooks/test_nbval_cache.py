"""What passes under nbval is what the book shows, and it runs once."""

import shutil
import subprocess
import sys

import nbclient
import nbformat
import pytest

from tests.notebooks.build import as_if_run, code, lesson, notebook, text

pytestmark = pytest.mark.slow

LOUD = """\
import sys
import matplotlib.pyplot as plt
from IPython.display import clear_output, display

one = 1
print("gone"); clear_output()
print("before"); print("aside", file=sys.stderr); print("between")
handle = display("first", display_id=True)
plt.plot([1, 2]); plt.show()
handle.update("second")
print("after")"""
PROGRESS = "for i in range(3): print(f'\\r{50 * i}%|##  | {i}/2 [00:01<00:00]', end='', file=sys.stderr)\n6 * 7"
CONNECT = """\
import socket, time
begun = time.perf_counter()
try:
    socket.create_connection(("192.0.2.1", 9), timeout=20)
    raise AssertionError("the network is there")
except OSError as error:
    print(type(error).__name__)
assert time.perf_counter() - begun < 2
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=2).close()"""


def shown(executed):
    """What a page would show of each code cell."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    return [(cell.execution_count, [_content(output) for output in cell.outputs]) for cell in cells]


def _content(output):
    if output.output_type == "error":
        return "error", output.ename, output.evalue, output.traceback
    return output.output_type, output.get("name"), output.get("text"), output.get("data"), output.get("execution_count")


def test_the_book_gets_the_outputs_of_the_run_that_passed(course):
    loud = lesson()
    loud.cells[3].source = LOUD
    loud.cells.insert(6, code("1 / 0", "c5", "raises-exception"))
    loud.cells.insert(7, text("Prose.", "t5"))
    path = course.write("loud", loud)
    run = course.run_lessons()
    assert run.returncode == 0, run.stdout
    assert "outputs kept for the book" in run.stdout

    direct = nbformat.read(path, as_version=4)
    nbclient.execute(direct, cwd=path.parent)
    kept = course.ledger.executed(path)
    assert shown(kept) == shown(direct)
    assert kept.metadata["language_info"] == direct.metadata["language_info"]
    record = course.ledger.read()["loud.ipynb"]
    assert record["cells"] == 4
    assert record["seconds"] > 0.5
    assert record["cpu_seconds"] > 0.2


def test_progress_bars_leave_no_trace(course):
    path = course.write("bar", notebook(code("import sys", "c1"), code(PROGRESS, "c2")))
    assert course.run_lessons().returncode == 0
    outputs = course.ledger.executed(path).cells[1].outputs
    assert [(output.output_type, output.data["text/plain"]) for output in outputs] == [("execute_result", "42")]


def test_jupyter_book_executes_nothing(course):
    """Two workers fill one cache; the build finds both notebooks there, and has no kernel to run others with."""
    course.write("one", lesson())
    course.write("two", notebook(text("# Two", "t1"), code("print('from the tested run')", "c1")))
    run = course.run_lessons()
    assert run.returncode == 0, run.stdout
    config = "title: t\nexecute: {execute_notebooks: cache, cache: _build/.jupyter_cache, raise_on_error: true}\n"
    (course.root / "_config.yml").write_text(config)
    (course.root / "_toc.yml").write_text("format: jb-book\nroot: notebooks/one\nchapters: [{file: notebooks/two}]\n")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    build = subprocess.run(command, cwd=course.root, capture_output=True, text=True, check=False)
    said = build.stdout + build.stderr
    assert build.returncode == 0, said
    assert said.count("Using cached notebook") == 2
    assert "Executing notebook" not in said
    assert course.ledger.untested() == []
    assert "from the tested run" in (course.root / "_build/html/notebooks/two.html").read_text()


def test_what_failed_is_not_kept_and_what_passed_is_not_run_again(course):
    good = course.write("good", notebook(code("x = 1", "c1")))
    bad = course.write("bad", notebook(code("x = 1", "c1"), code("assert x == 2", "c2")))
    first = course.run_lessons()
    assert first.returncode == 1
    assert "assert x == 2" in first.stdout
    assert "FAILED in bad.ipynb, cell 'c2' (code cell 2): AssertionError" in first.stdout
    assert course.ledger.executed(good) is not None
    assert course.ledger.executed(bad) is None
    assert course.ledger.record(bad) is None

    course.write("bad", notebook(code("x = 2", "c1"), code("assert x == 2", "c2")))
    second = course.run_lessons()
    assert second.returncode == 0
    assert "good: unchanged since it passed" in second.stdout
    assert "running 1 of 2 lessons" in second.stdout

    assert "running" not in course.run_lessons().stdout
    assert "running 1 of 1 lessons" in course.run_lessons("--rerun", str(good)).stdout

    course.write("good", notebook(code("x = 1", "c1"), code("assert x == 3", "c2")))
    assert course.run_lessons(str(good)).returncode == 1
    assert course.ledger.executed(good) is None


def test_a_run_of_some_cells_is_not_kept(course):
    path = course.write("part", notebook(code("x = 1", "c1"), code("x = 2", "c2")))
    command = [sys.executable, "-m", "pytest", "-p", "tests.notebooks.nbval_cache", "--nbval-lax"]
    command += ["-c", "tests/notebooks/nbval.ini", "--nbval-current-env", f"--lessons-root={course.root}"]
    run = subprocess.run([*command, f"{path}::Cell 0"], capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    assert course.ledger.executed(path) is None


@pytest.mark.parametrize("mode", ["namespace", "guard"])
def test_kernels_reach_nothing_but_loopback(course, mode):
    path = course.write("net", notebook(code(CONNECT, "c1")))
    run = course.run_lessons(OFFLINE_MODE=mode)
    assert run.returncode == 0, run.stdout
    if mode == "guard":
        assert "by a guard in every Python process" in run.stdout
    assert course.ledger.executed(path).cells[0].outputs[0].text.strip() in ("OSError", "ConnectionRefusedError")


class TestFingerprint:
    """Without kernels: what makes a lesson run again."""

    @pytest.fixture
    def path(self, course):
        path = course.write("one", lesson())
        course.ledger.store(path, as_if_run(lesson()), 1.0, 1.0)
        assert course.ledger.record(path)
        return path

    def test_a_changed_library_file(self, course, path):
        (course.root / "bigmodel_lab" / "part.py").write_text("answer = 43\n")
        assert course.ledger.record(path) is None

    def test_a_new_library_file(self, course, path):
        (course.root / "bigmodel_lab" / "new.py").write_text("")
        assert course.ledger.record(path) is None

    def test_a_changed_pin(self, course, path):
        (course.root / "requirements.txt").write_text("numpy==2\n")
        assert course.ledger.record(path) is None

    def test_a_changed_cell(self, course, path):
        changed = lesson()
        changed.cells[3].source += "\n"
        course.write("one", changed)
        assert course.ledger.record(path) is None
        assert course.ledger.executed(path) is None

    def test_another_environment_only_where_the_lesson_uses_it(self, course, path):
        before = course.ledger.fingerprint(nbformat.read(path, as_version=4))
        other = nbformat.read(path, as_version=4)
        other.cells[3].source += "\ntwins = 1"
        without = course.ledger.fingerprint(other)
        (course.root / ".venv-tensorflow").mkdir()
        assert course.ledger.fingerprint(nbformat.read(path, as_version=4)) == before
        assert course.ledger.fingerprint(other) != without

    def test_changed_prose_and_alt_text_do_not(self, course, path):
        changed = lesson()
        changed.cells[2].source = "Other words."
        changed.cells[5].metadata["mystnb"]["image"]["alt"] = "Better words for the picture."
        course.write("one", changed)
        assert course.ledger.record(path)
        executed = course.ledger.executed(path)
        assert shown(executed) == shown(as_if_run(lesson()))
        assert executed.cells[2].source == "Other words."
        assert executed.cells[5].metadata["mystnb"]["image"]["alt"] == "Better words for the picture."

    def test_a_page_that_the_book_ran_by_itself_does_not_count_as_tested(self, course):
        from jupyter_cache import get_cache
        from jupyter_cache.base import CacheBundleIn

        path = course.write("foreign", notebook(code("1", "c1")))
        cache = get_cache(str(course.ledger.cache_folder))
        bundle = CacheBundleIn(nbformat.read(path, as_version=4), str(path), data={"execution_seconds": 1.0})
        cache.cache_notebook_bundle(bundle, check_validity=False)
        cache.db.dispose()
        assert course.ledger.executed(path) is None
        assert course.ledger.untested() == [str(path)]

    def test_a_lost_cache_makes_the_lesson_run_again(self, course, path):
        shutil.rmtree(course.ledger.cache_folder)
        assert course.ledger.record(path) is None
        assert course.ledger.executed(path) is None
