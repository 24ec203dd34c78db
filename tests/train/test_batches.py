"""The order of batches is a function of (seed, epoch, process); shares of processes are disjoint and cover all."""

import numpy as np
import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.train import Batches

N = 23


def numbered(**settings) -> Batches:
    return Batches(torch.arange(N).float().unsqueeze(1), torch.arange(N), **{"batch_size": 4, **settings})


def visited(batches) -> list[int]:
    return torch.cat([targets for _, targets in batches]).tolist()


def test_every_example_once_and_inputs_stay_with_their_targets():
    for inputs, targets in numbered().epoch(3):
        assert torch.equal(inputs.squeeze(1), targets.float())
    assert sorted(visited(numbered().epoch(3))) == list(range(N))


def test_order_is_a_function_of_seed_and_epoch():
    torch.manual_seed(0)
    first = visited(numbered().epoch(2))
    torch.manual_seed(1)
    assert visited(numbered().epoch(2)) == first
    assert visited(numbered().epoch(1)) != first
    assert visited(numbered(seed=1).epoch(2)) != first
    assert first != list(range(N))


def test_nothing_draws_from_the_global_generator():
    before = torch.get_rng_state()
    list(numbered(augment=lambda x, g: x + torch.rand(x.shape, generator=g)).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_starting_later_skips_batches_and_changes_nothing_else():
    batches = numbered(augment=lambda x, g: x + torch.rand(x.shape, generator=g))
    whole, rest = list(batches.epoch(1)), list(batches.epoch(1, start=2))
    assert len(rest) == len(whole) - 2
    for (a, b), (c, d) in zip(whole[2:], rest, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_augmentation_depends_on_epoch_and_batch_and_leaves_the_data_alone():
    data = torch.zeros(8, 2)
    batches = Batches(
        data, torch.zeros(8), batch_size=4, shuffle=False, augment=lambda x, g: x.add_(torch.rand(x.shape, generator=g))
    )
    (a, _), (b, _) = batches.epoch(0)
    (c, _), _ = batches.epoch(1)
    (again, _), _ = batches.epoch(0)
    assert not torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(a, again)
    assert torch.equal(data, torch.zeros(8, 2))


@pytest.mark.parametrize("count", [5, 8, 22, 23, 24, 25])
@pytest.mark.parametrize("processes", [2, 3])
def test_shares_are_disjoint_cover_all_and_have_equally_many_batches(count, processes):
    batches = Batches(torch.arange(count), torch.arange(count), batch_size=4)
    shares = [list(batches.epoch(1, process=p, processes=processes)) for p in range(processes)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(n for share in shares for n in visited(share)) == list(range(count))
    assert all(len(targets) > 0 for share in shares for _, targets in share)
    together = [sum(len(share[i][1]) for share in shares) for i in range(len(shares[0]))]
    assert together == batches.sizes(processes=processes)
    in_order = [visited(batches.in_order(process=p, processes=processes)) for p in range(processes)]
    assert sorted(n for share in in_order for n in share) == list(range(count))


def test_drop_last_keeps_full_batches_only():
    batches = numbered(drop_last=True)
    assert [len(targets) for _, targets in batches.epoch(0)] == [4] * 5 == batches.sizes()
    assert len(batches) == 5
    assert [len(t) for _, t in numbered(drop_last=True).epoch(0, processes=2)] == [4, 4]


def test_length_in_order_and_no_shuffle():
    assert len(numbered()) == 6 == len(list(numbered()))
    assert visited(numbered().in_order()) == list(range(N)) == visited(numbered(shuffle=False).epoch(5))


def test_channels_last_changes_strides_only():
    images = torch.randn(6, 3, 4, 5)
    usual = Batches(images, torch.arange(6), batch_size=4)
    other = usual.to("cpu", channels_last=True)
    for (a, b), (c, d) in zip(usual.epoch(0), other.epoch(0), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
        assert c.is_contiguous(memory_format=torch.channels_last)
    assert next(usual.epoch(0))[0].is_contiguous()
    flipped = Batches(images, torch.arange(6), batch_size=4, augment=lambda x, g: x.flip(3).contiguous())
    moved = next(flipped.to("cpu", channels_last=True).epoch(0))[0]
    assert torch.equal(moved, next(flipped.epoch(0))[0])
    assert moved.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(0, 2), torch.zeros(0)), "at least one"),
        ((torch.zeros(3, 2), torch.zeros(2)), "as many targets"),
        (([[1.0]], torch.zeros(1)), "inputs as a tensor"),
        ((torch.zeros(1), torch.tensor(1)), "targets as a tensor"),
    ],
)
def test_wrong_data_is_refused(arguments, words):
    with pytest.raises(InputError, match=words) as caught:
        Batches(*arguments, batch_size=2)
    assert caught.value.got
    assert caught.value.hint


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"batch_size": 2.5}, {"batch_size": 24, "drop_last": True}])
def test_wrong_batch_size_is_refused(settings):
    with pytest.raises(InputError, match="batch") as caught:
        numbered(**settings)
    assert caught.value.hint


def test_augmentation_may_make_the_targets_too():
    batches = numbered(augment=lambda x, g: (x + 1, x.flatten(1).sum(1)))
    for inputs, targets in batches.epoch(0):
        assert torch.equal(targets, (inputs - 1).flatten(1).sum(1))
    assert all(inputs.shape[0] == targets.shape[0] for inputs, targets in batches.in_order())


@pytest.mark.parametrize(
    "augment", [lambda x, g: x[:1], lambda x, g: None, lambda x, g: (x, x[:1]), lambda x, g: (x, x, x)]
)
def test_augmentation_that_loses_examples_is_refused(augment):
    with pytest.raises(InputError, match="augment"):
        list(numbered(augment=augment).epoch(0))


def test_too_few_examples_for_the_processes_are_refused():
    with pytest.raises(InputError, match="processes"):
        list(Batches(torch.zeros(2), torch.zeros(2), batch_size=1).epoch(0, processes=3))


def test_integers_of_numpy_count_as_integers_and_others_are_refused():
    assert torch.equal(numbered(seed=np.int64(3), batch_size=np.int32(4)).order(1), numbered(seed=3).order(1))
    for settings in ({"seed": "1"}, {"seed": True}, {"batch_size": True}, {"batch_size": "4"}):
        with pytest.raises(InputError, match="an integer"):
            numbered(**settings)
