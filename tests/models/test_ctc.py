"""CTC against PyTorch and against a sum over every path; the acoustic model, its texts, and its checkpoint."""

import json
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from bigmodel_lab import train
from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.ctc import (
    CTCConfig,
    Listener,
    ListenerConfig,
    Recogniser,
    collapse,
    ctc_loss,
    encode,
    load_recogniser,
    read_out,
    save_recogniser,
    transcribe,
)

WORDS = ("one", "two", "three")


def small(**sizes) -> Recogniser:
    torch.manual_seed(0)
    return Recogniser(CTCConfig(symbols=WORDS, **({"mels": 6, "width": 8} | sizes)))


def says(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a path says, the slow way: drop each symbol equal to the one before, then the blanks."""
    kept = [s for i, s in enumerate(path) if i == 0 or path[i - 1] != s]
    return tuple(s for s in kept if s != 0)


def by_enumeration(logits: torch.Tensor, text: tuple[int, ...]) -> torch.Tensor:
    """-log of the sum over all V^G paths of logits (G, V) that say `text`."""
    scores = logits.double().log_softmax(-1)
    paths = [p for p in product(range(logits.shape[1]), repeat=len(logits)) if says(p) == text]
    return -torch.stack([sum(scores[g, s] for g, s in enumerate(p)) for p in paths]).logsumexp(0)


class TestLoss:
    @pytest.mark.parametrize("text", [(1,), (1, 2), (1, 1), (2, 1, 2), (3, 3, 3)])
    def test_it_is_the_sum_over_every_path(self, text):
        logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(1))
        loss = ctc_loss(logits, torch.tensor([text])) * len(text)
        torch.testing.assert_close(loss.double(), by_enumeration(logits[0], text), atol=1e-5, rtol=1e-5)

    def test_paths_that_say_something_sum_to_one(self):
        logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
        texts = {says(p) for p in product(range(3), repeat=4)}
        total = sum((-by_enumeration(logits, text)).exp() for text in texts)
        torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64))

    def test_a_wrong_way_to_collapse_would_be_noticed(self):
        logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(1))
        scores = logits[0].double().log_softmax(-1)
        blanks_first = [
            p for p in product(range(4), repeat=5) if [s for s in p if s] == [1, 2]
        ]  # repeats are not merged
        wrong = -torch.stack([sum(scores[g, s] for g, s in enumerate(p)) for p in blanks_first]).logsumexp(0)
        assert (ctc_loss(logits, torch.tensor([[1, 2]])) * 2 - wrong).abs() > 0.05

    def test_texts_of_different_lengths_are_pytorchs_mean(self):
        logits = torch.randn(3, 12, 4, generator=torch.Generator().manual_seed(3), requires_grad=True)
        targets, lengths = torch.tensor([[1, 2, 3], [2, 0, 0], [1, 1, 0]]), torch.tensor([3, 1, 2])
        scores = logits.log_softmax(-1).transpose(0, 1)
        theirs = F.ctc_loss(scores, targets, torch.full((3,), 12), lengths, blank=0, reduction="mean")
        ours = ctc_loss(logits, targets)
        torch.testing.assert_close(ours, theirs)
        (gradient,) = torch.autograd.grad(ours, logits)
        assert torch.isfinite(gradient).all()
        torch.testing.assert_close(gradient.sum(-1), torch.zeros(3, 12), atol=1e-6, rtol=0)  # of a softmax

    @pytest.mark.parametrize(
        ("targets", "message"),
        [
            (torch.tensor([[1, 2, 0, 3]]), "then zeros"),
            (torch.tensor([[0, 0, 0, 0]]), "at least one"),
            (torch.tensor([[1, 4, 0, 0]]), "symbols from 1 to 3"),
            (torch.tensor([[1, -1, 0, 0]]), "symbols from 1 to 3"),
            (torch.tensor([[1, 1, 1, 1]]), "one that needs 7"),
            (torch.tensor([[1, 2], [1, 2]]), "logits"),
            (torch.tensor([[1.0, 2.0]]), "int64"),
            (torch.tensor([1, 2]), "targets"),
        ],
    )
    def test_texts_that_cannot_be_said_are_refused(self, targets, message):
        with pytest.raises(InputError, match=message):
            ctc_loss(torch.zeros(1, 6, 4), targets)

    def test_a_text_that_just_fits_is_possible(self):
        assert torch.isfinite(ctc_loss(torch.zeros(1, 7, 4), torch.tensor([[1, 1, 1, 1]])))


class TestReading:
    @pytest.mark.parametrize("path", list(product(range(3), repeat=4)))
    def test_collapse_is_its_definition(self, path):
        assert tuple(collapse(path)) == says(path)

    def test_the_example_of_the_docstring(self):
        assert collapse([0, 1, 1, 0, 1]) == [1, 1]
        assert collapse([]) == []

    def test_symbols_are_read_where_they_are_surest(self):
        logits = torch.zeros(2, 6, 3)
        logits[0, torch.arange(6), torch.tensor([0, 1, 1, 0, 2, 2])] = torch.tensor([9.0, 2.0, 5.0, 9.0, 6.0, 3.0])
        logits[1, :, 0] = 5.0
        assert read_out(logits) == [[(1, 2), (2, 4)], []]

    def test_texts_become_symbols_and_back(self):
        targets = encode(["two two", "one", ""], WORDS)
        assert targets.tolist() == [[2, 2], [1, 0], [0, 0]]
        assert encode(["ab", "b"], "ab", joint="").tolist() == [[1, 2], [2, 0]]
        assert encode([], WORDS).shape == (0, 0)

    def test_an_unknown_word_is_refused(self):
        with pytest.raises(InputError, match="'four' in 'one four'"):
            encode(["one four"], WORDS)


class TestModel:
    @pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 31])
    @pytest.mark.parametrize("strides", [(), (2,), (2, 2), (4, 2)])
    def test_frames_are_shortened_by_the_stride(self, frames, strides):
        model = small(strides=strides)
        logits = model(torch.randn(2, frames, 6))
        assert logits.shape == (2, -(-frames // model.config.stride), 4)

    def test_recordings_do_not_change_each_other(self):
        model, x = small(depth=2, dropout=0.5).eval(), torch.randn(3, 20, 6)
        torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))

    def test_activations_are_modules_used_once(self):
        model, calls = small(), []
        for part in model.modules():
            if not list(part.children()):
                part.register_forward_hook(lambda module, _, __: calls.append(module))
        model(torch.randn(2, 20, 6))
        assert len(calls) == len(set(calls)) == sum(1 for part in model.modules() if not list(part.children()))

    @pytest.mark.parametrize("shape", [(2, 20, 5), (20, 6), (2, 0, 6)])
    def test_another_shape_is_refused(self, shape):
        with pytest.raises(InputError, match="log-mel spectrograms"):
            small()(torch.zeros(shape))

    @pytest.mark.parametrize(
        "wrong",
        [{"kernel": 4}, {"width": 0}, {"strides": (2, 0)}, {"dropout": 1.0}, {"symbols": ()}, {"symbols": ("a", "a")}],
    )
    def test_sizes_that_make_no_network_are_refused(self, wrong):
        with pytest.raises(InputError):
            CTCConfig(**({"symbols": WORDS} | wrong))

    def test_symbols_that_would_fall_apart_are_refused(self):
        with pytest.raises(InputError, match="symbols without ' '"):
            CTCConfig(symbols=("twenty one",))
        assert CTCConfig(symbols=("twenty one",), joint="|").joint == "|"

    def test_a_listener_alone_gives_what_it_heard(self):
        assert Listener(ListenerConfig(mels=6, width=8))(torch.randn(2, 20, 6)).shape == (2, 5, 16)


def melodies(count: int, seed: int) -> tuple[torch.Tensor, list[str]]:
    """Recordings whose words are bands that sound for a while: three words at places that nobody tells."""
    generator, texts = torch.Generator().manual_seed(seed), []
    x = 0.1 * torch.randn(count, 40, 6, generator=generator)
    for row in x:
        words, at = torch.randint(0, 3, (3,), generator=generator).tolist(), 2
        for word in words:
            at += int(torch.randint(0, 4, (1,), generator=generator))
            row[at : at + 6, 2 * word] += 3.0
            at += 8
        texts.append(" ".join(WORDS[word] for word in words))
    return x, texts


class TestLearning:
    def test_places_are_found_that_nobody_told(self):
        x, texts = melodies(256, 0)
        model = small(width=16, strides=(2,))
        batches = train.Batches(x, encode(texts, WORDS), batch_size=16)
        train.fit(model, batches, epochs=12, learning_rate=1e-2, loss=ctc_loss, clip_norm=1.0, progress=False)
        x, texts = melodies(100, 1)
        right = sum(a == b for a, b in zip(transcribe(model, x, tail=0), texts, strict=True))
        assert right > 95
        shuffled = texts[1:] + texts[:1]
        assert sum(a == b for a, b in zip(transcribe(model, x, tail=0), shuffled, strict=True)) < 25

    def test_transcribing_keeps_the_mode_and_adds_silence(self):
        model = small(dropout=0.5).train()
        seen = []
        model.listener.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        x = torch.randn(3, 20, 6)
        texts = transcribe(model, x, tail=7, batch_size=2)
        assert len(texts) == 3
        assert model.training
        assert [part.shape for part in seen] == [(2, 27, 6), (1, 27, 6)]
        assert (seen[0][:, 20:] == x.min()).all()
        assert torch.equal(seen[0][:, :20], x[:2])


class TestCheckpoint:
    def test_what_is_saved_comes_back(self, tmp_path):
        model = small(strides=(4, 2)).train()
        model(torch.randn(4, 20, 6))  # statistics of the bands
        save_recogniser(model, tmp_path / "new")
        back = load_recogniser(tmp_path / "new")
        assert back.config == model.config
        assert not back.training
        x = torch.randn(2, 20, 6)
        assert torch.equal(back(x), model.eval()(x))

    def test_what_is_missing_cut_short_or_foreign_is_said(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"config\.json and model\.safetensors"):
            load_recogniser(tmp_path)
        save_recogniser(small(), tmp_path)
        weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
        whole, sizes = weights.read_bytes(), json.loads(config.read_text())
        weights.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match="SafetensorError"):
            load_recogniser(tmp_path)
        weights.write_bytes(whole)
        for wrong in (sizes | {"width": 16}, sizes | {"colour": 1}, sizes | {"kernel": 2}):
            config.write_text(json.dumps(wrong))
            with pytest.raises(CheckpointError, match="write it again"):
                load_recogniser(tmp_path)
        config.write_text("{")
        with pytest.raises(CheckpointError, match="JSONDecodeError"):
            load_recogniser(tmp_path)
