"""Parameters and operations of a convolutional network, layer by layer.

Convention: a multiplication and the addition after it are two operations; biases, normalisations and pooling take
parameters but count no operations.
Source: the output size and number of products of a convolution, Dumoulin & Visin (2016), arXiv 1603.07285.
Dimension letters: C channels, K kernel, H height, W width.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bigmodel_lab.errors import InputError

__all__ = ["Convolution", "Linear", "NetworkCost", "network", "plain_cnn"]


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A two-dimensional convolution from `narrow` to `wide` channels, of square kernels."""

    narrow: int
    wide: int
    kernel: int
    size: tuple[int, int]  # height and width of what comes in
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    batch_norm: bool = False  # a weight and a bias per channel behind it

    def __post_init__(self) -> None:
        """Refuse sizes that make no layer."""
        if min(self.narrow, self.wide, self.kernel, self.stride, self.groups, *self.size) < 1 or self.padding < 0:
            raise InputError("sizes of at least 1, padding of at least 0", got=repr(self))
        if self.narrow % self.groups or self.wide % self.groups:
            raise InputError("groups that divide both numbers of channels", got=repr(self))
        if min(self.size) + 2 * self.padding < self.kernel:
            raise InputError("an image at least as large as the kernel", got=repr(self))

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of what comes out: floor((size + 2 padding − kernel) / stride) + 1."""
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in self.size)
        return height, width

    @property
    def weights(self) -> int:
        """Weights of the kernels."""
        return self.wide * (self.narrow // self.groups) * self.kernel**2

    @property
    def parameters(self) -> int:
        """Weights, biases, and those of the normalisation."""
        return self.weights + self.wide * (self.bias + 2 * self.batch_norm)

    @property
    def operations(self) -> int:
        """Operations for one image: every weight at every place."""
        height, width = self.output
        return 2 * self.weights * height * width


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fully connected layer from `narrow` to `wide` numbers."""

    narrow: int
    wide: int
    bias: bool = True

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.wide * (self.narrow + self.bias)

    @property
    def operations(self) -> int:
        """Operations for one example."""
        return 2 * self.narrow * self.wide


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """Parameters, and operations of a forward pass over one example, of each layer in turn."""

    parameters: tuple[int, ...]
    operations: tuple[int, ...]

    @property
    def total_parameters(self) -> int:
        """Parameters of all layers."""
        return sum(self.parameters)

    @property
    def total_operations(self) -> int:
        """Operations of all layers, forward, for one example."""
        return sum(self.operations)

    @property
    def training_operations(self) -> int:
        """Operations of forward and backward for one example: three times forward, but the first layer's only twice.

        No gradient of the images is needed, so the first layer lacks one of its two products of the backward pass.
        """
        return 3 * self.total_operations - self.operations[0]


def network(layers: Iterable[Convolution | Linear]) -> NetworkCost:
    """Return what the `layers` cost; for a network with skip connections, name the layers in them as well."""
    layers = tuple(layers)
    if not layers:
        raise InputError("at least one layer", got="none")
    return NetworkCost(
        parameters=tuple(layer.parameters for layer in layers), operations=tuple(layer.operations for layer in layers)
    )


def plain_cnn(
    *,
    channels: int = 3,
    outputs: int = 10,
    widths: tuple[int, ...] = (32, 64, 128),
    size: tuple[int, int] = (32, 32),
) -> NetworkCost:
    """Return what the course's own `models.CNN` costs on images of `size`: stages of one 3×3 convolution, then a mean.

    Each stage but the first halves height and width before it convolves.
    """
    layers, narrow = [], channels
    for index, wide in enumerate(widths):
        size = (size[0] // 2, size[1] // 2) if index else size
        layers.append(
            Convolution(narrow=narrow, wide=wide, kernel=3, size=size, padding=1, bias=False, batch_norm=True)
        )
        narrow = wide
    return network([*layers, Linear(narrow=narrow, wide=outputs)])
