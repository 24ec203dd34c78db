"""The picture on the first page is drawn by hand; its numbers are the library's."""

import re
from pathlib import Path

import pytest

from bigmodel_lab import cost

FIGURE = Path(__file__).parents[2] / "book" / "_figures" / "gpt3_days.svg"


def days(speed):
    """Of GPT-3's training (3.14e23 operations, table D.1 of its paper) on 175 GPUs of that speed."""
    return cost.run_cost(cost.Run(operations=3.14e23, gpus=175, peak=speed, utilisation=1.0)).seconds / 86400


def test_its_numbers_are_those_of_the_library():
    text = FIGURE.read_text(encoding="utf-8")
    shown = re.findall(r'class="lab-svg-value[^>]*>([^<]+)<', text)
    assert shown == ["3 days", f"{days(cost.gpu('v100').peak):.0f} days", f"{days(28e12) / 365.25:.0f} years"]


def test_its_bars_are_as_long_as_its_numbers():
    widths = [float(w) for w in re.findall(r'<rect class="[^"]+"[^>]* width="([0-9.]+)"', FIGURE.read_text("utf-8"))]
    wanted = [3, days(cost.gpu("v100").peak), days(28e12)]
    for width, other in zip(widths, wanted, strict=True):
        assert width / widths[2] == pytest.approx(other / wanted[2], abs=0.005)
