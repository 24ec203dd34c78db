"""Grading on a cluster: tasks that share no folder and may run twice; a worker that is killed loses nothing."""

import importlib.util
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

from bigmodel_lab.course.cluster import judge_bytes, spread
from bigmodel_lab.course.collect import Submission
from bigmodel_lab.course.gradebook import Gradebook
from bigmodel_lab.course.grading import grade_all
from bigmodel_lab.errors import InputError, MissingExtraError
from tests.course.fakes import NOON, Judge, assignment

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed: pip install -e '.[cluster]'"
)


@pytest.fixture
def course(tmp_path):
    """An assignment with a source of its own, and 24 submissions."""
    from dataclasses import replace

    source = tmp_path / "source" / "03_try.ipynb"
    source.parent.mkdir()
    source.write_text("the source")
    (tmp_path / "in").mkdir()
    submissions = []
    for number in range(24):
        path = tmp_path / "in" / f"s{number:02}.ipynb"
        path.write_text(f"answer {number}")
        submissions.append(Submission(student=path.stem, path=path, modified=NOON))
    return replace(assignment(), path=source), submissions


def test_a_task_needs_no_folder_leaves_none_and_may_run_twice(course, tmp_path):
    made, (one, *_) = course
    seen = []

    def judge(part, path, *, student):
        seen.append(path)
        assert part.path.read_bytes() == b"the source"
        assert part.path != made.path
        assert path.name == one.path.name
        assert path.parent not in part.path.parents  # who may see the one need not see the other
        return Judge()(part, path, student=student)

    content = one.path.read_bytes()
    one.path.unlink()
    twice = [judge_bytes(judge, made, b"the source", one.path.name, content, one.student) for _ in range(2)]
    assert twice[0] == twice[1]
    assert not any(path.exists() for path in seen)


def test_a_task_that_fails_leaves_no_folder_either(course):
    made, (one, *_) = course
    seen = []

    def judge(part, path, *, student):
        seen.append(path)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        judge_bytes(judge, made, b"", one.path.name, b"", one.student)
    assert not seen[0].parent.exists()


def test_without_dask_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"bigmodel-lab\[cluster\]"), spread("tcp://127.0.0.1:1"):
        pass


@pytest.fixture
def fake(monkeypatch):
    """A stand-in with the part of Dask's interface that is used; its client pickles what it is given, as Dask does."""
    import pickle

    module, state = ModuleType("distributed"), SimpleNamespace(workers={"w": {}}, asked={}, closed=False)

    class Pool(ThreadPoolExecutor):
        def submit(self, function, judge, *args):
            args = pickle.loads(pickle.dumps(args))
            return super().submit(function, judge, *args)

    class Client:
        def __init__(self, address, **named):
            if address != "tcp://here:8786":
                raise OSError("Timed out trying to connect")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            state.closed = True

        def scheduler_info(self):
            return {"workers": state.workers}

        def get_executor(self, **named):
            state.asked = named
            return Pool(2)

    module.Client = Client
    monkeypatch.setitem(sys.modules, "distributed", module)
    return state


def test_what_is_asked_of_dask_and_what_comes_back(fake, course, tmp_path):
    made, submissions = course
    book = Gradebook(tmp_path / "book")
    submissions[3].path.unlink()
    with spread("tcp://here:8786") as submit:
        run = grade_all(made, submissions, book, judge := Judge(), submit=submit)
    assert (run.graded, run.failed, len(judge.asked)) == (23, 1, 23)
    assert fake.closed
    assert fake.asked == {"pure": False, "retries": 2}
    local = grade_all(made, submissions[:3], Gradebook(tmp_path / "other"), Judge())
    assert [grade for _, grade in local.grades] == [grade for _, grade in run.grades[:3]]


def test_no_scheduler_and_no_worker_are_said(fake):
    with pytest.raises(InputError, match="Timed out trying to connect"), spread("tcp://there:1"):
        pass
    fake.workers = {}
    with pytest.raises(InputError, match="a scheduler without any"), spread("tcp://here:8786"):
        pass


@contextmanager
def two_workers():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@needs_dask
def test_a_worker_killed_midway_loses_nothing(course, tmp_path):
    made, submissions = course
    calls = tmp_path / "calls"
    calls.mkdir()

    def judge(part, path, *, student):
        """Travels to the workers by value: it may use nothing of this file."""
        import os
        import time
        from hashlib import sha256

        from bigmodel_lab.course.questions import Grade, QuestionResult

        (calls / f"{student}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.1)
        questions = tuple(QuestionResult(name=q.name, points=q.points, most=q.points) for q in part.questions)
        digest = sha256(path.read_bytes()).hexdigest()
        return Grade(student=student, assignment=part.name, submission=digest, questions=questions)

    killed = []

    def kill():
        while len(list(calls.iterdir())) < 6:
            time.sleep(0.01)
        killed.append(int(max(calls.iterdir(), key=lambda path: path.stat().st_mtime_ns).name.split("-")[1]))
        os.kill(killed[0], signal.SIGKILL)

    book = Gradebook(tmp_path / "book")
    with two_workers() as cluster, spread(cluster.scheduler_address) as submit:
        killer = threading.Thread(target=kill)
        killer.start()
        run = grade_all(made, submissions, book, judge, submit=submit)
        killer.join()
        again = grade_all(made, submissions, book, judge, submit=submit)
    assert killed
    assert (run.graded, run.failed) == (24, 0)
    assert all(grade.points == 15 for _, grade in run.grades)
    assert (again.graded, again.reused) == (0, 24)
    assert {path.name.split("-")[0] for path in calls.iterdir()} == {one.student for one in submissions}
