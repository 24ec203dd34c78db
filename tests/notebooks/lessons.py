"""Run the lessons that changed, two at a time, offline, and keep their outputs: `python -m tests.notebooks.lessons`."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.notebooks.ledger import MAX_CPU_SECONDS, ROOT, WARN_CPU_SECONDS, Ledger, lessons_in

WORKERS = 2
CELL_TIMEOUT = 300


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 when every lesson passed, now or since it last changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.lessons", description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="lessons to run (default: all in notebooks/)")
    parser.add_argument("--rerun", action="store_true", help="run unchanged lessons too")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the course (default: this repository)")
    args = parser.parse_args(argv)
    paths = [path.resolve() for path in args.notebooks] or lessons_in(args.root.resolve())
    if missing := [path for path in paths if not path.is_file()]:
        print(f"expected: notebooks\ngot:      no file {missing[0]}", file=sys.stderr)
        return 2
    ledger = Ledger(args.root)
    stale = []
    for path in paths:
        record = None if args.rerun else ledger.record(path)
        if record is None:
            stale.append(path)
        else:
            print(f"{path.stem}: unchanged since it passed {ago(record['when'])} ago in {record['seconds']:.0f} s")
    if stale:
        harvest(stale)
        print(f"running {len(stale)} of {len(paths)} lessons, {min(WORKERS, len(stale))} at a time", flush=True)
        if code := run(stale, ledger.root):
            return code
    return over_budget(ledger, paths)


def harvest(paths: list[Path]) -> None:
    """Harvest the text corpus if a lesson reads it, so that it counts in no lesson's time; later it is in the cache."""
    if any("corpus()" in path.read_text(encoding="utf-8") for path in paths):
        code = "from bigmodel_lab.data import text; text.corpus()"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def run(paths: list[Path], root: Path) -> int:
    """nbval over `paths`, offline; pytest's exit code."""
    workers = min(WORKERS, len(paths))
    env = dict(os.environ)
    env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH", "")]))
    pytest = [sys.executable, "-m", "pytest", "-p", "tests.notebooks.nbval_cache", "--lessons-root", str(root)]
    pytest += ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    pytest += ["-c", str(Path(__file__).with_name("nbval.ini")), f"--rootdir={root}"]
    pytest += ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    offline = [sys.executable, "-m", "tests.notebooks.offline"]
    return subprocess.run([*offline, *pytest, *map(str, paths)], cwd=root, env=env, check=False).returncode


def over_budget(ledger: Ledger, paths: list[Path]) -> int:
    """Say which lessons cost too much; 1 when one is far over."""
    records, code = ledger.read(), 0
    for path in paths:
        spent = records[path.name]["cpu_seconds"]
        if spent > MAX_CPU_SECONDS:
            print(f"{path.stem}: {spent:.0f} CPU-seconds, allowed are {MAX_CPU_SECONDS}", file=sys.stderr)
            code = 1
        elif spent > WARN_CPU_SECONDS:
            print(f"{path.stem}: warning: {spent:.0f} CPU-seconds, aim for at most {WARN_CPU_SECONDS}", file=sys.stderr)
    return code


def ago(when: float) -> str:
    """How long ago, in one unit."""
    seconds = max(0, time.time() - when)
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


if __name__ == "__main__":
    sys.exit(main())
