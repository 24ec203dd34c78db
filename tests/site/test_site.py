"""The built website, as a reader's browser meets it. One walk over all pages, then one question per test."""

import re
from pathlib import Path

import pytest
import site_checks as checks
import yaml

from bigmodel_lab import cost

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]

# Transferred bytes of a page with an empty cache, in kB, without its figures, sounds and films. The theme takes 130.
BUDGET = 250
SEARCH = 300  # of the page that loads the index of all words


def settings() -> dict:
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))


def lessons(report: dict) -> list[str]:
    return [path for path, page in report["pages"].items() if page["desktop"]["lesson"]]


def test_every_page_of_the_table_of_contents_is_there(report):
    toc = (ROOT / "_toc.yml").read_text("utf-8")
    named = {name + ".html" for name in re.findall(r"(?:root|file): (\S+)", toc)}
    assert named <= set(report["pages"])
    assert lessons(report) == sorted(name for name in named if name.startswith("notebooks/"))


def test_no_page_asks_a_third_party_for_anything(report):
    assert checks.third_parties(report) == []


def test_no_script_complains(report):
    assert checks.console_errors(report) == []


def test_no_file_of_the_site_is_missing(report):
    assert checks.failed_requests(report) == []


def test_no_link_or_anchor_is_broken(report, site):
    assert checks.broken_links(report, site) == []


def test_every_picture_says_what_it_shows(report):
    assert checks.bad_pictures(report) == []


def test_axe_finds_nothing_serious(report):
    assert checks.barriers(report) == []


def test_mathematics_is_typeset_and_not_shown_raw(report):
    assert checks.raw_mathematics(report) == []


def test_lessons_show_mathematics(report):
    assert [path for path in lessons(report) if report["pages"][path]["desktop"]["formulas"] == 0] == []


def test_questions_hide_their_answer_until_one_is_chosen(report):
    asked = [one for page in report["pages"].values() for one in page["desktop"]["questions"]]
    assert len(asked) >= 8
    assert [one for one in asked if one["before"] or not one["after"]] == []


def test_the_calculator_in_the_page_shows_the_librarys_numbers(report):
    rows = report["pages"]["notebooks/08_1_what_training_costs.html"]["desktop"]["calculators"]
    assert [row["run"] for row in rows] == list(cost.RUNS)
    for row in rows:
        given = row["inputs"]
        run = cost.Run(
            operations=cost.six_n_d(given["active"] * 1e9, given["tokens"] * 1e9),
            gpus=given["gpus"],
            peak=given["peak"] * 1e12,
            utilisation=given["utilisation"] / 100,
            price=given["price"],
        )
        made = cost.run_cost(run)
        assert row["visible"]
        assert float(row["gpuHours"].replace(",", "")) == pytest.approx(made.gpu_hours, rel=0.006)  # three digits
        number, unit = row["money"].lstrip("$").split()
        assert float(number) * {"million": 1e6, "billion": 1e9}[unit] == pytest.approx(made.money, rel=0.006)


@pytest.mark.parametrize(
    ("page", "name"),
    [("library", "runtime.glue"), ("library_explain", "explain.saliency"), ("library_train", "train.fit"),
     ("library_explain", "explain.metrics.relevance_mass"), ("library_data", "data.text.corpus")],
)  # fmt: skip
def test_the_reference_describes_each_part_of_the_library(report, page, name):
    assert f"bigmodel_lab.{name}" in report["pages"][f"book/{page}.html"]["desktop"]["anchors"]


def test_no_page_scrolls_sideways(report):
    assert checks.sideways(report) == []


def test_every_page_has_a_language_a_title_and_a_description(report):
    assert checks.poor_heads(report) == []


def test_pages_keep_to_the_budget(report, site):
    media = {path: checks.embedded((site / path).read_text("utf-8")) for path in report["pages"]}
    faults = checks.heavy(report, BUDGET, media)
    assert [fault for fault in faults if not fault.startswith("search.html")] == []
    assert checks.heavy(report, SEARCH, media) == []


def test_lessons_open_in_colab(report):
    repository = settings()["repository"]
    assert lessons(report)
    assert checks.colab_faults(report, repository["url"], repository["branch"]) == []


def test_the_download_link_gives_the_notebook(report):
    assert list(report["downloads"]) == lessons(report)
    assert checks.download_faults(report) == []


def test_search_works_served_from_a_folder_and_by_hand(report):
    assert checks.search_faults(report, "03_2_convolutional_networks") == []


def test_the_colour_switch_works_and_is_remembered(report):
    assert checks.colour_faults(report) == []


def test_the_menu_opens_on_a_phone(report):
    assert checks.menu_faults(report) == []


def test_the_figure_of_the_first_page_says_what_the_numbers_give():
    seconds = 3.14e23 / (175 * 125e12), 3.14e23 / (175 * 28e12)
    peak, practice = (value / 86400 for value in seconds)
    figure = (ROOT / "book" / "_figures" / "gpt3_days.svg").read_text("utf-8")
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', figure)]
    assert f"{peak:.0f} days" in figure
    assert f"{practice / 365.25:.0f} years" in figure
    assert widths[2] / widths[1] == pytest.approx(practice / peak, rel=0.01)
    assert widths[0] / widths[1] == pytest.approx(3 / peak, abs=0.01)
