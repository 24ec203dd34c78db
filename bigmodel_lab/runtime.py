"""Where and how a lesson computes: device, precision, seeds.

Nothing here runs at import. `device()` prefers CUDA, then Apple's MPS, then the CPU.
Sources: PyTorch notes on reproducibility and on automatic mixed precision.
"""

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bigmodel_lab.errors import InputError

__all__ = ["describe", "device", "glue", "parity", "precision", "results", "seed_everything"]


def device(prefer: str | torch.device | None = None) -> torch.device:
    """Return the device to train on: `prefer` if given, else CUDA, else MPS, else the CPU.

    Raises `InputError` if `prefer` names a device that this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if prefer is None:
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = str(prefer).split(":")[0]
    if not available.get(kind, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise InputError(
            f"a device of this machine ({have})", got=repr(prefer), hint="leave `prefer` out to take the best"
        )
    return torch.device(prefer)


def precision(on: torch.device) -> str:
    """Return the mixed precision that pays on device `on`: "bf16", "fp16" or "no" (Accelerate's words).

    bfloat16 needs an NVIDIA GPU of compute capability 8.0 or newer; older ones get float16.
    A CPU without circuits for them is slower in both than in float32, so it is "no" there, and on MPS.
    """
    if on.type != "cuda":
        return "no"
    return "bf16" if torch.cuda.get_device_capability(on) >= (8, 0) else "fp16"


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (on every device) with `seed` >= 0."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise InputError("an integer seed in [0, 2**32)", got=repr(seed), hint="seed_everything(0)")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that draw from NumPy's global generator need it seeded
    torch.manual_seed(seed)


def describe() -> str:
    """Return one line that says where this lesson runs: device, precision, threads, versions."""
    here = device()
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(here) if here.type == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
    return f"{here.type} ({name}), precision {precision(here)}, torch {torch.__version__}, numpy {np.__version__}"


@torch.no_grad()
def parity(
    model: torch.nn.Module, inputs: torch.Tensor, *, on: torch.device | None = None, tolerance: float = 1e-3
) -> float:
    """Return the largest relative difference between `model`'s outputs on the CPU and on device `on`.

    Some operations give wrong results on MPS without an error; so before a long run, ask:
    a difference above `tolerance` warns, names its size and says to train on the CPU.
    `inputs` has shape (B, ...); the model, and each part of it, comes back on the device and in the mode it had.
    """
    on = device() if on is None else on
    home = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        reference = model.to("cpu")(inputs.to("cpu", copy=True)).double()  # a copy: a model may work in place
        other = model.to(on)(inputs.to(on, copy=True)).cpu().double()
    finally:
        model.to(home)
        for part, mode in modes:
            part.training = mode
    difference = ((other - reference).norm() / reference.norm().clamp_min(1e-12)).item()
    if not difference <= tolerance:  # also true for NaN
        warnings.warn(
            f"outputs on {on.type} differ from the CPU's by {difference:.2g} "
            f"(relative; at most {tolerance:.2g} expected). "
            'Train on the CPU instead: bigmodel_lab.runtime.device("cpu").',
            stacklevel=2,
        )
    return difference


def results(name: str) -> dict[str, Any]:
    """Return the saved result `name` of a longer experiment: what its script under `benchmarks/` wrote as JSON.

    Read from `benchmarks/results/` of the course's repository, or from the copy that is installed with the library.
    """
    here = Path(__file__).resolve().parent
    folders = (here.parent / "benchmarks" / "results", here / "results")
    for folder in folders:
        if (file := folder / f"{name}.json").is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    known = sorted({file.stem for folder in folders for file in folder.glob("*.json")})
    raise InputError(f"a saved result among {', '.join(known) or 'none'}", got=repr(name))


def glue(name: str, value: Any) -> None:
    """Keep a measured `value`, or a figure, under `name` in this notebook's outputs, for other pages to quote.

    Nothing is shown. It writes what myst-nb's `glue` writes, which is not installed where a learner runs a lesson.
    """
    from IPython.core.formatters import format_display_data
    from IPython.display import display

    prefix = "application/papermill.record/"
    data, metadata = format_display_data(value)
    metadata["scrapbook"] = {"name": name, "mime_prefix": prefix}
    display({prefix + kind: content for kind, content in data.items()}, metadata=metadata, raw=True)
