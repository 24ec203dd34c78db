"""Time, money, energy and CO₂: closed forms, published runs, and the floor that no torch is needed."""

import subprocess
import sys
from dataclasses import fields, replace
from math import isclose

import pytest

from bigmodel_lab import cost
from bigmodel_lab.errors import InputError
from bigmodel_lab.models import configs

RUN = cost.Run(operations=3.14e23, gpus=175, peak=125e12, utilisation=1.0, price=3, watts=300, pue=1.5, carbon=0.5)


def test_a_run_by_hand():
    made = cost.run_cost(cost.Run(operations=7.2e18, gpus=4, peak=1e15, utilisation=0.5, price=2, watts=500, pue=1.2))
    assert made.seconds == 3600  # 7.2e18 / (4 × 1e15 × 0.5)
    assert made.gpu_hours == 4
    assert made.money == 8
    assert made.energy.machines == 2.0
    assert made.energy.overhead == pytest.approx(0.4)
    assert made.co2 == pytest.approx(2.4 * 0.4)


def test_gpt_3_on_175_v100_takes_months_at_the_least():
    assert 166 <= cost.run_cost(RUN).days < 167
    sustained = replace(RUN, utilisation=28 / 125)
    assert 2.0 < cost.run_cost(sustained).days / 365.25 < 2.1
    assert 9_600 < cost.gpus_for(3.14e23, days=3, peak=125e12) < 9_800


def test_more_gpus_take_less_time_and_the_same_money_energy_and_co2():
    one, many = cost.run_cost(RUN), cost.run_cost(replace(RUN, gpus=1750))
    assert one.seconds == pytest.approx(10 * many.seconds)
    assert (one.money, one.energy.total, one.co2) == pytest.approx((many.money, many.energy.total, many.co2))


def test_gpus_for_is_the_inverse_of_days():
    days = cost.run_cost(RUN).days
    assert cost.gpus_for(RUN.operations, days=days, peak=RUN.peak) == pytest.approx(RUN.gpus)


@pytest.mark.parametrize(
    "wrong", [{"utilisation": 1.01}, {"utilisation": 0}, {"pue": 0.9}, {"gpus": 0}, {"price": -1}], ids=str
)
def test_a_run_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        replace(RUN, **wrong)


def test_least_gpus_holds_the_states_and_one_fewer_does_not():
    machine = cost.gpu("a100")
    count = cost.least_gpus(175e9, machine)
    assert count == 35
    assert cost.states(175e9, stage=3, gpus=count).total <= machine.memory
    assert cost.states(175e9, stage=3, gpus=count - 1).total > machine.memory


def shape(**more):
    return cost.TransformerShape(**{"layers": 4, "width": 64, "heads": 8, "vocabulary": 1000} | more)


RESULTS = {
    "parameters": cost.parameters(shape(experts=4, active_experts=2, head="own")),
    "forward": cost.forward_operations(shape(), tokens=10),
    "training": cost.training_operations(shape(), tokens=10, checkpointing=True),
    "states": cost.states(1e6),
    "activations": cost.activations(shape(), tokens=10, checkpointing="full"),
    "energy": cost.run_cost(RUN).energy,
}


@pytest.mark.parametrize("name", RESULTS)
def test_parts_add_up_to_the_whole(name):
    result = RESULTS[name]
    assert isclose(result.total, sum(getattr(result, field.name) for field in fields(result)))
    assert min(result.parts().values()) >= 0
    assert len(result.parts()) > 1


class TestGeneration:
    LLAMA = shape(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672, vocabulary=32000, gated=True, head="own")

    def test_one_text_waits_for_the_memory_and_many_short_ones_for_the_products(self):
        one = cost.decoding_step(self.LLAMA, cost.gpu("h100"), context=1, gpus=2)
        many = cost.decoding_step(self.LLAMA, cost.gpu("h100"), context=1, texts=1024, gpus=2)
        assert one.seconds == one.reading > 100 * one.computing
        assert many.seconds == many.computing > many.reading

    def test_one_text_reads_every_weight_but_the_table_of_tokens(self):
        step = cost.decoding_step(self.LLAMA, cost.gpu("h100"), context=7)
        size = cost.parameters(self.LLAMA)
        assert step.weight_bytes == 2 * (size.total - size.embedding + 8192)
        assert step.cache_bytes == cost.kv_cache(self.LLAMA, tokens=7)
        assert step.operations == pytest.approx(2 * (size.total - size.embedding - size.norms), rel=1e-3)

    def test_a_mixture_reads_the_active_experts_for_one_text_and_nearly_all_for_many(self):
        mixture = shape(experts=8, active_experts=2, head="own")
        size = cost.parameters(mixture)
        read = {n: cost.decoding_step(mixture, cost.gpu("h100"), context=1, texts=n) for n in (1, 2, 100)}
        fixed = size.total - size.feed_forward - size.idle_experts - size.embedding
        experts = [(step.weight_bytes / 2 - fixed - n * 64) / size.feed_forward for n, step in read.items()]
        assert experts == pytest.approx([1, 4 * (1 - 0.75**2), 4])

    def test_the_price_falls_with_the_number_of_texts(self):
        prices = [
            cost.decoding_step(self.LLAMA, cost.gpu("h100"), context=1000, texts=n, gpus=4).price_per_million(2, gpus=4)
            for n in (1, 8, 64)
        ]
        assert prices[0] > 4 * prices[1] > 8 * prices[2]

    def test_no_text_is_refused(self):
        with pytest.raises(InputError):
            cost.decoding_step(self.LLAMA, cost.gpu("h100"), context=1, texts=0)


class TestPublishedRuns:
    @pytest.mark.parametrize("name", [name for name, run in cost.RUNS.items() if run.operations])
    def test_operations_are_6nd_but_where_checkpointing_is_counted(self, name):
        run = cost.published_run(name)
        repeated = 4 / 3 if name == "opt-175b" else 1  # its count has the second forward pass in it
        assert repeated * run.estimate == pytest.approx(run.operations, rel=0.03)

    @pytest.mark.parametrize("name", cost.RUNS)
    def test_hours_are_predicted_from_the_other_runs_within_a_factor_of_two(self, name):
        run, others = cost.published_run(name), cost.typical_utilisation(leave_out=[name])
        made = cost.run_cost(
            cost.Run(operations=run.estimate, gpus=1, peak=cost.gpu(run.machine).peak, utilisation=others)
        )
        assert 0.5 < made.gpu_hours / run.gpu_hours < 2

    @pytest.mark.parametrize("name", [name for name, run in cost.RUNS.items() if run.kwh])
    def test_energy_and_co2_follow_from_the_published_hours(self, name):
        run = cost.published_run(name)
        rates = {"watts": run.watts, "pue": run.pue, "carbon": run.carbon}
        made = cost.run_cost(cost.Run(operations=run.gpu_hours * 3600, gpus=1, peak=1, utilisation=1, **rates))
        assert made.energy.total == pytest.approx(run.kwh, rel=0.005)
        assert made.co2 == pytest.approx(run.co2, rel=0.005)

    @pytest.mark.parametrize("name", sorted(set(cost.RUNS) & set(configs.NAMES)))
    def test_agree_with_the_gallery_of_models(self, name):
        run, entry = cost.published_run(name), configs.published(name)
        assert run.parameters == entry.stated
        assert run.active == (entry.stated_active or entry.stated)
        assert run.tokens == entry.tokens
        assert run.operations in (entry.flops, None)

    def test_the_claim_of_three_days_would_fail_the_same_test(self):
        claimed = 175 * 3 * 24
        assert cost.published_run("gpt-3").gpu_hours / claimed > 100

    def test_an_unknown_name_lists_the_known(self):
        with pytest.raises(InputError, match="bloom"):
            cost.published_run("gpt-9")
        with pytest.raises(InputError, match="h100"):
            cost.gpu("abacus")

    def test_nothing_left_is_refused(self):
        with pytest.raises(InputError):
            cost.typical_utilisation(leave_out=cost.RUNS)


class TestSwings:
    CENTRE = {"a": 2.0, "b": 3.0}  # noqa: RUF012

    def test_are_sorted_by_what_they_do(self):
        found = cost.swings(lambda a, b: a * b**2, self.CENTRE, {"a": (1, 4), "b": (1.5, 6)})
        assert [(swing.name, swing.low, swing.high, swing.factor) for swing in found] == [
            ("b", 4.5, 72, 16),
            ("a", 9, 36, 4),
        ]

    def test_an_unknown_input_and_a_result_of_zero_are_refused(self):
        with pytest.raises(InputError, match="c"):
            cost.swings(lambda a, b: a, self.CENTRE, {"c": (1, 2)})
        with pytest.raises(InputError, match="above 0"):
            cost.swings(lambda a, b: a, self.CENTRE, {"a": (0, 2)})


QUIET = """
import sys, time
start = time.perf_counter()
import bigmodel_lab.cost
print(time.perf_counter() - start)
heavy = {name.split(".")[0] for name in sys.modules} & {"torch", "numpy", "transformers", "matplotlib"}
assert not heavy, heavy
"""


def test_importing_it_needs_no_torch():
    done = subprocess.run([sys.executable, "-c", QUIET], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 3  # about 0.06; the bound holds on a loaded machine
