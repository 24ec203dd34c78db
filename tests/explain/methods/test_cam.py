"""Grad-CAM: by hand, Captum as oracle, tokens laid out as places, and what has no places."""

import captum.attr as captum
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.contract import running
from bigmodel_lab.explain.methods import cam
from bigmodel_lab.explain.methods.cam import grad_cam, guided_grad_cam
from bigmodel_lab.explain.methods.rules import guided_backprop
from bigmodel_lab.models.cnn import CNN, CNNConfig, ResidualBlock
from tests.explain.toys import KINDS
from tests.explain.zoo import Explained

pytestmark = pytest.mark.filterwarnings("ignore:Setting backward hooks", "ignore:Input Tensor 0 did not already")


def close(got, expected, atol=1e-5):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


class Means(nn.Module):
    """f(x) = 3 mean(x) - mean(x²-ish second channel): a 1 × 1 convolution, then the mean of its two channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 1, bias=False), nn.Linear(2, 1, bias=False)
        self.conv.weight.data = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
        self.head.weight.data = torch.tensor([[3.0, -1.0]])

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def last(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]


def test_by_hand():
    x = torch.tensor([[[[1.0, -2.0], [0.0, 4.0]]]])
    weights = torch.tensor([3.0, -1.0]) / 4  # ∂f/∂A of each of the 4 places, and so their mean
    signed = weights[0] * x + weights[1] * 2 * x
    close(grad_cam(Means().eval(), x, positive=False).values, signed)
    close(grad_cam(Means().eval(), x).values, signed.relu())


def test_a_map_of_nothing_is_said(samples):
    s = samples["residual"]
    skip = last(s.model)  # all against these classes
    with pytest.warns(UserWarning, match="nothing in this layer speaks for the target, in any"):
        found = grad_cam(s.model, s.inputs, s.target, layer=skip)
    assert found.values.abs().sum() == 0
    assert (grad_cam(s.model, s.inputs, s.target, layer=skip, positive=False).values <= 0).all()


class TestDefaultLayer:
    def chosen(self, model, size=8):
        with running("grad_cam", model, torch.rand(1, 3, size, size), 0) as run:
            return cam._last(run)

    @pytest.mark.parametrize("residual", [False, True])
    @pytest.mark.parametrize("widths", [(4, 6), (4, 4)])
    def test_of_the_course_cnn(self, residual, widths):
        model = CNN(CNNConfig(widths=widths, residual=residual)).eval()
        assert self.chosen(model) is (model.stages[-1] if residual else last(model))

    def test_an_identity_as_skip_passes_around_the_last_convolution_too(self):
        block = ResidualBlock(4, 4)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
        assert self.chosen(model) is block

    def test_the_order_is_that_of_the_forward_pass(self):
        class Swapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.last, self.first, self.head = nn.Conv2d(4, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
                self.unused = nn.Conv2d(3, 3, 1)

            def forward(self, x):
                return self.head(self.last(self.first(x)).mean((2, 3)))

        model = Swapped().eval()
        assert self.chosen(model) is model.last

    def test_a_skip_connection_in_the_models_own_forward_is_said(self):
        class Flat(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

            def forward(self, x):
                x = self.first(x)
                return self.head((x + self.second(x)).mean((2, 3)))

        model = Flat().eval()
        with pytest.warns(UserWarning, match=r"passes around the last nn\.Conv2d, and it is in no block; try layer="):
            assert self.chosen(model) is model.second


@pytest.mark.filterwarnings("ignore:.*nothing in this layer")
def test_captum_agrees(samples):
    for kind in ("cnn", "residual"):
        s = samples[kind]
        layer = last(s.model) if kind == "cnn" else s.model.stages[-1]
        theirs = captum.LayerGradCam(s.model, layer).attribute(s.inputs, s.target, relu_attributions=True)
        heat = F.interpolate(theirs, (16, 16), mode="bilinear").detach()
        found = grad_cam(s.model, s.inputs, s.target)
        close(found.values.sum(1, keepdim=True), heat)
        close(found.values[:, 0], found.values[:, 2], atol=0)  # channels share equally
        close(grad_cam(s.model, s.inputs, s.target, layer=layer).values, found.values, atol=0)
        tries = 1 if kind == "cnn" else 2  # the skip connection, then the block
        assert found.forwards == 2 + 1 + tries + 2  # the checks, the order of the layers, the tries, the map
        assert found.backwards == (tries - 1) + 2  # nothing comes back from what nothing passes around
        guided = captum.GuidedGradCam(s.model, layer).attribute(s.inputs, s.target, interpolate_mode="bilinear")
        close(guided_grad_cam(s.model, s.inputs, s.target).values, guided.detach())
        product = guided_backprop(s.model, s.inputs, s.target).values * heat
        close(guided_grad_cam(s.model, s.inputs, s.target).values, product)


def test_an_early_layer_does_as_well(samples):
    s = samples["cnn"]
    found = grad_cam(s.model, s.inputs, s.target, layer=s.model.stages[0])
    assert found.values.shape == s.inputs.shape
    assert (found.values - grad_cam(s.model, s.inputs, s.target).values).abs().max() > 1e-3


def test_tokens_are_laid_out_row_by_row(samples):
    s = samples["vit"]
    found = grad_cam(s.model, s.inputs, s.target, layer=s.model.stack)
    assert found.values.shape == s.inputs.shape
    tokens = torch.arange(18.0).view(1, 18, 1)
    close(cam._places(tokens, 24, 48)[0, 0], torch.arange(18.0).view(3, 6))
    close(cam._places(torch.cat([tokens[:, :1], tokens], 1), 24, 48)[0, 0], torch.arange(18.0).view(3, 6))
    with pytest.raises(InputError, match=r"shape \(1, 18, 1\) for images of 24 × 24"):
        cam._places(tokens, 24, 24)


@pytest.mark.parametrize("method", [grad_cam, guided_grad_cam])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_answers_or_says_what_to_use(samples, kind, method):
    s = samples[kind]
    if kind in ("cnn", "residual") or (kind == "vit" and method is grad_cam):
        found = method(s.model, s.inputs, s.target)
        assert found.values.shape == s.inputs.shape
        assert found.values.abs().sum() > 0
    else:
        with pytest.raises(InputError, match="try: "):
            method(s.model, s.inputs, s.target, **s.given)
    assert not any(module._forward_hooks for module in s.model.modules())


def test_chunks_do_not_matter(samples, monkeypatch):
    s = samples["cnn"]
    whole = guided_grad_cam(s.model, s.inputs, s.target).values
    monkeypatch.setattr(cam, "ROWS", 1)
    close(guided_grad_cam(s.model, s.inputs, s.target).values, whole, atol=1e-7)


def test_guided_where_a_relu_reads_what_the_skip_connection_reads():
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.conv = nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return x + self.conv(self.relu(x))

    layers = nn.Conv2d(1, 4, 3, padding=1), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    model, x = nn.Sequential(*layers).eval(), torch.randn(2, 1, 8, 8)
    found = guided_grad_cam(model, x, 1).values
    heat = grad_cam(model, x, 1).values
    right = Explained(model, x, None, 1, None).guided()[0]
    close(found, right * heat, atol=1e-4 * float((right * heat).abs().max()))
    theirs = captum.GuidedBackprop(model).attribute(x, target=1)
    assert (theirs - right).abs().max() > 0.5 * right.abs().max()


class TestRefused:
    def test_no_convolution(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
        with pytest.raises(InputError, match=r"an nn\.Conv2d, or a layer"):
            grad_cam(model, torch.rand(1, 3, 2, 2), 0)

    def test_a_layer_of_another_model(self, samples):
        s = samples["cnn"]
        with pytest.raises(InputError, match="a layer of the model"):
            grad_cam(s.model, s.inputs, s.target, layer=nn.Conv2d(3, 3, 1))

    def test_a_layer_without_places(self, samples):
        s = samples["cnn"]
        with pytest.raises(InputError, match="puts out"):
            grad_cam(s.model, s.inputs, s.target, layer=s.model.head)

    def test_functional_relus(self):
        class Model(Means):
            def forward(self, x):
                return self.head(F.relu(self.conv(x)).mean((2, 3)))

        with pytest.raises(InputError, match="1 functional ReLUs"):
            guided_grad_cam(Model().eval(), torch.rand(1, 1, 4, 4))
