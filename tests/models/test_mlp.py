"""The MLP is the formula of its docstring, and says what does not fit."""

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.mlp import MLP, MLPConfig


def test_it_is_the_formula():
    model = MLP(MLPConfig(inputs=6, outputs=3, width=5, depth=2, activation="tanh")).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    first, second, last = (layer for layer in model if isinstance(layer, torch.nn.Linear))
    h = torch.tanh(x.flatten(1) @ first.weight.T + first.bias)
    h = torch.tanh(h @ second.weight.T + second.bias)
    torch.testing.assert_close(model(x), h @ last.weight.T + last.bias, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("depth", "parameters"), [(0, 4 * 2 + 2), (1, 4 * 8 + 8 + 8 * 2 + 2)])
def test_depth_counts_hidden_layers(depth, parameters):
    model = MLP(MLPConfig(inputs=4, outputs=2, width=8, depth=depth))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_every_activation_is_a_module_of_its_own():
    model = MLP(MLPConfig(inputs=4, outputs=2, depth=3))
    activations = [layer for layer in model if isinstance(layer, torch.nn.ReLU)]
    assert len({id(layer) for layer in activations}) == 3
    assert not any(layer.inplace for layer in activations)


def test_scaled_weights_have_the_standard_deviation_asked_for():
    model = MLP(MLPConfig(inputs=400, outputs=300, width=500, depth=1)).scale_weights(1.5)
    for layer in (model[0], model[2]):
        assert layer.weight.std().item() == pytest.approx(1.5 / layer.in_features**0.5, rel=0.02)
        assert layer.bias.abs().sum() == 0


@pytest.mark.parametrize("wrong", [{"inputs": 0}, {"width": -1}, {"depth": -1}, {"activation": "swish"}])
def test_a_config_that_makes_no_network_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        MLPConfig(**{"inputs": 4, "outputs": 2, **wrong})


def test_wrong_inputs_are_named():
    with pytest.raises(InputError, match=r"64 features(.|\n)*\(2, 3, 5\)"):
        MLP(MLPConfig(inputs=64, outputs=2))(torch.zeros(2, 3, 5))


def test_a_slice_is_the_network_up_to_there():
    model = MLP(MLPConfig(inputs=4, outputs=2))
    part = model[:2]
    assert type(part) is torch.nn.Sequential
    assert list(part) == [model[0], model[1]]
    assert part(torch.zeros(3, 4)).shape == (3, 64)


def test_an_empty_batch_has_empty_outputs():
    assert MLP(MLPConfig(inputs=6, outputs=2))(torch.zeros(0, 2, 3)).shape == (0, 2)


def test_one_example_without_a_batch_is_refused():
    with pytest.raises(InputError, match="1 features"):
        MLP(MLPConfig(inputs=1, outputs=2))(torch.zeros(1))
