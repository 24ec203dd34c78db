"""How the tests of the notebooks speak: one line for each problem, and no word about a lesson that has not passed."""

import os
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.ledger import Ledger


def none_of(problems: list[str]) -> None:
    """Fail with one line for each problem."""
    assert not problems, "\n" + "\n".join(problems)


def as_executed(path: Path, ledger: Ledger) -> nbformat.NotebookNode:
    """The lesson as its page shows it; it must have run since it last changed, else the test fails or is skipped."""
    notebook = ledger.executed(path) if ledger.record(path) else None
    if notebook is None:
        message = f"{path.stem} has not passed since it changed; run: make lessons"
        (pytest.fail if os.environ.get("REQUIRE_EXECUTED") else pytest.skip)(message)
    return notebook
