"""The calculator in the page: its arithmetic run in quickjs beside the library's, and what its HTML must have."""

import json
import re
from itertools import product
from math import isclose
from pathlib import Path

import pytest
import quickjs

from bigmodel_lab import cost
from bigmodel_lab.plot import calculator as module
from bigmodel_lab.plot import cost_calculator

SCRIPT = (Path(module.__file__).parent / "calculator.js").read_text(encoding="utf-8")
BASE = {
    "parameters": 70e9,
    "active": 70e9,
    "tokens": 1.4e12,
    "gpus": 2048,
    "peak": 312e12,
    "memory": 80e9,
    "utilisation": 0.4,
    "price": 2.0,
    "watts": 400,
    "pue": 1.1,
    "carbon": 0.4,
}
GRID = {
    "active": (1e6, 12.9e9, 70e9),
    "tokens": (1e9, 15.6e12),
    "gpus": (1, 175, 16384),
    "utilisation": (0.01, 0.197, 1.0),
    "price": (0, 1.79),
    "watts": (0, 330),
    "pue": (1.0, 1.58),
    "carbon": (0.057, 0.9),
}


@pytest.fixture(scope="module")
def context():
    made = quickjs.Context()
    made.eval(SCRIPT)
    return made


def in_page(context, inputs):
    return json.loads(context.eval(f"JSON.stringify(labCost.estimate({json.dumps(inputs)}))"))


def in_python(inputs):
    rates = {name: inputs[name] for name in ("gpus", "peak", "utilisation", "price", "watts", "pue", "carbon")}
    operations = cost.six_n_d(inputs["active"], inputs["tokens"])
    made = cost.run_cost(cost.Run(operations=operations, **rates))
    machine = cost.Gpu(title="", peak=1, memory=inputs["memory"], bandwidth=1, watts=1, source="")
    return {
        "operations": operations,
        "seconds": made.seconds,
        "gpuHours": made.gpu_hours,
        "money": made.money,
        "kwh": made.energy.total,
        "co2": made.co2,
        "bytes": cost.states(inputs["parameters"]).total,
        "leastGpus": cost.least_gpus(inputs["parameters"], machine),
    }


def differences(context, inputs):
    mine, theirs = in_python(inputs), in_page(context, inputs)
    assert mine.keys() == theirs.keys()
    return [name for name in mine if not isclose(mine[name], theirs[name], rel_tol=1e-9, abs_tol=0)]


class TestArithmetic:
    def test_is_the_librarys_over_a_grid(self, context):
        for values in product(*GRID.values()):
            inputs = BASE | dict(zip(GRID, values, strict=True))
            assert differences(context, inputs) == [], inputs

    @pytest.mark.parametrize("parameters", [1, 5e9, 5.0001e9, 175e9, 671e9, 1.57e12])
    @pytest.mark.parametrize("name", cost.GPUS)
    def test_counts_the_least_gpus_as_the_library_does(self, context, name, parameters):
        assert differences(context, BASE | {"parameters": parameters, "memory": cost.gpu(name).memory}) == []

    @pytest.mark.parametrize("change", [("6 *", "2 *"), ("/ 3600", "/ 60"), ("* i.pue", ""), ("16 *", "12 *")])
    def test_a_slip_in_the_script_is_found(self, change):
        assert SCRIPT.count(change[0]) >= 1
        wrong = quickjs.Context()
        wrong.eval(SCRIPT.replace(*change, 1))
        assert differences(wrong, BASE)

    @pytest.mark.parametrize("name", cost.RUNS)
    def test_a_preset_gives_the_published_hours(self, context, name):
        run = cost.published_run(name)
        preset = module._preset(run)
        inputs = {**preset, "peak": cost.gpu(run.machine).peak, "memory": cost.gpu(run.machine).memory}
        assert isclose(in_page(context, inputs)["gpuHours"], run.gpu_hours, rel_tol=1e-9)


class TestFormats:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (0, "0"),
            (3.14e23, "3.14 × 10²³"),
            (1234567, "1,230,000"),
            (0.0571, "0.0571"),
            (166.13, "166"),
            (2e-7, "2 × 10⁻⁷"),
            (999999999, "1 × 10⁹"),
        ],
    )
    def test_numbers_have_three_digits(self, context, value, shown):
        assert context.eval(f"labCost.number({value!r})") == shown

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            ("seconds", 1.435e7, "166 days"),
            ("seconds", 6.4e7, "2.03 years"),
            ("seconds", 0.5, "0.5 seconds"),
            ("money", 5.328e6, "$5.33 million"),
            ("money", 0, "$0"),
            ("kwh", 1_287_000, "1.29 GWh"),
            ("co2", 24_690, "24.7 t"),
            ("bytes", 2.8e12, "2.8 TB"),
        ],
    )
    def test_units_follow_the_size(self, context, name, value, shown):
        assert context.eval(f"labCost.format.{name}({value!r})") == shown

    @pytest.mark.parametrize(
        ("name", "value", "fine"),
        [
            ("pue", 0.99, False),
            ("pue", 1, True),
            ("utilisation", 1.01, False),
            ("utilisation", 0, False),
            ("price", 0, True),
            ("gpus", 0, False),
            ("tokens", "NaN", False),
        ],
    )
    def test_what_no_run_can_have_is_refused(self, context, name, value, fine):
        assert context.eval(f"labCost.valid({name!r}, {value})") is fine


class TestPage:
    HTML = cost_calculator().text

    def test_is_small_and_asks_nobody_for_anything(self):
        assert len(self.HTML.encode()) < 15_000
        assert not re.search(r"https?:|//\w|fetch\(|XMLHttp|import\b|src=|href=|localStorage", self.HTML)

    def test_holds_the_tables_of_the_library_as_json(self):
        data = json.loads(re.search(r'<script type="application/json">(.+?)</script>', self.HTML)[1])
        for name, machine in cost.GPUS.items():
            assert data["gpus"][name] == {"peak": machine.peak, "memory": machine.memory, "watts": machine.watts}
        assert data["runs"].keys() == cost.RUNS.keys()
        assert "989" not in SCRIPT  # no peak is written a second time

    def test_every_input_has_a_label_around_it_and_no_two_share_a_name(self):
        names = re.findall(r'<(?:input|select)[^>]* name="(\w+)"', self.HTML)
        labelled = re.findall(r"<label[^>]*>[^<]\w.*?</label>", self.HTML)
        assert len(names) == len(labelled) == len(set(names)) == len(module.FIELDS) + 2
        assert all(len(re.findall("<(?:input|select)", label)) == 1 for label in labelled)

    def test_every_input_of_the_arithmetic_is_in_the_form_and_every_result_is_shown(self, context):
        assert {name for name, *_ in module.FIELDS} == BASE.keys()
        assert {name for name, _ in module.OUTPUTS} == in_page(context, BASE).keys()

    def test_without_a_script_the_table_stays_and_the_form_does_not_show(self):
        silent = re.sub(r"(?s)<script.*?</script>", "", self.HTML)
        form, table = silent.split('<div class="lab-roll"')
        assert "<form data-live hidden" in form
        assert "hidden" not in table
        for run in cost.RUNS.values():
            assert run.title in table
        assert f"{cost.published_run('bloom-176b').gpu_hours:,.0f}" in table

    def test_takes_its_colours_from_the_page(self):
        colours = set(re.findall(r"(?:color|background|border)\w*:([^;}]+)", module.STYLE))
        assert not [one for one in colours if re.search(r"#(?!000|fff)[0-9a-fA-F]{3}", one)]
        assert "currentColor" in module.STYLE

    def test_says_what_it_is_where_html_is_not_shown(self):
        assert re.fullmatch(
            r"Html\(calculator of a training run, 8 published runs, \d+\.\d kB\)", repr(cost_calculator())
        )
