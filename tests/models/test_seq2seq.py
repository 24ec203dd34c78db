"""The recurrent encoder-decoder is its equations, looks only where it may, and learns where to look."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.models.rnn import gru_step
from bigmodel_lab.models.seq2seq import (
    Attention,
    AttentionDecoder,
    DecoderConfig,
    Seq2Seq,
    Seq2SeqConfig,
)
from bigmodel_lab.models.transformer import teacher_forcing, translate

EXACT = {"rtol": 0, "atol": 1e-12}
SMALL = Seq2SeqConfig(vocabulary=20, source_length=6, context=9, width=8)
SCORES = ("additive", "general")
ids = torch.randint(1, 20, (3, 11), generator=torch.Generator().manual_seed(0))  # S = 6, T = 5


def make(kind, config=SMALL, seed=0):
    """A model in float64 with large weights, so that each of them matters."""
    torch.manual_seed(seed)
    model = kind(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


class TestAttention:
    states, memory = torch.randn(2, 3, 8).double(), torch.randn(2, 5, 4).double()
    mask = torch.tensor([[True, True, True, False, False], [True, False, True, True, True]])

    @pytest.mark.parametrize("score", SCORES)
    def test_is_the_formula_written_out(self, score):
        attention = Attention(8, 4, score=score).double()
        U = attention.key.weight
        means, weights = attention(self.states, self.memory, self.mask)
        for b in range(2):
            for t in range(3):
                s, allowed = self.states[b, t], self.mask[b].nonzero().flatten().tolist()
                if score == "additive":
                    W, v, bias = attention.query.weight, attention.score.weight[0], attention.key.bias
                    scores = [v @ torch.tanh(W @ s + U @ self.memory[b, j] + bias) for j in allowed]
                else:
                    scores = [s @ U @ self.memory[b, j] for j in allowed]
                share = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
                torch.testing.assert_close(weights[b, t, allowed], share, **EXACT)
                torch.testing.assert_close(means[b, t], share @ self.memory[b, allowed], **EXACT)
        assert (weights[~self.mask[:, None].expand_as(weights)] == 0).all()

    def test_the_two_scores_differ(self):
        outputs = []
        for score in SCORES:
            torch.manual_seed(0)
            outputs.append(Attention(8, 4, score=score).double()(self.states, self.memory)[1])
        assert (outputs[0] - outputs[1]).abs().max() > 1e-3

    @pytest.mark.parametrize("score", SCORES)
    def test_where_nothing_is_allowed_all_is_zero_and_gradients_are_finite(self, score):
        attention, memory = Attention(8, 4, score=score).double(), self.memory.clone().requires_grad_()
        mask = self.mask.clone()
        mask[0] = False
        means, weights = attention(self.states, memory, mask)
        assert (means[0] == 0).all()
        assert (weights[0] == 0).all()
        means.square().sum().backward()
        assert memory.grad.isfinite().all()
        assert (memory.grad[~mask] == 0).all()
        assert (memory.grad[mask] != 0).any()


class TestDecoder:
    config = DecoderConfig(vocabulary=20, context=9, width=8, memory=5)
    memory = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1)).double()
    mask = torch.arange(7) < torch.tensor([7, 4, 2])[:, None]
    target = ids[:, 6:]

    @pytest.mark.parametrize("score", SCORES)
    def test_is_its_steps_written_out(self, score):
        model = make(AttentionDecoder, replace(self.config, score=score))
        first = torch.stack([m[real].mean(0) for m, real in zip(self.memory, self.mask, strict=True)])
        state, logits = torch.tanh(model.start(first)), []
        for t in range(5):
            state = gru_step(model.embed.weight[self.target[:, t]], state, *model.recurrent.all_weights[0])
            mean, _ = model.attention(state[:, None], self.memory, self.mask)
            joined = torch.tanh(model.join(torch.cat((mean[:, 0], state), -1)))
            logits.append(joined @ model.head.weight.T + model.head.bias)
        torch.testing.assert_close(model(self.target, self.memory, self.mask), torch.stack(logits, 1), **EXACT)

    def test_takes_any_memory_and_reads_none_of_its_padding(self):
        model, other = make(AttentionDecoder, self.config), self.memory.clone()
        other[~self.mask] = 9.0
        before = model(self.target, self.memory, self.mask)
        torch.testing.assert_close(model(self.target, other, self.mask), before, **EXACT)
        assert (model(self.target, other) - before).abs().max() > 1e-3  # without the mask it does
        torch.testing.assert_close(model(self.target[1:2], self.memory[1:2, :4]), before[1:2], **EXACT)

    def test_passes_gradients_to_what_made_the_memory(self):
        model, memory = make(AttentionDecoder, self.config), self.memory.clone().requires_grad_()
        model(self.target, memory, self.mask).square().sum().backward()
        assert (memory.grad[~self.mask] == 0).all()
        assert (memory.grad[self.mask].abs().sum(-1) > 0).all()

    def test_a_cache_gives_the_same_states_and_weights_in_pieces(self):
        model = make(AttentionDecoder, self.config)
        cache, pieces = model.new_cache(), []
        for part in self.target.split([2, 1, 2], 1):
            pieces.append(model.attend(part, self.memory, self.mask, cache=cache))
        for whole, some in zip(
            model.attend(self.target, self.memory, self.mask), zip(*pieces, strict=True), strict=True
        ):
            torch.testing.assert_close(torch.cat(some, 1), whole, **EXACT)
        assert cache[0].length == 5
        with pytest.raises(InputError, match="at most 4 tokens"):
            model.states(ids, self.memory, self.mask, cache=cache)

    def test_every_activation_is_a_module_of_its_own(self):
        model, called = make(AttentionDecoder, self.config), []
        for part in model.modules():
            if isinstance(part, nn.Tanh):
                part.register_forward_hook(lambda module, *_: called.append(module))
        model(self.target, self.memory, self.mask)
        assert len(called) == len(set(called)) == 3  # start, attention, join

    @pytest.mark.parametrize(
        ("memory", "mask", "message"),
        [
            (memory[:2], None, r"(?s)a memory of shape \(3, S, 5\).*\(2, 7, 5\)"),
            (memory[..., :4], None, r"(?s)a memory of shape \(3, S, 5\).*\(3, 7, 4\)"),
            (memory[:, :0], None, "S at least 1"),
            (memory, mask.long(), "(?s)a boolean mask.*int64"),
            (memory, mask[:, :3], r"(?s)a boolean mask of shape \(3, 7\).*\(3, 3\)"),
        ],
        ids=["batch", "width", "empty", "integers", "short"],
    )
    def test_a_memory_or_mask_that_does_not_fit_is_refused(self, memory, mask, message):
        with pytest.raises(InputError, match=message):
            make(AttentionDecoder, self.config)(self.target, memory, mask)


class TestSeq2Seq:
    def test_gives_logits_of_the_target_and_where_it_looked(self):
        model = make(Seq2Seq)
        assert model(ids).shape == (3, 5, 20)
        weights = model.alignment(ids)
        assert weights.shape == (3, 5, 6)
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5).double(), **EXACT)

    @pytest.mark.parametrize("score", SCORES)
    def test_looks_at_the_whole_source_and_no_future_target(self, score):
        model = make(Seq2Seq, replace(SMALL, score=score))
        before = model(ids)
        for place, changed in ((0, 0), (5, 0), (9, 3)):  # first and last source token; the target token at place 3
            other = ids.clone()
            other[:, place] = other[:, place] % 19 + 1
            gap = (model(other) - before).abs().amax((0, 2))
            assert (gap[:changed] < 1e-12).all()
            assert (gap[changed:] > 1e-6).all()

    def test_padding_changes_nothing(self):
        short = ids.clone()
        short[1, 4:6], short[2, 2:6] = 0, 0
        model = make(Seq2Seq)
        longer = Seq2Seq(replace(SMALL, source_length=9)).double().eval()
        longer.load_state_dict(model.state_dict())
        more = torch.cat((short[:, :6], torch.zeros(3, 3, dtype=torch.int64), short[:, 6:]), 1)
        torch.testing.assert_close(longer(more), model(short), **EXACT)
        torch.testing.assert_close(model(short)[1:], model(short[1:]), **EXACT)
        assert (model.alignment(short)[2, :, 2:] == 0).all()
        assert (model(ids) - model(short)).abs().amax((1, 2))[1:].min() > 1e-3

    def test_without_a_padding_id_every_token_is_read(self):
        model, zeros = make(Seq2Seq, replace(SMALL, padding=None)), ids.clone()
        zeros[:, 5] = 0
        assert (model.alignment(zeros)[:, :, 5] > 0).all()

    @pytest.mark.parametrize("score", SCORES)
    def test_translates_as_without_a_cache(self, score):
        model, source = make(Seq2Seq, replace(SMALL, score=score)), ids[:, :6]
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)
            model.head.bias.zero_()
        written = torch.full((3, 1), 1)
        for _ in range(9):
            following = model(torch.cat((source, written), 1))[:, -1].argmax(-1)
            written = torch.cat((written, following[:, None]), 1)
        found = translate(model, source, start=1)
        assert torch.equal(found, written[:, 1:])
        assert len(found.unique()) > 3  # it does not repeat itself, so the test can fail

    def test_takes_an_empty_batch_and_the_meta_device(self):
        model = make(Seq2Seq)
        assert model(ids[:0]).shape == (0, 5, 20)
        with torch.device("meta"):
            assert Seq2Seq(SMALL)(torch.zeros(4, 11, dtype=torch.int64)).shape == (4, 5, 20)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (ids.float(), "token ids, integers"),
            (ids.tolist(), "(?s)token ids.*list"),
            (ids[:, :6], "at least one token"),
            (torch.ones(1, 16, dtype=torch.int64), "at most 15 tokens"),
            (ids + 1, "token ids from 0 to 19"),
            (ids * (torch.arange(11) > 5), "(?s)not padding.*row 0.*empty texts"),
        ],
        ids=["floats", "list", "no target", "long", "unknown id", "empty source"],
    )
    def test_ids_that_are_no_pair_of_texts_are_refused(self, bad, message):
        with pytest.raises(InputError, match=message):
            make(Seq2Seq)(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": 0}, "vocabulary, context, width and memory >= 1"),
        ({"width": 0}, "vocabulary, context, width and memory >= 1"),
        ({"width": 7}, "even width"),
        ({"memory": 0}, "vocabulary, context, width and memory >= 1"),
        ({"memory": 4}, "a memory as wide as the states"),
        ({"source_length": 0}, "source_length >= 1"),
        ({"score": "dot"}, "(?s)a score among additive, general.*'dot'"),
        ({"dropout": 1.0}, "dropout in"),
        ({"padding": 20}, "a padding id from 0 to 19"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_sizes_that_make_no_network_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(SMALL, **change)


def mirrored(count, seed):
    """Sources of three to five symbols, and the same from the last to the first: 0 padding, 1 start, 2 stop."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 6, (count, 1), generator=generator)
    place = torch.arange(5)
    source = torch.randint(3, 9, (count, 5), generator=generator).masked_fill(place >= lengths, 0)
    back = source.gather(1, (lengths - 1 - place).clamp(min=0)).masked_fill(place >= lengths, 0)
    target = torch.cat((torch.ones(count, 1, dtype=torch.int64), back, torch.zeros(count, 1, dtype=torch.int64)), 1)
    return source, target.scatter(1, lengths + 1, 2)


@pytest.mark.parametrize("score", SCORES)
def test_learns_to_copy_backwards_from_its_source(score):
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(vocabulary=9, source_length=5, context=6, width=32, score=score))
    source, target = mirrored(1000, seed=1)
    batches = train.Batches(*teacher_forcing(source, target), batch_size=50)
    recipe = {"epochs": 10, "learning_rate": 1.5e-2, "schedule": train.warmup_cosine(warmup=0.1), "clip_norm": 1.0}
    train.fit(model, batches, **recipe, loss=train.token_loss, progress=False)

    source, target = mirrored(200, seed=2)
    expected, right = target[:, 1:].masked_fill(target[:, 1:] == 0, 2), {}  # `translate` fills up with the stop token
    for name, given in (("source", source), ("another source", source.roll(1, 0))):
        written = translate(model, given, start=1, stop=2, new_tokens=6)
        written = nn.functional.pad(written, (0, 6 - written.shape[1]), value=2)
        right[name] = (written == expected).all(1).float().mean().item()
    assert right["source"] > 0.9
    assert right["another source"] < 0.1
