"""The table of models: sizes that hang together, dates that fit the papers, sources that exist."""

import dataclasses
import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from bigmodel_lab import models
from bigmodel_lab.data.history import BASES, ILSVRC, MODELS, Model, frontier, named
from bigmodel_lab.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
each = pytest.mark.parametrize("model", MODELS, ids=[model.name for model in MODELS])


def test_names_are_unique_and_rows_are_in_order_of_time():
    assert len({model.name for model in MODELS}) == len(MODELS) == 29
    assert [model.day for model in MODELS] == sorted(model.day for model in MODELS)
    assert MODELS[0].day.year == 2012


@each
class TestEachRow:
    def test_the_date_fits_the_papers_number(self, model):
        """An arXiv number begins with year and month; a model may be shown before its paper, never after."""
        if model.arxiv:
            assert re.fullmatch(r"\d{4}\.\d{5}|\d{4}\.\d{4}", model.arxiv)
            arrived = date(2000 + int(model.arxiv[:2]), int(model.arxiv[2:4]), 28)
            months = 12 * (arrived.year - model.day.year) + arrived.month - model.day.month
            assert 0 <= months <= 4

    def test_six_n_d_gives_the_operations_where_the_tokens_are_known(self, model):
        """1.37 for OPT, whose activations were computed twice; 0.77 for the Transformer, with its padded batches."""
        if model.by_rule:
            assert 0.75 < model.flops / model.by_rule < 1.4

    def test_a_figure_of_the_makers_is_theirs_and_any_other_names_its_source(self, model):
        assert (model.basis == "stated") == (model.flops_source == "")

    def test_its_keys_are_in_the_references(self, model):
        known = set(re.findall(r"@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(encoding="utf-8")))
        named_here = {model.source, model.flops_source or model.source, *(key for _, key in model.others)}
        assert named_here <= known

    def test_others_differ_and_are_of_the_same_order(self, model):
        for flops, _ in model.others:
            assert flops != model.flops
            assert 0.1 < flops / model.flops < 10


def test_keys_of_the_challenge_are_in_the_references():
    known = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    assert [winner.source for winner in ILSVRC if f"{{{winner.source}," not in known] == []
    assert [winner.year for winner in ILSVRC] == list(range(2010, 2016))
    assert all(before.top5 > after.top5 for before, after in pairwise(ILSVRC))


PAIRS = {
    "alexnet": "AlexNet",
    "bert-large": "BERT-Large",
    "gpt-2-xl": "GPT-2",
    "roberta-large": "RoBERTa-Large",
    "gpt-3": "GPT-3",
    "mixtral-8x7b": "Mixtral 8x7B",
    "llama-3.1-405b": "Llama 3.1-405B",
    "deepseek-v3": "DeepSeek-V3",
    "qwen3-235b-a22b": "Qwen3-235B-A22B",
}


@pytest.mark.parametrize(("key", "name"), PAIRS.items(), ids=PAIRS)
def test_agrees_with_the_configurations_of_the_library(key, name):
    """Two tables of the course that were compiled apart; parameters within the rounding of the papers."""
    there, here = models.configs.published(key), named(name)
    assert there.month == f"{here.day:%Y-%m}"
    assert here.parameters == pytest.approx(there.stated, rel=0.03)
    if there.stated_active:
        assert here.active == pytest.approx(there.stated_active, rel=0.03)
    if there.tokens and here.tokens:
        assert here.tokens == pytest.approx(there.tokens, rel=0.03)
    if there.flops:
        assert here.flops == there.flops


def test_alexnet_is_as_large_as_its_paper_says_and_as_costly():
    net = models.configs.build("alexnet")
    count = sum(p.numel() for p in net.parameters())
    assert count == pytest.approx(named("AlexNet").parameters, rel=0.02)
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, 224, 224, device="meta"))
    whole = 3 * counter.get_total_flops() * named("AlexNet").images
    assert whole == pytest.approx(named("AlexNet").flops, rel=0.1)


def test_clip_is_larger_than_the_sum_of_its_papers_smallest_parts():
    """370 M, often quoted, adds a smaller variant's text encoder to its image encoder; the released one has 428."""
    from transformers import CLIPConfig, CLIPModel

    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    vision |= {"patch_size": 14, "image_size": 336}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    with torch.device("meta"):
        net = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=768))
    count = sum(p.numel() for p in net.parameters())
    assert count == pytest.approx(named("CLIP ViT-L/14@336").parameters, rel=0.01)


class TestFrontier:
    def test_each_record_beats_all_before_it_and_none_is_left_out(self):
        records = frontier()
        assert records[0] is MODELS[0]
        for model in MODELS:
            before = [one.flops for one in MODELS if one.day < model.day]
            assert (model in records) == (model.flops > max(before, default=0))

    def test_does_not_depend_on_the_order_of_the_rows(self):
        assert frontier(MODELS[::-1]) == frontier(MODELS)

    def test_of_nothing_is_nothing(self):
        assert frontier([]) == ()


GOOD = dataclasses.asdict(MODELS[0])


@pytest.mark.parametrize(
    "wrong",
    [{"field": "chess"}, {"basis": "heard"}, {"flops": 0}, {"parameters": -1.0}, {"parameters": 1.0, "active": 2.0}],
    ids=lambda wrong: ",".join(wrong),
)
def test_a_row_that_cannot_be_right_is_refused(wrong):
    assert Model(**GOOD) == MODELS[0]
    with pytest.raises(InputError):
        Model(**GOOD | wrong)


def test_an_unknown_name_lists_the_known():
    assert named("GPT-3").parameters == 175e9
    with pytest.raises(InputError, match="AlexNet"):
        named("HAL 9000")


def test_year_is_a_fraction():
    assert dataclasses.replace(MODELS[0], day=date(2018, 1, 1)).year == 2018
    assert dataclasses.replace(MODELS[0], day=date(2018, 7, 2)).year == pytest.approx(2018.5, abs=0.003)


def test_every_basis_occurs():
    assert {model.basis for model in MODELS} == set(BASES)
