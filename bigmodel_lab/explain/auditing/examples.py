"""Inputs for a model of which only its layers are known."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract.restore import unchanged

__all__ = ["example_for"]


def example_for(model: nn.Module) -> Tensor:
    """Return a batch of two made-up inputs that `model` takes, guessed from its first layer with weights.

    Raises `InputError` where none of the usual shapes runs through.
    """
    place = next((p.device for p in model.parameters()), torch.device("cpu"))
    with unchanged(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        model.eval()
        for inputs in _guesses(model):
            try:
                model(inputs.to(place))
            except Exception:
                continue
            return inputs.to(place)
    raise InputError(
        "a model whose inputs can be guessed from its first layer",
        got=type(model).__name__,
        hint="example_inputs=x, a batch of its own inputs",
    )


def _guesses(model: nn.Module) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def normal(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=generator).to(kind)

    for layer in model.modules():
        match layer:
            case nn.Embedding():
                high = layer.num_embeddings
                yield from (torch.randint(high // 2, high, (2, n), generator=generator) for n in (16, 4, 1))
            case nn.RNNBase():
                yield normal(8, layer.input_size)
            case nn.Conv1d():
                yield from (normal(layer.in_channels, n) for n in (32, 100, 1000, 16000))
            case nn.Conv2d():
                sides = (32, 28, 16, 64, 8, 224)
                yield from (normal(layer.in_channels, n, n) for n in sides)
            case nn.Linear():
                n = layer.in_features
                yield from (normal(n), normal(8, n))
                side = next((s for s in range(1, 257) for c in (1, 3) if c * s * s == n), None)
                if side:
                    yield normal(n // side**2, side, side)
            case _:
                continue
        if not isinstance(layer, nn.Embedding):  # a text model may hold its embedding behind other layers
            return
