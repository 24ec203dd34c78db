"""Convolutional networks against the course's own CNN, AlexNet, and PyTorch's counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bigmodel_lab import cost
from bigmodel_lab.errors import InputError
from bigmodel_lab.models import cnn, configs


def counted(model, images, backward=False):
    with FlopCounterMode(display=False) as counter:
        outputs = model(images)
        if backward:
            outputs.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("channels", "widths", "size"), [(3, (32, 64, 128), (32, 32)), (1, (8,), (5, 9)), (3, (4, 6), (17, 12))], ids=str
)
def test_the_plain_cnn_costs_what_the_courses_model_costs(channels, widths, size):
    model = cnn.CNN(cnn.CNNConfig(channels=channels, outputs=7, widths=widths))
    mine = cost.plain_cnn(channels=channels, outputs=7, widths=widths, size=size)
    images = torch.zeros(2, channels, *size)
    assert mine.total_parameters == sum(p.numel() for p in model.parameters())
    assert 2 * mine.total_operations == counted(model, images)
    assert 2 * mine.training_operations == counted(model, images, backward=True)


def test_alexnet_layer_by_layer():
    sizes = [  # narrow, wide, kernel, stride, padding, groups, height and width of the input
        (3, 96, 11, 4, 2, 1, 224),
        (96, 256, 5, 1, 2, 2, 27),
        (256, 384, 3, 1, 1, 1, 13),
        (384, 384, 3, 1, 1, 2, 13),
        (384, 256, 3, 1, 1, 2, 13),
    ]
    names = ("narrow", "wide", "kernel", "stride", "padding", "groups", "size")
    layers = [cost.Convolution(**dict(zip(names, (*row[:6], (row[6],) * 2), strict=True))) for row in sizes]
    ends = [(256 * 6 * 6, 4096), (4096, 4096), (4096, 1000)]
    mine = cost.network([*layers, *(cost.Linear(narrow=n, wide=w) for n, w in ends)])
    real = configs.build("alexnet")
    weighted = [layer for layer in real if hasattr(layer, "weight")]
    assert mine.parameters == tuple(sum(p.numel() for p in layer.parameters()) for layer in weighted)
    assert mine.total_operations == counted(real, torch.empty(1, 3, 224, 224, device="meta"))
    assert sum(mine.parameters[5:]) > 0.9 * mine.total_parameters
    assert sum(mine.operations[5:]) < 0.1 * mine.total_operations


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_output_has_pytorchs_size(stride):
    layer = cost.Convolution(narrow=2, wide=3, kernel=4, size=(11, 14), stride=stride, padding=1)
    real = torch.nn.Conv2d(2, 3, 4, stride=stride, padding=1)(torch.zeros(1, 2, 11, 14))
    assert layer.output == tuple(real.shape[2:])


@pytest.mark.parametrize("wrong", [{"groups": 4}, {"kernel": 9}, {"stride": 0}, {"padding": -1}], ids=str)
def test_a_layer_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        cost.Convolution(**{"narrow": 6, "wide": 6, "kernel": 3, "size": (8, 8)} | wrong)


def test_no_layers_are_refused():
    with pytest.raises(InputError, match="at least one"):
        cost.network([])
