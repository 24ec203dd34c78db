"""The runs of `cost` and the models of `data.history` are two tables; where they name the same model, they agree."""

import pytest

from bigmodel_lab import cost
from bigmodel_lab.data import history

NAMES = {
    "gpt-3": "GPT-3",
    "opt-175b": "OPT-175B",
    "palm-540b": "PaLM",
    "bloom-176b": "BLOOM-176B",
    "llama-65b": "LLaMA-65B",
    "llama-2-70b": "Llama 2-70B",
    "llama-3.1-405b": "Llama 3.1-405B",
    "deepseek-v3": "DeepSeek-V3",
}


def test_every_run_is_in_the_history():
    assert NAMES.keys() == cost.RUNS.keys()


@pytest.mark.parametrize("name", cost.RUNS)
def test_both_tables_say_the_same(name):
    run, model = cost.RUNS[name], history.named(NAMES[name])
    assert run.parameters == model.parameters
    assert run.active == (model.active or model.parameters)
    assert run.tokens == model.tokens
    if run.operations:
        assert run.operations == pytest.approx(model.flops, rel=0.02)
