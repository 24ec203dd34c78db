"""Encoder, classifier, decoder and encoder-decoder keep their promises: order, masks, dials, GPT-2's logits."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.attention import attention_maps
from bigmodel_lab.models.transformer import (
    Block,
    BlockConfig,
    Decoder,
    Encoder,
    EncoderDecoder,
    TextClassifier,
    TransformerConfig,
    ViT,
    ViTConfig,
    teacher_forcing,
)

EXACT = {"rtol": 0, "atol": 1e-12}
SMALL = TransformerConfig(vocabulary=20, context=12, width=16, heads=4, depth=2, source_length=6, outputs=3)
DIALS = [
    {"positions": "none"},
    {"positions": "sinusoidal"},
    {"norm": "post"},
    {"norm": "none"},
    {"residual": False},
    {"feed_forward": False},
    {"activation": "gelu_tanh"},
    {"heads": 1},
    {"factor": 2},
    {"depth": 1},
    {"width": 32},
]
ids = torch.randint(1, 20, (3, 10), generator=torch.Generator().manual_seed(0))


def make(kind, config=SMALL, seed=0):
    """A model in float64 whose every parameter is drawn, biases too, so that each of them matters."""
    torch.manual_seed(seed)
    model = kind(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


class TestBlock:
    x = torch.randn(2, 5, 16, dtype=torch.float64)

    @pytest.mark.parametrize("norm", ["pre", "post", "none"])
    @pytest.mark.parametrize("residual", [True, False])
    def test_is_the_formula(self, norm, residual):
        block = Block(BlockConfig(width=16, norm=norm, residual=residual)).double()
        x = self.x
        for part, pre, post in (
            (block.attention, block.norm_attention, block.join_attention.norm),
            (block.mlp, block.norm_mlp, block.join_mlp.norm),
        ):
            f = part(pre(x)) if norm == "pre" else part(x)
            x = x + f if residual else f
            x = post(x) if norm == "post" else x
        torch.testing.assert_close(block(self.x), x, **EXACT)

    @pytest.mark.parametrize(
        ("name", "activation"), [("gelu", "gelu"), ("gelu_tanh", nn.GELU("tanh")), ("relu", "relu")]
    )
    def test_equals_pytorchs_encoder_layer(self, name, activation):
        block = Block(BlockConfig(width=16, norm="pre", activation=name)).double()
        theirs = nn.TransformerEncoderLayer(
            16,
            4,
            64,
            dropout=0.0,
            activation=activation,
            batch_first=True,
            norm_first=True,
            dtype=torch.float64,
        )
        names = {
            "attention.qkv.": "self_attn.in_proj_",
            "attention.out.": "self_attn.out_proj.",
            "norm_attention.": "norm1.",
            "norm_mlp.": "norm2.",
            "mlp.0.": "linear1.",
            "mlp.2.": "linear2.",
        }
        state = {}
        for name, value in block.state_dict().items():
            start = next(mine for mine in names if name.startswith(mine))
            state[names[start] + name.removeprefix(start)] = value
        theirs.load_state_dict(state)
        torch.testing.assert_close(block(self.x), theirs(self.x), **EXACT)

    def test_without_feed_forward_it_is_attention_alone(self):
        block = Block(BlockConfig(width=16, feed_forward=False)).double()
        torch.testing.assert_close(block(self.x), self.x + block.attention(block.norm_attention(self.x)), **EXACT)
        assert block.mlp is None


class TestEncoder:
    def test_without_positions_a_permuted_text_gives_permuted_states(self):
        order = torch.randperm(10)
        for positions, equal in (("none", True), ("learned", False), ("sinusoidal", False)):
            encoder = make(Encoder, replace(SMALL, positions=positions))
            gap = (encoder(ids)[:, order] - encoder(ids[:, order])).abs().max()
            assert (gap < 1e-12) == equal

    def test_padding_changes_no_real_token(self):
        encoder = make(Encoder)
        longer = torch.cat((ids, torch.zeros(3, 2, dtype=torch.int64)), 1)
        torch.testing.assert_close(encoder(longer)[:, :10], encoder(ids), **EXACT)
        careless = make(Encoder, replace(SMALL, padding=None))
        assert (careless(longer)[:, :10] - careless(ids)).abs().max() > 1e-3

    def test_texts_do_not_mix(self):
        encoder = make(Encoder)
        torch.testing.assert_close(encoder(ids)[1:2], encoder(ids[1:2]), **EXACT)

    def test_takes_an_empty_batch(self):
        assert make(Encoder)(ids[:0]).shape == (0, 10, 16)

    def test_sinusoids_are_those_of_the_paper(self):
        table = Encoder(replace(SMALL, positions="sinusoidal")).embed.positions.table
        place, pair = 7, 3
        angle = torch.tensor(place / 10000 ** (2 * pair / 16))
        scale = (2 / 16) ** 0.5
        torch.testing.assert_close(table[place, 6:8], scale * torch.stack((angle.sin(), angle.cos())))
        torch.testing.assert_close(table.square().mean(), torch.tensor(1 / 16))
        assert Encoder(replace(SMALL, positions="sinusoidal", width=9, heads=3))(ids).shape == (3, 10, 9)


class TestTextClassifier:
    def test_takes_the_mean_over_real_tokens(self):
        model = make(TextClassifier)
        longer = torch.cat((ids, torch.zeros(3, 2, dtype=torch.int64)), 1)
        by_hand = model.head(model.encoder(ids).mean(1))
        torch.testing.assert_close(model(longer), by_hand, **EXACT)
        torch.testing.assert_close(make(TextClassifier, replace(SMALL, padding=None))(ids), by_hand, **EXACT)
        assert by_hand.shape == (3, 3)

    def test_a_text_of_padding_alone_is_named(self):
        empty = ids.clone()
        empty[1] = 0
        with pytest.raises(InputError, match=r"(?s)not padding.*row 1.*empty texts"):
            TextClassifier(SMALL)(empty)


class TestDecoder:
    def test_no_future_token_changes_the_past(self):
        model, changed = make(Decoder), ids.clone()
        changed[:, 6:] = (changed[:, 6:] + 5) % 20
        before, after = model(ids), model(changed)
        torch.testing.assert_close(before[:, :6], after[:, :6], **EXACT)
        assert (before[:, 6:] - after[:, 6:]).abs().amin((0, 2)).max() > 1e-6
        assert before.shape == (3, 10, 20)

    def test_weights_are_drawn_as_gpt2s(self):
        config = replace(SMALL, vocabulary=500, width=128, depth=8)
        model = Decoder(config)
        block, head = model.stack.blocks[3], model.head.weight
        assert head is model.embed.tokens.weight
        for weight, std in (
            (head, 0.02),
            (block.attention.qkv.weight, 0.02),
            (block.mlp[0].weight, 0.02),
            (block.attention.out.weight, 0.02 / 4),  # √(2 · 8)
            (block.mlp[2].weight, 0.02 / 4),
        ):
            assert weight.std().item() == pytest.approx(std, rel=0.05)
        assert all((p == 0).all() for n, p in model.named_parameters() if n.endswith("bias"))
        logits = model(torch.randint(0, 500, (4, 12)))
        assert logits.std() < 0.3  # so the first loss is near log V
        assert sum(p.numel() for p in Decoder(replace(config, tied=False)).parameters()) == 500 * 128 + sum(
            p.numel() for p in model.parameters()
        )


class TestFromGPT2:
    @pytest.fixture
    def theirs(self):
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        config = GPT2Config(vocab_size=50, n_positions=16, n_embd=24, n_layer=2, n_head=3, n_inner=48)
        config.bos_token_id = config.eos_token_id = 0
        model = GPT2LMHeadModel(config).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return model

    def test_logits_are_equal(self, theirs):
        ours, text = Decoder.from_gpt2(theirs), torch.randint(0, 50, (3, 16))
        torch.testing.assert_close(ours(text), theirs(text).logits, rtol=0, atol=1e-10)
        assert ours.config.factor == 2
        assert ours.config.tied
        assert not ours.training
        assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()

    def test_an_untied_head_is_kept(self, theirs):
        theirs.lm_head.weight = nn.Parameter(torch.randn(50, 24, dtype=torch.float64))
        ours, text = Decoder.from_gpt2(theirs), torch.randint(0, 50, (3, 16))
        torch.testing.assert_close(ours(text), theirs(text).logits, rtol=0, atol=1e-10)

    def test_the_weights_are_copies(self, theirs):
        ours = Decoder.from_gpt2(theirs)
        before = ours(ids)
        with torch.no_grad():
            theirs.transformer.wte.weight.zero_()
        assert torch.equal(ours(ids), before)

    def test_other_models_are_refused(self, theirs):
        with pytest.raises(InputError, match=r"(?s)GPT2LMHeadModel.*Linear"):
            Decoder.from_gpt2(nn.Linear(2, 2))
        with pytest.raises(InputError, match="GPT2LMHeadModel"):
            Decoder.from_gpt2(theirs.transformer)
        theirs.config.activation_function = "silu"
        with pytest.raises(InputError, match=r"(?s)as published.*silu"):
            Decoder.from_gpt2(theirs)


class TestEncoderDecoder:
    pair = torch.cat((ids[:, :6], ids[:, 4:9]), 1)  # (3, 6 + 5)

    def test_gives_logits_of_the_target(self):
        assert make(EncoderDecoder)(self.pair).shape == (3, 5, 20)

    def test_looks_at_the_whole_source_and_no_future_target(self):
        model = make(EncoderDecoder)
        before = model(self.pair)
        for place, changed in ((5, 0), (9, 3)):  # the last source token; the target token at place 3
            other = self.pair.clone()
            other[:, place] = other[:, place] % 19 + 1
            gap = (model(other) - before).abs().amax((0, 2))
            assert (gap[:changed] < 1e-12).all()
            assert (gap[changed:] > 1e-6).all()

    def test_padding_of_the_source_is_not_looked_at(self):
        model, padded = make(EncoderDecoder), self.pair.clone()
        padded[:, 4:6] = 0
        with torch.no_grad():
            before = model(padded)
            model.encoder.embed.positions.table[4:].add_(1.0)
        torch.testing.assert_close(model(padded), before, **EXACT)

    def test_shares_one_embedding(self):
        model = EncoderDecoder(SMALL)
        assert model.head.weight is model.embed.tokens.weight is model.encoder.embed.tokens.weight
        untied = EncoderDecoder(replace(SMALL, tied=False))
        assert untied.head.weight is not untied.embed.tokens.weight is untied.encoder.embed.tokens.weight

    def test_teacher_forcing_moves_the_target_by_one(self):
        source, target = torch.tensor([[5, 6, 0]]), torch.tensor([[1, 7, 8, 2, 0]])
        inputs, targets = teacher_forcing(source, target)
        assert inputs.tolist() == [[5, 6, 0, 1, 7, 8, 2]]
        assert targets.tolist() == [[7, 8, 2, -100]]

    def test_what_makes_no_pair_is_named(self):
        with pytest.raises(InputError, match="start token"):
            teacher_forcing(ids, ids[:2])
        with pytest.raises(InputError, match="start token"):
            teacher_forcing(ids, ids[:, :1])
        with pytest.raises(InputError, match="source_length"):
            EncoderDecoder(replace(SMALL, source_length=0))
        with pytest.raises(InputError, match="at least one token"):
            EncoderDecoder(SMALL)(ids[:, :6])


ALL = [Encoder, TextClassifier, Decoder, EncoderDecoder]


class TestDials:
    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize("dial", DIALS, ids=str)
    def test_each_changes_the_outputs_and_gradients_stay_finite(self, kind, dial):
        model, other = make(kind), make(kind, replace(SMALL, **dial))
        outputs = other(ids)
        assert model(ids).shape[:2] == outputs.shape[:2]
        if "width" not in dial or kind is not Encoder:
            assert (model(ids) - outputs).abs().max() > 1e-6
        outputs.square().mean().backward()
        missing = [n for n, p in other.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert missing == []

    def test_each_changes_the_parameters_as_it_should(self):
        def count(**dial):
            return sum(p.numel() for p in Encoder(replace(SMALL, **dial)).parameters())

        c, full = 16, count()
        assert full == 20 * c + 12 * c + 2 * (12 * c**2 + 13 * c) + 2 * c  # as GPT-2's formula, 12 C² a block
        assert full - count(positions="none") == full - count(positions="sinusoidal") == 12 * c
        assert full - count(norm="none") == 2 * 4 * c + 2 * c
        assert full - count(norm="post") == 2 * c
        assert full - count(feed_forward=False) == 2 * (8 * c**2 + 5 * c + 2 * c)
        assert full == count(heads=1) == count(residual=False)

    def test_dropout_acts_in_training_only(self):
        model = make(TextClassifier, replace(SMALL, dropout=0.5))
        assert torch.equal(model(ids), model(ids))
        assert not torch.equal(model.train()(ids), model(ids))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"vocabulary": 0},
            {"context": 0},
            {"outputs": 0},
            {"heads": 3},
            {"depth": 0},
            {"factor": 0},
            {"dropout": 1.0},
            {"positions": "rotary"},
            {"norm": "batch"},
            {"activation": "swish"},
            {"padding": 20},
            {"source_length": -1},
        ],
        ids=str,
    )
    def test_a_config_that_makes_no_network_is_refused(self, wrong):
        with pytest.raises(InputError, match="expected"):
            replace(SMALL, **wrong)


class TestInput:
    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (torch.full((1, 8), 20), r"(?s)from 0 to 19.*20.*tokeniser"),
            (torch.full((1, 8), -1), r"(?s)from 0 to 19.*-1"),
            (torch.ones(1, 30, dtype=torch.int64), r"(?s)at most 1[28] tokens.*30 tokens"),
            (torch.ones(1, 0, dtype=torch.int64), "(?s)at least one token.*empty"),
            (torch.ones(8, dtype=torch.int64), r"(?s)shape \(B, T\).*\(8,\).*unsqueeze"),
            (torch.ones(1, 8), r"(?s)integers.*float32"),
            ([[1, 2]], r"(?s)integers.*list"),
            (torch.ones(1, 8, dtype=torch.uint8), r"(?s)int64 or int32.*uint8.*ids\.long"),
            (torch.ones(1, 8, dtype=torch.complex64), r"(?s)integers.*complex64"),
        ],
        ids=["unknown", "negative", "long", "empty", "flat", "float", "list", "bytes", "complex"],
    )
    def test_wrong_ids_are_named(self, kind, wrong, message):
        model = kind(SMALL)
        with pytest.raises(InputError, match=message):
            model(wrong)


class TestTools:
    images = torch.rand(2, 1, 8, 8)

    @pytest.mark.parametrize("kind", ALL)
    def test_torch_fx_can_trace_a_model(self, kind):
        model = make(kind)
        torch.testing.assert_close(torch.fx.symbolic_trace(model)(ids), model(ids), **EXACT)

    def test_activations_are_modules_not_shared_and_attention_can_be_read(self):
        model = make(EncoderDecoder)
        gelus = [part for part in model.modules() if isinstance(part, nn.GELU)]
        calls = []
        for gelu in gelus:
            gelu.register_forward_hook(lambda module, *_: calls.append(module))
        maps = attention_maps(model, ids)
        assert len(calls) == len(set(calls)) == len(gelus) == 4
        shapes = {name: tuple(weights.shape) for name, weights in maps.items()}
        assert shapes["encoder.stack.blocks.0.attention"] == (3, 4, 6, 6)
        assert shapes["blocks.1.attention"] == (3, 4, 4, 4)
        assert shapes["blocks.1.cross_attention"] == (3, 4, 4, 6)

    def test_integrated_gradients_of_the_embedding_are_complete(self):
        from captum.attr import LayerIntegratedGradients

        model = make(TextClassifier)
        baseline = torch.full_like(ids, 19)
        explain = LayerIntegratedGradients(model, model.encoder.embed.tokens)
        _, gap = explain.attribute(ids, baseline, target=1, n_steps=100, return_convergence_delta=True)
        difference = model(ids)[:, 1] - model(baseline)[:, 1]
        assert (gap.abs() < 0.05 * difference.abs()).all()


class TestViT:
    config = ViTConfig(channels=1, size=8, patch=2, width=16, outputs=5)
    images = torch.rand(3, 1, 8, 8, dtype=torch.float64)

    def test_cuts_the_image_into_patches(self):
        model = make(ViT, self.config)
        assert model(self.images).shape == (3, 5)
        assert attention_maps(model, self.images)["stack.blocks.0.attention"].shape == (3, 4, 16, 16)
        patch = self.images[:, 0, 2:4, 4:6].flatten(1)  # row 1, column 2 of 4 × 4 patches
        by_hand = patch @ model.patches.weight.flatten(1).T + model.patches.bias
        torch.testing.assert_close(model.patches(self.images).flatten(2)[:, :, 6], by_hand, **EXACT)

    def test_without_positions_moved_patches_are_the_same_image(self):
        moved = self.images.roll((2, 4), (2, 3))
        for positions, equal in (("none", True), ("learned", False), ("sinusoidal", False)):
            model = make(ViT, replace(self.config, positions=positions))
            assert ((model(moved) - model(self.images)).abs().max() < 1e-12) == equal

    def test_runs_on_the_blocks_of_the_text_encoder(self):
        text = Encoder(replace(SMALL, depth=2))
        ViT(self.config).stack.load_state_dict(text.stack.state_dict())

    def test_torch_fx_can_trace_it(self):
        model = make(ViT, self.config)
        torch.testing.assert_close(torch.fx.symbolic_trace(model)(self.images), model(self.images), **EXACT)

    @pytest.mark.parametrize("shape", [(1, 8, 8), (2, 3, 8, 8), (2, 1, 8, 6)])
    def test_wrong_images_are_named(self, shape):
        with pytest.raises(InputError, match=r"\(B, 1, 8, 8\)"):
            ViT(self.config)(torch.zeros(shape))

    @pytest.mark.parametrize("wrong", [{"patch": 3}, {"channels": 0}, {"outputs": 0}, {"patch": 0}])
    def test_a_config_that_makes_no_network_is_refused(self, wrong):
        with pytest.raises(InputError, match="multiple of patch"):
            replace(self.config, **wrong)
