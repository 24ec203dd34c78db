"""The public image–text model's code on a tiny CLIP in the true layout; its vectors against the library's own."""

import json
import string

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.contrastive import contrastive_loss
from bigmodel_lab.models.hub.contrastive import embed_images, embed_texts, scale
from bigmodel_lab.models.hugging_face import quiet

TEXTS = ["a photo of a dog", "cat", "two red birds on a tree"]
PLACES = 40  # tokens that the text model has places for


def tokenizer():
    """Letters, a few merges, and the frame as the last two ids, as in CLIP's own."""
    letters = list(string.ascii_lowercase)
    merges = [("a", "t</w>"), ("o", "f</w>"), ("r", "e")]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    names = [*pieces, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=merges)


def save(folder, kind=CLIPModel):
    """Write a small CLIP with tokenizer and image processor as the hub has it; return the model."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    coder = tokenizer()
    text = {"vocab_size": len(coder), "max_position_embeddings": PLACES, "eos_token_id": 2, "bos_token_id": 0, **small}
    vision = {"image_size": 16, "patch_size": 8, **small}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    model = kind(config if kind is CLIPModel else config.text_config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same of every image
            weight.mul_(8 if weight.ndim > 1 else 1)
    with quiet():
        model.save_pretrained(folder)
        coder.save_pretrained(folder)
        CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, save(folder)


def pictures(count, height=20, width=28):
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return fine.clamp(0, 1)


def prepared(images):
    """The library's own preparation, by Pillow, of each image alone."""
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    eight_bit = (images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    return torch.cat([torch.as_tensor(np.stack(processor(one)["pixel_values"])) for one in eight_bit])


def test_vectors_scale_and_loss_are_those_of_the_library(saved):
    folder, model = saved
    images = pictures(3)
    batch = tokenizer()(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model(**batch, pixel_values=prepared(images), return_loss=True)
    x, t = embed_images(images, folder=folder), embed_texts(TEXTS, folder=folder)
    torch.testing.assert_close(x, theirs.image_embeds)
    torch.testing.assert_close(t, theirs.text_embeds)
    torch.testing.assert_close(contrastive_loss(x, t, scale(folder)), theirs.loss)
    assert (x @ t.T).std() > 0.01, "vectors that are all alike would prove nothing"


def test_a_batch_gives_what_each_gives_alone(saved):
    folder, _ = saved
    images = pictures(3)
    alone = torch.cat([embed_images(images[i : i + 1], folder=folder) for i in range(3)])
    torch.testing.assert_close(embed_images(images.repeat(12, 1, 1, 1), folder=folder), alone.repeat(12, 1))
    alone = torch.cat([embed_texts([text], folder=folder) for text in TEXTS])
    torch.testing.assert_close(embed_texts(TEXTS * 12, folder=folder), alone.repeat(12, 1))
    assert (alone[0] - alone[1]).abs().max() > 0.01


def test_vectors_have_length_one_and_other_sizes_are_cropped(saved):
    folder, _ = saved
    wide = pictures(2, 16, 32)
    torch.testing.assert_close(embed_images(wide, folder=folder).norm(dim=1), torch.ones(2))
    torch.testing.assert_close(
        embed_images(wide, folder=folder), embed_images(wide[..., 8:24], folder=folder)
    )  # the middle
    torch.testing.assert_close(embed_texts(TEXTS, folder=folder).norm(dim=1), torch.ones(3))


def test_order_of_letters_counts(saved):
    a, b = embed_texts(["dog", "god"], folder=saved[0])
    assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("texts", "said"),
    [("dog", "single"), ([], "at least one"), (["dog", " "], "empty"), ([None], "None")],
    ids=["a str", "none", "blank", "no text"],
)
def test_what_is_no_text_is_refused(texts, said, tmp_path):
    with pytest.raises(InputError, match=said):
        embed_texts(texts, folder=tmp_path / "missing")


def test_a_text_longer_than_the_model_s_places_is_refused(saved):
    longest = "x" * (PLACES - 2)
    assert embed_texts([longest], folder=saved[0]).shape == (1, 12)
    with pytest.raises(InputError, match=f"at most {PLACES} tokens[\\s\\S]*{PLACES + 1} in text 1"):
        embed_texts(["dog", longest + "x"], folder=saved[0])


@pytest.mark.parametrize(
    "images",
    [torch.rand(3, 16, 16), torch.rand(1, 1, 16, 16), torch.full((1, 3, 16, 16), 255.0)],
    ids=["one image", "grey", "up to 255"],
)
def test_what_is_no_image_is_refused(images, tmp_path):
    with pytest.raises(InputError):
        embed_images(images, folder=tmp_path / "missing")


def test_half_a_clip_is_refused(tmp_path):
    save(tmp_path, kind=CLIPTextModel)
    with pytest.raises(CheckpointError, match="CLIPTextModel"):
        embed_texts(TEXTS, folder=tmp_path)


def test_a_checkpoint_without_its_tokenizer_is_refused(tmp_path):
    save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="tokeni"):
        embed_texts(TEXTS, folder=tmp_path)


def test_damaged_and_missing_files_say_where_to_get_them(saved, tmp_path):
    with pytest.raises(CheckpointError, match="openai/clip-vit-base-patch32"):
        embed_images(pictures(1), folder=tmp_path / "nowhere")
    save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"})[:-3])
    with pytest.raises(CheckpointError, match=r"(?i)json"):
        embed_images(pictures(1), folder=tmp_path)
