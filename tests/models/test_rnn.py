"""The written-out cells equal PyTorch's; padding changes nothing; a carried state generates the same tokens."""

from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.rnn import (
    LanguageModel,
    RNNConfig,
    SequenceClassifier,
    generate,
    gru_step,
    lstm_step,
    rnn_step,
    unroll,
)

KINDS = ("rnn", "lstm", "gru")


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def weights(layer):
    return layer.all_weights[0]


class TestCells:
    @pytest.mark.parametrize(("step", "layer"), [(rnn_step, nn.RNN), (gru_step, nn.GRU)])
    def test_a_step_is_the_librarys(self, step, layer):
        layer = layer(5, 7, batch_first=True).double()
        x, h = torch.randn(3, 5).double(), torch.randn(3, 7).double()
        close(step(x, h, *weights(layer)), layer(x[:, None], h[None])[1][0])

    def test_a_step_of_the_lstm_is_the_librarys(self):
        layer = nn.LSTM(5, 7, batch_first=True).double()
        x, h, memory = (torch.randn(3, n).double() for n in (5, 7, 7))
        ours = lstm_step(x, (h, memory), *weights(layer))
        theirs = layer(x[:, None], (h[None], memory[None]))[1]
        close(ours[0], theirs[0][0])
        close(ours[1], theirs[1][0])

    @pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
    def test_unrolled_over_time_and_backwards_they_are_the_librarys(self, layer):
        layer = layer(4, 6, batch_first=True).double()
        x = torch.randn(2, 9, 4).double().requires_grad_()
        ours, theirs = unroll(layer, x), layer(x)[0]
        close(ours, theirs)
        gradients = [torch.autograd.grad(y.square().sum(), [x, *weights(layer)]) for y in (ours, theirs)]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)

    def test_a_wrong_order_of_gates_is_another_cell(self):
        layer = nn.GRU(5, 7, batch_first=True).double()
        x, h = torch.randn(3, 5).double(), torch.randn(3, 7).double()
        swapped = [torch.cat([w[7:14], w[:7], w[14:]]) for w in weights(layer)]
        assert (gru_step(x, h, *swapped) - layer(x[:, None], h[None])[1][0]).abs().max() > 1e-3


class TestClassifier:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("pooling", ["last", "mean"])
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_more_padding_changes_nothing(self, kind, pooling, bidirectional):
        config = RNNConfig(
            kind=kind, vocabulary=9, outputs=3, width=5, depth=2, pooling=pooling, bidirectional=bidirectional
        )
        model = SequenceClassifier(config).double()
        ids = torch.tensor([[3, 4, 5, 6], [7, 2, 0, 0]])
        outputs = model(ids)
        assert outputs.shape == (2, 3)
        close(outputs, model(torch.cat([ids, torch.zeros(2, 5, dtype=torch.int64)], dim=1)))
        close(outputs[1:], model(torch.tensor([[7, 2]])))
        assert (outputs[1:] - model(torch.tensor([[2, 7]]))).abs().max() > 1e-6

    def test_without_a_padding_id_every_id_counts(self):
        model = SequenceClassifier(RNNConfig(vocabulary=9, padding=None))
        assert not torch.equal(model(torch.tensor([[7, 2]])), model(torch.tensor([[7, 2, 0]])))

    @pytest.mark.parametrize("kind", KINDS)
    def test_last_is_the_formula(self, kind):
        model = SequenceClassifier(RNNConfig(kind=kind, inputs=2, outputs=1, width=6)).double()
        x = torch.randn(4, 5, 2).double()
        close(model(x), unroll(model.recurrent, x)[:, -1] @ model.head.weight.T + model.head.bias)

    def test_mean_is_the_formula(self):
        model = SequenceClassifier(RNNConfig(inputs=2, outputs=1, width=6, pooling="mean")).double()
        x = torch.randn(4, 5, 2).double()
        close(model(x), model.head(unroll(model.recurrent, x).mean(1)))

    def test_a_text_of_padding_alone_has_finite_outputs(self):
        for bidirectional in (False, True):
            model = SequenceClassifier(RNNConfig(vocabulary=9, bidirectional=bidirectional))
            assert model(torch.zeros(2, 3, dtype=torch.int64)).isfinite().all()

    def test_bidirectional_last_has_read_everything_both_ways(self):
        model = SequenceClassifier(RNNConfig(vocabulary=9, outputs=1, width=4, bidirectional=True)).double()
        states = []
        model.head.register_forward_hook(lambda module, inputs, output: states.append(inputs[0]))
        for changed in ([1, 2, 3, 4], [1, 2, 3, 8], [8, 2, 3, 4]):
            model(torch.tensor([changed]))
        for other in states[1:]:
            assert ((states[0] - other).abs() > 1e-9).all()  # both halves see the first and the last token

    def test_the_forget_bias_is_set_in_every_layer(self):
        for bias in (1.0, None):
            config = RNNConfig(kind="lstm", vocabulary=9, width=4, depth=2, forget_bias=bias)
            for _, _, b, c in SequenceClassifier(config).recurrent.all_weights:
                gate = (b + c)[4:8]
                assert bool((gate == 1).all()) == (bias == 1.0)


class TestLanguageModel:
    @pytest.mark.parametrize("kind", KINDS)
    def test_no_token_changes_the_scores_before_it(self, kind):
        model = LanguageModel(RNNConfig(kind=kind, vocabulary=11, width=8, depth=2))
        ids = torch.randint(0, 11, (2, 6))
        changed = ids.clone()
        changed[:, 4] = (ids[:, 4] + 1) % 11
        same = (model(ids) == model(changed)).all(-1)
        assert model(ids).shape == (2, 6, 11)
        assert same[:, :4].all()
        assert not same[:, 4:].any()

    @pytest.mark.parametrize("kind", KINDS)
    def test_in_two_parts_it_is_the_same(self, kind):
        model = LanguageModel(RNNConfig(kind=kind, vocabulary=11, width=8)).double()
        ids = torch.randint(0, 11, (2, 6))
        first, state = model.step(ids[:, :2])
        close(torch.cat([first, model.step(ids[:, 2:], state)[0]], dim=1), model(ids))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 0.7, "top_k": 4}, {}])
    def test_carrying_the_state_gives_the_same_tokens(self, kind, how):
        model = LanguageModel(RNNConfig(kind=kind, vocabulary=11, width=8, depth=2, dropout=0.5)).double()
        prompt = torch.randint(0, 11, (3, 4))
        tokens = [
            generate(model, prompt, 12, **how, cache=cache, generator=torch.Generator().manual_seed(5))
            for cache in (True, False)
        ]
        assert torch.equal(*tokens)
        assert tokens[0].shape == (3, 16)
        assert torch.equal(tokens[0][:, :4], prompt)
        assert model.training

    def test_top_k_draws_from_the_k_likeliest_and_greedy_takes_the_first(self):
        model = LanguageModel(RNNConfig(vocabulary=11, width=8)).eval()
        prompt = torch.randint(0, 11, (1, 3))
        ranks = model(prompt)[0, -1].argsort(descending=True)
        drawn = generate(model, prompt.expand(400, -1), 1, top_k=3)[:, -1]
        assert set(drawn.tolist()) == set(ranks[:3].tolist())
        assert generate(model, prompt, 1, temperature=0)[0, -1] == ranks[0]

    def test_a_tied_head_shares_its_weights(self):
        tied, free = (LanguageModel(RNNConfig(vocabulary=11, width=8, tied=tied)) for tied in (True, False))
        assert tied.head.weight is tied.embedding.weight
        assert sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == 11 * 8
        assert tied(torch.randint(0, 11, (4, 9))).std() < 1.5

    def test_it_learns_to_count(self):
        torch.manual_seed(0)
        model = LanguageModel(RNNConfig(vocabulary=5, width=16))
        ids = (torch.arange(12) + torch.arange(5)[:, None]) % 5
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(120):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
        assert generate(model, torch.tensor([[3]]), 6, temperature=0).tolist() == [[3, 4, 0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kind": "rrn"}, "rnn, lstm, gru"),
        ({"vocabulary": None}, "either vocabulary"),
        ({"inputs": 3}, "either vocabulary"),
        ({"width": 0}, "sizes >= 1"),
        ({"depth": 0}, "sizes >= 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"pooling": "max"}, "pooling"),
        ({"kind": "gru", "forget_bias": 1.0}, "forget gate"),
        ({"tied": True, "embedding": 3}, "embedding=64"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(wrong, words):
    with pytest.raises(InputError, match=words):
        RNNConfig(**{"vocabulary": 9, **wrong})


@pytest.mark.parametrize("wrong", [{"bidirectional": True}, {"vocabulary": None, "inputs": 2}])
def test_a_language_model_needs_tokens_and_one_direction(wrong):
    with pytest.raises(InputError, match="one direction"):
        LanguageModel(RNNConfig(**{"vocabulary": 9, **wrong}))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(3, dtype=torch.int64), r"\(B, T\)"),
        (torch.zeros(3, 4), r"\(B, T\)"),
        (torch.zeros(3, 0, dtype=torch.int64), "T at least 1"),
        (torch.tensor([[1, 9]]), "ids from 1 to 9"),
        (torch.tensor([[-1, 2]]), "ids from -1 to 2"),
    ],
)
def test_wrong_ids_are_named(x, words):
    for model in (SequenceClassifier, LanguageModel):
        with pytest.raises(InputError, match=words):
            model(RNNConfig(vocabulary=9))(x)


@pytest.mark.parametrize("x", [torch.zeros(3, 4), torch.zeros(3, 4, 5), torch.zeros(3, 4, 2, dtype=torch.int64)])
def test_wrong_numbers_are_named(x):
    with pytest.raises(InputError, match=r"\(B, T, 2\)"):
        SequenceClassifier(RNNConfig(inputs=2))(x)


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": 0}, {"new_tokens": -1}])
def test_generation_refuses_what_means_nothing(wrong):
    model = LanguageModel(RNNConfig(vocabulary=9))
    with pytest.raises(InputError, match=r"at least|or above"):
        generate(model, torch.tensor([[1]]), **{"new_tokens": 3, **wrong})


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_and_one_on_meta_have_outputs(kind):
    for bidirectional in (False, True):
        model = SequenceClassifier(RNNConfig(kind=kind, vocabulary=9, bidirectional=bidirectional))
        assert model(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 2)
        assert model.to("meta")(torch.zeros(4, 3, dtype=torch.int64, device="meta")).shape == (4, 2)


@pytest.mark.parametrize("ids", [np.zeros((2, 3), dtype=int), [[1, 2]], torch.ones(2, 3, dtype=torch.uint8)], ids=type)
def test_ids_of_another_type_are_named(ids):
    for model in (SequenceClassifier, LanguageModel):
        with pytest.raises(InputError, match=r"token ids of shape \(B, T\)"):
            model(RNNConfig(vocabulary=9))(ids)
    with pytest.raises(InputError, match=r"numbers of shape \(B, T, 2\)"):
        SequenceClassifier(RNNConfig(inputs=2))(ids)


@pytest.mark.parametrize("padding", [-1, 9])
def test_a_padding_that_is_no_token_is_refused(padding):
    with pytest.raises(InputError, match="padding id from 0 to 8, or None"):
        RNNConfig(vocabulary=9, padding=padding)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.RNN(2, 3, nonlinearity="relu"), (1, 2, 2)),
        (nn.GRU(2, 3, bias=False), (1, 2, 2)),
        (nn.LSTM(2, 3, proj_size=1), (1, 2, 2)),
        (nn.GRU(2, 3), (2, 2)),
        (nn.GRU(2, 3), (1, 0, 2)),
        (nn.Linear(2, 3), (1, 2, 2)),
    ],
    ids=str,
)
def test_what_cannot_be_unrolled_is_named(layer, shape):
    with pytest.raises(InputError, match=r"(?s)expected.*got"):
        unroll(layer, torch.zeros(shape))


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # of PyTorch, about its own layers
@pytest.mark.parametrize("model", [SequenceClassifier, LanguageModel])
def test_a_model_can_be_exported(model):
    model, ids = model(RNNConfig(vocabulary=9, width=4)).eval(), torch.randint(1, 9, (3, 5))
    torch.testing.assert_close(torch.export.export(model, (ids,)).module()(ids), model(ids))


@pytest.mark.parametrize("seed", range(9))
def test_on_sizes_drawn_at_random_it_is_pytorchs(seed):
    draw = Random(seed)
    batch, steps, inputs, width = (draw.randint(1, 6) for _ in range(4))
    torch.manual_seed(seed)
    layer = (nn.RNN, nn.LSTM, nn.GRU)[seed % 3](inputs, width, batch_first=True).double()
    x, h = torch.randn(batch, steps, inputs).double(), torch.randn(2, 1, batch, width).double()
    state = (h[0], h[1]) if seed % 3 == 1 else h[0]
    ours = unroll(layer, x, (h[0, 0], h[1, 0]) if seed % 3 == 1 else h[0, 0])
    close(ours, layer(x, state)[0])
