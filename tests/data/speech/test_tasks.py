"""Tasks made of single words: truth is true, nothing but the word tells the label, and train and test are apart."""

import pytest
import torch

from bigmodel_lab.data.speech import embedded, tasks
from bigmodel_lab.errors import InputError


@pytest.fixture(scope="module")
def clips():
    return tasks.commands(train=400, test=200, seed=3)


def test_clips_are_a_second_with_balanced_labels(clips):
    train, test = clips
    assert train.waves.shape == (400, 8000)
    assert train.labels.bincount().tolist() == [20] * 20
    assert test.labels.bincount().tolist() == [10] * 20
    assert list(train.texts) == [train.classes[label] for label in train.labels.tolist()]


def test_voices_are_apart_and_all_come(clips):
    train, test = clips
    assert len(set(train.voices)) == 15
    assert len(set(test.voices)) == 5
    assert not set(train.voices) & set(test.voices)


def test_clips_repeat_and_do_not_depend_on_the_other_set(clips):
    again = tasks.commands(train=400, test=20, seed=3)[0]
    assert torch.equal(again.waves, clips[0].waves)
    assert not torch.equal(again.waves, tasks.commands(train=400, test=20, seed=4)[0].waves)


def test_the_word_lies_in_its_span_and_the_distractor_outside():
    train, _ = tasks.commands(train=200, test=1, noise=0, seed=1)
    for wave, (start, end), (first, last) in zip(
        train.waves, train.spans.tolist(), train.distractors.tolist(), strict=True
    ):
        assert last <= start or first >= end
        assert last - first == 480
        outside = wave.clone()
        outside[start:end] = 0
        assert outside[first:last].abs().max() > 0.02
        outside[first:last] = 0
        assert not outside.any()
    assert len(train.spans[:, 0].unique()) > 150


def test_the_word_in_the_clip_is_the_one_that_was_recorded():
    train, _ = tasks.commands(train=40, test=1, noise=0, distractor=False)
    assert train.distractors is None
    for i, (start, end) in enumerate(train.spans.tolist()):
        word = train.waves[i, start:end]
        same = [
            float(torch.cosine_similarity(word, embedded.spoken("words", item), dim=0))
            for item in embedded.items("words", "train")
            if item.samples == end - start and item.text == train.texts[i] and item.voice == train.voices[i]
        ]
        assert max(same) > 0.99999


def test_noise_is_where_nothing_else_is():
    train, _ = tasks.commands(train=300, test=1, noise=0.02)
    quiet = torch.ones_like(train.waves, dtype=torch.bool)
    for row, *spans in zip(quiet, train.spans.tolist(), train.distractors.tolist(), strict=True):
        for start, end in spans:
            row[start:end] = False
    deviation = torch.stack([wave[keep].std() for wave, keep in zip(train.waves, quiet, strict=True)])
    assert 0.009 < deviation.min() < 0.012
    assert 0.028 < deviation.max() < 0.031


def test_the_distractor_alone_does_not_tell_the_label():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from bigmodel_lab.data.speech.features import log_mel

    features = []
    sets = tasks.commands(train=800, test=400, noise=0)
    for part in sets:
        waves = torch.stack([wave[a:b] for wave, (a, b) in zip(part.waves, part.distractors.tolist(), strict=True)])
        features.append(log_mel(waves, part.rate, mels=10).flatten(1).numpy())
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(features[0], sets[0].labels)
    assert model.score(features[1], sets[1].labels) < 0.1  # chance is 0.05


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": -1}, {"noise": -0.1}, {"noise": 2.0}, {"train": 1.5}])
def test_impossible_clips_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        tasks.commands(**({"train": 1, "test": 1} | wrong))


@pytest.mark.parametrize(("make", "kind"), [(tasks.digit_strings, "digits"), (tasks.spoken_numbers, "numbers")])
def test_joined_strings_share_neither_voices_nor_texts(make, kind):
    train, test = make(150, 60)
    assert (len(train), len(test)) == (150, 60)
    assert not set(train.voices) & set(test.voices)
    assert not set(train.texts) & {*test.texts, *embedded.phrases(kind)[1].texts}
    assert torch.equal(make(150, 60)[0].waves, train.waves)
    assert not torch.equal(make(150, 60, seed=1)[1].lengths, test.lengths)


def test_digit_strings_have_the_lengths_asked_for():
    train, _ = tasks.digit_strings(60, 5, shortest=2, longest=4)
    assert {len(text.split()) for text in train.texts} == {2, 3, 4}


def test_spoken_numbers_are_translated():
    train, _ = tasks.spoken_numbers(60, 5, high=99)
    assert all(len(text.split()) <= 2 for text in train.texts)
    assert train.translations[0] == embedded.translated(train.texts[0])
    assert embedded.translated("three thousand and five") == "三千零五"


def test_a_joined_string_is_the_sum_of_its_words():
    parts = [torch.ones(400), 0.5 * torch.ones(400), torch.ones(400)]
    wave = tasks.join(parts, [100, -40])
    assert wave.shape == (400 + 100 + 400 - 40 + 400,)
    assert not wave[400:500].any()
    assert torch.equal(wave[100:300], parts[0][100:300])
    assert torch.equal(wave[600:800], parts[1][100:300])
    across = wave[855:905]  # one fades out while the next one fades in: no click, no louder than the two together
    assert across.diff().abs().max() < 0.06
    assert across.max() <= 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: tasks.digit_strings(5, 5, shortest=4, longest=3),
        lambda: tasks.digit_strings(5, 5, shortest=1, longest=2),
        lambda: tasks.digit_strings(0, 5),
        lambda: tasks.digit_strings(5, 0),
        lambda: tasks.digit_strings(5, 5, noise=-1),
        lambda: tasks.spoken_numbers(5, 5, high=20_000),
        lambda: tasks.spoken_numbers(5, 5, high=9),
    ],
    ids=["order", "few", "train", "test", "noise", "high", "low"],
)
def test_impossible_strings_are_refused(call):
    with pytest.raises(InputError, match="expected"):
        call()


def test_a_test_that_takes_every_text_is_refused():
    with pytest.raises(InputError, match="more different texts"):
        tasks.spoken_numbers(50, 1500, high=99)
