import math

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.models.acoustic import AcousticConfig, AcousticModel, acoustic_loss, pack_speech, spread


def small(**changes):
    torch.manual_seed(0)
    sizes = {"vocabulary": 5, "frames": 30, "mels": 4, "width": 8, "depth": 2} | changes
    return AcousticModel(AcousticConfig(**sizes))


def test_narrow_curves_cut_the_frames_into_the_lengths():
    lengths = torch.tensor([[3.0, 2.0, 4.0]])
    shares = spread(lengths, lengths / 10, 9)
    assert shares[0].argmax(1).tolist() == [0] * 3 + [1] * 2 + [2] * 4


def test_shares_follow_the_equation():
    lengths, widths = torch.tensor([[2.0, 5.0]], dtype=torch.float64), torch.tensor([[1.5, 0.7]], dtype=torch.float64)
    shares = spread(lengths, widths, 7)
    for f in range(7):
        raw = [math.exp(-((f + 0.5 - c) ** 2) / (2 * s * s)) for c, s in ((1.0, 1.5), (4.5, 0.7))]
        expected = torch.tensor([one / sum(raw) for one in raw], dtype=torch.float64)
        torch.testing.assert_close(shares[0, f], expected)


def test_padding_has_no_share_and_changes_nothing():
    model = small().eval()
    short, long = torch.tensor([[1, 2, 3, 12]]), torch.tensor([[1, 2, 3, 0, 0, 12]])
    torch.testing.assert_close(model(short), model(long))


def test_the_number_of_frames_asked_for_moves_the_letters_and_not_the_models_own_choice():
    model = small().eval()
    one, two = model(torch.tensor([[1, 2, 3, 10]])), model(torch.tensor([[1, 2, 3, 20]]))
    torch.testing.assert_close(one[..., -1], two[..., -1])
    assert (one[..., :-1] - two[..., :-1]).abs().max() > 1e-3


def test_speaking_gives_as_many_frames_as_the_model_says_and_keeps_its_mode():
    model = small().train()
    ids = torch.tensor([[1, 2, 0], [1, 2, 3]])
    spoken = model.speak(ids)
    own = model.eval()(torch.cat((ids, torch.zeros(2, 1, dtype=torch.long)), 1))[:, 0, -1].exp().round()
    assert [len(bands) for bands in spoken] == own.clamp(1, 30).long().tolist()
    assert len(spoken[0]) < len(spoken[1])
    model.train()
    model.speak(ids)
    assert model.training


def test_the_loss_is_zero_for_the_truth_and_ignores_what_is_no_frame():
    bands = [torch.randn(6, 4), torch.randn(9, 4)]
    x, y = pack_speech(torch.tensor([[1, 2, 0], [3, 1, 2]]), bands, 12)
    assert x[:, -1].tolist() == [6, 9]
    numbers = torch.tensor([6.0, 9.0]).log()[:, None, None].expand(2, 12, 1)
    perfect = torch.cat((y.nan_to_num(7.0), numbers), 2)  # 7 where there is no frame
    assert acoustic_loss(perfect, y).item() == pytest.approx(0, abs=1e-6)
    wrong = perfect.clone()
    wrong[0, 0, :4] += 1.2
    assert acoustic_loss(wrong, y).item() == pytest.approx(1.2 / 6 / 2, abs=1e-6)
    late = perfect.clone()
    late[..., -1] += 1
    assert acoustic_loss(late, y).item() == pytest.approx(0.1, abs=1e-6)


def test_it_learns_a_sound_and_a_length_for_each_letter():
    generator = torch.Generator().manual_seed(0)
    sounds, lengths = torch.eye(4), torch.tensor([2, 4, 6, 3])
    ids = torch.randint(1, 5, (48, 3), generator=generator)
    bands = [torch.cat([sounds[[i - 1]].expand(int(lengths[i - 1]), 4) for i in row.tolist()]) for row in ids]
    x, y = pack_speech(ids, bands, 18)
    model = small(frames=18, width=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        loss = acoustic_loss(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.08
    for row, spoken in zip(ids[:8].tolist(), model.speak(ids[:8]), strict=True):
        assert abs(len(spoken) - int(sum(lengths[i - 1] for i in row))) <= 1


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor([[1.0, 2, 3]]),
        torch.tensor([1, 2, 3]),
        torch.tensor([[1, 9, 4]]),
        torch.tensor([[0, 0, 4]]),
        torch.tensor([[1, 2, 99]]),
        torch.tensor([[1, -1, 4]]),
    ],
    ids=["numbers", "one text", "unknown letter", "no letter", "too many frames", "negative"],
)
def test_what_is_no_text_is_refused(x):
    with pytest.raises(InputError):
        small()(x)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(InputError, match="2 texts, 1 utterances"):
        pack_speech(torch.ones(2, 3, dtype=torch.long), [torch.zeros(4, 2)], 5)
    with pytest.raises(InputError, match="longest of 9 frames"):
        pack_speech(torch.ones(1, 3, dtype=torch.long), [torch.zeros(9, 2)], 5)
    with pytest.raises(InputError, match="pack_speech"):
        acoustic_loss(torch.zeros(1, 5, 4), torch.zeros(1, 5, 4))


@pytest.mark.parametrize("wrong", [{"kernel": 4}, {"width": 7}, {"vocabulary": 1}, {"depth": 0}], ids=str)
def test_sizes_that_make_no_model_are_refused(wrong):
    with pytest.raises(InputError):
        small(**wrong)
