"""The CNN keeps its promises: shapes, residual blocks, equivariance with circular padding."""

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.cnn import CNN, CNNConfig, ResidualBlock


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("side", [8, 15, 32])
def test_any_image_large_enough_gives_one_row_of_outputs(residual, side):
    model = CNN(CNNConfig(channels=2, outputs=7, widths=(4, 6, 8), residual=residual))
    assert model(torch.randn(3, 2, side, side)).shape == (3, 7)


def test_each_stage_but_the_first_halves_the_image():
    for residual in (False, True):
        stages = CNN(CNNConfig(channels=1, widths=(4, 8, 16), residual=residual)).stages
        sides, x = [], torch.randn(2, 1, 32, 32)
        for stage in stages:
            x = stage(x)
            sides.append(tuple(x.shape[1:]))
        assert sides == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]


def test_a_residual_block_is_the_formula():
    block = ResidualBlock(4, 4).eval()
    x = torch.randn(2, 4, 8, 8)
    f = block.second(torch.relu(block.first(x)))
    torch.testing.assert_close(block(x), torch.relu(f + x))


def test_with_circular_padding_a_moved_image_gives_the_same_outputs():
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    outputs = {}
    for padding in ("zeros", "circular"):
        model = CNN(CNNConfig(widths=(8, 8), padding=padding)).double().eval()
        outputs[padding] = (model(x), model(x.roll((4, -2), (2, 3))))
    torch.testing.assert_close(*outputs["circular"], rtol=0, atol=1e-12)
    assert (outputs["zeros"][0] - outputs["zeros"][1]).abs().max() > 1e-6


def test_no_activation_is_shared_or_in_place():
    modules = [m for m in CNN(CNNConfig(residual=True)).modules() if isinstance(m, torch.nn.ReLU)]
    assert len(modules) == len({id(m) for m in modules}) == 6
    assert not any(m.inplace for m in modules)


def test_batches_do_not_mix_images():
    model = CNN(CNNConfig(widths=(4, 4))).eval()
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"outputs": 0}, {"widths": ()}, {"padding": "mirror"}])
def test_a_config_that_makes_no_network_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        CNNConfig(**wrong)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32)])
def test_wrong_images_are_named(shape):
    with pytest.raises(InputError, match=r"\(B, 3, H, W\)"):
        CNN()(torch.zeros(shape))
