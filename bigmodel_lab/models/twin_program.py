"""What every twin does as a program: read arrays, do its tasks, write arrays; and how a step is timed.

It lies beside a twin where that runs, needs NumPy alone, and nothing of this library.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np


def timed(call: Callable, mode: str, given: Mapping) -> dict[str, np.ndarray]:
    """CPU-seconds of the first call and of each of the later ones, on average over each repeat."""
    start = time.process_time()
    float(call())
    first, times = time.process_time() - start, []
    for _ in range(int(given["repeats"])):
        start = time.process_time()
        for _ in range(int(given["timed_steps"])):
            loss = call()
        float(loss)  # waits until it is there
        times.append((time.process_time() - start) / int(given["timed_steps"]))
    return {f"{mode}_first": np.array(first), f"{mode}_times": np.array(times)}


def main(tasks: Iterable[Callable[[dict], dict]], versions: Mapping[str, str]) -> None:
    """Do those of `tasks` that the command line names, joined by commas; write what they give, and the versions."""
    wanted, source, target = sys.argv[1:]
    with np.load(source) as file:
        arrays = dict(file)
    known, results = {task.__name__: task for task in tasks}, {k: np.array(v) for k, v in versions.items()}
    for task in filter(None, wanted.split(",")):
        results |= known[task](arrays)
    np.savez(target, **results)
