"""Every lesson, as it is committed and as it was executed."""

import nbformat
import pytest
import yaml

from bigmodel_lab.course import disagreements, repository_url
from tests.notebooks import checks
from tests.notebooks.ledger import MAX_CPU_SECONDS, ROOT, WARN_CPU_SECONDS, Ledger, lessons_in
from tests.notebooks.verdicts import as_executed, none_of

LESSONS = lessons_in()
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def ledger():
    return Ledger()


@pytest.fixture
def executed(path, ledger):
    """The lesson as its page shows it; it must have run since it last changed."""
    return as_executed(path, ledger)


def test_there_are_lessons():
    assert LESSONS


@each_lesson
@pytest.mark.parametrize("check", checks.SOURCE, ids=lambda check: check.__name__)
def test_source(path, check):
    none_of(check(nbformat.read(path, as_version=nbformat.NO_CONVERT)))


@each_lesson
def test_is_committed_tidy(path):
    none_of(checks.written_as_tidied(path.read_text(encoding="utf-8")))


@each_lesson
def test_installs_the_library_first(path):
    none_of(checks.installs_first(nbformat.read(path, as_version=4), repository_url(ROOT)))


@each_lesson
@pytest.mark.parametrize("check", checks.EXECUTED, ids=lambda check: check.__name__)
def test_executed(executed, check):
    none_of(check(executed))


@each_lesson
def test_cost(path, executed, ledger):
    record = ledger.read()[path.name]
    none_of(checks.cost_fits(record, WARN_CPU_SECONDS, MAX_CPU_SECONDS))


def test_table_of_contents_names_each_lesson_once():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    none_of(checks.toc_agrees(toc, [f"notebooks/{path.stem}" for path in LESSONS]))


def test_lessons_and_config_name_the_same_repository():
    none_of(disagreements(ROOT))


def test_the_book_executed_nothing_by_itself(ledger):
    none_of(ledger.untested())
