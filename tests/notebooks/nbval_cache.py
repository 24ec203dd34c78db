"""pytest plugin: a notebook whose cells all pass under nbval is kept, with its outputs, in the cache of the book.

Load it with `-p tests.notebooks.nbval_cache`. Under xdist give `--dist loadfile`: a notebook stays in one worker.
"""

import copy
import time
from pathlib import Path

import psutil
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tests.notebooks.ledger import Ledger, with_outputs
from tests.notebooks.outputs import outputs_of

PROPERTY = "lesson"
FAILURE = "lesson failed"


def pytest_addoption(parser):
    parser.addoption("--lessons-root", type=Path, help="keep notebooks that pass in _build/ under this folder")


def pytest_configure(config):
    root = config.getoption("--lessons-root")
    if root and (config.option.nbval or config.option.nbval_lax):
        config.pluginmanager.register(Recorder(Ledger(root)), "lesson-recorder")


class Run:
    """One notebook while its cells run: the messages of each cell, in order."""

    def __init__(self, file: IPyNbFile) -> None:
        self.started = time.perf_counter()
        self.messages: dict[int, list[dict]] = {}
        self.done: dict[int, bool] = {}  # cell number -> did it pass (or was it meant to be skipped)?
        self._inbox: list[dict] = []
        ask, start = file.get_kernel_message, file.setup

        def listen(timeout=None, stream="iopub"):
            message = ask(timeout=timeout, stream=stream)
            self._inbox.append(message)
            return message

        def number_cells():
            start()
            execute = file.kernel.kc.execute
            # As an editor does it; nbval alone would have each traceback say `In[1]`.
            file.kernel.kc.execute = lambda code, **options: execute(code, **options | {"store_history": True})

        file.get_kernel_message, file.setup = listen, number_cells

    def take(self, item: IPyNbCell) -> None:
        if self._inbox:
            self.messages[item.cell_num], self._inbox[:] = list(self._inbox), []

    def executed(self, file: IPyNbFile):
        """The notebook as it ran: counts 1, 2, 3 … on the cells that ran, none on skipped ones."""
        ran, code = [], [cell for cell in file.nb.cells if cell.cell_type == "code"]
        for number, cell in enumerate(map(copy.deepcopy, code)):
            count = 1 + sum(cell.execution_count is not None for cell in ran)
            cell.outputs, cell.execution_count = [], None
            if number in self.messages:
                cell.outputs, cell.execution_count = outputs_of(self.messages[number], count), count
            ran.append(cell)
        return with_outputs(copy.deepcopy(file.nb), ran, {"language_info": language_info(file.kernel)})


class Recorder:
    """Follows nbval's cells and keeps each notebook that passed from its first cell to its last."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.runs: dict[Path, Run] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        if isinstance(item, IPyNbCell) and item.path not in self.runs:
            self.runs[item.path] = Run(item.parent)
            self.ledger.forget(item.path)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if isinstance(item, IPyNbCell) and report.when == "call":
            file, run = item.parent, self.runs[item.path]
            run.take(item)
            run.done[item.cell_num] = report.passed or (report.skipped and item.options["skip"])
            if report.failed:
                where = f"{item.path.name}, cell {item.cell.get('id', '?')!r} (code cell {item.cell_num + 1})"
                report.user_properties.append((FAILURE, f"{where}: {first_error(run.messages.get(item.cell_num, []))}"))
            if all(run.done.values()) and len(run.done) == sum(c.cell_type == "code" for c in file.nb.cells):
                seconds, cpu = time.perf_counter() - run.started, cpu_seconds(file.kernel)
                record = self.ledger.store(item.path, run.executed(file), seconds, cpu)
                report.user_properties.append((PROPERTY, {"name": item.path.stem, **record}))
        return report


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report):
    """One line for each notebook that was kept, also from workers."""
    for name, lesson in report.user_properties:
        if name == FAILURE and report.when == "call" and _terminal is not None:
            _terminal.ensure_newline()
            _terminal.write_line(f"FAILED in {lesson}")
        if name == PROPERTY and report.when == "call" and _terminal is not None:
            _terminal.ensure_newline()
            _terminal.write_line(
                f"{lesson['name']}: {lesson['cells']} cells passed in {lesson['seconds']:.1f} s "
                f"({lesson['cpu_seconds']:.1f} CPU-s), outputs kept for the book"
            )


def first_error(messages: list[dict]) -> str:
    """The exception that a cell's kernel messages tell of, in one line."""
    for message in messages:
        if message["msg_type"] == "error":
            content = message["content"]
            return f"{content['ename']}: {content['evalue']}".splitlines()[0]
    return "its output differs from the stored one, or it ran too long; see above"


_terminal = None


def pytest_sessionstart(session):
    global _terminal
    worker = hasattr(session.config, "workerinput")
    _terminal = None if worker else session.config.pluginmanager.get_plugin("terminalreporter")


def cpu_seconds(kernel) -> float:
    """CPU time of the kernel and of the processes that it started."""
    process = psutil.Process(kernel.km.provisioner.pid)
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        times = one.cpu_times()
        total += times.user + times.system
        if one is process:
            total += times.children_user + times.children_system
    return total


def language_info(kernel) -> dict:
    """What the kernel says of its language; the page's highlighter reads it."""
    request = kernel.kc.kernel_info()
    while True:
        message = kernel.get_message("shell", timeout=30)
        if message["parent_header"].get("msg_id") == request:
            return message["content"]["language_info"]
