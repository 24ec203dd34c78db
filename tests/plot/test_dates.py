import re
from datetime import date
from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import pytest

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.dates import timeline, timeline_html
from bigmodel_lab.plot.places import places

NAMES = ["old one", "new & <b>", "third"]
DAYS = [date(2012, 9, 30), date(2020, 5, 28), date(2020, 6, 1)]
VALUES = [4.7e17, 3.14e23, 2e23]
GROUPS = ["vision", "language", "language"]


def overlap(first, second):
    return bool((first[0] < second[1]).all() and (second[0] < first[1]).all())


def crowd(count=30, seed=0):
    draw = np.random.default_rng(seed)
    return draw.uniform(0, 300, (count, 2)), np.stack([draw.uniform(20, 60, count), np.full(count, 8)], 1)


class TestPlaces:
    @pytest.mark.parametrize("seed", range(5))
    def test_no_label_covers_another_or_leaves_the_area_or_serves_another_point(self, seed):
        points, sizes = crowd(seed=seed)
        found = places(points, sizes, (300, 300))
        boxes = {i: np.stack([low, np.add(low, sizes[i])]) for i, low in enumerate(found) if low is not None}
        assert len(boxes) >= 15
        assert not any(overlap(boxes[i], boxes[j]) for i, j in combinations(boxes, 2))
        for i, (low, high) in boxes.items():
            assert min(low) >= 0
            assert max(high) <= 300
            away = np.linalg.norm(np.maximum(0, np.maximum(low - points, points - high)), axis=1)
            assert away.argmin() == i

    def test_labels_beside_their_points_would_overlap(self):
        """What the test above rejects: the plain choice, each label to the right of its point."""
        points, sizes = crowd()
        boxes = [np.stack([point, point + size]) for point, size in zip(points, sizes, strict=True)]
        assert any(overlap(first, second) for first, second in combinations(boxes, 2))

    def test_a_lone_point_gets_the_place_to_its_right(self):
        assert places([[50, 50]], [[20, 8]], (100, 100), gap=7) == [(57.0, 46.0)]

    def test_at_the_right_border_it_goes_to_the_left(self):
        assert places([[95, 50]], [[20, 8]], (100, 100), gap=7) == [(68.0, 46.0)]

    def test_without_room_there_is_no_label(self):
        assert places([[50, 50]], [[200, 8]], (100, 100)) == [None]
        assert places([], [], (1, 1)) == []

    @pytest.mark.parametrize(
        ("points", "sizes"), [([[0, 0]], [[1, 1], [2, 2]]), ([[0, float("nan")]], [[1, 1]])], ids=["counts", "NaN"]
    )
    def test_what_does_not_fit_is_refused(self, points, sizes):
        with pytest.raises(InputError):
            places(points, sizes, (10, 10))


class TestAxes:
    def test_marks_are_where_the_values_are_and_hollow_where_asked(self, drawn):
        ax = timeline(NAMES, DAYS, VALUES, GROUPS, hollow=[True, False, False], ylabel="operations")
        drawn()
        heights = sorted(y for line in ax.lines for y in line.get_ydata())
        assert heights == sorted(VALUES)
        assert ax.get_yscale() == "log"
        hollow = [line for line in ax.lines if len(line.get_ydata()) and line.get_markerfacecolor() == "none"]
        assert [list(line.get_ydata()) for line in hollow] == [[4.7e17]]

    def test_drawn_names_do_not_overlap(self, drawn):
        count = 24
        draw = np.random.default_rng(1)
        days = [date(2012 + int(year), 1 + int(month), 1) for year, month in draw.integers(0, 12, (count, 2))]
        ax = timeline([f"model {n}" for n in range(count)], days, 10 ** draw.uniform(17, 25, count), ["a"] * count)
        drawn()
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) > count // 2
        for first, second in combinations(boxes, 2):
            assert not first.overlaps(second)

    def test_a_value_of_none_is_left_out(self):
        ax = timeline(NAMES, DAYS, [1.0, None, 2.0], GROUPS)
        assert sum(len(line.get_ydata()) for line in ax.lines) == 2
        assert NAMES[1] not in [text.get_text() for text in ax.texts]


class Page(HTMLParser):
    """The elements of a page, and the texts of its titles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.titles, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("path", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "title":
            self.titles.append(data)


def html(**options):
    measures = {"operations": VALUES, "parameters": [6e7, 1.75e11, None]}
    return timeline_html(NAMES, DAYS, measures, GROUPS, label="three models", **options)


class TestHtml:
    def test_is_well_formed_and_holds_each_figure_as_text(self):
        page = Page(html(notes=["counted", "stated", "estimate"]).text)
        assert page.titles == [
            "old one, 30 Sep 2012, vision: operations 4.7 × 10¹⁷; parameters 6 × 10⁷ (counted)",
            "new & <b>, 28 May 2020, language: operations 3.14 × 10²³; parameters 1.75 × 10¹¹ (stated)",
            "third, 01 Jun 2020, language: operations 2 × 10²³; parameters not published (estimate)",
        ]
        marks = [attrs for _, attrs in page.elements if "data-v" in attrs]
        assert [mark["aria-label"] for mark in marks] == page.titles

    def test_heights_are_those_of_a_logarithmic_scale(self):
        marks = [attrs for _, attrs in Page(html().text).elements if "data-v" in attrs]
        heights = [float(mark["data-v"].split("|")[0].split()[0]) for mark in marks]
        up = np.log10(VALUES)
        share = (heights[0] - heights[2]) / (heights[0] - heights[1])
        assert share == pytest.approx((up[2] - up[0]) / (up[1] - up[0]), abs=1e-3)
        assert marks[2]["data-v"].split("|")[1] == ""  # no value, no place

    def test_without_scripts_it_is_a_picture_and_no_control_shows(self):
        page = Page(html().text)
        inputs = [attrs for tag, attrs in page.elements if tag == "input"]
        assert len(inputs) == 4
        assert all("hidden" in attrs for attrs in inputs)
        assert not any("tabindex" in attrs for _, attrs in page.elements)

    def test_nothing_comes_from_elsewhere_and_names_are_escaped(self):
        text = html().text
        assert not re.search(r"https?:|src=|<b>|import|fetch", text)
        assert text.count("<script>") == text.count("</script>") == 1

    def test_is_small_and_has_colours_for_dark_pages(self):
        text = timeline_html(NAMES * 10, DAYS * 10, {"a": VALUES * 10, "b": VALUES * 10}, GROUPS * 10).text
        assert len(text.encode()) < 25_000
        assert 'html[data-theme="dark"]' in text


@pytest.mark.parametrize(
    ("values", "groups", "options"),
    [
        (VALUES[:2], GROUPS, {}),
        ([0.0, 1.0, 1.0], GROUPS, {}),
        ([float("nan"), 1.0, 1.0], GROUPS, {}),
        ([None, None, None], GROUPS, {}),
        (VALUES, GROUPS, {"hollow": [True]}),
    ],
    ids=["too few values", "zero", "NaN", "no value", "too few hollow"],
)
def test_what_cannot_be_drawn_is_refused(values, groups, options):
    with pytest.raises(InputError):
        timeline(NAMES, DAYS, values, groups, **options)
    with pytest.raises(InputError):
        timeline_html(NAMES, DAYS, {"a": values}, groups, **options)


def test_more_groups_than_markers_are_refused():
    with pytest.raises(InputError, match="at most 4"):
        timeline([*"abcde"], [DAYS[0]] * 5, [1.0] * 5, [*"abcde"])
