"""The contrastive loss against CLIP's and closed forms; the dual encoder keeps its promises and learns."""

import math

import pytest
import torch
import torch.nn.functional as F

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.contrastive import (
    BagOfWords,
    ContrastiveConfig,
    DualEncoder,
    ImageEncoder,
    contrastive_loss,
    pack,
)

SMALL = {"vocabulary": 12, "length": 5, "size": 16, "widths": (4, 8), "text_width": 16, "dimension": 8, "hidden": 16}


def units(count, width, seed):
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


# --- the loss ------------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_transformers_clip():
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 30, "bos_token_id": 0, "eos_token_id": 2, **small}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config={"image_size": 16, "patch_size": 8, **small}))
    ids = torch.randint(3, 30, (6, 7))
    with torch.no_grad():
        out = clip(input_ids=ids, pixel_values=torch.randn(6, 3, 16, 16), return_loss=True)
    ours = contrastive_loss(out.image_embeds, out.text_embeds, clip.logit_scale.exp())
    torch.testing.assert_close(ours, out.loss)
    assert (contrastive_loss(out.image_embeds, out.text_embeds, 1.0) - out.loss).abs() > 1e-3


def test_closed_forms():
    same = torch.ones(8, 1)
    torch.testing.assert_close(contrastive_loss(same, same, 5.0), torch.tensor(math.log(8)))
    apart = torch.eye(4)
    expected = math.log(1 + 3 * math.exp(-10))
    torch.testing.assert_close(contrastive_loss(apart, apart, 10.0), torch.tensor(expected))
    reversed_ = contrastive_loss(apart, apart.roll(1, 0), 10.0)  # a wrong pairing
    torch.testing.assert_close(reversed_, torch.tensor(10 + expected))


def test_both_directions_count_alike():
    x, t = units(6, 4, 0), units(6, 4, 1)
    torch.testing.assert_close(contrastive_loss(x, t, 7.0), contrastive_loss(t, x, 7.0))


def test_equal_texts_are_no_wrong_answers_for_each_other():
    x, t = units(4, 6, 0), units(4, 6, 1)
    t[2] = t[0]
    same = torch.tensor([3, 1, 3, 2])
    table = (9.0 * x @ t.T).double()
    total = 0.0
    for i in range(4):
        row = [table[i, j] for j in range(4) if j == i or same[i] != same[j]]
        column = [table[j, i] for j in range(4) if j == i or same[i] != same[j]]
        total += sum(torch.stack(some).logsumexp(0) - table[i, i] for some in (row, column))
    torch.testing.assert_close(contrastive_loss(x, t, 9.0, same=same).double(), total / 8)
    assert contrastive_loss(x, t, 9.0, same=same) < contrastive_loss(x, t, 9.0)
    alone = torch.zeros(4, dtype=torch.int64)
    assert contrastive_loss(x, t, 9.0, same=alone) == 0  # nothing left to tell apart


def test_wrong_texts_are_more_answers_for_images_only():
    x, t, wrong = units(4, 6, 0), units(4, 6, 1), units(3, 6, 2)
    rows = F.cross_entropy(5 * x @ torch.cat([t, wrong]).T, torch.arange(4))
    columns = F.cross_entropy(5 * t @ x.T, torch.arange(4))
    torch.testing.assert_close(contrastive_loss(x, t, 5.0, wrong=wrong), (rows + columns) / 2)


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ((torch.ones(1, 4), torch.ones(1, 4)), {}),
        ((torch.ones(3, 4), torch.ones(2, 4)), {}),
        ((torch.ones(3, 4), torch.ones(3, 5)), {}),
        ((torch.ones(3), torch.ones(3)), {}),
        ((torch.ones(3, 4), torch.ones(3, 4)), {"wrong": torch.ones(3, 5)}),
        ((torch.ones(3, 4), torch.ones(3, 4)), {"same": torch.ones(2)}),
    ],
    ids=["one pair", "counts", "widths", "no batch", "wrong ones", "same"],
)
def test_what_does_not_fit_is_refused(parts, more):
    with pytest.raises(InputError, match="shape"):
        contrastive_loss(*parts, **more)


# --- the model -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["transformer", "gru", "bag"])
def model(request):
    torch.manual_seed(0)
    return DualEncoder(ContrastiveConfig(text=request.param, **SMALL)).eval()


IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor(
    [[2, 3, 4, 0, 0], [5, 6, 7, 8, 9], [2, 0, 0, 0, 0], [4, 3, 2, 0, 0], [7, 7, 0, 0, 0], [3, 4, 5, 6, 0]]
)


def test_vectors_have_length_one(model):
    for found in (model.embed_images(IMAGES), model.embed_texts(IDS)):
        assert found.shape == (6, 8)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(6))


def test_padding_changes_nothing(model):
    torch.testing.assert_close(model.embed_texts(IDS[:1]), model.embed_texts(IDS[:1, :3]))


def test_order_of_words_counts_except_in_a_bag(model):
    forward, backward = model.embed_texts(IDS[[0]]), model.embed_texts(IDS[[3]])
    if model.config.text == "bag":
        torch.testing.assert_close(forward, backward)
    else:
        assert (forward - backward).abs().max() > 1e-3


def test_packed_pairs_give_scaled_products(model):
    ids = torch.stack([IDS, IDS.roll(1, 0)], 1)  # (6, 2, 5)
    out = model(pack(IMAGES, ids))
    assert out.shape == (6, 3, 8)
    cosines = model.embed_images(IMAGES) @ model.embed_texts(IDS).T
    torch.testing.assert_close(out[:, 0] @ out[:, 1].T, model.scale * cosines)
    torch.testing.assert_close(out[:, 2], out[:, 1].roll(1, 0))
    torch.testing.assert_close(
        contrastive_loss(out[:, 0], out[:, 1]),
        contrastive_loss(model.embed_images(IMAGES), model.embed_texts(IDS), model.scale),
    )
    torch.testing.assert_close(model(pack(IMAGES, IDS)), out[:, :2])


def test_packing_loses_nothing():
    ids = torch.tensor([[0, 1, 2**24 - 1, 70_000, 5]]).repeat(6, 1)
    packed = pack(IMAGES, ids)
    assert torch.equal(packed[:, -5:].long(), ids)
    assert torch.equal(packed[:, :-5].view(6, 3, 16, 16), IMAGES)


def test_the_scale_begins_as_told_learns_and_stops_at_the_largest():
    model = DualEncoder(ContrastiveConfig(**SMALL, scale=20.0, largest=50.0))
    assert model.scale.item() == pytest.approx(20.0)
    x, t = units(4, 8, 0), units(4, 8, 1)
    contrastive_loss(x, t, model.scale).backward()
    assert model.log_scale.grad.abs() > 1e-3
    with torch.no_grad():
        model.log_scale.fill_(10.0)
    assert model.scale.item() == pytest.approx(50.0)


def test_the_image_encoder_knows_places():
    torch.manual_seed(0)
    encoder = ImageEncoder(ContrastiveConfig(**SMALL)).eval()
    left = torch.zeros(1, 3, 16, 16)
    left[..., 6:10, 2:6] = 1
    assert (encoder(left) - encoder(left.flip(3))).abs().max() > 1e-3


def test_a_bag_is_the_mean_of_its_words():
    bag = BagOfWords(ContrastiveConfig(**SMALL))
    mean = (bag.embedding.weight[2] + bag.embedding.weight[3] + bag.embedding.weight[4]) / 3
    torch.testing.assert_close(bag(IDS[:1])[0], bag.head(mean))


@pytest.mark.parametrize("text", ["transformer", "gru", "bag"])
def test_it_learns_which_word_belongs_to_which_colour(text):
    """Images of one colour each and a word for it: after training, each image is nearest to its word."""
    torch.manual_seed(1)
    colour = torch.arange(60) % 3
    images = torch.randn(60, 3, 16, 16) * 0.3
    images[torch.arange(60), colour] += 1
    ids = torch.stack([2 + torch.arange(60) % 2, 4 + colour], 1)  # one of two words without meaning, then the colour
    ids = F.pad(ids, (0, 3))
    model = DualEncoder(ContrastiveConfig(text=text, **SMALL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    mixed = ids[torch.randperm(60)]  # the control: words of other images

    def accuracy():
        model.eval()
        words = model.embed_texts(F.pad(torch.tensor([[2, 4], [2, 5], [2, 6]]), (0, 3)))
        return ((model.embed_images(images) @ words.T).argmax(1) == colour).float().mean().item()

    for given, least, most in ((mixed, 0, 0.75), (ids, 0.95, 1)):
        model.train()
        for _ in range(30 if given is mixed else 60):
            out = model(pack(images, given))
            loss = contrastive_loss(out[:, 0], out[:, 1], same=given[:, 1] + 10 * given[:, 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert least <= accuracy() <= most


def test_every_activation_is_a_module_used_once(model):
    calls = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    model.embed_images(IMAGES)
    assert len(calls) == 3
    assert set(calls.values()) == {1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vocabulary": 1}, "vocabulary"),
        ({"widths": ()}, "sizes"),
        ({"dimension": 0}, "sizes"),
        ({"text_width": 18}, "multiple"),
        ({"size": 18}, "halved 2 times"),
        ({"text": "lstm"}, "gru"),
        ({"scale": 0.0}, "largest"),
        ({"scale": 200.0}, "largest"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        ContrastiveConfig(**{**SMALL, **change})


def test_wrong_inputs_are_named(model):
    with pytest.raises(InputError, match=r"images\[None\]"):
        model.embed_images(IMAGES[0])
    with pytest.raises(InputError, match="3, 16, 16"):
        model.embed_images(torch.randn(2, 1, 16, 16))
    with pytest.raises(InputError, match="int64"):
        model.embed_texts(IDS.float())
    with pytest.raises(InputError, match="pack"):
        model(torch.randn(2, 3 * 256 + 3))
    with pytest.raises(InputError, match="pack"):
        model(torch.randn(2, 3 * 256))
    with pytest.raises(InputError, match="as many"):
        pack(IMAGES, IDS[:2])
    with pytest.raises(InputError, match="integers"):
        pack(IMAGES, IDS.float())
