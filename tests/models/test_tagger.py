"""The tagger: shapes, what padding may change, what each part sees; it learns a rule of letters and context."""

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.tagger import Letters, Tagger, TaggerConfig
from bigmodel_lab.train import Batches, fit, predict, token_loss

SIZES = {"outputs": 3, "embedding": 5, "letter_embedding": 4, "letter_width": 6, "width": 7}
BOTH = TaggerConfig(vocabulary=11, letters=9, **SIZES)


def sentences(*shape, high):
    ids = torch.randint(1, high, shape)
    return ids


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (TaggerConfig(vocabulary=9, **SIZES), (4, 6)),
        (TaggerConfig(letters=9, **SIZES), (4, 6, 5)),
        (BOTH, (4, 6, 5)),
        (TaggerConfig(vocabulary=9, letters=9, kind="lstm", **SIZES), (1, 1, 2)),
    ],
    ids=["words", "letters", "both", "lstm"],
)
def test_every_word_gets_scores(config, shape):
    model = Tagger(config).eval()
    scores = model(sentences(*shape, high=9))
    assert scores.shape == (*shape[:2], 3)
    assert scores.isfinite().all()


def test_padding_changes_nothing():
    model = Tagger(BOTH).eval()
    x = sentences(1, 4, 6, high=9)
    longer = torch.cat([x, torch.zeros(1, 3, 6, dtype=torch.int64)], dim=1)
    beside = torch.cat([longer, sentences(1, 7, 6, high=9)])
    torch.testing.assert_close(model(longer)[:, :4], model(x))
    torch.testing.assert_close(model(beside)[:1, :4], model(x))


def test_both_directions_are_read():
    model = Tagger(BOTH).eval()
    x = sentences(1, 5, 6, high=9)
    for changed in (0, 4):
        other = x.clone()
        other[0, changed] = x[0, changed] % 8 + 1
        moved = (model(other) - model(x)).abs().amax(2)[0]
        assert (moved > 0).all()  # the first word tells of the last, and the last of the first


def test_letters_are_the_strongest_answer_of_each_filter():
    torch.manual_seed(0)
    layer = Letters(BOTH)
    ids = torch.tensor([[3, 1, 4, 1, 5, 0, 0]])
    rows = torch.nn.functional.pad(layer.embedding(ids)[0], (0, 0, 1, 1))  # (L + 2, e)
    by_hand = (
        torch.stack(
            [torch.einsum("ek,cke->c", rows[i : i + 3].T, layer.filters.weight.permute(0, 2, 1)) for i in range(7)]
        )
        + layer.filters.bias
    )
    torch.testing.assert_close(layer(ids)[0], by_hand.amax(0).relu())


def test_activations_can_be_hooked_and_are_used_once():
    model, seen = Tagger(BOTH).eval(), []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, inputs, output: seen.append(module))
    model(sentences(2, 3, 6, high=9))
    assert len(seen) == len(set(seen)) == sum(not list(m.children()) for m in model.modules())


def rule(count, seed):
    """Label 1: a word whose letters hold a 7, after a word that is not 2; else 0."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(2, 5, (count, 6, 1), generator=generator)
    letters = torch.randint(1, 9, (count, 6, 4), generator=generator)
    before = torch.cat([torch.full((count, 1, 1), 3), words[:, :-1]], dim=1)[..., 0]
    return torch.cat([words, letters], dim=2), ((letters == 7).any(2) & (before != 2)).long()


def test_a_rule_of_letters_and_context_is_learned_and_words_alone_cannot():
    torch.manual_seed(0)
    (x, y), (new, truth) = rule(400, 0), rule(100, 1)
    scores = {}
    for name, config, cut in [
        ("both", TaggerConfig(outputs=2, vocabulary=5, letters=9, dropout=0.0, width=16), lambda x: x),
        ("words", TaggerConfig(outputs=2, vocabulary=5, dropout=0.0, width=16), lambda x: x[..., 0]),
    ]:
        model = Tagger(config)
        batches = Batches(cut(x), y, batch_size=20)
        fit(model, batches, epochs=12, learning_rate=1e-2, loss=token_loss, progress=False)
        scores[name] = (predict(model, cut(new)).argmax(2) == truth).float().mean().item()
    assert scores["both"] > 0.95
    assert scores["words"] < 0.85


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": 2},
        {"outputs": 0, "vocabulary": 5},
        {"outputs": 2, "vocabulary": 1},
        {"outputs": 2, "letters": 9, "dropout": 1.0},
        {"outputs": 2, "vocabulary": 5, "kind": "transformer"},
    ],
    ids=["nothing to read", "no labels", "no words", "dropout", "kind"],
)
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(InputError):
        Tagger(TaggerConfig(**wrong))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.ones(3, dtype=torch.int64), r"int64 of shape \(B, T, 1 \+ L\)"),
        (torch.ones(2, 3, dtype=torch.int64), r"int64 of shape \(B, T, 1 \+ L\)"),
        (torch.ones(2, 3, 1, dtype=torch.int64), r"int64 of shape"),
        (torch.ones(2, 3, 4), "float32"),
        ([[1]], "list"),
        (torch.full((2, 3, 4), 9), r"letter ids in \[0, 9\)"),
        (torch.tensor([[[11, 1, 1]]]), r"word ids in \[0, 11\)"),
        (torch.tensor([[[1, -1, 1]]]), "from -1 to 1"),
    ],
    ids=["one word", "words alone", "no letters", "floats", "list", "letter too high", "word too high", "negative"],
)
def test_ids_that_are_no_sentence_are_refused(x, said):
    with pytest.raises(InputError, match=said):
        Tagger(BOTH)(x)
