"""Multi-layer perceptron: linear layers with an activation between them.

Source: Rumelhart, Hinton & Williams (1986), Nature 323; initialisation by He et al. (2015), arXiv 1502.01852.
Dimension letters: B batch, D features, K outputs.
"""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError

__all__ = ["MLP", "MLPConfig"]

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "identity": nn.Identity}


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Sizes of an MLP."""

    inputs: int  # D, features per example
    outputs: int  # K, classes or regression targets
    width: int = 64  # units in each hidden layer
    depth: int = 2  # hidden layers; 0 makes it a linear model
    activation: str = "relu"  # one of relu, tanh, sigmoid, gelu, identity

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if min(self.inputs, self.outputs, self.width) < 1 or self.depth < 0:
            raise InputError("inputs, outputs and width >= 1 and depth >= 0", got=repr(self))
        if self.activation not in ACTIVATIONS:
            raise InputError(f"an activation among {', '.join(ACTIVATIONS)}", got=repr(self.activation))


class MLP(nn.Sequential):
    r"""The map $h_l = f(W_l h_{l-1} + b_l)$ for each hidden layer $l$, then a linear layer without $f$.

    Inputs of shape (B, ...) are flattened to (B, D); outputs have shape (B, K).
    Each activation is a module of its own, so that explanation methods can hook every one of them.
    """

    def __init__(self, config: MLPConfig) -> None:
        """Build the layers; weights are drawn from PyTorch's global generator."""
        sizes = [config.inputs] + [config.width] * config.depth
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(sizes):
            layers += [nn.Linear(narrow, wide), ACTIVATIONS[config.activation]()]
        super().__init__(*layers, nn.Linear(sizes[-1], config.outputs))
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs of shape (B, ...) to outputs of shape (B, K)."""
        if x.ndim < 2 or prod(x.shape[1:]) != self.config.inputs:
            raise InputError(
                f"{self.config.inputs} features per example",
                got=f"inputs of shape {tuple(x.shape)}",
                hint="check MLPConfig.inputs",
            )
        return super().forward(x.flatten(1))  # (B, ...) -> (B, D)

    def __getitem__(self, which: int | slice) -> nn.Module:
        """Return one layer, or those of a slice as an nn.Sequential that shares them."""
        if isinstance(which, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[which]))
        return super().__getitem__(which)

    @torch.no_grad()
    def scale_weights(self, gain: float) -> "MLP":
        """Draw each weight anew with standard deviation `gain` / sqrt(fan-in), set biases to 0, and return self."""
        for layer in self:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, gain / layer.in_features**0.5)
                layer.bias.zero_()
        return self
