"""Attention maps and rollout: the product by hand, sums, models of both kinds, and what they refuse."""

import pytest
import torch

from bigmodel_lab import models
from bigmodel_lab.data import text
from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.methods.attention import attention_map, attention_rollout, rollout
from bigmodel_lab.models.attention import attention_maps
from bigmodel_lab.models.hugging_face import Logits, small_bert


def reader(**changes):
    torch.manual_seed(0)
    config = models.transformer.TransformerConfig(
        **{"vocabulary": 20, "context": 6, "width": 16, "heads": 2, "depth": 3, "outputs": 3} | changes
    )
    return models.transformer.TextClassifier(config).eval()


def maps_of(model):
    return lambda x: attention_maps(model, x)


IDS = torch.randint(1, 20, (4, 6), generator=torch.Generator().manual_seed(0))


def softmaxed(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).softmax(-1)


def test_rollout_is_the_product_by_hand():
    """Two layers, two heads, three places, worked out entry by entry."""
    first, second = softmaxed(1, 2, 3, 3), softmaxed(1, 2, 3, 3).flip(-1)
    got = rollout([first, second])[0]
    a, b = first.mean(1)[0] / 2 + torch.eye(3) / 2, second.mean(1)[0] / 2 + torch.eye(3) / 2
    for i in range(3):
        for j in range(3):
            want = sum(b[i, k] * a[k, j] for k in range(3))
            assert got[i, j].item() == pytest.approx(want.item(), abs=1e-6)
    wrong = a @ b  # the first layer comes first: the order matters
    assert (got - wrong).abs().max() > 1e-3


def test_rollout_of_a_causal_model_stays_causal_and_rows_sum_to_one():
    past = torch.ones(5, 5).tril()
    weights = [(softmaxed(2, 3, 5, 5) * past) for _ in range(4)]
    weights = [w / w.sum(-1, keepdim=True) for w in weights]
    product = rollout(weights)
    assert torch.allclose(product.sum(-1), torch.ones(2, 5), atol=1e-6)
    assert product.triu(1).abs().max() == 0


def test_values_of_a_text_are_the_mean_row_and_sum_to_one():
    model = reader()
    found = attention_rollout(model, IDS, 0, maps=maps_of(model))
    want = rollout(list(attention_maps(model, IDS).values())).mean(1)
    torch.testing.assert_close(found.values, want)
    assert found.values.shape == IDS.shape
    assert found.gap is None
    assert torch.allclose(found.values.sum(1), torch.ones(4), atol=1e-5)
    assert found.forwards == 8
    assert found.backwards == 0


def test_a_target_with_a_position_looks_from_there():
    torch.manual_seed(0)
    config = models.transformer.TransformerConfig(vocabulary=20, context=6, width=16, heads=2, depth=2)
    model = models.transformer.Decoder(config).eval()
    found = attention_rollout(model, IDS, (2, 7), maps=maps_of(model)).values
    assert found[:, 3:].abs().max() == 0 < found[:, :3].min()  # the future is not looked at
    torch.testing.assert_close(found, attention_rollout(model, IDS, (5, 7), maps=maps_of(model), query=2).values)


def test_attention_map_takes_a_layer_a_head_and_a_query():
    model = reader()
    weights = list(attention_maps(model, IDS).values())
    options = {"maps": maps_of(model), "query": 0}
    torch.testing.assert_close(attention_map(model, IDS, 0, **options).values, weights[-1].mean(1)[:, 0])
    found = attention_map(model, IDS, 0, layer=1, head=1, **options).values
    torch.testing.assert_close(found, weights[1][:, 1, 0])
    assert (found - weights[1][:, 0, 0]).abs().max() > 1e-4


def test_embedding_and_baseline_are_taken_and_change_nothing():
    model = reader()
    plain = attention_rollout(model, IDS, 0, maps=maps_of(model))
    same = attention_rollout(model, IDS, 0, 3, maps=maps_of(model), embedding=model.encoder.embed.tokens)
    torch.testing.assert_close(plain.values, same.values)


def test_patches_of_an_image_are_spread_over_their_pixels():
    torch.manual_seed(0)
    model = models.transformer.ViT().eval()
    config = model.config
    images = torch.rand(2, config.channels, config.size, config.size)
    found = attention_rollout(model, images, 0, maps=maps_of(model)).values
    assert found.shape == images.shape
    assert torch.allclose(found.flatten(1).sum(1), torch.ones(2), atol=1e-5)
    patch = rollout(list(attention_maps(model, images).values())).mean(1)[:, 1]  # the second of the first row
    side = config.patch
    torch.testing.assert_close(found[:, :, :side, side : 2 * side].sum((1, 2, 3)), patch)


def test_features_share_their_step_s_weight():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    found = attention_map(model, torch.rand(2, 4, 3), 0, maps=lambda x: [softmaxed(2, 1, 4, 4)]).values
    torch.testing.assert_close(found.sum(2), softmaxed(2, 1, 4, 4)[:, 0].mean(1))


def bert(kind):
    tokenizer = text.byte_level()
    torch.manual_seed(0)
    model = small_bert(tokenizer, width=16, heads=2, context=12).eval()
    model.set_attn_implementation(kind)
    return Logits(model).eval(), torch.tensor([tokenizer("so long")["input_ids"]])


def test_hugging_face_s_eager_attention():
    wrapped, ids = bert("eager")
    found = attention_rollout(wrapped, ids, 0, maps=lambda x: wrapped.model(x, output_attentions=True).attentions)
    assert torch.allclose(found.values.sum(1), torch.ones(1), atol=1e-5)


def test_fused_attention_keeps_no_weights():
    wrapped, ids = bert("sdpa")
    with pytest.raises(InputError, match='attn_implementation="eager"'):
        attention_rollout(wrapped, ids, 0, maps=lambda x: wrapped.model(x, output_attentions=True).attentions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "maps="),
        ({"maps": lambda x: []}, "at least one layer"),
        ({"maps": lambda x: None}, "got:      None"),
        ({"maps": lambda x: (None, None)}, "None among them"),
        ({"maps": lambda x: [softmaxed(4, 6, 6)]}, r"\(4, heads, T, T\)"),
        ({"maps": lambda x: [softmaxed(4, 2, 6, 5)]}, r"\(4, heads, T, T\)"),
        ({"maps": lambda x: [torch.randn(4, 2, 6, 6)]}, "after the softmax"),
        ({"maps": lambda x: [2 * softmaxed(4, 2, 6, 6)]}, "rows that sum to"),
        ({"maps": lambda x: [softmaxed(4, 2, 7, 7)]}, "7 places for inputs"),
        ({"maps": lambda x: [softmaxed(4, 2, 6, 6)], "query": 6}, "a query from 0 to 5"),
    ],
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(InputError, match=message):
        attention_rollout(reader(), IDS, 0, **options)


@pytest.mark.parametrize(("options", "message"), [({"layer": 3}, "a layer from 0"), ({"head": 2}, "a head from 0")])
def test_refuses_layers_and_heads_that_are_not_there(options, message):
    model = reader()
    with pytest.raises(InputError, match=message):
        attention_map(model, IDS, 0, maps=maps_of(model), **options)


def test_leaves_the_model_as_it_was_also_when_maps_fail():
    model = reader()
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}

    def fail(ids):
        attention_maps(model, ids)
        model.stray = 1
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        attention_rollout(model, IDS, 0, maps=fail)
    after = {name: dict(module.__dict__) for name, module in model.named_modules()}
    assert before.keys() == after.keys()
    assert all(before[name].keys() == after[name].keys() for name in before)
    assert not hasattr(model, "stray")
    assert not model.encoder.stack.training
