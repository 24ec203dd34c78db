"""Each claim has its verdict and proof, each question its key and proof, and no page repeats what was refuted."""

import copy

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks import evidence
from tests.notebooks.ledger import ROOT, Ledger
from tests.notebooks.verdicts import as_executed, none_of

CLAIMS = yaml.safe_load((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
QUIZZES = yaml.safe_load((ROOT / "book" / "quizzes.yml").read_text(encoding="utf-8"))
PROSE = evidence.prose()


@pytest.fixture(scope="module")
def lessons():
    return evidence.notebooks()


@pytest.fixture(scope="module")
def ledger():
    return Ledger()


class TestClaims:
    def test_each_has_a_verdict_and_what_shows_it(self):
        none_of(evidence.complete(CLAIMS))

    def test_each_is_decided_by_cells_that_are_there(self, lessons):
        none_of(evidence.decided(CLAIMS, lessons))

    def test_no_cell_is_tagged_for_nothing(self, lessons):
        none_of(evidence.known_tags(CLAIMS, lessons))

    def test_each_source_is_in_the_references(self):
        none_of(evidence.cited(CLAIMS, evidence.keys()))

    def test_what_is_wrong_says_what_nobody_may_repeat(self):
        none_of(evidence.refutable(CLAIMS))

    @pytest.mark.parametrize("page", PROSE)
    def test_no_page_repeats_what_was_refuted(self, page):
        none_of(evidence.repeated(PROSE[page], CLAIMS))

    def test_nothing_found_repeats_what_was_refuted(self):
        none_of([problem for claim in CLAIMS for problem in evidence.repeated(claim["found"], CLAIMS)])


class TestQuestions:
    def test_each_can_be_answered(self):
        none_of(evidence.asked(QUIZZES))

    def test_each_key_is_proved(self, lessons):
        none_of(evidence.proved(QUIZZES, lessons, evidence.keys()))

    def test_each_chapter_shows_its_questions(self):
        pages = [text for name, text in PROSE.items() if name[0].isdigit()]
        none_of([f"no page shows the questions of chapter {n}" for n in QUIZZES if not any(
            f"```{{quiz}} {n}\n" in page for page in pages)])  # fmt: skip


def needed():
    """Lesson -> the claims and the questions that stand on it."""
    found = {}
    for claim in CLAIMS:
        for lesson, cells in claim.get("evidence", {}).items():
            found.setdefault(lesson, []).append((claim["id"], cells))
    for one in (one for questions in QUIZZES.values() for one in questions):
        if lesson := one["evidence"].get("notebook"):
            found.setdefault(lesson, []).append((one["id"], one["evidence"]["cell"]))
    return found


@pytest.mark.parametrize("lesson", needed())
def test_the_proof_was_executed(lesson, ledger):
    notebook = as_executed(ROOT / "notebooks" / f"{lesson}.ipynb", ledger)
    for name, cells in needed()[lesson]:
        if isinstance(cells, str):
            places = evidence.holding(notebook, cells)
        else:
            every = evidence.tagged(notebook, name)
            places = [every[cell - 1] for cell in cells]
        assert places, f"{name}: no cell"
        none_of([f"{name}: {problem}" for problem in evidence.ran(notebook, places)])


# ---- what must be found ---------------------------------------------------------------------------------------------


def lesson_with(source, *names):
    cell = new_code_cell(source)
    cell.metadata["tags"] = list(names)
    return new_notebook(cells=[new_markdown_cell("# One"), cell])


ONE = {"id": "C01", "section": "1", "says": "…", "means": "…", "verdict": "holds", "found": "Yes.",
       "evidence": {"one": [1]}}  # fmt: skip
ASKED = {"id": "q", "question": "?", "choices": ["a", "b", "c"], "answer": 0,
         "explanation": "Eight words at least are needed to explain it.",
         "evidence": {"notebook": "one", "cell": "assert x == 1"}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "right"}, "the verdict is 'right'"),
        ({"evidence": {}}, "neither evidence nor sources"),
        ({"found": " "}, "no found"),
        ({"found": "TODO"}, "nothing found yet"),
        ({"means": ""}, "no means"),
        ({"id": "C02"}, "C01: missing"),
    ],
)
def test_a_claim_that_lacks_something_is_found(change, said):
    assert any(said in problem for problem in evidence.complete([ONE | change], last=1))
    assert not any("C01" in problem for problem in evidence.complete([ONE], last=1))


def test_a_claim_without_its_cell_is_found():
    assert evidence.decided([ONE], {"one": lesson_with("assert True", "claim-C01")}) == []
    for lessons in (
        {},
        {"one": lesson_with("assert True")},
        {"one": lesson_with("assert True", "claim-C02")},
        {"one": lesson_with("print(1)", "claim-C01")},
    ):
        assert len(evidence.decided([ONE], lessons)) == 1


def test_a_tag_that_no_claim_knows_is_found():
    assert evidence.known_tags([ONE], {"one": lesson_with("assert True", "claim-C01", "hide-input")}) == []
    assert len(evidence.known_tags([ONE], {"one": lesson_with("assert True", "claim-C99")})) == 1
    assert len(evidence.known_tags([ONE], {"two": lesson_with("assert True", "claim-C01")})) == 1


def test_a_source_that_is_not_there_is_found():
    claim = ONE | {"sources": ["brown2020gpt3", "nobody2020nothing"]}
    assert evidence.cited([claim], evidence.keys()) == ["C01: no 'nobody2020nothing' in references.bib"]


@pytest.mark.parametrize(
    "text",
    [
        "GPT-3 needed three days on 175 V100 GPUs.",
        "GPT-3 was trained on 175 V100 GPUs\nin only 3 days.",
        "The breakthrough of 2018 was GPT-2.",
        "GPT-2 came out in 2018.",
        "Large models are usually trained from scratch.",
        "# 递归神经网络",
        "- Vaswani, Shazeer, Parmar, Weihs, Peiris 2017",
        "    self.fc1 = nn.Linear(64 * 6 * 6, 128)",
    ],
)
def test_a_repeated_error_is_found_unless_it_is_somebody_elses(text):
    assert len(evidence.repeated(f"Some words.\n\n{text}\n\nMore words.", CLAIMS)) >= 1
    assert evidence.repeated(f"The article says: {text}", CLAIMS) == []


@pytest.mark.parametrize("text", ["GPT-1 (2018) and GPT-2 (2019)", "It took three days.", "175 billion parameters"])
def test_what_is_right_is_not_taken_for_it(text):
    assert evidence.repeated(text, CLAIMS) == []


@pytest.mark.parametrize(
    "change",
    [{"answer": 3}, {"answer": None}, {"choices": ["a", "b"]}, {"choices": ["a", "a", "b"]},
     {"choices": [1, 2, 3]}, {"explanation": "So."}],
)  # fmt: skip
def test_a_question_without_an_answer_is_found(change):
    chapters = {n: [ASKED | {"id": f"q{n}"}] for n in range(1, 9)}
    assert evidence.asked(chapters) == []
    assert evidence.asked(chapters | {1: [ASKED | change]})
    assert evidence.asked({1: [ASKED]})  # seven chapters without one


@pytest.mark.parametrize(
    "proof",
    [{}, {"cite": "nobody2020nothing"}, {"notebook": "two", "cell": "assert x == 1"},
     {"notebook": "one", "cell": "assert x == 2"}, {"notebook": "one", "cell": "y = 3"}],
)  # fmt: skip
def test_a_key_without_proof_is_found(proof):
    lessons = {"one": lesson_with("x = 1\nassert x == 1")}
    lessons["one"].cells.append(new_code_cell("y = 3"))
    known = {"brown2020gpt3"}
    assert evidence.proved({1: [ASKED]}, lessons, known) == []
    assert evidence.proved({1: [ASKED | {"evidence": {"cite": "brown2020gpt3"}}]}, lessons, known) == []
    assert len(evidence.proved({1: [ASKED | {"evidence": proof}]}, lessons, known)) == 1


def test_a_proof_that_did_not_run_is_found():
    notebook = lesson_with("assert True")
    assert evidence.ran(notebook, [1]) == ["cell 2 was not executed"]
    done = copy.deepcopy(notebook)
    done.cells[1].execution_count = 1
    assert evidence.ran(done, [1]) == []
    done.cells[1].outputs = [new_output("error", ename="AssertionError", evalue="", traceback=[])]
    assert evidence.ran(done, [1]) == ["cell 2 ended in AssertionError"]
