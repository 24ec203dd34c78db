"""Conductance: closed forms, completeness, Captum, and clean-up."""

import pytest
import torch
from captum.attr import LayerConductance
from torch import nn

from bigmodel_lab import models
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.layers import layer_conductance, neuron_conductance


def toy():
    """f(x) = 3 relu(x1 + x2) - 2 relu(x1 - x2): on the line from 0 to x each neuron is linear."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1], [1, -1]]))
        model[2].weight.copy_(torch.tensor([[3.0, -2]]))
        model[0].bias.zero_()
        model[2].bias.fill_(0.5)
    return model


X = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)


def smooth():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()


def test_closed_form_of_a_layer():
    model = toy()
    found = layer_conductance(model, X, layer=model[1])
    want = torch.tensor([[9.0, -2.0], [12.0, 0.0]], dtype=torch.float64)  # weight × relu(neuron)
    torch.testing.assert_close(found.values, want)
    torch.testing.assert_close(found.gap, torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


def test_closed_form_of_a_neuron():
    model = toy()
    found = neuron_conductance(model, X, layer=model[1], neuron=0)
    torch.testing.assert_close(found.values, 3 * X)  # 3 (x1 + x2), shared out
    found = neuron_conductance(model, X, layer=model[1], neuron=1)
    torch.testing.assert_close(found.values, torch.tensor([[-4.0, 2.0], [0, 0]], dtype=torch.float64))


def test_layers_sum_to_the_change_and_need_fewer_steps_than_captum():
    model, x = smooth(), 3 * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    base = torch.full((4,), -0.5, dtype=torch.float64)
    change = model(x)[:, 1] - model(base.expand_as(x))[:, 1]
    for layer in model:
        found = layer_conductance(model, x, 1, base, layer=layer, steps=64)
        torch.testing.assert_close(found.values.flatten(1).sum(1), change + found.gap)
        assert found.gap.abs().max() < 2e-3 * change.abs().max()
    theirs = LayerConductance(model, model[1]).attribute(x, base[None], target=1, n_steps=128)
    their_gap = (theirs.sum(1) - change).abs().mean()
    assert layer_conductance(model, x, 1, base, layer=model[1], steps=64).gap.abs().mean() < their_gap / 10


def test_equals_captum_where_captum_has_steps_enough():
    model, x = smooth(), torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs = LayerConductance(model, model[2]).attribute(x, target=0, method="riemann_trapezoid", n_steps=40_000)
    ours = layer_conductance(model, x, 0, layer=model[2], steps=256).values
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-4, rtol=0)


def test_a_neuron_s_inputs_sum_to_its_conductance():
    model, x = smooth(), torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    of_layer = layer_conductance(model, x, 2, layer=model[1], steps=256).values
    for neuron in range(6):
        found = neuron_conductance(model, x, 2, layer=model[1], neuron=neuron, steps=64)
        torch.testing.assert_close(found.values.sum(1), of_layer[:, neuron], atol=1e-4, rtol=0)


def test_text_through_embeddings_has_the_layer_s_shape():
    torch.manual_seed(0)
    config = models.transformer.TransformerConfig(vocabulary=20, context=5, width=16, heads=2, depth=2, outputs=3)
    model = models.transformer.TextClassifier(config).eval()
    ids, embedding = torch.randint(1, 20, (3, 5)), model.encoder.embed.tokens
    block = next(m for m in model.modules() if type(m).__name__ == "Block")
    found = layer_conductance(model, ids, 1, layer=block, embedding=embedding)
    assert found.values.shape == (3, 5, 16)
    change = found.values.flatten(1).sum(1) - found.gap
    assert (found.gap.abs() <= 0.02 * change.abs() + 1e-3).all()  # all passes through a block
    one = neuron_conductance(model, ids, 1, layer=block, neuron=(2, 7), embedding=embedding)
    assert one.values.shape == ids.shape
    near = 0.03 * found.values.abs().max().item()
    torch.testing.assert_close(one.values.sum(1), found.values[:, 2, 7], atol=near, rtol=0.05)


def test_the_gap_tells_what_passes_around_the_layer():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.side = nn.Linear(2, 2, bias=False).double()

        def forward(self, x):
            return (self.side(x) + x).sum(1)

    model = Around().eval()
    found = layer_conductance(model, X, layer=model.side)
    torch.testing.assert_close(found.gap, -X.sum(1))


def test_a_layer_that_returns_a_tuple():
    class Pair(nn.Module):
        def forward(self, x):
            return x.square(), "more"

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return self.pair(x)[0].sum(1)

    model = Model().eval()
    torch.testing.assert_close(layer_conductance(model, X, layer=model.pair).values, X.square())


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.unused, self.whole = nn.ReLU(), nn.ReLU(), nn.Identity()

    def forward(self, x):
        return self.act(self.act(x)).sum(1)


@pytest.mark.parametrize("method", [layer_conductance, neuron_conductance])
def test_says_what_is_wrong(method):
    extra = {"neuron": 0} if method is neuron_conductance else {}
    model = toy()
    with pytest.raises(InputError, match="a layer of the model"):
        method(model, X, layer=nn.ReLU(), **extra)
    with pytest.raises(InputError, match=r"(?s)2 calls of this one.*explain\.mend\(model\)"):
        method((twice := Twice().eval()), X, layer=twice.act, **extra)
    with pytest.raises(InputError, match="0 calls of this one"):
        method((twice := Twice().eval()), X, layer=twice.unused, **extra)
    with pytest.raises(InputError, match="at least 1 step"):
        method(model, X, layer=model[1], steps=0, **extra)
    with pytest.raises(InputError, match=r"an nn\.Module as forward"):
        method(lambda x: model(x), X, layer=model[1], **extra)


@pytest.mark.parametrize("neuron", [2, (0, 1), -3])
def test_refuses_a_neuron_that_is_not_there(neuron):
    model = toy()
    with pytest.raises(InputError, match="a neuron of the layer's 2"):
        neuron_conductance(model, X, layer=model[1], neuron=neuron)


@pytest.mark.parametrize("method", [layer_conductance, neuron_conductance])
def test_leaves_nothing_behind_when_it_fails_half_way(method):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.calls = nn.Tanh(), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("half-way")
            return self.act(x).sum(1)

    model = Breaks().eval()
    extra = {"neuron": 0} if method is neuron_conductance else {}
    with pytest.raises(RuntimeError, match="half-way"):
        method(model, X, layer=model.act, **extra)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert not model.training
