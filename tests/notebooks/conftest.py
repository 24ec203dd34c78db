"""A course of tiny notebooks in a temporary folder, and the command that runs its lessons."""

import os
import subprocess
import sys

import nbformat
import pytest

from tests.notebooks.ledger import ROOT, Ledger


class Course:
    """A folder laid out like this repository: notebooks/, bigmodel_lab/, requirements.txt."""

    def __init__(self, root) -> None:
        self.root = root
        (root / "notebooks").mkdir()
        (root / "bigmodel_lab").mkdir()
        (root / "bigmodel_lab" / "part.py").write_text("answer = 42\n")
        (root / "requirements.txt").write_text("numpy\n")

    def write(self, name: str, notebook: nbformat.NotebookNode):
        path = self.root / "notebooks" / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    def run_lessons(self, *options: str, **env: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "tests.notebooks.lessons", "--root", str(self.root), *options]
        env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | env
        return subprocess.run(
            command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root)


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)
