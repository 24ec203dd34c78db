"""Every check of the site must find its fault on a site that has it, and none on the page beside it that has none."""

import pytest
import site_checks as checks

pytestmark = pytest.mark.site


def names(faults: list[str], *words: str) -> bool:
    """Say whether some fault holds all the words, and no fault is of the page that is fine."""
    return any(all(word in fault for word in words) for fault in faults) and not any(
        fault.startswith("fine.html") for fault in faults
    )


@pytest.fixture(scope="module")
def seen(broken):
    return broken[0]


@pytest.mark.parametrize("way", ["desktop", "phone", "file"])
def test_a_request_to_a_cdn_is_reported(seen, way):
    assert names(checks.third_parties(seen), "index.html", f"({way})", "https://cdn.example.com/style.css")


@pytest.mark.parametrize("message", ["a script complains", "a script breaks"])
def test_console_errors_are_reported(seen, message):
    assert names(checks.console_errors(seen), "index.html", message)


@pytest.mark.parametrize("way", ["desktop", "file"])
def test_a_missing_file_is_reported(seen, way):
    assert names(checks.failed_requests(seen), f"index.html ({way})", "missing.js")


@pytest.mark.parametrize("fault", ["nowhere.html, which", "fine.html#nowhere, an anchor", "leads to gone.html"])
def test_broken_links_are_reported(broken, fault):
    assert names(checks.broken_links(*broken), fault)


@pytest.mark.parametrize("fault", ["no alt text", "'plot-1.png'"])
def test_pictures_without_a_description_are_reported(seen, fault):
    assert names(checks.bad_pictures(seen), "index.html", fault)


@pytest.mark.parametrize("rule", ["color-contrast", "image-alt", "html-has-lang"])
def test_barriers_are_reported(seen, rule):
    assert names(checks.barriers(seen), "index.html", f"[{rule}]")


@pytest.mark.parametrize("fault", ["$L = ", "1 formulas, 0 of them typeset"])
def test_raw_mathematics_is_reported(seen, fault):
    assert names(checks.raw_mathematics(seen), fault)


def test_a_price_is_not_taken_for_a_formula(seen):
    assert not any("costs $5" in text for text in seen["pages"]["index.html"]["desktop"]["rawMath"][1:])


def test_a_page_wider_than_a_phone_is_reported(seen):
    assert names(checks.sideways(seen), "index.html (phone)", "700px")


@pytest.mark.parametrize("what", ["no language", "no main heading", "a description of 0"])
def test_a_poor_head_is_reported(seen, what):
    assert names(checks.poor_heads(seen), "index.html", what)


def test_a_heavy_page_is_reported(seen):
    assert names(checks.heavy(seen, 100), "index.html (desktop)", "kB of 100")


def test_sounds_and_films_inside_a_page_count_as_figures_and_nothing_else_does():
    page = f'<audio src="data:audio/flac;base64,{"A" * 4000}"></audio><p>{"A" * 4000}</p>'
    assert checks.embedded(page) == 3
    report = {"pages": {"a.html": {"desktop": {"bytes": {"a.html": 12_000}}, "phone": {"bytes": {"a.html": 12_000}}}}}
    assert len(checks.heavy(report, 10)) == 2
    assert checks.heavy(report, 10, {"a.html": 3}) == []


def test_a_colab_link_to_another_notebook_is_reported(seen):
    faults = checks.colab_faults(seen, "https://github.com/big-model-lab/course", "main")
    assert names(faults, "index.html", "someone/else", "expected")


def test_a_download_of_something_else_is_reported(seen):
    assert names(checks.download_faults(seen), "index.html", "expected the file index.ipynb, got other.ipynb")


def test_a_search_without_results_is_reported(seen):
    faults = checks.search_faults(seen, "fine.html")
    assert [fault.split(" finds ")[0] for fault in faults] == ["search (http)", "search (file)", "search (hand)"]


@pytest.mark.parametrize("fault", ["'dark' is never reached", "starts in None", "dark is forgotten"])
def test_a_dead_colour_switch_is_reported(seen, fault):
    assert names(checks.colour_faults(seen), fault)


def test_a_dead_menu_button_is_reported(seen):
    assert checks.menu_faults(seen) == ["0 links before the tap and 0 after it"]


def test_a_missing_switch_and_a_missing_menu_are_reported(seen):
    bare = seen | {"menu": None, "colourMode": None}
    assert checks.menu_faults(bare) == ["there is no menu button"]
    assert checks.colour_faults(bare) == ["there is no switch"]
