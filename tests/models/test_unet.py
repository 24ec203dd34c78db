"""U-Net: shapes, what skips and normalisations change, the losses by their formulas, and images that do not fit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.models.unet import VOID, UNet, UNetConfig, dice_loss, segmentation_loss

SMALL = {"outputs": 4, "widths": (4, 8, 8), "depths": (1, 2, 1)}


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("shape", [(16, 16), (24, 12)])
def test_every_pixel_gets_a_row_of_scores(skips, norm, shape):
    model = UNet(UNetConfig(**SMALL, skips=skips, norm=norm))
    assert model(torch.rand(2, 3, *shape)).shape == (2, 4, *shape)


def test_one_level_is_a_net_without_a_way_down():
    assert UNet(UNetConfig(widths=(4,), depths=(1,)))(torch.rand(1, 3, 5, 7)).shape == (1, 11, 5, 7)


def test_without_skips_there_are_slightly_more_parameters():
    config = {"widths": (8, 16, 32, 64), "depths": (1, 2, 2, 2)}
    pair = [count(UNet(UNetConfig(**config, skips=skips))) for skips in (True, False)]
    assert pair[0] < pair[1] < 1.05 * pair[0]


def test_levels_are_half_as_large_as_those_above():
    model, sides = UNet(UNetConfig(**SMALL)), []
    for level in model.down:
        level.register_forward_hook(lambda module, inputs, output: sides.append(tuple(output.shape[1:])))
    model(torch.rand(1, 3, 16, 16))
    assert sides == [(4, 16, 16), (8, 8, 8), (8, 4, 4)]


@pytest.mark.parametrize("skips", [True, False])
def test_only_skips_carry_single_pixels_past_the_bottleneck(skips):
    """With the coarse levels switched off, a fine pattern still reaches the output, through the skip alone."""
    torch.manual_seed(0)
    model = UNet(UNetConfig(**SMALL, skips=skips)).eval()
    with torch.no_grad():
        for level in model.up:
            level.reduce.weight.zero_()
        x = torch.rand(1, 3, 16, 16)
        change = (model(x) - model(x.flip(3))).abs().max()
    assert (change > 1e-3) == skips


def test_the_field_of_view_reaches_as_far_as_it_must():
    """A pixel sees what lies within the reach of all convolutions on the deepest way, and nothing beyond."""
    torch.manual_seed(0)
    model = UNet(UNetConfig(outputs=2, widths=(4, 4), depths=(1, 1))).eval()
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    model(x)[0, 0, 16, 16].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    # two convolutions above (1 pixel each), one below (2 pixels), pooling and growing on a grid of 2
    assert rows.min() >= 16 - 6
    assert rows.max() <= 16 + 6
    assert len(rows) >= 7


def test_group_normalisation_does_not_mix_images_even_in_training():
    torch.manual_seed(0)
    x = torch.rand(3, 3, 16, 16)
    for norm, alone in (("group", True), ("batch", False)):
        model = UNet(UNetConfig(**SMALL, norm=norm)).train()
        same = torch.allclose(model(x)[:1], model(x[:1]), atol=1e-5)
        assert same == alone


def test_no_activation_is_shared_or_in_place():
    modules = [m for m in UNet(UNetConfig(**SMALL)).modules() if isinstance(m, nn.ReLU)]
    assert len(modules) == len({id(m) for m in modules}) == 6
    assert not any(m.inplace for m in modules)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": 0},
        {"widths": (), "depths": ()},
        {"widths": (4, 8), "depths": (1,)},
        {"depths": (1, 0, 1)},
        {"norm": "layer"},
        {"norm": "group", "groups": 3},
        {"channels": 0},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_a_config_that_makes_no_network_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        UNetConfig(**{**SMALL, **wrong})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(3, 16, 16), r"unsqueeze\(0\)"),
        (torch.rand(1, 1, 16, 16), r"\(1, 1, 16, 16\)"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "torch.uint8"),
        (torch.rand(1, 3, 18, 16), "multiples of 4"),
        (torch.rand(0, 3, 16, 16), "multiples of 4"),
    ],
    ids=["one", "grey", "bytes", "side", "none"],
)
def test_images_that_do_not_fit_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        UNet(UNetConfig(**SMALL))(x)


def test_the_hint_for_other_sides_works():
    model, x = UNet(UNetConfig(**SMALL)), torch.rand(2, 3, 18, 21)
    with pytest.raises(InputError) as caught:
        model(x)
    expression = caught.value.hint.partition(": ")[2]
    assert eval(expression, {"model": model, "x": x, "F": F}).shape == (2, 4, 18, 21)


# --- losses ---------------------------------------------------------------------------------------------------------


def scores_and_truth(seed=0, void=0.0):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 4, (3, 6, 5), generator=g)
    truth[torch.rand(truth.shape, generator=g) < void] = VOID
    return torch.randn(3, 4, 6, 5, generator=g), truth


@pytest.mark.parametrize("void", [0.0, 0.4])
def test_dice_is_its_formula(void):
    scores, truth = scores_and_truth(void=void)
    p = scores.softmax(1).movedim(1, -1)[truth != VOID]
    t = F.one_hot(truth[truth != VOID], 4)
    dice = [2 * (p[:, k] * t[:, k]).sum() / (p[:, k].sum() + t[:, k].sum()) for k in (1, 2, 3)]
    torch.testing.assert_close(dice_loss(scores, truth), 1 - sum(dice) / 3)


def test_dice_is_zero_for_certainty_and_one_for_the_opposite():
    _, truth = scores_and_truth()
    sure = 50.0 * F.one_hot(truth, 4).movedim(-1, 1)
    assert dice_loss(sure, truth).item() == pytest.approx(0, abs=1e-5)
    assert dice_loss(sure.roll(1, 1), truth).item() == pytest.approx(1, abs=1e-5)


def test_a_class_that_is_nowhere_does_not_count():
    scores, truth = scores_and_truth()
    truth[truth == 3] = 0
    sure = 50.0 * F.one_hot(truth, 4).movedim(-1, 1)
    assert dice_loss(sure, truth).item() == pytest.approx(0, abs=1e-5)
    assert dice_loss(scores, torch.zeros_like(truth)).isfinite()


def test_the_loss_weighs_the_background_and_leaves_void_out():
    scores, truth = scores_and_truth(void=0.3)
    known = truth != VOID
    each = F.cross_entropy(scores, truth.where(known, 0), reduction="none")[known]
    weight = torch.where(truth[known] == 0, 0.25, 1.0)
    expected = (weight * each).sum() / weight.sum() + dice_loss(scores, truth)
    torch.testing.assert_close(segmentation_loss(scores, truth, background=0.25), expected)
    other = scores.where(known[:, None], torch.randn_like(scores))
    torch.testing.assert_close(segmentation_loss(other, truth), segmentation_loss(scores, truth))


def test_its_gradient_is_right():
    scores, truth = scores_and_truth(void=0.2)
    assert torch.autograd.gradcheck(
        lambda s: segmentation_loss(s, truth), scores.double().requires_grad_(), fast_mode=True
    )


def test_it_learns_to_paint_bright_squares():
    """Squares of two colours on noise: nearly every pixel is right, but not after learning the masks of others."""
    g = torch.Generator().manual_seed(0)
    images, masks = 0.3 * torch.rand(120, 3, 16, 16, generator=g), torch.zeros(120, 16, 16, dtype=torch.int64)
    for i, (x, y, side, k) in enumerate(torch.randint(0, 8, (120, 4), generator=g).tolist()):
        rows, columns = slice(y, y + 4 + side // 2), slice(x, x + 4 + side // 2)
        images[i, k % 2, rows, columns] += 0.7
        masks[i, rows, columns] = 1 + k % 2

    def accuracy(truth):
        torch.manual_seed(0)
        model = UNet(UNetConfig(outputs=3, widths=(4, 8), depths=(1, 1)))
        batches = train.Batches(images[:90], truth, batch_size=10)
        train.fit(model, batches, epochs=12, learning_rate=2e-2, loss=segmentation_loss, progress=False)
        predicted, some = train.predict(model, images[90:]).argmax(1), masks[90:] > 0
        return float((predicted == masks[90:])[some].float().mean())

    assert accuracy(masks[:90]) > 0.95
    assert accuracy(masks[:90][torch.randperm(90, generator=g)]) < 0.7
