"""Grading spread over a cluster: each submission is one task of Dask, which runs it again where a worker is lost.

A task carries the assignment's source and the submission as bytes and gives a grade back; it changes nothing, so it
may run twice, and the machines need share no folder. Only this machine writes the gradebook.
https://distributed.dask.org
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bigmodel_lab.course.questions import Assignment, Grade
from bigmodel_lab.errors import InputError, MissingExtraError

__all__ = ["judge_bytes", "spread"]

WAIT = 30
"""Seconds that the scheduler has to answer."""

ATTEMPTS = 3
"""Times that a task is tried when its worker is lost or it raises."""


@contextmanager
def spread(scheduler: str) -> Iterator[Callable[..., "Future[Grade]"]]:
    """Connect to the scheduler at `scheduler` (tcp://HOST:PORT) and yield the `submit` that `grade_all` takes.

    The workers need the same version of this library, and a sandbox, as here. Raises `MissingExtraError` without
    Dask, `InputError` where no scheduler answers or it has no worker.
    """
    try:
        import distributed
    except ImportError as error:
        hint = "pip install 'bigmodel-lab[cluster]'"
        raise MissingExtraError("distributed, to grade on a cluster", got=str(error), hint=hint) from error
    hint = "start them: dask scheduler; then on each machine: dask worker tcp://HOST:8786 --nthreads 2"
    try:
        client = distributed.Client(scheduler, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"a Dask scheduler at {scheduler}", got=" ".join(str(error).split()), hint=hint) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise InputError(f"workers at {scheduler}", got="a scheduler without any", hint=hint)
        pool = client.get_executor(pure=False, retries=ATTEMPTS - 1)

        def submit(judge: Callable[..., Grade], assignment: Assignment, path: Path, student: str) -> "Future[Grade]":
            try:
                content = path.read_bytes()
            except OSError as error:
                lost: Future[Grade] = Future()
                lost.set_exception(error)
                return lost
            return pool.submit(
                judge_bytes, judge, assignment, assignment.path.read_bytes(), path.name, content, student
            )

        yield submit


def judge_bytes(
    judge: Callable[..., Grade], assignment: Assignment, source: bytes, name: str, content: bytes, student: str
) -> Grade:
    """Judge the submission `content` in a folder of its own that is gone afterwards; safe to run any number of times.

    `source` is the assignment's notebook, `name` the submission's file name.
    """
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        notebook, submission = Path(folder, "source", assignment.path.name), Path(folder, "submission", name)
        for path, data in ((notebook, source), (submission, content)):
            path.parent.mkdir()
            path.write_bytes(data)
        return judge(replace(assignment, path=notebook), submission, student=student)
