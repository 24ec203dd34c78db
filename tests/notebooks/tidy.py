"""Bring notebooks into the form in which they are committed: `python -m tests.notebooks.tidy [--check]`.

No outputs and no execution counts, except in cells whose output nbval compares; metadata of editors and machines gone.
"""

import argparse
import sys
from pathlib import Path

import nbformat

from tests.notebooks.ledger import ROOT

KEPT_BY_TAG = {"nbval-check-output"}
KEPT_BY_COMMENT = "NBVAL_CHECK_OUTPUT"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
NOTEBOOK_METADATA = {"accelerator", "authors", "course", "kernelspec", "language_info", "mystnb", "title"}
CELL_METADATA = {"course", "lab", "mystnb", "slideshow", "tags"}


def keeps_output(cell: nbformat.NotebookNode) -> bool:
    """Is the cell's output part of the source, for nbval to compare with?"""
    return bool(KEPT_BY_TAG & set(cell.metadata.get("tags", []))) or KEPT_BY_COMMENT in cell.source


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`notebook`, changed in place to its committed form."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in NOTEBOOK_METADATA}
    notebook.metadata |= {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in CELL_METADATA}
        if cell.cell_type != "code":
            continue
        kept = cell.outputs if keeps_output(cell) else []
        # Both or neither: nbval refuses a cell that has an output and was never run.
        cell.outputs, cell.execution_count = kept, number if kept else None
        for output in kept:
            if "execution_count" in output:
                output.execution_count = number
    return notebook


def tidy_text(text: str) -> str:
    """The committed form of a notebook's file."""
    return nbformat.writes(tidy(nbformat.reads(text, as_version=4))) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Tidy what is given, or only tell (`--check`); 1 when something is, or was to be, changed under `--check`."""
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.tidy", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail where something would change")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all under notebooks/")
    args = parser.parse_args(argv)
    found = (path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    untidy = []
    for path in args.notebooks or sorted(found):
        before = path.read_text(encoding="utf-8")
        after = tidy_text(before)
        if after != before:
            untidy.append(path)
            if not args.check:
                path.write_text(after, encoding="utf-8", newline="\n")
    for path in untidy:
        print(f"{path}: {'has outputs, counts or metadata to remove' if args.check else 'tidied'}")
    if untidy and args.check:
        print("try: make strip")
    return int(bool(untidy and args.check))


if __name__ == "__main__":
    sys.exit(main())
