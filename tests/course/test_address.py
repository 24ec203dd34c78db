"""One command points a copy of the course at a fork; nothing is half done, nothing else changes."""

import json
import subprocess
import sys

import nbformat
import pytest

from bigmodel_lab.course import INSTALL_TAGS, disagreements, install_cell, point_at, repository_url
from bigmodel_lab.course.__main__ import main
from bigmodel_lab.errors import InputError
from tests.notebooks.build import URL, lesson, text

FORK = "https://github.com/a-teacher/big.models_2"
CONFIG = f"""\
title: t
html:
  # not this one:
  url: https://example.invalid
repository:
  # the one place
  url: {URL}   # keep this comment
  branch: main
"""
BADGE = "[Colab](https://colab.research.google.com/github/big-model-lab/course/blob/main/notebooks/one.ipynb)"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").write_text(CONFIG)
    for name in ("one", "two"):
        notebook = lesson()
        notebook.cells.insert(1, text(f"{BADGE} 中文", "t9"))
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def files(root):
    return {path.name: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_place_names_the_fork_and_nothing_else_changes(root):
    before = files(root)
    changed = point_at(root, FORK)
    assert sorted(path.name for path in changed) == ["_config.yml", "one.ipynb", "two.ipynb"]
    assert repository_url(root) == FORK
    assert disagreements(root) == []
    for name, content in files(root).items():
        expected = before[name].decode().replace("https://github.com/big-model-lab/course", FORK)
        expected = expected.replace("github/big-model-lab/course", "github/a-teacher/big.models_2")
        assert content.decode() == expected
    notebook = nbformat.read(root / "notebooks" / "one.ipynb", as_version=4)
    assert notebook.cells[2].source == install_cell(FORK)
    assert notebook.cells[2].metadata["tags"] == INSTALL_TAGS
    assert (root / "notebooks" / "one.ipynb").read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"


def test_assignments_follow_the_lessons(root):
    (root / "notebooks" / "assignments").mkdir()
    path = root / "notebooks" / "assignments" / "03_three.ipynb"
    nbformat.write(lesson(), path)
    assert disagreements(root) == []
    assert path in point_at(root, FORK)
    assert install_cell(FORK) in {cell.source for cell in nbformat.read(path, as_version=4).cells}


def test_it_may_be_repeated_and_undone(root):
    before = files(root)
    assert point_at(root, URL) == []
    point_at(root, FORK)
    assert point_at(root, f"{FORK}.git") == []
    assert point_at(root, f" {FORK}/ ") == []
    point_at(root, URL)
    assert files(root) == before


@pytest.mark.parametrize(
    "url",
    [
        "",
        "course",
        "github.com/a/b",
        "git@github.com:a/b.git",
        "https://github.com/only-owner",
        "https://github.com/a/b/tree/main",
        "https://gitlab.com/a/b",
        "https://github.com/../b",
        "https://github.com/a/..",
        "https://github.com/é/b",
        'https://github.com/a/b"; rm -rf',
    ],
)
def test_a_bad_address_changes_nothing_and_says_what_is_wanted(root, url, capsys):
    before = files(root)
    assert main(["--root", str(root), "point-at", url]) == 2
    assert files(root) == before
    said = capsys.readouterr().err
    assert "https://github.com/OWNER/NAME" in said
    assert repr(url) in said
    assert "try:" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notebooks/two.ipynb", "{not json"),
        ("notebooks/two.ipynb", nbformat.writes(nbformat.v4.new_notebook())),
        ("notebooks/two.ipynb", '{"cells": [{"cell_type": "code", "source": "find_spec(bigmodel_lab"}]}'),
        ("notebooks/two.ipynb", '{"cells": [1]}'),
        ("notebooks/two.ipynb", b"\xff\xfe"),
        ("_config.yml", "title: t\n"),
    ],
)
def test_a_file_that_is_not_understood_stops_it_before_anything_is_written(root, name, content):
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = files(root)
    with pytest.raises(InputError, match=name.split("/")[-1].split(".")[0]):
        point_at(root, FORK)
    assert files(root) == before


def test_links_to_other_notebooks_stay(root):
    path = root / "notebooks" / "one.ipynb"
    others = [
        "https://colab.research.google.com/github/someone/else/blob/main/notebooks/three.ipynb",
        "https://colab.research.google.com/github/someone/else/blob/main/one.ipynb",
    ]
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source += " " + " ".join(others)
    nbformat.write(notebook, path)
    point_at(root, FORK)
    source = nbformat.read(path, as_version=4).cells[1].source
    assert all(link in source for link in others)
    assert "github/a-teacher/big.models_2/blob/main/notebooks/one.ipynb" in source


def test_check_tells_agreement_from_disagreement(root, capsys):
    assert main(["--root", str(root), "check"]) == 0
    notebook = json.loads((root / "notebooks" / "two.ipynb").read_text())
    notebook["cells"][2]["source"] = install_cell(FORK)
    (root / "notebooks" / "two.ipynb").write_text(json.dumps(notebook))
    capsys.readouterr()
    assert main(["--root", str(root), "check"]) == 1
    said = capsys.readouterr().err
    assert "two.ipynb" in said
    assert "one.ipynb" not in said
    assert f"point-at {URL}" in said


@pytest.mark.parametrize("spoilt", ["badge", "tags"])
def test_check_looks_at_links_and_tags_too(root, spoilt):
    path = root / "notebooks" / "one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    if spoilt == "badge":
        notebook.cells[1].source = BADGE.replace("big-model-lab", "other")
    else:
        notebook.cells[2].metadata["tags"] = []
    nbformat.write(notebook, path)
    assert len(disagreements(root)) == 1


def test_the_install_cell_does_nothing_where_the_library_is(root):
    source = install_cell(URL)
    assert f'"git+{URL}"' in source
    code = source.replace("%pip install", "raise SystemExit  #")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_folder_is_an_error_that_says_so(tmp_path, capsys):
    assert main(["--root", str(tmp_path), "check"]) == 2
    assert "run this in the course's folder" in capsys.readouterr().err


def test_help_names_every_command():
    run = subprocess.run(
        [sys.executable, "-m", "bigmodel_lab.course", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("point-at", "check", "serve"):
        assert command in run.stdout
