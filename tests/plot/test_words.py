"""Words carry their values as colours, numbers and text, in a figure and in HTML that loads nothing."""

from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch

from bigmodel_lab import plot
from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.words import drawable, ink, number, shown

WORDS = ["<unk>", "a & b", '"quoted"', "$x$", "\n", " ", "朋友", "é"]
VALUES = torch.tensor([1.0, -2.0, 0.5, 0.0, 0.1, -0.1, 0.0, 2.0])


class Page(HTMLParser):
    """What stands in a piece of HTML: tags in order, attributes, and the text of each element by its tag."""

    VOID = ("br", "hr", "img", "rect", "line", "path")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))


def page(html):
    """Parse a piece of HTML that a page may hold: closed tags, no script, no handler, nothing from elsewhere."""
    found = Page(html._repr_html_())
    assert found.open == []
    assert not {"script", "link", "iframe", "img", "object", "base", "meta"} & set(found.tags)
    for attributes in found.attributes:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"src", "href", "srcset", "id"} & set(attributes)
    assert not [bad for bad in ("http:", "https:", "url(", "@import", "np.") if bad in html.text]
    return found


def words(found):
    return [text for tag, text in found.texts if tag in ("span", "b")]


def contrast(one, other):
    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def boxes(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]


def test_each_method_shows_all_words_with_letters_that_can_be_read(drawn):
    ax = plot.tokens(WORDS, {"one": VALUES, "two": 100 * VALUES})
    drawn()
    assert len(boxes(ax)) == 2 * len(WORDS)
    texts = [text for text in ax.texts if text.get_text() in ("<unk>", "a & b", '"quoted"', "$x$", "⏎", "␣", "é")]
    assert len(texts) == 14
    for text, box in zip(texts[:5], boxes(ax), strict=False):
        assert contrast(text.get_color(), box.get_facecolor()[:3]) >= 4.5
    colours = [box.get_facecolor() for box in boxes(ax)]
    assert colours[: len(WORDS)] == colours[len(WORDS) :]  # each on its own scale
    assert "max of each method: attribution" in [text.get_text() for text in ax.texts]


def test_a_global_scale_makes_the_smaller_method_pale():
    ax = plot.tokens(["a", "b"], {"one": [1.0, -1.0], "two": [0.01, -0.01]}, scale="global", label="change")
    strong, _, pale, _ = [min(box.get_facecolor()[:3]) for box in boxes(ax)]
    assert strong < 0.2 < 0.9 < pale
    assert "1: change" in [text.get_text() for text in ax.texts]


def test_red_speaks_for_and_blue_against():
    ax = plot.tokens(["a", "b", "c"], [1.0, -1.0, 0.0])
    (red, _, blue, _), (red2, _, blue2, _) = [box.get_facecolor() for box in boxes(ax)[:2]]
    assert red > blue
    assert blue2 > red2
    assert min(boxes(ax)[2].get_facecolor()) > 0.99


def test_long_texts_break_into_lines_inside_the_figure(drawn):
    ax = plot.tokens([f"word{i}" for i in range(50)], torch.randn(50), numbers=True, truth=np.arange(50) % 7 == 0)
    drawn()
    right = ax.get_xlim()[1]
    assert all(box.get_x() + box.get_width() <= right for box in boxes(ax))
    assert len({box.get_y() for box in boxes(ax)}) > 4
    assert len(ax.lines) == 8
    assert "underlined: what matters" in [text.get_text() for text in ax.texts]


def test_letters_of_no_font_become_their_numbers():
    texts, _families = drawable(["a\U0010fffd"])
    assert texts == ["a\\u10fffd"]


def test_signs_stand_for_what_cannot_be_seen():
    assert [shown(word) for word in ("\n", "\t", "  ", "", " the ", "a\nb")] == ["⏎", "⇥", "␣", "∅", "the", "a⏎b"]


@pytest.mark.parametrize(
    ("value", "limit", "text"), [(0.5, 1.2, "+0.50"), (-0.0123, 0.05, "−0.0123"), (12.345, 40, "+12.3"), (7, 4e3, "+7")]
)
def test_numbers_have_as_many_digits_as_their_scale(value, limit, text):
    assert number(value, limit) == text


def test_html_holds_each_word_escaped_with_its_value():
    html = plot.tokens_html(WORDS, {"integrated_gradients": VALUES, "<b>": -VALUES})
    found = page(html)
    seen = ["<unk>", "a & b", '"quoted"', "$x$", "⏎", "␣", "朋友", "é"]
    assert words(found) == seen * 2
    assert [text for tag, text in found.texts if tag == "small"][:3] == ["+1.00", "−2.00", "+0.50"]
    titles = [attributes["title"] for attributes in found.attributes if "title" in attributes]
    assert titles[:2] == ["+1.00", "−2.00"]
    assert [text for tag, text in found.texts if tag == "p"][:2] == ["integrated gradients", "<b>"]
    assert len(html.text) < 12_000
    assert repr(html).startswith("Html(8 words, 2 methods")


def test_what_matters_is_underlined_and_said():
    found = page(plot.tokens_html(["not", "bad"], [1.0, 0.2], truth=[True, False]))
    assert ("b", "not") in found.texts
    assert ("b", "bad") not in found.texts
    assert [a["title"] for a in found.attributes if "title" in a] == ["+1.00, matters", "+0.20"]


def test_numbers_are_hidden_from_the_eye_unless_asked_for():
    assert 'class="lab-words"' in plot.tokens_html(["a"], [1.0]).text
    assert 'class="lab-words lab-n"' in plot.tokens_html(["a"], [1.0], numbers=True).text


@pytest.mark.parametrize("values", [[1.0, -1.0], [1.0, 0.5]], ids=["signed", "positive"])
def test_every_shade_can_be_read_on_light_and_dark_pages(values):
    html = plot.tokens_html(["a", "b"], values).text
    style = html.split("<style>")[1].split("</style>")[0]
    rules = [line for line in style.splitlines() if "{background:" in line]
    assert len(rules) == (32 if min(values) < 0 else 16)
    assert sum("data-theme" in rule for rule in rules) == len(rules) / 2
    for rule in rules:
        back, front = rule.split("background:")[1].rstrip("}").split(";color:")
        assert contrast(back, front) >= 4.5


def test_ink_is_what_reads_best():
    for colour in np.random.default_rng(0).random((200, 3)):
        best = max(("black", "white"), key=lambda one: contrast(one, colour))
        assert ink(colour) == best or contrast(ink(colour), colour) > 4.5


@pytest.mark.parametrize("draw", [plot.tokens, plot.tokens_html])
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((["a"], [1.0, 2.0]), "one per word"),
        ((["a"], {"lime": [[1.0]]}), "values of lime"),
        (("a b", [1.0, 2.0]), "list of words"),
        (([], []), "at least one word"),
        ((["a"], {}), "at least one method"),
        ((["a"], [float("nan")]), "finite"),
    ],
)
def test_what_does_not_fit_is_refused(draw, arguments, why):
    with pytest.raises(InputError, match=why):
        draw(*arguments)
    assert not plt.get_fignums()


@pytest.mark.parametrize(("option", "why"), [({"truth": [True]}, "truth of shape"), ({"scale": "row"}, "scale=")])
def test_options_that_do_not_fit_are_refused(option, why):
    with pytest.raises(InputError, match=why):
        plot.tokens(["a", "b"], [1.0, 2.0], **option)


def test_shap_text_is_plain_html_with_the_right_colours():
    html = plot.shap_text(WORDS, VALUES, base=-0.3, output="a <class>")
    found = page(html)
    seen = [text for tag, text in found.texts if tag == "div"]
    assert [word for word in ("<unk>", "a & b", '"quoted"', "朋友", "é") if word not in seen] == []
    assert "base value" in [text for tag, text in found.texts]
    assert ("tspan", "a <class>") in found.texts
    titles = [attributes["title"] for attributes in found.attributes if "title" in attributes]
    assert [float(title) for title in titles] == pytest.approx(VALUES.tolist())
    backs = [a["style"] for a in found.attributes if "title" in a]
    assert "rgba(239,112,87,1.00)" in backs[7]
    assert "rgba(90,160,220,1.00)" in backs[1]
    assert html == plot.shap_text(WORDS, VALUES, base=-0.3, output="a <class>")


def test_shap_text_leaves_generators_alone():
    import random

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = (random.getstate(), str(np.random.get_state()))  # noqa: NPY002
    plot.shap_text(["a", "b"], [1.0, -1.0])
    assert (random.getstate(), str(np.random.get_state())) == before  # noqa: NPY002
