"""Each assignment has plausible wrong answers, written down in `wrong_answers/`: the right question catches each."""

from pathlib import Path

import pytest
import yaml

from bigmodel_lab.course.questions import load
from bigmodel_lab.course.release import solution_copy
from tests.notebooks.answering import shares
from tests.notebooks.ledger import ROOT
from tests.notebooks.verdicts import none_of

ASSIGNMENTS = sorted((ROOT / "notebooks" / "assignments").glob("*.ipynb"))
each = pytest.mark.parametrize("path", ASSIGNMENTS, ids=lambda path: path.stem)


def wrong_answers(path):
    """Name -> the question, and what is wrong: edits of the solution's cell, or another cell in its place."""
    file = Path(__file__).parent / "wrong_answers" / f"{path.stem}.yml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@each
def test_there_are_some_for_each_code_question(path):
    asked = {question.name for question in load(path).questions if question.kind == "code"}
    assert asked <= {one["question"] for one in wrong_answers(path).values()}


@pytest.mark.slow
@each
def test_each_loses_points_in_its_question(path, tmp_path):
    wrong = wrong_answers(path)
    found = shares(solution_copy(path), load(path), "Ada", tmp_path, wrong)
    none_of([f"not caught: {name} ({wrong[name]['question']})" for name, share in found.items() if share > 0.999])


@pytest.mark.slow
def test_a_right_answer_loses_none(tmp_path):
    path = next(path for path in ASSIGNMENTS if path.stem.startswith("08"))
    names = {question.name for question in load(path).questions if question.kind == "code"}
    same = {name: {"question": name, "edits": []} for name in names}
    assert shares(solution_copy(path), load(path), "Ada", tmp_path, same) == dict.fromkeys(names, 1.0)
