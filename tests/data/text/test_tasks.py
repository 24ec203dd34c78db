"""Tasks from the corpus: library names are hidden, sides kept apart, blocks and masks as defined."""

from time import process_time

import pytest
import torch

from bigmodel_lab.data import text
from bigmodel_lab.errors import InputError
from bigmodel_lab.train import Batches

PACKAGES = ("numpy", "scipy", "sklearn", "torch", "python")


def make_corpus(per_package=300):
    documents = tuple(
        text.Document(
            f"{package} text number {i}\n  of import {package} as np", package, f"{package}.m{i // 3}", f"f{i}"
        )
        for package in PACKAGES
        for i in range(per_package)
    )
    return text.Corpus(documents, tuple(text.Origin(p, "1", per_package, 0) for p in PACKAGES))


@pytest.mark.parametrize(
    "giveaway",
    [
        "numpy",
        "NumPy",
        "np",
        "np.array",
        "scikit-learn",
        "sklearn.svm",
        "PyTorch",
        "torch_dtype",
        "plt",
        "Hugging Face",
    ],
)
def test_names_of_libraries_are_hidden(giveaway):
    hidden = text.plain(f"use {giveaway} here")
    assert "library" in hidden
    assert giveaway.split(".")[0].lower() not in hidden.lower().split()


@pytest.mark.parametrize("word", ["input", "spline", "torque", "humpy", "snp", "matrix"])
def test_other_words_are_not(word):
    assert text.plain(f"use {word} here") == f"use {word} here"


def test_plain_text_stands_on_one_line():
    assert text.plain("a\n\n   b  c") == "a b c"


def test_classes_are_balanced_and_the_label_is_the_package():
    train, test = text.which_library(make_corpus(), 4)
    for part in (train, test):
        assert part.classes == PACKAGES[:4]
        assert len(set(part.labels.bincount().tolist())) == 1
    truth = {text.plain(d.text): d.package for d in make_corpus().documents}
    assert len(truth) == 300  # the texts are the same in all packages but for the name, which is hidden
    assert set(train.texts).isdisjoint(set(test.texts) - set(train.texts))


def test_the_seed_decides_the_order_and_per_class_the_number():
    first, again, other = (text.which_library(make_corpus(), 2, per_class=7, seed=s)[0] for s in (0, 0, 1))
    assert first.texts == again.texts != other.texts
    assert first.labels.bincount().tolist() == [7, 7]


def test_train_and_test_come_from_different_files():
    corpus = make_corpus()
    train, test = corpus.split()
    first, second = text.which_library(corpus, 2)
    assert set(first.texts) <= {text.plain(d.text) for d in train.documents}
    assert set(second.texts) <= {text.plain(d.text) for d in test.documents}


@pytest.mark.parametrize(("classes", "match"), [(1, "from 2 to 8"), (9, "from 2 to 8"), (6, "matplotlib")])
def test_classes_that_are_not_there_are_an_error(classes, match):
    with pytest.raises(InputError, match=match):
        text.which_library(make_corpus(), classes)


def test_blocks_hold_the_stream_in_order():
    tokenizer = text.byte_level()
    blocks = text.blocks(["abcdef", "gh"], tokenizer, 5)
    stream = [*tokenizer("abcdef")["input_ids"], *tokenizer("gh")["input_ids"]]
    assert blocks.tolist() == [stream[:5], stream[5:10]]
    inputs, targets = text.next_token(blocks)
    assert inputs.tolist() == [stream[:4], stream[5:9]]
    assert targets.tolist() == [stream[1:5], stream[6:10]]


@pytest.mark.parametrize("nothing", [[], ["ab"], "text"])
def test_too_little_for_a_block_is_an_error(nothing):
    with pytest.raises(InputError, match=r"one block|one text"):
        text.blocks(nothing, text.byte_level(), 50)


def test_masks_are_as_defined():
    tokenizer = text.byte_level()
    ids = torch.randint(5, 261, (200, 64))
    ids[:, 0], ids[:, -1] = 2, 3
    inputs, targets = text.masking(tokenizer, 0.2)(ids, torch.Generator().manual_seed(0))
    chosen = targets != -100
    assert chosen[:, 1:-1].float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert not chosen[:, [0, -1]].any()
    assert (targets[chosen] == ids[chosen]).all()
    assert (inputs[~chosen] == ids[~chosen]).all()
    masked = (inputs[chosen] == tokenizer.mask_token_id).float().mean().item()
    same = (inputs[chosen] == ids[chosen]).float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.03)
    assert same == pytest.approx(0.1, abs=0.03)
    assert inputs[chosen & (inputs != tokenizer.mask_token_id)].min() >= 5


def test_masks_differ_between_epochs_and_not_between_runs():
    tokenizer = text.byte_level()
    ids = torch.randint(5, 261, (8, 16))
    batches = Batches(ids, ids, batch_size=8, shuffle=False, augment=text.masking(tokenizer))
    first, again, later = (next(iter(batches.epoch(epoch))) for epoch in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], later[1])


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_masks_nothing_or_all_is_an_error(share):
    with pytest.raises(InputError, match="between 0 and 1"):
        text.masking(text.byte_level(), share)


class TestSets:
    def make(self, **changes):
        parts = {
            "texts": ("a b", "c", "d"),
            "labels": torch.tensor([0, 1, 0]),
            "classes": ("x", "y"),
            "pairs": ("p", "q", "r"),
            "truth": ((True, False), (True,), (False,)),
        }
        return text.TextSet(**parts | changes)

    @pytest.mark.parametrize("which", [slice(1, 3), [1, 2], torch.tensor([1, 2]), torch.tensor([False, True, True])])
    def test_parts_stay_together(self, which):
        part = self.make()[which]
        assert (part.texts, part.labels.tolist(), part.pairs) == (("c", "d"), [1, 0], ("q", "r"))
        assert part.truth == ((True,), (False,))
        assert len(part) == 2

    @pytest.mark.parametrize("wrong", [{"labels": torch.tensor([0, 1])}, {"truth": ((True, False),)}, {"pairs": ()}])
    def test_parts_of_different_lengths_are_an_error(self, wrong):
        with pytest.raises(InputError, match="one label"):
            self.make(**wrong)

    @pytest.mark.parametrize("label", [-1, 2])
    def test_a_label_out_of_range_is_an_error(self, label):
        with pytest.raises(InputError, match=r"labels from 0 to 1"):
            self.make(labels=torch.tensor([0, label, 1]))


def test_a_long_line_without_spaces_takes_no_long_time():
    start = process_time()
    assert text.plain("x" * 50_000) == "x" * 50_000
    assert text.plain("x" * 50_000 + "numpy" + "x" * 50_000) == "library"
    assert process_time() - start < 1


@pytest.mark.parametrize("length", [0, -1, 2.5, "8"])
def test_a_length_that_makes_no_block_is_an_error(length):
    with pytest.raises(InputError, match=f"(?s)length.*{length}"):
        text.blocks(["some text"], text.byte_level(), length)


def test_a_tokeniser_without_a_mask_is_an_error():
    tokenizer = text.byte_level()
    tokenizer.mask_token = None
    with pytest.raises(InputError, match=r"\[MASK\]"):
        text.masking(tokenizer)


class TestTextSetParts:
    texts = ("a", "b", "c")

    @pytest.mark.parametrize(
        "labels", [torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[0], [1], [0]]), [0, 1, 0], torch.tensor(1)], ids=str
    )
    def test_labels_of_another_kind_are_an_error(self, labels):
        with pytest.raises(InputError, match=r"int64 of shape \(N,\)"):
            text.TextSet(self.texts, labels, ("x", "y"))

    def test_numbers_are_labels_where_there_are_no_classes(self):
        assert len(text.TextSet(self.texts, torch.tensor([0.0, 0.5, 5.0]), ())) == 3

    def test_nothing_and_a_step_back_can_be_asked_for(self):
        found = text.TextSet(self.texts, torch.tensor([0, 1, 0]), ("x", "y"))
        assert found[[]].texts == ()
        assert found[::-1].texts == ("c", "b", "a")
        assert found[torch.zeros(3, dtype=torch.bool)].texts == ()
