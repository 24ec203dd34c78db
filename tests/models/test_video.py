"""Networks for clips: over time as over space, blind to order where they must be, and not where they must not."""

import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.cnn import CNN, CNNConfig
from bigmodel_lab.models.video import FrameWise, VideoCNN, VideoCNNConfig, VideoRNN, VideoRNNConfig

WIDTHS = (4, 6, 8)


def ready(model):
    """In evaluation mode, in double precision, with statistics and scales that are not those of a fresh model."""
    model = model.double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return model


MODELS = {
    "VideoCNN": lambda: VideoCNN(VideoCNNConfig(outputs=5, widths=WIDTHS)),
    "VideoRNN": lambda: VideoRNN(VideoRNNConfig(outputs=5, widths=WIDTHS, width=7)),
    "VideoRNN, two frames": lambda: VideoRNN(VideoRNNConfig(outputs=5, widths=WIDTHS, width=7, look=2)),
    "FrameWise": lambda: FrameWise(CNNConfig(outputs=5, widths=WIDTHS)),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return ready(MODELS[request.param]())


@pytest.fixture
def clips():
    return torch.rand(3, 5, 3, 16, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_any_clip_gives_one_row_of_outputs(model):
    for shape in ((2, 9, 3, 24, 24), (1, 2, 3, 8, 12), (3, 4, 3, 9, 9)):
        assert model(torch.rand(shape, dtype=torch.float64)).shape == (shape[0], 5)


def test_clips_do_not_change_one_another(model, clips):
    torch.testing.assert_close(model(clips)[1:2], model(clips[1:2]))


def test_the_order_of_frames_counts_but_for_the_control(model, clips):
    blind = isinstance(model, FrameWise)
    for order in ([4, 3, 2, 1, 0], [1, 2, 3, 4, 0], [3, 0, 4, 2, 1]):
        change = (model(clips[:, order]) - model(clips)).abs().max()
        assert (change < 1e-13) == blind
    two = clips[:, :2]  # a sum of two does not even round differently
    assert torch.equal(model(two.flip(1)), model(two)) == blind


def test_the_control_is_the_mean_over_single_frames(clips):
    model = ready(MODELS["FrameWise"]())
    each = torch.stack([model.classifier(clips[:, t]) for t in range(5)])
    torch.testing.assert_close(model(clips), each.mean(0))


def test_a_reach_of_one_frame_is_a_2d_network_on_each_frame(clips):
    flat = ready(CNN(CNNConfig(outputs=5, widths=WIDTHS)))
    deep = VideoCNN(VideoCNNConfig(outputs=5, widths=WIDTHS, reach=1, halve_time=False)).double().eval()
    weights = (w.unsqueeze(2) if w.ndim == 4 else w for w in flat.state_dict().values())  # (C', C, 3, 3) -> one frame
    deep.load_state_dict(dict(zip(deep.state_dict(), weights, strict=True)))
    each = torch.stack([flat(clips[:, t]) for t in range(5)])
    torch.testing.assert_close(deep(clips), each.mean(0))


def test_a_kernel_that_looks_at_the_middle_alone_is_a_reach_of_one(clips):
    wide, narrow = (VideoCNN(VideoCNNConfig(outputs=5, widths=WIDTHS, reach=r)).double().eval() for r in (3, 1))
    middle = {n: w[:, :, 1:2] if w.ndim == 5 else w for n, w in wide.state_dict().items()}
    narrow.load_state_dict(middle)
    assert (narrow(clips) - wide(clips)).abs().max() > 1e-4  # the frames before and after count
    with torch.no_grad():
        for module in wide.modules():
            if isinstance(module, nn.Conv3d):
                module.weight[:, :, [0, 2]] = 0
    torch.testing.assert_close(wide(clips), narrow(clips))


def test_each_stage_but_the_first_halves_the_image_and_the_time():
    for halve, times in ((True, [9, 5, 3]), (False, [9, 9, 9])):
        x, seen = torch.rand(2, 3, 9, 24, 24), []
        for stage in VideoCNN(VideoCNNConfig(widths=WIDTHS, halve_time=halve)).stages:
            x = stage(x)
            seen.append(tuple(x.shape[1:]))
        assert seen == [(c, t, s, s) for c, t, s in zip(WIDTHS, times, (24, 12, 6), strict=True)]


def test_a_look_of_two_frames_is_their_channels_side_by_side(clips):
    model = ready(MODELS["VideoRNN, two frames"]())
    looks = torch.stack([torch.cat([clips[:, t], clips[:, t + 1]], dim=1) for t in range(4)], dim=1)
    features = torch.stack([model.encoder(looks[:, t]).flatten(1) for t in range(4)], dim=1)
    torch.testing.assert_close(model(clips), model.sequence(features))


def test_the_recurrent_network_knows_where_things_are():
    """An encoder that averages over all places cannot: these two are the same thing, far from the border."""
    torch.manual_seed(0)
    clips = torch.zeros(2, 3, 3, 48, 48, dtype=torch.float64)
    clips[0, :, :, 20:24, 16:20] = 1
    clips[1, :, :, 20:24, 28:32] = 1
    gaps = {}
    for side in (1, 3):
        out = ready(VideoRNN(VideoRNNConfig(widths=WIDTHS, side=side)))(clips)
        gaps[side] = (out[0] - out[1]).abs().max().item()
    assert gaps[1] < 1e-12
    assert gaps[3] > 1e-3


def test_no_activation_is_shared_or_in_place(model):
    modules = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    assert len(modules) == len({id(m) for m in modules}) == 3
    assert not any(m.inplace for m in modules)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"outputs": 0}, {"widths": ()}, {"widths": (4, 0)}, {"reach": 2}, {"reach": -1}],
    ids=str,
)
def test_a_convolutional_config_that_makes_no_network_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        VideoCNNConfig(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"widths": ()}, {"look": 0}, {"side": 0}, {"width": 0}, {"kind": "transformer"}], ids=str
)
def test_a_recurrent_config_that_makes_no_network_is_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        VideoRNNConfig(**wrong)


@pytest.mark.parametrize("shape", [(5, 3, 16, 16), (2, 3, 5, 16, 16), (2, 5, 1, 16, 16), (2, 0, 3, 16, 16)], ids=str)
def test_wrong_clips_are_named(model, shape):
    with pytest.raises(InputError, match=r"\(B, T, 3, H, W\)"):
        model(torch.zeros(shape, dtype=torch.float64))


def test_a_clip_shorter_than_a_look_is_refused():
    model = VideoRNN(VideoRNNConfig(look=3))
    with pytest.raises(InputError, match="T at least 3"):
        model(torch.zeros(1, 2, 3, 16, 16))
