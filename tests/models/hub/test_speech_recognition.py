"""The public recogniser's code on a tiny Whisper and a tiny wav2vec 2.0 in their true layouts."""

import json
import math

import pytest
import scipy.signal
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.speech_recognition import _resampled, transcribe
from bigmodel_lab.models.hugging_face import quiet

RATE = 16_000
SECONDS = 2
TEXTS = (" low", " high")


def tones() -> torch.Tensor:
    """One low and one high tone of half a second, each at two loudnesses."""
    time = torch.arange(RATE // 2) / RATE
    return torch.stack([loud * torch.sin(2 * math.pi * hertz * time) for loud in (0.3, 0.5) for hertz in (200, 2000)])


def whisper(folder) -> WhisperForConditionalGeneration:
    """Write a small Whisper that learned to tell two tones apart, as the hub has it; return the model."""
    letters = sorted({c for text in TEXTS for c in text.replace(" ", "Ġ")})
    vocabulary = {token: i for i, token in enumerate(["<|endoftext|>", *letters])}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|startoftranscript|>", "<|notimestamps|>"]})
    start, end = tokenizer.convert_tokens_to_ids("<|startoftranscript|>"), 0
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=SECONDS)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=SECONDS * 50,
        max_target_positions=12,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    features = extractor(list(tones().numpy()), sampling_rate=RATE, return_tensors="pt").input_features
    rows = [[*tokenizer(text, add_special_tokens=False).input_ids, end] for text in TEXTS * 2]
    labels = torch.tensor([row + [-100] * (6 - len(row)) for row in rows])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(80):
        optimizer.zero_grad()
        model(input_features=features, labels=labels).loss.backward()
        optimizer.step()
    with quiet():
        model.eval().save_pretrained(folder)
        WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    return model


def wav2vec2(folder, *, kind=Wav2Vec2ForCTC):
    """Write a small wav2vec 2.0 with its processor as the hub has it; return the model."""
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(["<pad>", "|", "A", "B", "C", "<unk>"])}))
    config = Wav2Vec2Config(
        vocab_size=6,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_kernel=(10, 4),
        conv_stride=(5, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = kind(config).eval()
    tokenizer = Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), unk_token="<unk>", pad_token="<pad>", bos_token=None, eos_token=None
    )
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same in every frame
            weight.mul_(4 if weight.ndim == 2 else 1)
    with quiet():
        model.save_pretrained(folder)
        Wav2Vec2Processor(Wav2Vec2FeatureExtractor(sampling_rate=RATE), tokenizer).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    place = tmp_path_factory.mktemp("whisper")
    whisper(place)
    return place


@pytest.fixture(scope="module")
def spelled(tmp_path_factory):
    place = tmp_path_factory.mktemp("wav2vec2")
    wav2vec2(place)
    return place


class TestWhisper:
    def test_it_writes_what_it_learned(self, written):
        assert transcribe(tones(), RATE, folder=written) == ["low", "high", "low", "high"]

    def test_the_other_tone_would_be_noticed(self, written):
        assert transcribe(tones().flip(0)[:2], RATE, folder=written) != ["low", "high"]

    def test_another_rate_is_resampled(self, written):
        slow = torch.from_numpy(scipy.signal.resample_poly(tones().numpy(), 1, 2, axis=1)).float()
        assert transcribe(slow, RATE // 2, folder=written) == ["low", "high", "low", "high"]

    @pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
    def test_a_tone_stays_the_tone_it_was(self, rate):
        tone = torch.sin(2 * math.pi * 200 * torch.arange(rate // 2) / rate)
        made = _resampled(tone, rate, RATE)
        expected = torch.sin(2 * math.pi * 200 * torch.arange(len(made)) / RATE)
        assert len(made) == RATE // 2
        torch.testing.assert_close(made[400:-400], expected[400:-400], atol=5e-3, rtol=0)
        assert _resampled(tone, rate, rate) is tone

    def test_lengths_may_differ_and_many_go_in_chunks(self, written):
        waves = [tones()[0], tones()[1][:6000], *tones()] * 2
        assert transcribe(waves, RATE, folder=written) == ["low", "high", "low", "high", "low", "high"] * 2

    def test_a_wave_that_is_too_long_is_refused(self, written):
        with pytest.raises(InputError, match=r"at most 2 s[\s\S]*2\.5 s"):
            transcribe(tones().repeat(1, 5), RATE, folder=written)


class TestCTC:
    def test_it_is_the_likeliest_path_collapsed(self, spelled):
        waves = torch.randn(3, 1600, generator=torch.Generator().manual_seed(0)) * 0.1
        model = Wav2Vec2ForCTC.from_pretrained(spelled).eval()
        normal = (waves - waves.mean(1, keepdim=True)) / (waves.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
        texts = []
        for path in model(normal).logits.argmax(-1).tolist():
            kept = [s for i, s in enumerate(path) if (i == 0 or s != path[i - 1]) and s != 0]
            texts.append("".join((" ", "A", "B", "C", "<unk>")[s - 1] for s in kept).strip())
        found = transcribe(waves, RATE, folder=spelled)
        assert found == texts
        assert len(set(found)) > 1

    def test_waves_do_not_change_one_another(self, spelled):
        waves = [torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.1 for n in (1600, 900, 2400)]
        together = transcribe(waves, RATE, folder=spelled)
        assert together == [transcribe([wave], RATE, folder=spelled)[0] for wave in waves]

    def test_a_wave_shorter_than_a_window_is_refused(self, spelled):
        with pytest.raises(InputError, match="9 samples in wave 0"):
            transcribe(tones()[:, :9], RATE, folder=spelled)


@pytest.mark.parametrize(
    ("waves", "rate", "message"),
    [
        (tones()[0], RATE, "wave\\[None\\]"),
        (torch.zeros(1, 1600), RATE, "silent"),
        (torch.full((1, 1600), float("nan")), RATE, "not finite"),
        ((tones() * 1000).short(), RATE, "int16"),
        (tones(), 0, "a rate in Hz"),
        (tones(), 8000.0, "a rate in Hz"),
    ],
    ids=["one", "silent", "nan", "integers", "rate 0", "float rate"],
)
def test_what_is_no_recording_is_refused(spelled, waves, rate, message):
    with pytest.raises(InputError, match=message):
        transcribe(waves, rate, folder=spelled)


def test_a_model_that_writes_nothing_is_refused(tmp_path):
    wav2vec2(tmp_path, kind=Wav2Vec2Model)
    with pytest.raises(CheckpointError, match="Wav2Vec2Model"):
        transcribe(tones(), RATE, folder=tmp_path)


def test_a_missing_folder_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"whisper-tiny\.en[\s\S]*150 MB"):
        transcribe(tones(), RATE, folder=tmp_path / "nowhere")
