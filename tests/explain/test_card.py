"""A model card says what was measured, can be read back, and is caught when it is not true any more."""

import copy
import math
import re
from statistics import NormalDist

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from torch import nn

from bigmodel_lab import train
from bigmodel_lab.errors import DataError, InputError
from bigmodel_lab.explain import evidence
from bigmodel_lab.explain.card import WORDS, Card, HeldOut, Stale, check, interval, measure, model_card
from bigmodel_lab.explain.card_text import check_name, check_words, fill, flat, show

SAID = {name: f"Something about {name}, 模型卡 – « é » and 8 × 8 pixels." for name in WORDS}


def error(outputs, targets):
    return (outputs - nn.functional.one_hot(targets, 3)).square().sum(1)


def held_out(**changes):
    """Twelve examples: the model below is right wherever the input's largest entry is at the target."""
    targets = torch.arange(12) % 3
    inputs = nn.functional.one_hot(targets, 3).float()
    inputs[[0, 3]] = torch.tensor([0.0, 1.0, 0.0])  # two of the four zeros look like ones
    plain = {
        "name": "toy",
        "inputs": inputs,
        "targets": targets,
        "classes": ("zero", "one", "twö"),
        "groups": {"colour": ["red"] * 3 + ["blue"] * 9},
        "conditions": {
            "rolled": lambda x, generator: x.roll(-1, 1),
            "noise 0.5": lambda x, generator: x + 0.5 * torch.randn(x.shape, generator=generator),
        },
        "metrics": {"accuracy": train.accuracy, "squared error": error},
    }
    return HeldOut(**plain | changes)


@pytest.fixture
def model():
    made = nn.Linear(3, 3, bias=False)
    nn.init.eye_(made.weight)
    return made


HISTORY = train.History([{"epoch": 1, "train_loss": 0.5, "learning_rate": 0.1, "seconds": 2.0}], [0.6, 0.4])


def made(model, test=None, **changes):
    test = test or held_out()
    given = {"name": "toy-linear", "words": SAID, "license": "mit", "task": "other", "seed": 3, "history": HISTORY}
    given |= {"training": (test.inputs[:1] + torch.eye(3), torch.arange(3)), "date": "2026-11-24"}
    return model_card(model, test, **given | changes)


class TestIntervals:
    @pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 10), (40, 40), (437, 450)])
    def test_a_share_has_wilsons_closed_form(self, right, n):
        low, high = interval(torch.tensor([1.0] * right + [0.0] * (n - right)))
        z, p = NormalDist().inv_cdf(0.975), right / n
        for end in (low, high):  # Wilson's ends are where |p - end| is z standard errors of `end` itself
            assert end in (0, 1) or math.isclose(abs(p - end), z * math.sqrt(end * (1 - end) / n), rel_tol=1e-9)
        assert low <= p <= high
        assert high - low > 0

    def test_it_covers_the_truth_as_often_as_it_says(self):
        shares = torch.binomial(torch.full((4000,), 45.0), torch.tensor(0.95), generator=torch.manual_seed(0))
        found = {int(k): interval(torch.tensor([1.0] * int(k) + [0.0] * (45 - int(k)))) for k in shares.unique()}
        covered = sum(low <= 0.95 <= high for low, high in (found[int(k)] for k in shares)) / len(shares)
        assert 0.92 < covered < 0.99

    def test_other_means_have_the_bootstraps_which_is_normal_for_many(self, monkeypatch):
        scores = torch.randn(2000, generator=torch.manual_seed(1)) + 5
        low, high = interval(scores)
        half = 1.96 * scores.std().item() / math.sqrt(2000)
        assert abs(low - (scores.mean().item() - half)) < 0.1 * half
        assert abs(high - (scores.mean().item() + half)) < 0.1 * half
        assert (low, high) == interval(scores)  # seeded
        monkeypatch.setattr(evidence, "MANY", 100)
        torch.testing.assert_close(interval(scores), (low, high), rtol=0, atol=0.1 * half)

    @pytest.mark.parametrize("scores", [torch.tensor([]), torch.ones(2, 2), torch.tensor([0.5, torch.nan])])
    def test_what_has_no_mean_is_refused(self, scores):
        with pytest.raises(InputError, match="one per example"):
            interval(scores)


class TestMeasuring:
    def test_results_are_counted_on_all_on_groups_and_under_conditions(self, model):
        found = measure(model, held_out())
        value = {part: one["accuracy"]["value"] for part, one in found.items()}
        assert value["all"] == pytest.approx(10 / 12)
        assert [value[f"class: {name}"] for name in ("zero", "one", "twö")] == [0.5, 1, 1]
        assert value["colour: red"] == pytest.approx(2 / 3)
        assert value["colour: blue"] == pytest.approx(8 / 9)
        assert value["under: rolled"] == pytest.approx(2 / 12)  # only the two that were wrong are right then
        assert found["colour: red"]["accuracy"]["examples"] == 3
        assert found["all"]["squared error"]["value"] == pytest.approx(4 / 12)

    def test_groups_add_up_to_the_whole(self, model):
        found = measure(model, held_out())
        for factor in ("class", "colour"):
            rows = [one["squared error"] for part, one in found.items() if part.startswith(f"{factor}: ")]
            total = sum(row["value"] * row["examples"] for row in rows)
            assert total == pytest.approx(12 * found["all"]["squared error"]["value"])

    def test_conditions_change_neither_the_inputs_nor_from_call_to_call(self, model):
        test = held_out(conditions={"zeroed": lambda x, generator: x.zero_(), **held_out().conditions})
        before = test.inputs.clone()
        assert measure(model, test) == measure(model, test)
        assert torch.equal(test.inputs, before)
        other = measure(model, held_out(seed=1))["under: noise 0.5"]
        assert other != measure(model, test)["under: noise 0.5"]

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"targets": torch.arange(3)}, "3 targets"),
            ({"metrics": {}}, "0 metrics"),
            ({"groups": {"colour": ["red"]}}, "a name for each of 12"),
            ({"groups": {"class": ["red"] * 12}}, "other names"),
            ({"classes": ("zero", "one")}, "from 0 to 1"),
            ({"conditions": {"noise: 0.5": None}}, "a name without"),
            ({"groups": {"colour": ["re|d"] * 12}}, "a name without"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(self, wrong, message):
        with pytest.raises(InputError, match=re.escape(message)):
            held_out(**wrong)

    def test_a_metric_of_the_whole_set_is_refused(self, model):
        with pytest.raises(InputError, match="one score per example"):
            measure(model, held_out(metrics={"mean": lambda outputs, targets: outputs.mean()}))

    def test_a_hash_tells_one_bit_one_shape_and_one_type_from_another(self):
        x = torch.zeros(2, 3)
        others = [x.T, x.double(), x + 1e-45, x.flatten()]
        assert len({evidence.digest(one) for one in [x, *others]}) == 5
        assert evidence.digest(x) == evidence.digest(x.T.contiguous().T)
        assert evidence.digest(torch.tensor(True), torch.zeros(0, dtype=torch.bfloat16))

    def test_training_examples_among_the_held_out_are_counted(self, model):
        test = held_out()
        assert made(model).numbers["data/held out/also in the training data"] == 0
        leaked = made(model, training=(test.inputs[1:2], test.targets[1:2]))
        assert leaked.numbers["data/held out/also in the training data"] == 6  # the four ones, and two that look so


class TestTheFile:
    def test_hugging_face_reads_it_back_equal(self, model, tmp_path):
        card = made(model, board={"saliency": {"mass": 0.25, "tau": None}}, run={"command": "python -m x"})
        file = card.save(tmp_path / "new" / "folder")
        read = ModelCard.load(file)
        assert str(read) == card.content == file.read_text(encoding="utf-8")
        assert read.data.license == "mit"
        assert read.data.metrics == ["accuracy", "squared error"]
        first = read.data.eval_results[0]
        assert (first.dataset_config, first.metric_type) == ("all", "accuracy")
        assert first.metric_value == card.numbers["results/all/accuracy/value"]
        assert first.dataset_revision == card.numbers["data/held out/hash"]

    def test_it_comes_back_as_the_same_card(self, model, tmp_path):
        card = made(model, cost={"energy (Wh)": 1.5e-7})
        card.save(tmp_path)
        again = Card.load(tmp_path)
        assert again == card
        assert again.numbers == card.numbers
        assert again.text == card.text
        assert again != made(model, seed=4)
        assert repr(again) == "Card(toy-linear: 8 results on toy)"

    def test_its_metadata_are_plain_yaml(self, model):
        head = made(model).content.split("---\n")[1]
        data = yaml.safe_load(head)
        assert data["model-index"][0]["name"] == "toy-linear"
        assert data["record"]["words"]["ethics"] == SAID["ethics"]
        assert "!!" not in head
        assert "&id" not in head

    def test_every_number_of_the_text_is_in_the_record(self, model):
        card = made(model)
        body = card.text.split("## Model details")[1].split("## Check")[0]
        for text in SAID.values():
            body = body.replace(text, "")
        body = body.replace("95 % interval", "")
        shown = " ".join([show(value) for value in card.numbers.values()] + list(card.numbers))
        for number in re.findall(r"\d[\d,.]*\d|\d", body):
            assert number in shown, number

    def test_it_is_not_written_over_another_one(self, model, tmp_path):
        card, other = made(model), made(model, seed=4)
        card.save(tmp_path)
        card.save(tmp_path)  # the same one: nothing to lose
        with pytest.raises(InputError, match="without another card"):
            other.save(tmp_path)
        assert Card.load(tmp_path) == card
        other.save(tmp_path, overwrite=True)
        assert Card.load(tmp_path) == other

    def test_a_write_that_fails_leaves_the_old_one_whole(self, model, tmp_path, monkeypatch):
        made(model).save(tmp_path)
        monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            made(model, seed=4).save(tmp_path, overwrite=True)
        assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
        assert Card.load(tmp_path) == made(model)

    def test_a_notebook_shows_all_of_it_without_headings(self, model):
        card = made(model, name="a <b> c", run={"command": "python `x` | y"})
        shown = card._repr_html_()
        assert "<p><strong>Model details</strong></p>" in shown
        assert "a &lt;b&gt; c" in shown
        assert not re.search(r"<h\d|\*\*|```", shown)
        assert "<td>python <code>x</code> | y</td>" in shown
        code = re.search(r"<pre>(.*?)</pre>", shown, re.DOTALL)[1]
        assert code.splitlines()[0] == "from bigmodel_lab.explain import card"
        assert code.splitlines()[-1].startswith("print(")
        rows = [line for line in card.text.splitlines() if line.startswith("| ") and "---" not in line]
        empty = sum(not line.strip("| ") for line in rows)
        assert shown.count("<tr>") == len(rows) - empty

    def test_energy_that_nobody_measured_is_said_to_be_so(self, model):
        assert "| energy | not measured |" in made(model).text
        assert "not measured" not in made(model, cost={"energy (Wh)": 1.3}).text

    @pytest.mark.parametrize("text", ["no card", "---\nlicense: mit\n---\n# x\n"])
    def test_a_foreign_card_is_refused(self, tmp_path, text):
        (tmp_path / "README.md").write_text(text)
        with pytest.raises(DataError, match="without its record"):
            Card.load(tmp_path)

    def test_a_missing_card_is_named(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            Card.load(tmp_path)


class TestTampering:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("| all | 0.833", "| all | 0.933"),  # a number in the text
            ("value: 0.8333333333333334", "value: 0.9333333333333333"),  # the same in the record
            ("| colour | accuracy", "| color | accuracy"),
            ("\n## Ethical considerations\n", "\n## Ethics\n"),
        ],
    )
    def test_an_edit_by_hand_is_caught_on_reading(self, model, tmp_path, old, new):
        file = made(model).save(tmp_path)
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(DataError, match="card's own record"):
            Card.load(tmp_path)

    def test_a_record_with_a_hole_is_caught_on_reading(self, model, tmp_path):
        file = made(model).save(tmp_path)
        file.write_text(file.read_text(encoding="utf-8").replace("  machine:", "  machin:"), encoding="utf-8")
        with pytest.raises(DataError, match="whole record"):
            Card.load(tmp_path)

    def test_a_card_invented_as_a_whole_is_caught_by_measuring(self, model):
        card = made(model)
        results = copy.deepcopy(card.results)
        results["colour: red"]["accuracy"]["value"] = 0.9
        results["all"]["accuracy"]["low"] += 0.2
        invented = Card(name=card.name, about=card.about, results=results, record=card.record)
        assert [one.what for one in check(invented, model, held_out())] == [
            "results/all/accuracy/low",
            "results/colour: red/accuracy/value",
        ]


class TestChecking:
    def test_a_true_card_holds(self, model, tmp_path):
        card, test = made(model, board={"saliency": {"mass": 0.5}}), held_out()
        card.save(tmp_path)
        training = (test.inputs[:1] + torch.eye(3), torch.arange(3))
        assert check(Card.load(tmp_path), model, test, training=training, board={"saliency": {"mass": 0.5}}) == []

    def test_the_smallest_change_of_a_weight_is_caught_though_no_result_moves(self, model):
        card = made(model, held_out(metrics={"accuracy": train.accuracy}, conditions={}))
        with torch.no_grad():
            model.weight[0, 0] += 1e-6
        test = held_out(metrics={"accuracy": train.accuracy}, conditions={})
        assert [one.what for one in check(card, model, test)] == ["model/weights"]

    def test_each_number_that_moved_is_named_with_both_values(self, model):
        card = made(model)
        with torch.no_grad():
            model.weight[1, 1] = -1.0  # ones are not recognised any more
        stale = {one.what: one for one in check(card, model, held_out())}
        one = stale["results/class: one/accuracy/value"]
        assert (one.expected, one.got) == (1, 0)
        assert str(one) == "results/class: one/accuracy/value: expected 1, got 0"
        assert "results/class: one/accuracy/low" not in stale  # its value says it already
        assert "results/class: twö/accuracy/value" not in stale

    def test_a_tolerance_forgives_a_close_call(self, model):
        card, test = made(model), held_out()
        results = copy.deepcopy(card.results)
        results["all"]["accuracy"]["value"] += 1 / 12
        near = Card(name=card.name, about=card.about, results=results, record=card.record)
        assert check(near, model, test)
        assert not check(near, model, test, tolerance=2 / 12)

    def test_other_data_other_boards_and_other_groups_are_named(self, model):
        card = made(model, board={"saliency": {"mass": 0.5}})
        test = held_out(groups={"shade": ["dark"] * 12})
        found = [one.what for one in check(card, model, test, board={"saliency": {"mass": 0.7}})]
        assert "explanations/saliency/mass" in found
        assert "results/shade: dark/accuracy/value" in found
        assert "results/colour: red/accuracy/value" in found
        moved = held_out(inputs=held_out().inputs * 2)
        assert "data/held out/hash" in [one.what for one in check(card, model, moved)]
        training = (moved.inputs, moved.targets)
        assert "data/training/hash" in [one.what for one in check(card, model, held_out(), training=training)]

    def test_what_is_only_on_one_side_is_none(self):
        assert str(Stale("a", 1.0, None)) == "a: expected 1, got None"


class TestWords:
    def test_all_of_them_must_be_there(self, model):
        for name in WORDS:
            with pytest.raises(InputError, match=f"nothing for {name}"):
                made(model, words={key: text for key, text in SAID.items() if key != name})
        with pytest.raises(InputError, match="nothing for ethics, caveats"):
            check_words(SAID | {"ethics": " ", "caveats": None})

    @pytest.mark.parametrize("text", ["[More Information Needed]", "TODO: write this down later", "tbd", "…", "none"])
    def test_boilerplate_is_refused(self, text):
        with pytest.raises(InputError, match="nothing for caveats"):
            check_words(SAID | {"caveats": text})

    def test_an_unknown_one_is_refused(self):
        with pytest.raises(InputError, match="'thanks'"):
            check_words(SAID | {"thanks": "To all who made it."})

    @pytest.mark.parametrize("text", ["It is right in 97 % of cases.", "An accuracy of 0.97 is reached.", "97 percent"])
    def test_a_number_written_by_hand_is_refused(self, text):
        with pytest.raises(InputError, match="without measured numbers"):
            check_words(SAID | {"metrics": f"As measured here. {text}"})

    def test_a_number_by_its_path_is_filled_in(self, model):
        words = SAID | {"caveats": "Right for {results/colour: red/accuracy/value:.1%} of {data/held out/examples}."}
        assert "Right for 66.7% of 12." in made(model, words=words).text

    @pytest.mark.parametrize("path", ["{results/al/accuracy/value}", "{}", "{name:.2f}"])
    def test_a_path_that_leads_nowhere_is_refused(self, model, path):
        with pytest.raises(InputError, match="the path of a number"):
            made(model, words=SAID | {"caveats": f"Look at this number: {path}"})

    def test_a_format_that_does_not_fit_is_refused(self):
        with pytest.raises(InputError, match="a format that fits"):
            fill("{a/b:.1%}", flat({"a": {"b": "text"}}))

    @pytest.mark.parametrize("name", ["", " a", "a/b", "a|b", "a:b", "a\nb", "{a}", 3])
    def test_names_fit_into_tables_and_paths(self, name):
        with pytest.raises(InputError, match="a name without"):
            check_name(name)

    def test_numbers_are_shown_with_a_readers_precision(self):
        shown = [show(value) for value in (0.83333, 1.0, 1234567, 1234567.8, 1.5e-7, 123.456, "x", None, True, [1, 2])]
        assert shown == ["0.833", "1.000", "1,234,567", "1,234,568", "1.5e-07", "123.5", "x", "None", "True", "1, 2"]


class TestBoards:
    class Board:
        cases, metrics = ("cnn",), ("mass", "gini")

        def scores(self, metric, case):
            return {"saliency": (0.5, 0.4, 0.6)} | ({"random": (0.1, 0.0, 0.2)} if metric == "mass" else {})

    def test_a_board_becomes_a_table_with_intervals(self, model, tmp_path):
        card = made(model, board=self.Board())
        assert "| saliency | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in card.text
        assert "| random | 0.100 (0 to 0.200) | – |" in card.text
        card.save(tmp_path)
        assert check(Card.load(tmp_path), model, held_out(), board=self.Board()) == []

    def test_several_cases_are_told_apart(self, model):
        board = self.Board()
        board.cases = ("cnn", "vit")
        assert "| saliency on vit |" in made(model, board=board).text

    def test_the_librarys_own_board_fits(self, model):
        pytest.importorskip("bigmodel_lab.explain.boards")
        from bigmodel_lab.explain.boards import Case, board
        from bigmodel_lab.explain.methods.gradients import saliency

        class Mass:
            higher_is_better = True

            @staticmethod
            def function(values):
                return values.abs().sum(1)

        test = held_out()
        scored = board(
            {"saliency": saliency},
            {"mass": Mass},
            {"toy": Case(forward=model.eval(), inputs=test.inputs, target=test.targets)},
            controls={},
        )
        assert made(model, board=scored).numbers["explanations/saliency/mass/value"] == 1


def test_configurations_are_read_from_dataclasses_and_from_transformers(model):
    from transformers import BertConfig

    from bigmodel_lab.models.cnn import CNN, CNNConfig

    assert evidence.about_model(CNN(CNNConfig(widths=(4, 8))))["configuration"]["widths"] == [4, 8]
    model.config = BertConfig(hidden_size=36)
    assert evidence.about_model(model)["configuration"]["hidden_size"] == 36


def test_cost_is_counted():
    found = evidence.cost_of(nn.Linear(3, 5), torch.zeros(1, 3))
    assert found == {"bytes of weights": 4 * 20, "operations per example": 2 * 15}


def test_a_history_may_be_plain_facts(model):
    card = made(model, history={"epochs": 2, "loss": torch.tensor(0.5)})
    assert card.numbers["training/loss"] == 0.5
    assert made(model).numbers["training/last train loss"] == 0.5
