"""Generation: the same tokens with a cache and without, the distributions that it draws from, and what it refuses."""

import numpy as np
import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.sampling import draw
from bigmodel_lab.models.transformer import (
    Decoder,
    EncoderDecoder,
    TransformerConfig,
    generate,
    translate,
)

CONFIG = TransformerConfig(vocabulary=20, context=24, width=16, heads=4, depth=2, source_length=6, tied=False)


def wild(kind, seed=0, config=CONFIG):
    """A model with large random weights, so that what comes next really depends on what came before."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_((2.0 if "table" in name else 0.4) * torch.randn_like(parameter))
    return model


prompt = torch.randint(1, 20, (3, 4), generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestCache:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("temperature", [0.0, 0.8])
    def test_gives_the_same_tokens_up_to_a_full_context(self, seed, temperature):
        model = wild(Decoder, seed).double()
        texts = [
            generate(model, prompt, 20, temperature=temperature, generator=seeded(seed), cache=cache)
            for cache in (True, False)
        ]
        assert torch.equal(*texts)
        assert texts[0].shape == (3, 24)
        assert torch.equal(texts[0][:, :4], prompt)
        assert len(texts[0][:, 4:].unique()) > 3  # the model does not repeat itself, so the test can fail

    def test_gives_the_same_states(self):
        model = wild(Decoder).double().eval()
        text, cache = torch.randint(0, 20, (2, 24)), model.new_cache()
        pieces = [model.states(part, cache=cache) for part in text.split([5, 1, 1, 10, 7], 1)]
        torch.testing.assert_close(torch.cat(pieces, 1), model.states(text), rtol=0, atol=1e-12)
        assert cache[0].length == 24
        with pytest.raises(InputError, match="at most 0 tokens"):
            model.states(text[:, :1], cache=cache)


class TestDraws:
    def distribution(self, **how):
        model = wild(Decoder).eval()
        text = generate(model, prompt[:1].expand(4000, -1), 1, generator=seeded(), **how)
        expected = model(prompt[:1])[0, -1].double()
        return text[:, -1].bincount(minlength=20) / 4000, expected

    @pytest.mark.parametrize("temperature", [1.0, 3.0])
    def test_follow_the_models_probabilities(self, temperature):
        shares, logits = self.distribution(temperature=temperature)
        expected = (logits / temperature).softmax(-1)
        assert (shares - expected).abs().max() < 0.03
        assert ((logits).softmax(-1) - (logits / 3).softmax(-1)).abs().max() > 0.1

    def test_top_k_draws_among_the_k_likeliest(self):
        shares, logits = self.distribution(temperature=3.0, top_k=3)
        assert set(shares.nonzero().flatten().tolist()) == set(logits.topk(3).indices.tolist())
        assert torch.equal(self.distribution(top_k=50)[0], self.distribution()[0])

    def test_top_p_draws_among_the_likeliest_that_fill_p(self):
        shares, logits = self.distribution(temperature=3.0, top_p=0.6)
        probabilities, order = (logits / 3).softmax(-1).sort(descending=True)
        enough = int((probabilities.cumsum(0) < 0.6).sum()) + 1
        assert 1 < enough < 20
        assert set(shares.nonzero().flatten().tolist()) == set(order[:enough].tolist())
        assert torch.equal(self.distribution(top_p=1.0)[0], self.distribution()[0])

    def test_at_temperature_zero_are_the_likeliest(self):
        model = wild(Decoder).eval()
        text = generate(model, prompt, 5, temperature=0.0)
        for end in range(4, 9):
            assert torch.equal(text[:, end], model(text[:, :end])[:, -1].argmax(-1))
        assert torch.equal(generate(model, prompt, 5, top_k=1), text)
        assert torch.equal(generate(model, prompt, 5, top_p=1e-6), text)

    def test_depend_on_the_generator_alone(self):
        model = wild(Decoder)
        one, same, other = (generate(model, prompt, 15, temperature=3.0, generator=seeded(s)) for s in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


def test_generation_equals_that_of_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_positions=32, n_embd=24, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
    theirs = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            parameter.add_((2.0 if "wpe" in name else 0.3) * torch.randn_like(parameter))
    theirs.generation_config.eos_token_id = None  # so that it does not end early
    how = {"do_sample": False, "max_new_tokens": 20, "pad_token_id": 1}
    expected = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **how)
    assert len(expected[0, 4:].unique()) > 3
    assert torch.equal(generate(Decoder.from_gpt2(theirs), prompt, 20, temperature=0.0), expected)


class TestStop:
    def test_fills_a_row_with_the_stop_token_and_ends_when_all_have_it(self):
        model = wild(Decoder)
        free = generate(model, prompt, 20, temperature=2.0, generator=seeded(3))
        stop = int(free[0, 7])
        text = generate(model, prompt, 20, temperature=2.0, generator=seeded(3), stop=stop)
        for row, before in zip(text[:, 4:], free[:, 4:], strict=True):
            first = (row == stop).nonzero().flatten()[0] if (row == stop).any() else len(row)
            assert torch.equal(row[:first], before[:first])
            assert (row[first:] == stop).all()
        alone = generate(model, prompt[:1], 20, temperature=0.0)
        end = generate(model, prompt[:1], 20, temperature=0.0, stop=int(alone[0, 4]))
        assert end.shape == (1, 5)

    def test_a_stop_token_of_the_prompt_does_not_end_it(self):
        stop = int(prompt[0, 1])
        assert generate(wild(Decoder), prompt, 2, stop=stop).shape[1] > 4


class TestMode:
    def test_generation_draws_no_dropout_and_restores_the_mode(self):
        model = wild(Decoder, config=TransformerConfig(vocabulary=20, context=24, width=16, dropout=0.5))
        model.stack.blocks[0].eval()
        texts = [generate(model, prompt, 10, temperature=0.0) for _ in range(2)]
        assert torch.equal(*texts)
        assert model.training
        assert not model.stack.blocks[0].training
        assert not texts[0].requires_grad

    def test_the_mode_is_restored_after_a_failure(self):
        model = wild(Decoder)
        with pytest.raises(RuntimeError):
            generate(model, prompt, 3, generator=torch.Generator("meta"))
        assert model.training


class TestTranslate:
    source = torch.randint(1, 20, (3, 6), generator=torch.Generator().manual_seed(2))

    @pytest.mark.parametrize("seed", range(3))
    def test_takes_the_likeliest_token_each_time(self, seed):
        model = wild(EncoderDecoder, seed).double()
        target = translate(model, self.source, start=1)
        assert target.shape == (3, 24)
        assert model.training
        model.eval()
        shifted = torch.cat((torch.ones(3, 1, dtype=torch.int64), target[:, :-1]), 1)
        assert torch.equal(model(torch.cat((self.source, shifted), 1)).argmax(-1), target)

    def test_stops(self):
        model = wild(EncoderDecoder)
        free = translate(model, self.source[:1], start=1, new_tokens=8)
        assert free.shape == (1, 8)
        stopped = translate(model, self.source[:1], start=1, stop=int(free[0, 0]))
        assert torch.equal(stopped, free[:, :1])

    def test_a_source_of_another_length_is_named(self):
        model = EncoderDecoder(CONFIG)
        with pytest.raises(InputError, match="sources of 6 tokens"):
            translate(model, self.source[:, :4], start=1)
        with pytest.raises(InputError, match="from 0 to 19"):
            translate(model, self.source, start=20)
        with pytest.raises(InputError, match="context of 24"):
            translate(model, self.source, start=1, new_tokens=25)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"new_tokens": 21}, r"(?s)context of 24.*4 and 21.*new_tokens=20"),
        ({"new_tokens": -1}, "new_tokens >= 0"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"prompt": prompt[:, :0]}, "at least one token"),
        ({"prompt": prompt + 20}, "from 0 to 19"),
        ({"prompt": prompt[0]}, r"\(B, T\)"),
        ({"prompt": torch.ones(1, 25, dtype=torch.int64)}, "at most 24"),
    ],
    ids=str,
)
def test_what_cannot_be_generated_is_named(wrong, message):
    with pytest.raises(InputError, match=message):
        generate(Decoder(CONFIG), **({"prompt": prompt, "new_tokens": 2} | wrong))


class TestDraw:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, -1.0, 4.0]])

    @pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-45, 1e-300])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_at_a_tiny_temperature_takes_the_likeliest(self, temperature, dtype):
        assert draw(1000 * self.logits.to(dtype), temperature=temperature).tolist() == [1, 0]

    @pytest.mark.parametrize("top_p", [1e-6, 1e-46, 1e-300])
    def test_from_a_tiny_share_takes_the_likeliest(self, top_p):
        assert draw(self.logits, temperature=100.0, top_p=top_p).tolist() == [1, 0]

    def test_at_a_huge_temperature_all_are_alike(self):
        shares = draw(self.logits[:1].expand(3000, -1), temperature=1e30, generator=seeded()).bincount() / 3000
        assert (shares - 1 / 3).abs().max() < 0.05

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    @pytest.mark.parametrize("bad", [torch.nan, torch.inf])
    def test_logits_of_a_model_that_diverged_are_named(self, temperature, bad):
        with pytest.raises(InputError, match=r"(?s)finite logits.*learning rate"):
            draw(self.logits * bad, temperature=temperature)

    def test_a_token_may_be_ruled_out(self):
        ruled_out = self.logits.masked_fill(self.logits > 2.5, -torch.inf)
        assert draw(ruled_out, top_k=1).tolist() == [2, 1]

    @pytest.mark.parametrize(
        "wrong", [{"temperature": -1.0}, {"top_k": 0}, {"top_k": 2.5}, {"top_p": 0.0}, {"top_p": 5}]
    )
    def test_settings_that_mean_nothing_are_refused(self, wrong):
        with pytest.raises(InputError, match=next(iter(wrong))):
            draw(self.logits, **wrong)

    @pytest.mark.parametrize("logits", [torch.zeros(3), torch.zeros(1, 2, 3), torch.zeros(2, 0)])
    def test_another_shape_is_named(self, logits):
        for temperature in (0.0, 1.0):
            with pytest.raises(InputError, match=r"\(B, V\)"):
                draw(logits, temperature=temperature)


def test_numpys_integers_are_integers():
    text = generate(Decoder(CONFIG), prompt, np.int64(2), top_k=np.int64(3), stop=np.int64(0))
    assert text.dtype == torch.int64
    assert text.shape[1] <= 6


@pytest.mark.parametrize("stop", [-1, 20, 2.5, "[SEP]"])
def test_a_stop_that_is_no_token_is_named(stop):
    with pytest.raises(InputError, match=r"stop, a token id from 0 to 19"):
        generate(Decoder(CONFIG), prompt, 2, stop=stop)
    with pytest.raises(InputError, match=r"stop, a token id from 0 to 19"):
        translate(EncoderDecoder(CONFIG), prompt[:, [0, 1, 2, 3, 0, 1]], start=1, stop=stop)
