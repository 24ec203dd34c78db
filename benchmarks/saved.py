"""Writes a measurement to `benchmarks/results/NAME.json`, with what a reader needs to judge it."""

import datetime
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def save(name: str, result: dict[str, Any], *, machine: str = "", packages: tuple[str, ...] = ("torch",)) -> Path:
    """Write `result` with its date, machine, versions and command; return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": machine or f"{os.cpu_count()} CPU cores",
        "versions": {"python": platform.python_version(), **{one: _version(one) for one in packages}},
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
    }
    path.write_text(json.dumps(about | result, indent=1) + "\n", encoding="utf-8")
    print(f"saved {path.relative_to(ROOT)}")
    return path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
