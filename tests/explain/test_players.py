"""Players: grids, who is present in a row, values given out and collected again, and numberings that are refused."""

import pytest
import torch

from bigmodel_lab.errors import InputError
from bigmodel_lab.explain.players import Players, grid


class TestGrid:
    def test_numbers_rectangles_row_by_row(self):
        expected = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
        assert grid(4, 4, 2, 2).tolist() == expected
        assert grid(2, 5, 1, 5).tolist() == [[0, 1, 2, 3, 4]] * 2

    @pytest.mark.parametrize("size", [(7, 5, 3, 2), (32, 32, 4, 4), (4, 4, 4, 4), (9, 10, 4, 3)])
    def test_parts_differ_by_at_most_one_row_and_column(self, size):
        height, width, rows, columns = size
        found = grid(*size)
        assert found.shape == (height, width)
        assert found.dtype == torch.int64
        assert found.unique().tolist() == list(range(rows * columns))
        for cut, parts in ((found[:, 0] // columns, rows), (found[0] % columns, columns)):
            count = cut.bincount()
            assert len(count) == parts
            assert count.max() - count.min() <= 1

    @pytest.mark.parametrize("size", [(4, 4, 5, 1), (4, 4, 1, 0), (3, 8, 4, 4)])
    def test_refuses_more_parts_than_pixels(self, size):
        with pytest.raises(InputError, match="rows"):
            grid(*size)


class TestStandard:
    @pytest.mark.parametrize(
        ("shape", "count", "size"),
        [((2, 5), 5, 1), ((2, 5, 3), 5, 3), ((2, 3, 8, 8), 16, 12), ((2, 3, 2, 8), 8, 6), ((1, 1, 1, 1), 1, 1)],
    )
    def test_tokens_steps_and_rectangles(self, shape, count, size):
        players = Players(torch.zeros(shape))
        assert players.count == count
        assert (players.collect(torch.ones(shape)) == size).all()

    def test_more_dimensions_need_groups(self):
        video = torch.zeros(1, 2, 3, 4, 5)
        with pytest.raises(InputError, match="more than four dimensions"):
            Players(video)
        assert Players(video, torch.arange(3).view(3, 1, 1)).count == 3


GROUPS = {  # of inputs (2, 3, 4, 6)
    "image": grid(4, 6, 2, 2),
    "channels": torch.arange(3).view(3, 1, 1),
    "one example": torch.arange(72).view(3, 4, 6) // 30,
    "row": torch.arange(6),
    "each example": torch.stack([grid(4, 6, 2, 2), grid(4, 6, 2, 2).flip(0, 1)])[:, None],
    "each element": torch.randint(4, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bfloat16])
@pytest.mark.parametrize("kind", GROUPS)
class TestRows:
    def test_absent_players_are_the_baseline_and_all_else_is_untouched(self, kind, dtype):
        generator = torch.Generator().manual_seed(1)
        inputs, base = (torch.randint(1, 100, (2, 3, 4, 6), generator=generator).to(dtype) for _ in range(2))
        players = Players(inputs, GROUPS[kind])
        groups = GROUPS[kind].expand(inputs.shape)
        coalitions = torch.rand(5, players.count, generator=generator) < 0.5
        for other in (base, base[:1].expand_as(base), torch.zeros((), dtype=dtype).expand_as(base)):
            make = players.rows(inputs, other, coalitions)
            found = torch.cat([make(0, 3), make(3, 10)])  # also across the border between two examples
            assert found.dtype == dtype
            for r, row in enumerate(found):
                example, coalition = divmod(r, 5)
                stays = coalitions[coalition][groups[example]]
                assert torch.equal(row, torch.where(stays, inputs[example], other[example]))


@pytest.mark.parametrize("kind", GROUPS)
def test_collect_undoes_spread_and_mean_undoes_whole(kind):
    inputs = torch.zeros(2, 3, 4, 6)
    players = Players(inputs, GROUPS[kind])
    values = torch.randn(2, players.count, dtype=torch.float64)
    spread, whole = players.spread(values), players.whole(values)
    assert spread.shape == whole.shape == inputs.shape
    torch.testing.assert_close(players.collect(spread), values)
    torch.testing.assert_close(players.mean(whole), values)
    torch.testing.assert_close(spread.flatten(1).sum(1), values.sum(1))
    assert torch.equal(whole[0, 0, 0, 0], values[0, GROUPS[kind].expand(inputs.shape)[0, 0, 0, 0]])


def test_a_number_that_one_example_lacks_gets_nothing():
    players = Players(torch.zeros(2, 3), torch.tensor([[0, 1, 2], [0, 0, 1]]))
    assert players.count == 3
    assert players.collect(torch.ones(2, 3)).tolist() == [[1, 1, 1], [2, 1, 0]]
    assert players.spread(torch.ones(2, 3))[1].tolist() == [0.5, 0.5, 1]
    assert players.mean(players.whole(torch.ones(2, 3))).tolist() == [[1, 1, 1], [1, 1, 0]]


def test_one_example_with_its_own_groups():
    players = Players(torch.zeros(1, 4), torch.tensor([[0, 1, 1, 0]]))
    make = players.rows(torch.ones(1, 4), torch.zeros(1, 4), torch.tensor([[True, False]]))
    assert make(0, 1).tolist() == [[1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (torch.zeros(3), "torch.float32"),
        (torch.zeros(3, dtype=torch.bool), "torch.bool"),
        ([0, 1, 2], "list"),
        (torch.tensor([0, 1]), r"shape \(2,\)"),
        (torch.zeros(3, 3, dtype=torch.long), r"shape \(3, 3\)"),
        (torch.zeros(1, 2, 3, dtype=torch.long), r"shape \(1, 2, 3\)"),
        (torch.tensor(0), r"shape \(\)"),
        (torch.tensor([0, 2, 2]), "0, 2"),
        (torch.tensor([1, 2, 3]), "1, 2, 3"),
        (torch.tensor([-1, 0, 1]), "-1, 0, 1"),
    ],
)
def test_refuses_groups_that_do_not_number_the_parts(groups, message):
    with pytest.raises(InputError, match=message):
        Players(torch.zeros(2, 3), groups)


def test_groups_of_each_image_need_the_dimension_of_channels():
    with pytest.raises(InputError, match=r"broadcast to \(2, 3, 4, 6\)"):
        Players(torch.zeros(2, 3, 4, 6), torch.zeros(2, 4, 6, dtype=torch.long))
