"""Each exercise check accepts what is right, rejects what is wrong, and leaves open what is not answered."""

import numpy as np
import pytest
import torch

from bigmodel_lab import check
from bigmodel_lab.errors import ExerciseError, InputError


def double(x):
    return 2 * x


RIGHT = [
    lambda: check.equal(3, 3),
    lambda: check.equal([1, "a"], [1, "a"]),
    lambda: check.shape(torch.zeros(2, 3), (2, 3)),
    lambda: check.close(0.1 + 0.2, 0.3),
    lambda: check.close(torch.ones(2), np.ones(2)),
    lambda: check.close(1e9 + 1, 1e9),  # relative above one
    lambda: check.close(torch.ones(2, dtype=torch.bfloat16, requires_grad=True), [1, 1]),
    lambda: check.close([torch.tensor(1.0, requires_grad=True), torch.tensor(2.0)], [1, 2]),
    lambda: check.close([], []),
    lambda: check.equal(torch.arange(3), torch.arange(3)),
    lambda: check.equal([np.ones(2), 1], [np.ones(2), 1]),
    lambda: check.between(0.5, 0, 1),
    lambda: check.between(torch.tensor(1.0), 1, 1),
    lambda: check.function(lambda x: x + x, double, [(1,), (torch.arange(3),)]),
]

WRONG = [
    lambda: check.equal(4, 3),
    lambda: check.equal(True, 1),
    lambda: check.equal(3.0, 3),
    lambda: check.shape(torch.zeros(3, 2), (2, 3)),
    lambda: check.shape([1, 2], (2,)),
    lambda: check.close(0.31, 0.3),
    lambda: check.close(float("nan"), 1.0),
    lambda: check.close(torch.full((2,), torch.inf), torch.ones(2)),
    lambda: check.close("0.3", 0.3),
    lambda: check.close(["0.3"], [0.3]),
    lambda: check.close(1 + 0j, 1.0),
    lambda: check.close(torch.ones(2, dtype=torch.complex64), torch.ones(2)),
    lambda: check.close(10**400, 1.0),
    lambda: check.equal(torch.zeros(3), torch.ones(3)),
    lambda: check.equal(torch.zeros(3), torch.zeros(2)),
    lambda: check.equal(torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
    lambda: check.equal(torch.zeros(3), np.zeros(3)),
    lambda: check.between("0.5", 0, 1),
    lambda: check.between(torch.zeros(2), 0, 1),
    lambda: check.between(10**400, 0, 1),
    lambda: check.close(torch.ones(1, 2), torch.ones(2)),  # never broadcast
    lambda: check.close(None, 0.0),
    lambda: check.close("0.3", [0.3, 0.4]),
    lambda: check.close({"a": 1}, 0.3),
    lambda: check.between(1.1, 0, 1),
    lambda: check.between(float("nan"), 0, 1),
    lambda: check.between("high", 0, 1),
    lambda: check.function(lambda x: x + 1, double, [(1,), (2,)]),
    lambda: check.function(lambda x: None, double, [(1,)]),
    lambda: check.function(lambda x: x / 0, double, [(1,)]),
    lambda: check.function(7, double, [(1,)]),
]

OPEN = [
    lambda: check.equal(..., 3),
    lambda: check.shape(..., (2, 3)),
    lambda: check.close(..., 3.0),
    lambda: check.between(..., 0, 1),
    lambda: check.function(lambda x: ..., double, [(1,)]),
    lambda: check.function(..., double, [(1,)]),
]


@pytest.mark.parametrize("right", RIGHT)
def test_a_right_answer_is_said_to_be_right(right, capsys):
    right()
    assert capsys.readouterr().out.startswith("✓ ")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_refused_with_expected_and_got(wrong, capsys):
    with pytest.raises(ExerciseError, match=r"expected: (.|\n)*got: "):
        wrong()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("unanswered", OPEN)
def test_an_open_answer_is_neither(unanswered, capsys):
    unanswered()
    out = capsys.readouterr().out
    assert out.startswith("✎ ")
    assert "✓" not in out


def test_the_hint_is_shown():
    with pytest.raises(ExerciseError, match="try:      think of the mean"):
        check.equal(4, 3, hint="think of the mean")


def test_the_first_wrong_place_is_named():
    with pytest.raises(ExerciseError, match=r"9 at index \(1, 0\), where 3 was expected"):
        check.close([[1, 2], [9, 4]], [[1, 2], [3, 4]])


def test_the_place_furthest_beyond_its_tolerance_is_named():
    with pytest.raises(ExerciseError, match=r"2.5 at index \(1,\), where 2 was expected"):
        check.close([1e9 + 1, 2.5], [1e9, 2])


def test_numbers_that_look_alike_get_more_digits():
    with pytest.raises(ExerciseError, match=r"to be 0.3333333333 (.|\n)*got: +0.3333333433"):
        check.close(1 / 3 + 1e-8, 1 / 3, tolerance=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: check.close(1.0, float("nan")),
        lambda: check.close(1.0, "1"),
        lambda: check.function(double, lambda x: float("inf"), [(1,)]),
        lambda: check.function(double, double, []),
    ],
)
def test_a_mistake_of_the_exercise_is_not_the_learners(wrong):
    with pytest.raises(InputError, match="expected"):
        wrong()


def test_reference_and_answer_get_arguments_of_their_own():
    check.function(double, lambda x: x.mul_(2), [(torch.ones(2),)])
    check.function(lambda x, rng: x + rng.random(), lambda x, rng: x + rng.random(), [(1, np.random.default_rng(0))])
    with pytest.raises(ExerciseError, match=r"leave its arguments(.|\n)*argument 1 changed from tensor"):
        check.function(lambda x: x.mul_(2), double, [(torch.ones(2),)])


def test_an_object_that_equals_everything_does_not_pass_for_a_number():
    class Chameleon:
        def __eq__(self, other):
            return True

        __hash__ = object.__hash__

    for attempt in (lambda: check.equal(Chameleon(), 3), lambda: check.close(Chameleon(), 3.0)):
        with pytest.raises(ExerciseError):
            attempt()


def test_raises_prints_the_traceback_and_goes_on(capsys):
    with check.raises(ZeroDivisionError):
        1 / 0  # noqa: B018
    out = capsys.readouterr().out
    assert "1 / 0" in out
    assert out.rstrip().endswith("ZeroDivisionError: division by zero")


def test_raises_refuses_no_error_and_another_error():
    with pytest.raises(ExerciseError, match="no error"), check.raises(ValueError):
        pass
    with pytest.raises(ExerciseError, match="TypeError: other"), check.raises(ValueError):
        raise TypeError("other")


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_frames_of_installed_packages_are_left_out(folder, capsys):
    code = compile("def inner():\n    return 1 / 0", f"/usr/lib/python3/{folder}/some.py", "exec")
    names = {}
    exec(code, names)
    with check.raises(ZeroDivisionError):
        names["inner"]()
    assert "in inner" not in capsys.readouterr().out
