"""Training runs whose GPU-hours were published: what to test a calculation against.

Every figure is from the source that the entry names, for the final run alone: no trials, no failures, unless said.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from bigmodel_lab.cost.counting import six_n_d
from bigmodel_lab.cost.machines import gpu
from bigmodel_lab.errors import InputError

__all__ = ["RUNS", "PublishedRun", "published_run", "typical_utilisation"]


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """One training run as published; None where the source does not say."""

    title: str
    year: int
    parameters: float
    active: float  # parameters per token; less than `parameters` in a mixture of experts
    tokens: float
    machine: str  # a name of `machines.GPUS`
    gpu_hours: float
    gpus: int | None = None
    operations: float | None = None  # FLOPs that the source states
    kwh: float | None = None  # energy that the source states
    watts: float | None = None  # power per GPU and PUE that the source reckons with
    pue: float | None = None
    co2: float | None = None  # kilograms that the source states
    carbon: float | None = None  # kilograms per kWh that the source reckons with
    source: str
    note: str = ""

    @property
    def estimate(self) -> float:
        """6 N D, with the active parameters."""
        return six_n_d(self.active, self.tokens)

    @property
    def utilisation(self) -> float:
        """6 N D over what the GPUs could have done in the published hours, at their 16-bit peak."""
        return self.estimate / (self.gpu_hours * 3600 * gpu(self.machine).peak)


RUNS = {
    "gpt-3": PublishedRun(
        title="GPT-3",
        year=2020,
        parameters=175e9,
        active=175e9,
        tokens=300e9,
        machine="v100",
        gpus=10_000,
        gpu_hours=10_000 * 14.8 * 24,
        operations=3.14e23,
        kwh=1_287_000,
        watts=330,
        pue=1.1,
        co2=552_100,
        carbon=0.429,
        source="https://arxiv.org/abs/2104.10350",
        note="time and energy from Patterson et al. (2021), the operations from the paper's table D.1",
    ),
    "opt-175b": PublishedRun(
        title="OPT-175B",
        year=2022,
        parameters=175e9,
        active=175e9,
        tokens=300e9,
        machine="a100",
        gpus=1024,
        gpu_hours=1024 * 33 * 24,
        operations=4.30e23,
        source="https://github.com/facebookresearch/metaseq/blob/main/projects/OPT/chronicles/final_update.md",
        note="33 days if nothing had failed; the operations include the forward pass that checkpointing repeats",
    ),
    "palm-540b": PublishedRun(
        title="PaLM 540B",
        year=2022,
        parameters=540e9,
        active=540e9,
        tokens=780e9,
        machine="tpu-v4",
        gpus=6144,
        gpu_hours=6144 * 1200 + 3072 * 336,
        operations=2.5272e24,
        source="https://arxiv.org/abs/2204.02311",
        note="hours with downtime and repeated steps; the paper states a utilisation of 46.2 % while it runs",
    ),
    "bloom-176b": PublishedRun(
        title="BLOOM-176B",
        year=2022,
        parameters=176e9,
        active=176e9,
        tokens=366e9,
        machine="a100",
        gpus=384,
        gpu_hours=1_082_990,
        kwh=433_196,
        watts=400,
        pue=1.0,
        co2=24_690,
        carbon=0.057,
        source="https://arxiv.org/abs/2211.02001",
        note="energy of the GPUs alone; idle machines and buildings are counted apart there",
    ),
    "llama-65b": PublishedRun(
        title="LLaMA 65B",
        year=2023,
        parameters=65.2e9,
        active=65.2e9,
        tokens=1.4e12,
        machine="a100",
        gpus=2048,
        gpu_hours=1_022_362,
        kwh=449_000,
        watts=400,
        pue=1.1,
        co2=173_000,
        carbon=0.385,
        source="https://arxiv.org/abs/2302.13971",
    ),
    "llama-2-70b": PublishedRun(
        title="Llama 2 70B",
        year=2023,
        parameters=70e9,
        active=70e9,
        tokens=2.0e12,
        machine="a100",
        gpu_hours=1_720_320,
        watts=400,
        co2=291_420,
        source="https://arxiv.org/abs/2307.09288",
    ),
    "llama-3.1-405b": PublishedRun(
        title="Llama 3.1 405B",
        year=2024,
        parameters=405e9,
        active=405e9,
        tokens=15.6e12,
        machine="h100",
        gpus=16_384,
        gpu_hours=30.84e6,
        operations=3.8e25,
        watts=700,
        co2=8_930_000,
        source="https://arxiv.org/abs/2407.21783",
        note="hours and CO₂ (of the local grids) from the model card",
    ),
    "deepseek-v3": PublishedRun(
        title="DeepSeek-V3",
        year=2024,
        parameters=671e9,
        active=37e9,
        tokens=14.8e12,
        machine="h800",
        gpus=2048,
        gpu_hours=2.664e6,
        source="https://arxiv.org/abs/2412.19437",
        note="most products in 8 bits, whose peak is twice the 16-bit peak",
    ),
}


def published_run(name: str) -> PublishedRun:
    """Return the run called `name`, one of `RUNS`."""
    if name not in RUNS:
        raise InputError(f"a name among {', '.join(RUNS)}", got=repr(name))
    return RUNS[name]


def typical_utilisation(leave_out: Iterable[str] = ()) -> float:
    """Return the median utilisation of the published runs but those named in `leave_out`."""
    kept = [run.utilisation for name, run in RUNS.items() if name not in set(leave_out)]
    if not kept:
        raise InputError("at least one run left", got=f"all {len(RUNS)} left out")
    return median(kept)
