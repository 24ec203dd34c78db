"""What is known of each lesson's last good run: its fingerprint, its cost, and its outputs in the notebook cache.

The cache is the one that Jupyter Book reads (`jupyter-cache`), so what is read is what was tested.
Every write happens under one lock: two workers fill the same cache.
"""

import hashlib
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

ROOT = Path(__file__).resolve().parents[2]
WARN_CPU_SECONDS, MAX_CPU_SECONDS = 60, 90
# What a lesson's outputs depend on besides its own cells.
INPUTS = ("bigmodel_lab/**/*", "benchmarks/**/*.json", "requirements.txt")


def lessons_in(root: Path = ROOT) -> list[Path]:
    """The lessons, in order; assignments and editor leftovers are none."""
    return sorted((root / "notebooks").glob("*.ipynb"))


def inputs_hash(root: Path) -> str:
    """Hash of the library, the saved results and the pins: a change there makes every lesson run again."""
    digest = hashlib.sha256(sys.version.encode())
    files = {path for pattern in INPUTS for path in root.glob(pattern) if path.is_file()}
    for path in sorted(path for path in files if "__pycache__" not in path.parts):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def cells_hash(notebook: nbformat.NotebookNode) -> str:
    """Hash of what runs: the sources of the code cells and the tags that say how to run them."""
    cells = [(c.source, c.metadata.get("tags", [])) for c in notebook.cells if c.cell_type == "code"]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


class Ledger:
    """`_build/lessons.json` and the notebook cache beside it, under one root."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = Path(root).resolve()
        self.build = self.root / "_build"
        self.file = self.build / "lessons.json"
        self.cache_folder = self.build / ".jupyter_cache"
        self._inputs = inputs_hash(self.root)

    def fingerprint(self, notebook: nbformat.NotebookNode) -> str:
        """Hash of what the lesson's outputs depend on; of TensorFlow's environment only where it is used."""
        twins = any("twins" in cell.source for cell in notebook.cells if cell.cell_type == "code")
        live = "-live" if twins and (self.root / ".venv-tensorflow").exists() else ""
        return f"{self._inputs[:16]}-{cells_hash(notebook)[:16]}{live}"

    def read(self) -> dict[str, dict]:
        """Every lesson's record by file name; empty before the first run."""
        return json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}

    def record(self, path: Path) -> dict | None:
        """The record of a lesson that passed and has not changed since, else None.

        Metadata that does not change how a cell runs (alt text, say) is part of the cache's key all the same:
        then the outputs kept move to the new key, and nothing runs again.
        """
        known = self.read().get(path.name)
        notebook = nbformat.read(path, as_version=4)
        if known is None or known["fingerprint"] != self.fingerprint(notebook):
            return None
        with self._cache() as cache:
            if found := _match(cache, notebook):
                return known if found.data.get("tested") else None
            kept = self.cache_folder / "executed" / known["key"] / "base.ipynb"
            if not kept.exists():
                return None
            old = nbformat.read(kept, as_version=4)
        fresh = with_outputs(notebook, [c for c in old.cells if c.cell_type == "code"], old.metadata)
        return self.store(path, fresh, known["seconds"], known["cpu_seconds"])

    def forget(self, path: Path) -> None:
        """Drop what is kept of a lesson, so that a failed run leaves no stale page behind."""
        with self._cache() as cache:
            for stale in cache.list_cache_records():
                if Path(stale.uri).name == path.name:
                    cache.remove_cache(stale.pk)
            self._write({k: v for k, v in self.read().items() if k != path.name})

    def store(self, path: Path, executed: nbformat.NotebookNode, seconds: float, cpu_seconds: float) -> dict:
        """Keep an executed notebook where Jupyter Book looks for it, and note what it cost."""
        fingerprint = self.fingerprint(executed)
        record = {
            "fingerprint": fingerprint,
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),
            "cells": sum(cell.execution_count is not None for cell in executed.cells if cell.cell_type == "code"),
            "when": round(time.time()),
        }
        data = {"execution_seconds": record["seconds"], "tested": fingerprint}
        with self._cache() as cache:
            bundle = CacheBundleIn(executed, str(path), data=data)
            stored = cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            record["key"] = stored.hashkey
            self._write(self.read() | {path.name: record})
        return record

    def executed(self, path: Path) -> nbformat.NotebookNode | None:
        """The lesson with the outputs that its page will show; None where the cache holds none that were tested."""
        if not self.cache_folder.exists():
            return None
        notebook = nbformat.read(path, as_version=4)
        with self._cache() as cache:
            found = _match(cache, notebook)
            if found is None or not found.data.get("tested"):
                return None
            return cache.merge_match_into_notebook(notebook)[1]

    def untested(self) -> list[str]:
        """Notebooks that the cache holds though no test ran them: the book's build executed them by itself."""
        with self._cache() as cache:
            return [one.uri for one in cache.list_cache_records() if not one.data.get("tested")]

    def _write(self, records: dict[str, dict]) -> None:
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(dict(sorted(records.items())), indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.file)

    @contextmanager
    def _cache(self):
        """The notebook cache, locked and closed again."""
        self.build.mkdir(parents=True, exist_ok=True)
        with FileLock(self.build / ".lessons.lock", timeout=120):
            cache = get_cache(str(self.cache_folder))
            try:
                yield cache
            finally:
                if cache._db is not None:
                    cache._db.dispose()


def _match(cache, notebook):
    try:
        return cache.match_cache_notebook(notebook)
    except KeyError:
        return None


def with_outputs(notebook, code_cells, metadata) -> nbformat.NotebookNode:
    """`notebook` with the outputs and counts of `code_cells`, which are its own code cells as they once ran."""
    notebook.metadata["language_info"] = metadata.get("language_info", {})
    own = (cell for cell in notebook.cells if cell.cell_type == "code")
    for cell, old in zip(own, code_cells, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return notebook
