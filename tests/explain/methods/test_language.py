"""Attribution of what a language model writes: direct oracle, Captum's LLMAttribution, efficiency, refusals."""

import itertools
import math

import pytest
import torch
from captum.attr import FeatureAblation, LLMAttribution, TextTokenInput
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from bigmodel_lab import models
from bigmodel_lab.data import text
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.language import llm_attribution
from bigmodel_lab.models.hugging_face import Logits, quiet, small_gpt2

PROMPT = "Return the mean of the"


@pytest.fixture(scope="module")
def gpt():
    folder = models.pretrained.folder("mini-gpt")
    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def log_p(model, prompt, new):
    """ln p of each new token, one forward."""
    with torch.no_grad():
        logits = model(torch.cat([prompt, new], 1)).logits[0, prompt.shape[1] - 1 : -1]
    return logits.log_softmax(-1).gather(1, new[0][:, None])[:, 0]


def test_ablation_is_the_difference_of_log_probabilities(gpt):
    model, tokenizer = gpt
    found = llm_attribution(model, PROMPT, " array elements", tokenizer.pad_token_id, tokenizer=tokenizer)
    prompt = torch.tensor([tokenizer(PROMPT)["input_ids"][:-1]])
    new = torch.tensor([tokenizer(" array elements", add_special_tokens=False)["input_ids"]])
    assert found.values.shape == (new.shape[1], prompt.shape[1])
    assert "".join(found.prompt[1:]) == PROMPT
    assert "".join(found.new) == " array elements"
    assert found.values[:, 0].abs().max() == 0  # [CLS] stays
    for place in range(1, prompt.shape[1]):
        without = prompt.clone()
        without[0, place] = tokenizer.pad_token_id
        want = log_p(model, prompt, new) - log_p(model, without, new)
        torch.testing.assert_close(found.values[:, place], want, atol=1e-4, rtol=0)
    assert found.gap is None
    assert found.forwards == prompt.shape[1]


def test_equals_captum_s_llm_attribution(gpt):
    model, tokenizer = gpt
    skip = tokenizer.all_special_ids
    inp = TextTokenInput(PROMPT, tokenizer, baselines=tokenizer.pad_token_id, skip_tokens=skip)
    inp.inp_tensor, inp.itp_mask = inp.inp_tensor[:, :-1], inp.itp_mask[:, :-1]  # it would keep the final [SEP]
    target = torch.tensor(tokenizer(" array", add_special_tokens=False)["input_ids"])
    theirs = LLMAttribution(FeatureAblation(model), tokenizer).attribute(inp, target=target, use_cached_outputs=False)
    ours = llm_attribution(model, PROMPT, target, tokenizer.pad_token_id, tokenizer=tokenizer)
    torch.testing.assert_close(ours.values[:, 1:], theirs.token_attr, atol=1e-4, rtol=0)


def exact(model, prompt, new, baseline):
    """Shapley values by their definition, over the places after the first."""
    players = list(range(1, prompt.shape[1]))
    worth = {}
    for size in range(len(players) + 1):
        for there in itertools.combinations(players, size):
            ids = prompt.clone()
            ids[0, [place for place in players if place not in there]] = baseline
            worth[there] = log_p(model, ids, new)
    values = torch.zeros(new.shape[1], len(players))
    count = len(players)
    for there, value in worth.items():
        for n, place in enumerate(players):
            if place not in there:
                more = tuple(sorted((*there, place)))
                share = math.factorial(len(there)) * math.factorial(count - len(there) - 1) / math.factorial(count)
                values[:, n] += share * (worth[more] - value)
    return values


@pytest.mark.parametrize(("method", "near"), [("shapley", 0.12), ("kernel_shap", 0.12)])
def test_sampled_shapley_values_are_near_the_exact_ones_and_sum_up(gpt, method, near):
    model, tokenizer = gpt
    pad = tokenizer.pad_token_id
    prompt = torch.tensor([tokenizer(PROMPT)["input_ids"][:-1]])
    new = torch.tensor([tokenizer(" array", add_special_tokens=False)["input_ids"]])
    want = exact(model, prompt, new, pad)
    found = llm_attribution(model, prompt, new, pad, tokenizer=tokenizer, method=method, samples=200)
    error = (found.values[:, 1:] - want).norm() / want.norm()
    assert error < near
    assert found.gap.abs().max() < 1e-3
    again = llm_attribution(model, prompt, new, pad, tokenizer=tokenizer, method=method, samples=200)
    torch.testing.assert_close(found.values, again.values)


def test_kernel_shap_sends_each_coalition_through_the_model_once(gpt):
    model, tokenizer = gpt
    found = llm_attribution(
        model, PROMPT, " array elements of", 0, tokenizer=tokenizer, method="kernel_shap", samples=300
    )
    assert found.forwards <= 2**5 + 2  # five tokens are players


def test_without_a_target_the_model_writes_as_greedy_generation(gpt):
    model, tokenizer = gpt
    found = llm_attribution(model, PROMPT, baseline=0, tokenizer=tokenizer, new_tokens=5)
    prompt = torch.tensor([tokenizer(PROMPT)["input_ids"][:-1]])
    theirs = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=5, do_sample=False, pad_token_id=0
    )
    assert found.new == tuple(tokenizer.decode([i]) for i in theirs[0, prompt.shape[1] :].tolist())


def test_small_gpt2_the_course_s_decoder_and_the_wrapper_agree():
    tokenizer = text.bpe(["the mean of the array", "the sum of all elements"] * 3, 300)
    torch.manual_seed(0)
    model = small_gpt2(tokenizer, width=16, heads=2, context=16).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    found = [
        llm_attribution(one, "the mean of", " the", 0, tokenizer=tokenizer).values
        for one in (model, Logits(model, pad=-1).eval(), models.transformer.Decoder.from_gpt2(model).eval())
    ]
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[0], found[2], atol=1e-4, rtol=0)
    assert found[0].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": None}, "a baseline for token ids"),
        ({"method": "guess"}, "a method among"),
        ({"samples": 0}, "at least one new token, sample and row"),
        ({"forward": len}, "a causal language model, an nn.Module"),
        ({"forward": nn.Identity().eval()}, "got:      shape"),
        ({"inputs": torch.ones(2, 3, dtype=torch.long)}, "one prompt, as text or as ids"),
        ({"inputs": torch.ones(1, 3)}, "one prompt, as text or as ids"),
        ({"inputs": torch.ones(1, 0, dtype=torch.long)}, "a prompt of at least one token"),
        ({"inputs": ""}, "special tokens alone"),
        ({"target": ""}, "a continuation of at least one token"),
        ({"target": torch.ones(2)}, "a continuation of at least one token"),
        ({"inputs": "mean " * 200}, "at most 128 tokens"),
    ],
)
def test_says_what_is_wrong(gpt, changes, message):
    options = {"forward": gpt[0], "inputs": PROMPT, "target": " array", "baseline": 0}
    with pytest.raises(InputError, match=message):
        llm_attribution(**options | changes, tokenizer=gpt[1])


def test_refuses_training_mode(gpt):
    model, tokenizer = gpt
    model.train()
    try:
        with pytest.raises(InputError, match="evaluation mode"):
            llm_attribution(model, PROMPT, " array", 0, tokenizer=tokenizer)
        assert model.training
    finally:
        model.eval()


def test_leaves_the_model_and_the_random_numbers_as_they_were(gpt):
    model, tokenizer = gpt
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    llm_attribution(model, PROMPT, " array", 0, tokenizer=tokenizer, method="shapley", samples=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_captum_s_own_cache_goes_wrong_after_the_first_new_token(gpt):
    """Its default keeps keys and values from token to token; with this version of transformers they are not right."""
    model, tokenizer = gpt
    target = torch.tensor(tokenizer(" array elements", add_special_tokens=False)["input_ids"])
    inp = TextTokenInput(PROMPT, tokenizer, skip_tokens=tokenizer.all_special_ids)
    inp.inp_tensor, inp.itp_mask = inp.inp_tensor[:, :-1], inp.itp_mask[:, :-1]
    ours = llm_attribution(model, PROMPT, target, 0, tokenizer=tokenizer).values[:, 1:]
    method = LLMAttribution(FeatureAblation(model), tokenizer)
    together = method.attribute(inp, target=target, use_cached_outputs=False).token_attr
    cached = method.attribute(inp, target=target).token_attr
    torch.testing.assert_close(ours, together, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours[0], cached[0], atol=1e-4, rtol=0)
    assert (ours - cached)[1:].abs().max() > 0.01


@pytest.mark.parametrize("method", ["ablation", "shapley", "kernel_shap"])
def test_chunks_shrink_where_memory_is_short_and_it_is_said(gpt, method):
    model, tokenizer = gpt

    class Small(nn.Module):
        """No more than two prompts at once."""

        def __init__(self):
            super().__init__()
            self.model, self.config, self.asked = model, model.config, []

        def forward(self, ids):
            self.asked.append(len(ids))
            if len(ids) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return self.model(ids, attention_mask=torch.ones_like(ids)).logits

    options = {"tokenizer": tokenizer, "method": method, "samples": 12}
    want = llm_attribution(model, PROMPT, " array", 0, **options)
    small = Small().eval()
    with pytest.warns(UserWarning, match="llm_attribution: .* rows at once do not fit into memory; now"):
        found = llm_attribution(small, PROMPT, " array", 0, **options)
    torch.testing.assert_close(found.values, want.values, atol=1e-4, rtol=0)
    assert found.notes
    assert sum(count > 2 for count in small.asked) <= 3  # it remembers: not once per call
    assert not want.notes
