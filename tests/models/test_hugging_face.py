"""A wrapped Hugging Face model is the model itself; padding changes nothing; what is no text is refused."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModelForSequenceClassification, BertForMaskedLM, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.models.hugging_face import Logits, quiet, small_bert, small_gpt2

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
WORDS = [*SPECIAL.values(), *"abcdefghijklmnopqrstuvwxyz"]
SMALL = {"width": 16, "depth": 2, "heads": 2, "context": 12}


def make_tokenizer(**special):
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


@pytest.fixture
def tokenizer():
    return make_tokenizer(**SPECIAL)


@pytest.fixture(params=["bert", "masked", "gpt2"])
def model(request, tokenizer):
    torch.manual_seed(0)
    bert = small_bert(tokenizer, **SMALL, classes=3)
    made = {"bert": bert, "masked": BertForMaskedLM(bert.config), "gpt2": small_gpt2(tokenizer, **SMALL)}
    with torch.no_grad():  # fresh weights are so small that no text makes a difference
        for weight in made[request.param].parameters():
            weight.mul_(10 if weight.ndim == 2 else 1)
    return made[request.param].eval()


def texts(*shape):
    return torch.randint(len(SPECIAL), len(WORDS), shape)


def test_it_is_the_model_itself(model):
    ids = texts(3, 7)
    torch.testing.assert_close(Logits(model)(ids), model(input_ids=ids).logits)


def test_padding_changes_nothing_and_without_a_mask_it_would(model):
    short = texts(1, 5)
    padded = torch.cat([short, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    alone, beside = Logits(model)(short), Logits(model)(torch.cat([texts(1, 9), padded]))[1:]
    blind = model(input_ids=padded).logits
    if alone.ndim == 3:
        beside, blind = beside[:, :5], blind[:, :5]
    torch.testing.assert_close(beside, alone)
    if not isinstance(model, GPT2LMHeadModel):  # a causal model looks back only, where no padding is
        assert (blind - alone).abs().max() > 1e-3


def test_embeddings_are_halfway(model):
    wrapped, ids = Logits(model), torch.cat([texts(2, 6), torch.zeros(2, 3, dtype=torch.long)], dim=1)
    embeddings = wrapped.embed(ids)
    assert embeddings.shape == (2, 9, 16)
    torch.testing.assert_close(wrapped.from_embeddings(embeddings, ids), wrapped(ids))
    assert not torch.allclose(wrapped.from_embeddings(0 * embeddings, ids), wrapped(ids))
    with pytest.raises(InputError, match=r"\(2, 9, 'C'\)"):
        wrapped.from_embeddings(embeddings[:, :5], ids)


def test_another_padding_can_be_named(model):
    ids = texts(2, 6)
    ids[:, 4:] = 7
    assert Logits(model, pad=7).mask(ids).tolist() == [[1, 1, 1, 1, 0, 0]] * 2


def test_a_model_without_padding_has_no_mask(tokenizer):
    model = small_gpt2(tokenizer, **SMALL).eval()
    model.config.pad_token_id = None
    assert Logits(model).mask(texts(2, 3)) is None
    assert Logits(model)(torch.zeros(2, 3, dtype=torch.long)).shape == (2, 3, len(WORDS))


def test_fit_trains_it(tokenizer):
    torch.manual_seed(0)
    ids = texts(256, 8)
    labels = (ids == 10).any(1).long()  # is there a "g"?
    ids[::2, 6:], labels[::2] = 0, (ids[::2, :6] == 10).any(1).long()
    model = Logits(small_bert(tokenizer, **SMALL, dropout=0.0))
    batches = train.Batches(ids, labels, batch_size=32)
    train.fit(model, batches, epochs=25, learning_rate=3e-3, progress=False)
    assert (train.predict(model, ids).argmax(1) == labels).float().mean() > 0.95


def test_fit_trains_a_language_model(tokenizer):
    torch.manual_seed(0)
    ids = (torch.arange(9) + torch.randint(0, 15, (128, 1))) + len(SPECIAL)  # the alphabet, from some letter on
    model = Logits(small_gpt2(tokenizer, **SMALL, dropout=0.0))

    def loss(outputs, targets):
        return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    batches = train.Batches(ids[:, :-1], ids[:, 1:], batch_size=32)
    history = train.fit(model, batches, epochs=25, learning_rate=1e-2, loss=loss, progress=False)
    assert history.rows[-1]["train_loss"] < 0.2 * history.rows[0]["train_loss"]


def test_what_is_saved_is_loaded(tokenizer, tmp_path):
    model = small_bert(tokenizer, **SMALL, classes=3).eval()
    model.save_pretrained(tmp_path)
    with quiet():
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids = texts(2, 6)
    assert torch.equal(Logits(loaded)(ids), Logits(model)(ids))
    assert loaded.config._attn_implementation == "sdpa"


def test_the_sizes_are_those_asked_for(tokenizer):
    bert, gpt2 = small_bert(tokenizer, **SMALL, classes=3), small_gpt2(tokenizer, **SMALL)
    for config in (bert.config, gpt2.config):
        sizes = (config.vocab_size, config.hidden_size, config.num_hidden_layers, config.num_attention_heads)
        assert sizes == (len(WORDS), 16, 2, 2)
        assert (config.max_position_embeddings, config.pad_token_id) == (12, 0)
    assert (gpt2.config.bos_token_id, gpt2.config.eos_token_id) == (2, 3)  # [CLS] and [SEP]


class TestRefused:
    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            (torch.full((2, 3), len(WORDS)), r"(?s)from 0 to 29.*from 30 to 30"),
            (torch.full((2, 3), -100), r"(?s)from 0 to 29.*targets only"),
            (torch.ones(2, 13, dtype=torch.long), r"(?s)at most 12 tokens.*got: +13"),
            (torch.ones(2, 0, dtype=torch.long), r"at least one token"),
            (torch.ones(0, 4, dtype=torch.long), r"at least one text"),
            (torch.ones(4, dtype=torch.long), r"(?s)shape \(B, T\).*unsqueeze"),
            (torch.ones(2, 4), r"(?s)integers.*float32"),
            (torch.ones(2, 4, dtype=torch.uint8), r"(?s)int64 or int32.*uint8.*ids\.long"),
            ([[5, 6]], r"(?s)integers.*list"),
            (torch.tensor([[5, 6], [0, 0]]), r"(?s)not padding in each text.*1 texts of padding"),
        ],
    )
    def test_ids_that_are_no_text(self, model, ids, message):
        with pytest.raises(InputError, match=message):
            Logits(model)(ids)

    @pytest.mark.parametrize("wrong", [{"heads": 3}, {"depth": 0}, {"classes": 0}])
    def test_sizes_that_make_no_network(self, tokenizer, wrong):
        with pytest.raises(InputError, match="multiple of heads"):
            small_bert(tokenizer, **{**SMALL, **wrong})

    def test_a_tokenizer_without_padding(self):
        with pytest.raises(InputError, match="padding token"):
            small_gpt2(make_tokenizer(unk_token="[UNK]"), **SMALL)


def test_quiet_ends_with_its_block(tokenizer, tmp_path, capfd):
    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    small_bert(tokenizer, **SMALL).base_model.save_pretrained(tmp_path)
    capfd.readouterr()
    with quiet():
        AutoModelForSequenceClassification.from_pretrained(tmp_path)  # its head is new, which is reported otherwise
    with pytest.raises(OSError, match="nowhere"), quiet():
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "nowhere")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
