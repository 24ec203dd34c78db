"""Speech to text in another language: packing, what a token can see, writing, and a language of melodies."""

import pytest
import torch

from bigmodel_lab import train
from bigmodel_lab.errors import InputError
from bigmodel_lab.models.speech_translation import (
    SpeechTranslator,
    SpeechTranslatorConfig,
    speech_forcing,
    write,
)

START, STOP = 1, 2


def small(**sizes) -> SpeechTranslator:
    torch.manual_seed(0)
    return SpeechTranslator(SpeechTranslatorConfig(**({"mels": 6, "width": 8, "vocabulary": 7, "context": 5} | sizes)))


class TestForcing:
    def test_what_was_packed_comes_apart(self):
        features, target = torch.randn(2, 9, 6), torch.tensor([[1, 3, 4, 2, 0, 0], [1, 6, 2, 0, 0, 0]])
        packed, following = speech_forcing(features, target)
        assert packed.shape == (2, 14, 6)
        assert following.tolist() == [[3, 4, 2, -100, -100], [6, 2, -100, -100, -100]]
        frames, ids = small()._split(packed)
        assert torch.equal(frames, features)
        assert torch.equal(ids, target[:, :-1])

    def test_the_model_is_its_parts(self):
        model = small().eval()
        features, target = torch.randn(2, 9, 6), torch.randint(0, 7, (2, 6))
        logits = model(speech_forcing(features, target)[0])
        assert logits.shape == (2, 5, 7)
        torch.testing.assert_close(logits, model.decoder(target[:, :-1], model.listener(features)))

    @pytest.mark.parametrize("shapes", [((2, 9), (2, 6)), ((2, 9, 6), (3, 6)), ((2, 9, 6), (2, 1)), ((2, 9, 6), (6,))])
    def test_what_does_not_fit_is_refused(self, shapes):
        with pytest.raises(InputError, match="start token"):
            speech_forcing(torch.zeros(shapes[0]), torch.zeros(shapes[1], dtype=torch.int64))

    @pytest.mark.parametrize("shape", [(2, 5, 6), (9, 6)])
    def test_a_recording_without_frames_is_refused(self, shape):
        with pytest.raises(InputError, match="at least one frame"):
            small()(torch.zeros(shape))

    @pytest.mark.parametrize("wrong", [{"vocabulary": 0}, {"score": "odd"}, {"width": 0}, {"context": 0}])
    def test_sizes_that_make_no_network_are_refused(self, wrong):
        with pytest.raises(InputError):
            SpeechTranslatorConfig(**({"vocabulary": 7} | wrong))


class TestModel:
    def test_a_later_token_changes_no_earlier_one_but_every_frame_may(self):
        model = small().eval()
        packed = speech_forcing(torch.randn(1, 9, 6), torch.tensor([[1, 3, 4, 5, 6, 2]]))[0]
        changed, heard = packed.clone(), packed.clone()
        changed[:, -2:] = 6.0
        heard[:, 8] += 1.0
        before = model(packed)
        torch.testing.assert_close(model(changed)[:, :3], before[:, :3])
        assert (model(changed)[:, 3:] - before[:, 3:]).abs().max() > 1e-4
        assert ((model(heard) - before).abs().amax(-1) > 1e-6).all()

    def test_the_alignment_is_a_distribution_over_the_frames(self):
        model = small().eval()
        packed = speech_forcing(torch.randn(2, 9, 6), torch.randint(0, 7, (2, 6)))[0]
        weights = model.alignment(packed)
        assert weights.shape == (2, 5, 3)  # stride 4: 9 frames become 3
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5))


def melodies(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sounds, named in the other language in reverse order: what no monotone reading could write."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 3, (count, 2), generator=generator)
    x = 0.1 * torch.randn(count, 24, 6, generator=generator)
    for row, (first, second) in zip(x, words.tolist(), strict=True):
        row[2:9, 2 * first] += 3.0
        row[13:20, 2 * second] += 3.0
    start, stop = (torch.full((count, 1), token) for token in (START, STOP))
    return x, torch.cat([start, words.flip(1) + 3, stop, torch.zeros_like(stop)], 1)


class TestLearning:
    def test_a_reversing_translation_is_learned_and_written(self):
        x, target = melodies(256, 0)
        model = small(width=16, strides=(2,), context=4)
        packed, following = speech_forcing(x, target)
        batches = train.Batches(packed, following, batch_size=16)
        train.fit(model, batches, epochs=10, learning_rate=1e-2, loss=train.token_loss, clip_norm=1.0, progress=False)
        x, target = melodies(100, 1)
        written = write(model, x, start=START, stop=STOP, batch_size=64)
        assert written.shape == (100, 4)
        assert (written == target[:, 1:]).all(1).float().mean() > 0.95
        assert (written == target[:, 1:].roll(1, 0)).all(1).float().mean() < 0.3

    def test_writing_is_the_likeliest_token_after_each_other(self):
        model, x = small().train(), torch.randn(3, 9, 6)
        written = write(model, x, start=START, stop=STOP)
        assert model.training
        model.eval()
        ids = torch.full((3, 1), START)
        for _ in range(5):
            filled = torch.cat([ids, torch.zeros(3, 6 - ids.shape[1], dtype=torch.int64)], 1)
            ids = torch.cat([ids, model(speech_forcing(x, filled)[0])[:, ids.shape[1] - 1].argmax(-1)[:, None]], 1)
        ended = (ids[:, 1:] == STOP).long().cumsum(1) - (ids[:, 1:] == STOP).long() > 0
        assert torch.equal(written, ids[:, 1:].masked_fill(ended, 0))

    def test_nothing_follows_the_end(self):
        model = small()
        with torch.no_grad():
            model.decoder.head.bias[STOP] = 100.0
        written = write(model, torch.randn(2, 9, 6), start=START, stop=STOP)
        assert written.tolist() == [[STOP, 0, 0, 0, 0]] * 2

    def test_tokens_that_it_does_not_know_are_refused(self):
        with pytest.raises(InputError, match="ids from 0 to 6"):
            write(small(), torch.zeros(1, 9, 6), start=7, stop=2)
