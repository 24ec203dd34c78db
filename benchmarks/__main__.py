"""Every measurement that is a ratio: `python -m benchmarks`, or `python -m benchmarks import build` for some of them.

Nothing here is a test: a timed test fails on a busy machine. Targets are printed beside the measured values.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ROOT / "_build" / "lessons.json"
IMPORT_TARGET = 0.3  # seconds
LESSON_TARGET = 60  # CPU-seconds


def training_loop() -> None:
    """`fit` beside a plain loop and the Trainer."""
    subprocess.run([sys.executable, "-m", "benchmarks.train_loop"], cwd=ROOT, check=True)


def gpt_step() -> None:
    """A GPT's training step by `fit`, beside nanoGPT's loop, the Trainer and Lightning."""
    subprocess.run([sys.executable, "-m", "benchmarks.gpt_step"], cwd=ROOT, check=True)


def generation() -> None:
    """Writing text with a key-value cache, without one, and by `transformers.generate`."""
    subprocess.run([sys.executable, "-m", "benchmarks.generation"], cwd=ROOT, check=True)


def explanations() -> None:
    """KernelSHAP and others beside Captum and SHAP: time, and error against exact Shapley values."""
    subprocess.run([sys.executable, "-m", "benchmarks.explain_speed"], cwd=ROOT, check=True)


def gpt_gpu() -> None:
    """Tokens a second and utilisation of a 124 M GPT, where there is a GPU."""
    subprocess.run([sys.executable, "-m", "benchmarks.gpt_gpu"], cwd=ROOT, check=True)


def frameworks() -> None:
    """A training step in PyTorch, Keras and JAX, where `make tensorflow` has been run."""
    from bigmodel_lab.models import twins

    if twins.find("keras") is None or twins.find("jax") is None:
        print(f"no TensorFlow here; try: {twins.HOW_TO_GET}")
        return
    subprocess.run([sys.executable, "-m", "benchmarks.frameworks"], cwd=ROOT, check=True)


def import_time() -> None:
    """Importing the library beside importing torch, each in fresh processes."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    taken = {}
    for name in ("bigmodel_lab", "torch"):
        runs = [subprocess.check_output([sys.executable, "-c", code.format(name)], cwd=ROOT) for _ in range(7)]
        taken[name] = statistics.median(map(float, runs))
        print(f"import {name:14} {1000 * taken[name]:8.1f} ms")
    verdict = "PASS" if taken["bigmodel_lab"] < IMPORT_TARGET else "MISS"
    ratio = taken["torch"] / taken["bigmodel_lab"]
    print(f"torch takes {ratio:.0f} times as long; target {1000 * IMPORT_TARGET:.0f} ms  {verdict}")


def lessons() -> None:
    """What each lesson cost when it last passed."""
    records = json.loads(LESSONS.read_text(encoding="utf-8")) if LESSONS.exists() else {}
    if not records:
        print("no lesson has run yet; try: make lessons")
        return
    print(f"{'lesson':34} cells  seconds  CPU-seconds  of {LESSON_TARGET} allowed")
    for name, one in records.items():
        part = one["cpu_seconds"] / LESSON_TARGET
        verdict = "PASS" if part <= 1 else "MISS"
        numbers = f"{one['cells']:5} {one['seconds']:8.1f} {one['cpu_seconds']:12.1f}"
        print(f"{Path(name).stem:34} {numbers} {part:8.0%}  {verdict}")


def build() -> None:
    """The site from scratch and again, the lessons' outputs cached both times; beside running the lessons."""
    with tempfile.TemporaryDirectory() as out:
        fresh, again = _build_seconds(out), _build_seconds(out)
    print(f"fresh build, lessons cached {fresh:8.1f} s")
    print(f"second build, no change     {again:8.1f} s   {fresh / again:.1f} times as fast")
    if LESSONS.exists():
        ran = sum(one["seconds"] for one in json.loads(LESSONS.read_text(encoding="utf-8")).values())
        print(f"running the lessons first   {fresh + ran:8.1f} s   {(fresh + ran) / fresh:.1f} times as long as cached")


def _build_seconds(out: str) -> float:
    book = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "-q", "--path-output", out]
    begun = time.perf_counter()
    subprocess.run(book, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


PARTS = {
    "import": import_time,
    "lessons": lessons,
    "build": build,
    "train": training_loop,
    "gpt": gpt_step,
    "generation": generation,
    "explain": explanations,
    "gpu": gpt_gpu,
    "frameworks": frameworks,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"which ones (default: all): {', '.join(PARTS)}")
    wanted = parser.parse_args().parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for part in wanted:
        print(f"\n{part}: {PARTS[part].__doc__}", flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
