"""Instructions: every prompt read again by a reader of its own, answers by hand, and wrong arguments refused."""

from collections import Counter

import numpy as np
import pytest
import torch

from bigmodel_lab import train
from bigmodel_lab.data import instructions
from bigmodel_lab.data.instructions import COMMANDS, LETTERS, MARKS, STOP, carry_out, divided, encode, flat, ids, words
from bigmodel_lab.errors import InputError


def letters_of(prompt):
    return tuple(token for token in prompt if token in LETTERS)


def commands_of(prompt):
    return [token for token in prompt if token in COMMANDS]


class TestCarryOut:
    @pytest.mark.parametrize(
        ("command", "answer"), [("copy", "cad"), ("reverse", "dac"), ("upper", "CAD"), ("count", "3")]
    )
    def test_answers_by_hand(self, command, answer):
        assert carry_out(command, "cad") == tuple(answer)

    @pytest.mark.parametrize("letters", ["", "cax", "abcdefgha", ["A"], [":"]])
    def test_refuses_what_are_no_letters(self, letters):
        with pytest.raises(InputError, match="letters among abcdefgh"):
            carry_out("copy", letters)

    def test_refuses_an_unknown_command(self):
        with pytest.raises(InputError, match="copy, reverse, upper, count"):
            carry_out("delete", "cad")


class TestFlat:
    def test_the_last_command_after_a_change_of_mind_is_right_and_else_the_only_one(self):
        for prompt, answer in flat(2000, seed=1):
            assert prompt[-1] == "="
            assert len(commands_of(prompt)) == 1 + ("ignore" in prompt)
            assert answer == carry_out(commands_of(prompt)[-1], letters_of(prompt))

    def test_all_layouts_occur_about_as_often_as_the_docstring_says(self):
        prompts = [prompt for prompt, _ in flat(4000)]
        first = [p for p in prompts if p[0] in COMMANDS and "ignore" not in p]
        changed_before = [p for p in prompts if "ignore" in p and p[2] == "ignore"]
        changed_after = [p for p in prompts if "ignore" in p and p[2] != "ignore"]
        last = [p for p in prompts if p[0] not in COMMANDS]
        for part, share in ((first, 0.4), (last, 0.15), (changed_before, 0.15), (changed_after, 0.3)):
            assert abs(len(part) / len(prompts) - share) < 0.03
        assert abs(sum('"' in p for p in prompts) / len(prompts) - 0.3) < 0.03

    def test_no_user_types_a_mark(self):
        assert not {token for prompt, _ in flat(500, injected=0.5) for token in prompt} & set(MARKS)

    def test_injected_data_end_in_a_command_that_is_not_obeyed(self):
        for prompt, answer in flat(500, injected=1.0):
            inner = prompt[-3]
            assert prompt[-2:] == (":", "=")
            assert inner in COMMANDS
            assert inner != prompt[0]
            assert answer == carry_out(prompt[0], letters_of(prompt))

    def test_the_same_tokens_have_two_answers_once_data_are_injected(self):
        honest, injected = dict(flat(60_000)), dict(flat(20_000, injected=1.0))
        both = honest.keys() & injected.keys()
        assert len(both) > 20
        assert sum(honest[prompt] != injected[prompt] for prompt in both) > 0.9 * len(both)


class TestDivided:
    def test_the_instruction_alone_decides(self):
        for prompt, answer in divided(2000, seed=2, injected=0.5):
            at = prompt.index("<data>")
            assert prompt[0] == "<inst>"
            assert prompt[-1] == "<resp>"
            assert Counter(prompt)["<data>"] == 1
            assert answer == carry_out(commands_of(prompt[:at])[-1], letters_of(prompt[at:]))

    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    def test_the_share_of_injected_data(self, share):
        data = [prompt[prompt.index("<data>") :] for prompt, _ in divided(2000, injected=share)]
        found = sum(bool(commands_of(part)) for part in data) / len(data)
        assert abs(found - share) < 0.04 * (0 < share < 1) + 1e-9

    def test_the_hidden_command_is_never_the_instruction(self):
        for prompt, answer in divided(1000, injected=1.0):
            assert prompt[-3] in COMMANDS
            assert prompt[-3] not in commands_of(prompt)[:-1]
            assert answer != carry_out(prompt[-3], letters_of(prompt))


@pytest.mark.parametrize("make", [flat, divided])
class TestBoth:
    def test_the_seed_decides(self, make):
        assert make(50, seed=3) == make(50, seed=3) != make(50, seed=4)
        assert make(50, seed=np.int64(3)) == make(50, seed=3)

    def test_letters_are_different_and_three_to_five(self, make):
        counts = Counter(len(set(letters_of(prompt))) for prompt, _ in make(600))
        assert set(counts) == {3, 4, 5}
        assert all(len(letters_of(p)) == len(set(letters_of(p))) for p, _ in make(100))

    @pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 2.5}, {"n": True}, {"n": 3, "seed": 1.5}])
    def test_refuses_other_numbers(self, make, wrong):
        with pytest.raises(InputError):
            make(**wrong)

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_refuses_a_share_that_is_none(self, make, share):
        with pytest.raises(InputError, match="a share in"):
            make(3, injected=share)


class TestEncode:
    def test_targets_are_the_answer_and_its_end_one_step_ahead(self):
        pairs = flat(200)
        rows, targets = encode(pairs, 24)
        assert rows.shape == targets.shape == (200, 24)
        assert rows.dtype == targets.dtype == torch.int64
        for (prompt, answer), row, target in zip(pairs, rows, targets, strict=True):
            asked = target != -100
            assert words(target[asked]) == answer
            assert asked.sum() == len(answer) + 1
            assert asked.nonzero()[0] == len(prompt) - 1
            assert words(row[: len(prompt)]) == prompt
            assert words(row[len(prompt) : len(prompt) + len(answer)]) == answer
            assert not row[len(prompt) + len(answer) :].any()

    def test_a_model_that_knows_the_answers_has_no_loss_and_one_that_knows_the_prompt_has(self):
        rows, targets = encode(divided(50, injected=0.5), 24)
        known = 50.0 * torch.nn.functional.one_hot(targets.clamp_min(0), len(instructions.TOKENS)).float()
        assert train.token_loss(known, targets) < 1e-6
        echo = 50.0 * torch.nn.functional.one_hot(rows, len(instructions.TOKENS)).float()
        assert train.token_loss(echo, targets) > 5

    def test_the_length_may_just_fit(self):
        pairs = [(("copy", ":", "a", "="), ("a",))]
        rows, targets = encode(pairs, 5)
        assert words(rows[0]) == ("copy", ":", "a", "=", "a")
        assert [words([t]) for t in targets[0, 3:].tolist()] == [("a",), ()]
        with pytest.raises(InputError, match="at least 5"):
            encode(pairs, 4)

    def test_refuses_nothing_at_all(self):
        with pytest.raises(InputError, match="examples"):
            encode([], 24)


class TestIds:
    def test_there_and_back(self):
        prompt = ("<inst>", "upper", ":", "<data>", "h", "<resp>")
        assert words(ids([prompt])[0]) == prompt
        assert words(ids([(*prompt, "H", STOP, "a")])[0]) == (*prompt, "H")

    def test_each_token_has_its_own_number(self):
        assert ids([instructions.TOKENS])[0].tolist() == list(range(len(instructions.TOKENS)))
        assert len(set(instructions.TOKENS)) == len(instructions.TOKENS)

    def test_refuses_prompts_of_two_lengths_and_foreign_tokens(self):
        with pytest.raises(InputError, match=r"lengths \[1, 2\]"):
            ids([("a",), ("a", "b")])
        with pytest.raises(InputError, match="zebra"):
            ids([("a", "zebra")])
