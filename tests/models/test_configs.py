"""The well-known models have the sizes that their papers and released weights have, and take no memory."""

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.configs import NAMES, Published, active_parameters, alexnet, build, published

# parameters of the released weights, to the last one; GPT-3's from its table D.1 (in millions: 174 600)
RELEASED = {
    "alexnet": 60_965_224,
    "resnet-50": 25_557_032,
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "gpt-2": 124_439_808,
    "gpt-2-xl": 1_557_611_200,
    "roberta-large": 355_359_744,
    "gpt-3": 174_604_259_328,
    "mixtral-8x7b": 46_702_792_704,
    "llama-3.1-405b": 405_853_388_800,
    "qwen3-235b-a22b": 235_093_634_560,
}


def total(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def built():
    return {name: build(name) for name in NAMES}


def test_counts_are_those_of_the_released_weights(built):
    assert {name: total(built[name]) for name in RELEASED} == RELEASED
    assert set(NAMES) - set(RELEASED) == {"deepseek-v3"}  # its paper gives billions only, next test


def test_counts_are_those_that_the_papers_state(built):
    for name, model in built.items():
        entry = published(name)
        if entry.stated is not None:
            assert total(model) == pytest.approx(entry.stated, rel=0.07 if name == "gpt-2" else 0.017)
        if entry.stated_active is not None:
            assert active_parameters(model) == pytest.approx(entry.stated_active, rel=0.02)
    assert total(built["deepseek-v3"]) == pytest.approx(671e9, rel=0.001)


def test_a_wrong_size_gives_another_count(built):
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        wrong = GPT2LMHeadModel(GPT2Config(hidden_size=1536, num_hidden_layers=48, num_attention_heads=24))
    assert total(wrong) != total(built["gpt-2-xl"])


def test_nothing_has_weights(built):
    for model in built.values():
        assert all(parameter.is_meta for parameter in model.parameters())


def test_alexnet_is_the_paper_s_two_columns_and_takes_its_images(built):
    model = alexnet()
    assert model(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)
    groups = [layer.groups for layer in model if isinstance(layer, torch.nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]


def test_only_a_mixture_of_experts_leaves_parameters_out(built):
    for name, model in built.items():
        sparse = published(name).stated_active is not None
        assert (active_parameters(model) < total(model)) == sparse


def test_active_parameters_of_a_mixture_by_hand():
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 50}
    with torch.device("meta"):
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
        experts = {"num_local_experts": 4, "num_experts_per_tok": 3}
        model = MixtralForCausalLM(MixtralConfig(**sizes, **heads, **experts))
    expert = 3 * 16 * 24  # the matrices of a gated feed-forward layer
    assert active_parameters(model) == total(model) - 2 * expert  # one expert of each layer is left out


def test_entries_are_in_order_of_time_and_cannot_be_changed():
    months = [published(name).month for name in NAMES]
    assert months == sorted(months)
    assert published("bert-base").year == pytest.approx(2018 + 9.5 / 12)
    with pytest.raises(TypeError):
        published("gpt-3").settings["vocab_size"] = 1
    with pytest.raises(AttributeError):
        published("gpt-3").depth = 1


def test_stated_training_operations_follow_from_tokens(built):
    for name in NAMES:
        entry = published(name)
        if entry.flops is not None:
            assert 6 * active_parameters(built[name]) * entry.tokens == pytest.approx(entry.flops, rel=0.01)


@pytest.mark.parametrize("function", [build, published])
def test_an_unknown_name_is_told_the_known_ones(function):
    with pytest.raises(InputError, match=r"(?s)alexnet, resnet-50.*gpt-5"):
        function("gpt-5")


@pytest.mark.parametrize("month", ["2018", "10-2018", "2018-13", "2018-Oct"])
def test_a_month_in_another_form_is_refused(month):
    with pytest.raises(InputError, match="2018-10"):
        Published(title="", month=month, architecture="", depth=1, width=1, source="")
