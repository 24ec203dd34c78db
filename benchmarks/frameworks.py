"""The listing's CNN in PyTorch, Keras on TensorFlow, and JAX: the same numbers, the other defaults, and the speed.

The answers of the other frameworks are saved for three seeds, so that lesson 6.1 can compare PyTorch with them where
neither is installed. Speed is CPU time of a training step on one core; the frameworks take turns in processes of their
own, and a ratio is to PyTorch, operation by operation, in the same turn.

    python -m benchmarks.frameworks [--turns 3] [--save]
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.saved import ROOT, save
from bigmodel_lab import data, runtime
from bigmodel_lab.models import twins
from bigmodel_lab.models.twin_program import timed

FEATURES = (64, 8, 8)  # what the first linear layer reads: channels, height, width
BATCH, RATE, STEPS, SHOWN = 32, 0.07, 60, 16
SPEED = {"batch of 64": (64, 5), "batch of 1": (1, 30)}  # images, steps in a repeat
REPEATS = 5
MEASURED = ("same", "padded", "normalised", "running_mean", "running_var")
MEASURED += ("layer_normalised", "leaky", "adam", "loss", "loss_from_logits")


def build() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def given(seed: int, batch: int = BATCH) -> dict[str, dict]:
    """Return what each twin reads: the weights that PyTorch draws with `seed`, and pictures of that seed."""
    runtime.seed_everything(seed)
    weights = [p.detach().numpy().copy() for p in build().parameters()]
    pictures = data.images.shapes(train=batch, test=1, seed=seed)[0]
    images = pictures.images.numpy()
    common = {"labels": pictures.labels.numpy(), "rate": RATE, "steps": STEPS, "repeats": REPEATS}
    turned = twins.to_keras(weights, features=FEATURES)
    return {
        "torch": {f"w{n}": w for n, w in enumerate(weights)} | common | {"images": images},
        "jax": {f"w{n}": w for n, w in enumerate(weights)} | common | {"images": images},
        "keras": {f"w{n}": w for n, w in enumerate(turned)} | common | {"images": twins.images_to_keras(images)},
    }


def probes(seed: int) -> dict[str, np.ndarray]:
    """Return small inputs that tell one default from another; lesson 6.1 has the same."""
    return {
        "row": np.float32([[0], [2], [4], [10]]),
        "picture": np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1) / 36,
        "kernel": np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1) / 9,
        "slope": np.float32([-1, 0, 1]),
        "gradient": np.float32([1, 1e-4, 1e-7]),
        "scores": np.float32([[2, 0.5, 0.1], [0.3, 1, 0.2]]),
        "seed": np.array(seed),
    }


def answers(seed: int) -> dict[str, dict]:
    """Return logits, losses, and samples of gradients and of the weights after a step, for each other framework."""
    result = {}
    for twin in ("keras", "jax"):
        found = twins.run(twin, "follow", given(seed)[twin])
        back = (lambda arrays: twins.from_keras(arrays, features=FEATURES)) if twin == "keras" else list
        result[twin] = {
            "logits": rounded(found["logits"][:SHOWN]),
            "losses": rounded(found["losses"]),
            "gradients": [rounded(twins.sample(g)) for g in back([found[f"gradient{n}"] for n in range(8)])],
            "after": [rounded(twins.sample(w)) for w in back([found[f"after{n}"] for n in range(8)])],
        }
    return result


def rounded(array: np.ndarray) -> list:
    """Nine significant digits: enough for a float32."""
    return np.vectorize(lambda value: float(f"{value:.9g}"))(np.asarray(array, np.float64)).tolist()


def defaults() -> dict[str, list]:
    found = twins.run("keras", "defaults", probes(0) | {"labels": np.array([0, 1])})
    spread = {name: float(found[name].std()) for name in ("drawn", "drawn_bias")}
    return {name: rounded(found[name]) for name in MEASURED} | spread


def torch_speed(batch: int, steps: int) -> dict[str, np.ndarray]:
    """Return what a twin's `speed` returns, for PyTorch: operation by operation, channels last, and compiled."""
    arrays, result = given(0, batch)["torch"], {}
    images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    for mode in ("eager", "channels_last", "compile"):
        model, x = build(), images
        if mode == "channels_last":
            model, x = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        forward = torch.compile(model) if mode == "compile" else model

        def call(forward=forward, optimizer=optimizer, x=x) -> torch.Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(forward(x), labels)
            loss.backward()
            optimizer.step()
            return loss.detach()

        result |= timed(call, mode, {"repeats": REPEATS, "timed_steps": steps})
    return result


def in_its_own_process(batch: int, steps: int) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        command = [sys.executable, "-m", "benchmarks.frameworks", "--torch", str(batch), str(steps), str(out)]
        subprocess.run(command, cwd=ROOT, check=True)
        with np.load(out) as found:
            return dict(found)


def turn() -> dict[str, dict]:
    """Measure every framework once; return CPU-seconds a step, and of the first call, for each size and mode."""
    result = {}
    for name, (batch, steps) in SPEED.items():
        reads, row = given(0, batch), {}
        found = {
            twin: twins.run(twin, "speed", reads[twin] | {"timed_steps": steps}, timeout=600)
            for twin in ("keras", "jax")
        }
        found["torch"] = in_its_own_process(batch, steps)
        for framework, values in found.items():
            for key in values:
                if key.endswith("_times"):
                    mode = f"{framework} {key.removesuffix('_times')}"
                    first = float(values[key.replace("_times", "_first")])
                    row[mode] = {"step": float(np.median(values[key])), "first": first}
        result[name] = row
    return result


def ratios(turns: list[dict]) -> dict[str, list[dict]]:
    """Return for each size and mode: milliseconds a step, and how many times PyTorch's step, median and range."""
    result = {}
    for name in SPEED:
        rows = []
        for mode in turns[0][name]:
            times = sorted(one[name][mode]["step"] / one[name]["torch eager"]["step"] for one in turns)
            seconds = statistics.median(one[name][mode]["step"] for one in turns)
            first = statistics.median(one[name][mode]["first"] for one in turns)
            rows.append({"mode": mode, "ms": 1000 * seconds, "first_ms": 1000 * first})
            rows[-1] |= {"times_torch": statistics.median(times), "lowest": times[0], "highest": times[-1]}
        result[name] = sorted(rows, key=lambda row: row["times_torch"])
    return result


def imports(repeats: int) -> dict[str, list[float]]:
    """Return seconds of wall time of importing each framework in a fresh process."""
    code = "import os, time; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; t = time.perf_counter(); import {}; "
    code += "print(time.perf_counter() - t)"
    pythons = {"torch": sys.executable, "tensorflow": twins.find("keras"), "jax": twins.find("jax")}
    taken = {name: [] for name in pythons}
    for _ in range(repeats):
        for name, python in pythons.items():
            shown = subprocess.run([python, "-c", code.format(name)], capture_output=True, text=True, check=True).stdout
            taken[name].append(float(shown))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/frameworks.json")
    parser.add_argument("--torch", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.torch:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        batch, steps, out = options.torch
        np.savez(out, **torch_speed(int(batch), int(steps)))
        return
    if twins.find("keras") is None or twins.find("jax") is None:
        sys.exit(f"expected: TensorFlow and JAX in an environment of their own\ntry:      {twins.HOW_TO_GET}")
    same = {str(seed): answers(seed) for seed in (0, 1, 2)}
    found = twins.run("keras", "applications")
    sizes = {name: int(found[name]) for name in ("ResNet50", "InceptionV3", "MobileNetV2")}
    versions = {"tensorflow": str(found["version"]), "keras": str(found["keras_version"])}
    versions["jax"] = str(twins.run("jax", "", {})["version"])
    print(versions, sizes)
    measured = defaults()
    speed = ratios([turn() for _ in range(options.turns)])
    for name, rows in speed.items():
        print(f"{name}\n  mode                    ms    first ms   x PyTorch eager")
        for row in rows:
            span = f"{row['lowest']:.2f} to {row['highest']:.2f}"
            print(f"  {row['mode']:20} {row['ms']:6.1f} {row['first_ms']:9.0f}   {row['times_torch']:6.2f}   {span}")
    importing = imports(options.turns)
    print({name: f"{statistics.median(values):.2f} s" for name, values in importing.items()})
    if options.save:
        settings = {"batch": BATCH, "rate": RATE, "steps": STEPS, "turns": options.turns, "repeats": REPEATS}
        result = {"processor": platform.machine(), "twins": versions, "settings": settings, "answers": same}
        result |= {"defaults": measured, "applications": sizes, "speed": speed, "import_seconds": importing}
        save("frameworks", result, packages=("torch", "numpy"))


if __name__ == "__main__":
    main()
