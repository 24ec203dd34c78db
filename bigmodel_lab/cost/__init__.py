"""What a model costs: parameters, operations, bytes, time, money, energy, CO₂; plain arithmetic, without torch.

Every function says its unit and its convention, and results with parts add up to the whole. An operation (FLOP) is one
multiplication or one addition.
"""

from bigmodel_lab.cost.counting import (
    Operations,
    Parameters,
    forward_operations,
    parameters,
    six_n_d,
    training_operations,
)
from bigmodel_lab.cost.generation import DecodingStep, decoding_step
from bigmodel_lab.cost.machines import GPUS, Gpu, gpu
from bigmodel_lab.cost.memory import Activations, States, activations, kv_cache, states
from bigmodel_lab.cost.networks import Convolution, Linear, NetworkCost, network, plain_cnn
from bigmodel_lab.cost.parts import Parts
from bigmodel_lab.cost.published import RUNS, PublishedRun, published_run, typical_utilisation
from bigmodel_lab.cost.running import Energy, Run, RunCost, gpus_for, least_gpus, run_cost
from bigmodel_lab.cost.sensitivity import Swing, swings
from bigmodel_lab.cost.shapes import TransformerShape

__all__ = [
    "GPUS",
    "RUNS",
    "Activations",
    "Convolution",
    "DecodingStep",
    "Energy",
    "Gpu",
    "Linear",
    "NetworkCost",
    "Operations",
    "Parameters",
    "Parts",
    "PublishedRun",
    "Run",
    "RunCost",
    "States",
    "Swing",
    "TransformerShape",
    "activations",
    "decoding_step",
    "forward_operations",
    "gpu",
    "gpus_for",
    "kv_cache",
    "least_gpus",
    "network",
    "parameters",
    "plain_cnn",
    "published_run",
    "run_cost",
    "six_n_d",
    "states",
    "swings",
    "training_operations",
    "typical_utilisation",
]
