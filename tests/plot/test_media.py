import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError


def data_in(html, kind):
    found = re.search(rf"data:{kind};base64,([A-Za-z0-9+/=]+)", html.text)
    return io.BytesIO(base64.b64decode(found[1]))


def tone(seconds=0.25, rate=8000):
    return 0.5 * torch.sin(2 * np.pi * 440 * torch.arange(int(seconds * rate)) / rate)


def test_the_player_holds_the_sound_to_16_bits():
    html = plot.audio(tone(), 8000, "four forty")
    samples, rate = soundfile.read(data_in(html, "audio/flac"))
    assert rate == 8000
    assert np.abs(samples - tone().numpy()).max() < 2 / 2**15
    assert 'aria-label="four forty"' in html.text
    assert "four forty" in repr(html)


def test_nothing_comes_from_elsewhere():
    clip = torch.rand(3, 3, 4, 4)
    for html in (plot.audio(tone(), 8000), plot.animation(clip)):
        assert "http" not in html.text
        assert "<script" not in html.text


def test_labels_are_escaped():
    assert "<b>" not in plot.audio(tone(), 8000, '<b>"x"').text
    assert "<b>" not in plot.animation(torch.rand(2, 1, 4, 4), label="<b>").text


@pytest.mark.parametrize(
    "wave",
    [torch.zeros(100), 3 * tone(), torch.full((9,), torch.nan), torch.zeros(0), tone()[None]],
    ids=["silence", "too loud", "NaN", "empty", "a batch"],
)
def test_what_cannot_be_played_is_refused(wave):
    with pytest.raises(InputError):
        plot.audio(wave, 8000)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_animation_holds_every_frame_in_order(channels):
    clip = torch.rand(5, channels, 4, 6, generator=torch.Generator().manual_seed(0))
    html = plot.animation(clip, fps=10, label="five frames", scale=3)
    strip = np.asarray(Image.open(data_in(html, "image/png")), dtype=float) / 255
    expected = clip.permute(0, 2, 3, 1).reshape(20, 6, channels).squeeze(-1).numpy()
    assert np.abs(strip - expected).max() <= 0.5 / 255 + 1e-6
    assert "steps(5)" in html.text
    assert "0.5s" in html.text
    assert "prefers-reduced-motion" in html.text


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (torch.rand(3, 4, 4), {}),
        (torch.rand(3, 2, 4, 4), {}),
        (2 * torch.ones(3, 1, 4, 4), {}),
        (torch.full((3, 1, 4, 4), torch.nan), {}),
        (torch.rand(3, 1, 4, 4), {"fps": 0}),
        (torch.rand(3, 1, 4, 4), {"scale": 0}),
    ],
    ids=["no channels", "two channels", "too bright", "NaN", "no speed", "no size"],
)
def test_what_cannot_be_animated_is_refused(frames, options):
    with pytest.raises(InputError):
        plot.animation(frames, **options)
