"""What a training run takes: time, GPU-hours, money, energy and CO₂, from its operations.

Conventions: power in watts, energy in kilowatt-hours (3.6 MJ), CO₂-equivalent in kilograms, time in seconds.
Sources: Patterson et al. (2021), arXiv 2104.10350 (energy = hours × GPUs × power × PUE; CO₂ = energy × intensity);
Chowdhery et al. (2022), arXiv 2204.02311, appendix B (model-FLOPs utilisation).
Not counted: failed and exploratory runs, people, making the machines, cooling water.
"""

from dataclasses import dataclass
from math import ceil

from bigmodel_lab.cost.machines import Gpu
from bigmodel_lab.cost.memory import states
from bigmodel_lab.cost.parts import Parts
from bigmodel_lab.errors import InputError

__all__ = ["Energy", "Run", "RunCost", "gpus_for", "least_gpus", "run_cost"]

HOUR, DAY = 3600, 86400


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run on equal GPUs."""

    operations: float  # FLOPs of the model, e.g. 6 N D; what is computed twice lowers the utilisation
    gpus: float
    peak: float  # operations a second of one GPU, as its data sheet says
    utilisation: float  # share of the peak that the model's operations reach over the whole run, in (0, 1]
    price: float = 2.0  # money per GPU and hour
    watts: float = 700.0  # average power of one GPU with its share of the server
    pue: float = 1.1  # power usage effectiveness: energy of the data centre over energy of the machines, >= 1
    carbon: float = 0.4  # kilograms of CO₂-equivalent per kilowatt-hour of the grid

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        if not (min(self.operations, self.gpus, self.peak) > 0 and 0 < self.utilisation <= 1):
            raise InputError("operations, GPUs and peak above 0, utilisation in (0, 1]", got=repr(self))
        if not (min(self.price, self.watts, self.carbon) >= 0 and self.pue >= 1):
            raise InputError("price, watts and carbon of at least 0, PUE of at least 1", got=repr(self))


@dataclass(frozen=True, kw_only=True)
class Energy(Parts):
    """Kilowatt-hours."""

    machines: float
    overhead: float  # cooling and conversion: the share of the PUE above 1


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run takes."""

    seconds: float
    gpu_hours: float
    money: float
    energy: Energy  # kilowatt-hours
    co2: float  # kilograms

    @property
    def days(self) -> float:
        """Days of 24 hours."""
        return self.seconds / DAY


def run_cost(run: Run) -> RunCost:
    """Return what the run takes: seconds = operations / (GPUs × peak × utilisation), and the rest follows."""
    seconds = run.operations / (run.gpus * run.peak * run.utilisation)
    gpu_hours = run.gpus * seconds / HOUR
    machines = gpu_hours * run.watts / 1000
    energy = Energy(machines=machines, overhead=machines * (run.pue - 1))
    return RunCost(
        seconds=seconds,
        gpu_hours=gpu_hours,
        money=gpu_hours * run.price,
        energy=energy,
        co2=energy.total * run.carbon,
    )


def gpus_for(operations: float, *, days: float, peak: float, utilisation: float = 1.0) -> float:
    """Return how many GPUs would do `operations` in `days`; not rounded up."""
    if not (min(operations, days, peak) > 0 and 0 < utilisation <= 1):
        got = f"{operations}, days={days}, peak={peak}, utilisation={utilisation}"
        raise InputError("operations, days and peak above 0, utilisation in (0, 1]", got=got)
    return operations / (days * DAY * peak * utilisation)


def least_gpus(parameters: float, machine: Gpu) -> int:
    """Return the fewest GPUs that hold weights, gradients and AdamW's means in mixed precision, fully sharded.

    16 bytes per parameter; activations come on top, so a run needs more.
    """
    return ceil(states(parameters).total / machine.memory)
