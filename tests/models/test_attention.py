"""Attention equals PyTorch's own, with every mask, fast and written out, with a cache and without."""

from copy import deepcopy
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.attention import KVCache, MultiHeadAttention, attention, attention_maps, causal_mask

EXACT = {"rtol": 0, "atol": 1e-12}


def qkv(*, queries=5, keys=7, heads=3, size=4):
    torch.manual_seed(0)
    lengths = (queries, keys, keys)
    return [torch.randn(2, heads, length, size, dtype=torch.float64) for length in lengths]


@pytest.fixture
def padding():
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, 4:] = False
    return mask


class TestFunction:
    def test_equals_sdpa(self, padding):
        q, k, v = qkv()
        for mask in (None, padding[:, None, None, :], torch.ones(5, 7, dtype=torch.bool).tril()):
            torch.testing.assert_close(
                attention(q, k, v, mask)[0], F.scaled_dot_product_attention(q, k, v, mask), **EXACT
            )

    def test_equals_sdpa_where_it_is_causal(self):
        q, k, v = qkv(queries=7)
        theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        torch.testing.assert_close(attention(q, k, v, causal_mask(7))[0], theirs, **EXACT)
        assert (attention(q, k, v)[0] - theirs).abs().max() > 0.1

    def test_weights_are_shares_of_what_may_be_looked_at(self, padding):
        weights = attention(*qkv(), padding[:, None, None, :])[1]
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64), **EXACT)
        assert (weights[0, ..., 4:] == 0).all()
        assert (weights[1] > 0).all()

    def test_with_nothing_to_look_at_all_is_zero_and_gradients_are_finite(self):
        q, k, v = (part.requires_grad_() for part in qkv())
        mask = torch.ones(5, 7, dtype=torch.bool)
        mask[2] = False
        output, weights = attention(q, k, v, mask)
        assert (output[:, :, 2] == 0).all()
        assert (weights[:, :, 2] == 0).all()
        torch.testing.assert_close(output, F.scaled_dot_product_attention(q, k, v, mask), **EXACT)
        output.sum().backward()
        assert all(part.grad.isfinite().all() for part in (q, k, v))

    def test_a_mask_of_numbers_is_refused(self):
        with pytest.raises(InputError, match=r"(?s)boolean.*float32.*mask\.bool"):
            attention(*qkv(), torch.zeros(5, 7))


def test_a_causal_mask_is_the_lower_triangle():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def theirs_like(ours, heads):
    """PyTorch's module with the weights of ours."""
    theirs = nn.MultiheadAttention(ours.out.in_features, heads, batch_first=True, dtype=torch.float64)
    if ours.cross:
        weight, bias = (torch.cat((getattr(ours.query, n), getattr(ours.key_value, n))) for n in ("weight", "bias"))
    else:
        weight, bias = ours.qkv.weight, ours.qkv.bias
    state = {"in_proj_weight": weight, "in_proj_bias": bias}
    theirs.load_state_dict(state | {f"out_proj.{name}": value for name, value in ours.out.state_dict().items()})
    return theirs.eval()


class TestModule:
    x, memory = torch.randn(2, 5, 12, dtype=torch.float64), torch.randn(2, 7, 12, dtype=torch.float64)

    @pytest.mark.parametrize("keep", [False, True])
    def test_self_attention_equals_pytorchs(self, keep):
        mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        for causal in (False, True):
            ours = MultiHeadAttention(12, 3, causal=causal).double()
            ours.keep_weights = keep
            past = ~causal_mask(5) if causal else None  # PyTorch's module has True for "may not"
            for padding in (None, mask):
                theirs, weights = theirs_like(ours, 3)(
                    self.x,
                    self.x,
                    self.x,
                    attn_mask=past,
                    key_padding_mask=None if padding is None else ~padding,
                    average_attn_weights=False,
                )
                torch.testing.assert_close(ours(self.x, mask=padding), theirs, **EXACT)
                if keep:
                    torch.testing.assert_close(ours.weights, weights, **EXACT)
                else:
                    assert ours.weights is None

    @pytest.mark.parametrize("keep", [False, True])
    def test_cross_attention_equals_pytorchs(self, keep):
        ours = MultiHeadAttention(12, 3, cross=True).double()
        ours.keep_weights = keep
        mask = torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
        theirs = theirs_like(ours, 3)(self.x, self.memory, self.memory, key_padding_mask=~mask)[0]
        torch.testing.assert_close(ours(self.x, self.memory, mask=mask), theirs, **EXACT)

    @pytest.mark.parametrize("pieces", [(1, 1, 1, 1, 1), (3, 1, 1), (2, 3)])
    def test_with_a_cache_the_outputs_are_the_same(self, pieces):
        layer, cache = MultiHeadAttention(12, 3, causal=True).double(), KVCache(5)
        ends = torch.tensor((0, *pieces)).cumsum(0).tolist()
        parts = [layer(self.x[:, begin:end], cache=cache) for begin, end in pairwise(ends)]
        torch.testing.assert_close(torch.cat(parts, 1), layer(self.x), **EXACT)

    def test_a_full_cache_says_so(self):
        layer, cache = MultiHeadAttention(12, 3, causal=True).double(), KVCache(4)
        with pytest.raises(InputError, match="at most 4 tokens"):
            layer(self.x, cache=cache)

    def test_dropout_acts_in_training_only_on_both_paths(self):
        layer = MultiHeadAttention(12, 3, dropout=0.5).double()
        for keep in (False, True):
            layer.keep_weights = keep
            assert not torch.equal(layer.train()(self.x), layer(self.x))
            assert torch.equal(layer.eval()(self.x), layer(self.x))
        torch.testing.assert_close(layer.train()(self.x).shape, self.x.shape)
        torch.testing.assert_close(layer.weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))

    def test_a_layer_that_kept_weights_can_be_copied(self):
        layer = MultiHeadAttention(12, 3).double()
        layer.keep_weights = True
        layer(self.x)
        assert torch.equal(deepcopy(layer)(self.x), layer(self.x))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"width": 10, "heads": 4}, "multiple of heads"),
            ({"width": 0, "heads": 1}, "multiple of heads"),
            ({"width": 8, "heads": 2, "causal": True, "cross": True}, "not both"),
        ],
    )
    def test_impossible_sizes_are_refused(self, wrong, message):
        with pytest.raises(InputError, match=message):
            MultiHeadAttention(**wrong)

    def test_memory_belongs_to_cross_attention(self):
        with pytest.raises(InputError, match="self-attention"):
            MultiHeadAttention(12, 3).double()(self.x, self.memory)
        with pytest.raises(InputError, match="cross-attention"):
            MultiHeadAttention(12, 3, cross=True).double()(self.x)

    def test_padding_without_any_real_token_gives_no_nan(self):
        layer = MultiHeadAttention(12, 3).double()
        mask = torch.tensor([[True] * 5, [False] * 5])
        fast = layer(self.x, mask=mask)
        layer.keep_weights = True
        torch.testing.assert_close(layer(self.x, mask=mask), fast, **EXACT)
        torch.testing.assert_close(fast[1], layer.out.bias.expand(5, 12), **EXACT)


class TestMaps:
    def test_are_the_weights_by_name_and_the_model_is_left_as_it_was(self):
        model = nn.Sequential(MultiHeadAttention(12, 3, dropout=0.5), MultiHeadAttention(12, 2, causal=True))
        model[1].eval()
        maps = attention_maps(model, torch.randn(4, 6, 12))
        assert {name: tuple(weights.shape) for name, weights in maps.items()} == {"0": (4, 3, 6, 6), "1": (4, 2, 6, 6)}
        assert (maps["1"].triu(1) == 0).all()
        assert not any(layer.keep_weights or layer.weights is not None for layer in model)
        assert [layer.training for layer in model] == [True, False]

    def test_the_model_is_left_as_it_was_after_a_failure(self):
        model = nn.Sequential(MultiHeadAttention(12, 3))
        with pytest.raises(RuntimeError):
            attention_maps(model, torch.randn(4, 6, 5))
        assert model.training
        assert not model[0].keep_weights

    def test_a_model_without_attention_is_named(self):
        with pytest.raises(InputError, match=r"(?s)MultiHeadAttention.*Linear"):
            attention_maps(nn.Linear(2, 2), torch.zeros(1, 2))


class TestMasks:
    x = torch.randn(2, 5, 12)

    @pytest.mark.parametrize("mask", [np.ones((2, 5), dtype=bool), [[True] * 5] * 2], ids=type)
    def test_what_is_no_tensor_is_named(self, mask):
        with pytest.raises(InputError, match=rf"(?s)boolean mask.*{type(mask).__name__}"):
            MultiHeadAttention(12, 3)(self.x, mask=mask)
        with pytest.raises(InputError, match=rf"(?s)boolean mask.*{type(mask).__name__}"):
            attention(self.x, self.x, self.x, mask)

    @pytest.mark.parametrize("shape", [(2, 4), (3, 5), (5,), (2, 1, 5), (5, 5)])
    @pytest.mark.parametrize("causal", [False, True])
    def test_another_shape_is_named(self, shape, causal):
        mask = torch.ones(shape, dtype=torch.bool)
        with pytest.raises(InputError, match=r"(?s)shape \(2, 5\).*got: +\("):
            MultiHeadAttention(12, 3, causal=causal)(self.x, mask=mask)

    def test_one_row_serves_all(self):
        layer, mask = MultiHeadAttention(12, 3), torch.tensor([[True, True, False, True, False]])
        torch.testing.assert_close(layer(self.x, mask=mask), layer(self.x, mask=mask.expand(2, -1)))


def test_a_cache_belongs_to_self_attention():
    layer, x = MultiHeadAttention(12, 3, cross=True), torch.randn(2, 5, 12)
    with pytest.raises(InputError, match="cache"):
        layer(x, x, cache=KVCache(9))


@pytest.mark.parametrize("seed", range(12))
def test_on_sizes_drawn_at_random_it_is_pytorchs(seed):
    draw = Random(seed)
    batch, queries, keys, heads = (draw.randint(1, 5) for _ in range(4))
    width = heads * draw.randint(1, 4)
    cross = draw.random() < 0.5
    causal = not cross and draw.random() < 0.5
    torch.manual_seed(seed)
    x = torch.randn(batch, queries, width, dtype=torch.float64)
    memory = torch.randn(batch, keys, width, dtype=torch.float64) if cross else x
    mask = torch.rand(batch, memory.shape[1]) < 0.7
    mask[:, 0] = True
    ours = MultiHeadAttention(width, heads, causal=causal, cross=cross).double()
    ours.keep_weights = draw.random() < 0.5
    past = ~causal_mask(queries) if causal else None
    theirs = theirs_like(ours, heads)(x, memory, memory, key_padding_mask=~mask, attn_mask=past)[0]
    torch.testing.assert_close(ours(x, memory if cross else None, mask=mask), theirs, **EXACT)
