"""UCF101 in its own layout, and single files, with what can be wrong about them."""

import shutil
import sys

import cv2
import numpy as np
import pytest
import torch

from bigmodel_lab.data.public_video import read_video, ucf101
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

COLOURS = {"Archery": (220, 30, 30), "Biking": (30, 220, 30), "Diving": (30, 30, 220)}  # red, green, blue
CLIPS = {"train": ("g08_c01", "g09_c01"), "test": ("g01_c01",)}


def write(path, pictures):
    """Write pictures (T, H, W, 3), red, green, blue, as UCF101's files are: an AVI."""
    height, width = pictures[0].shape[:2]
    file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"XVID"), 25, (width, height))
    assert file.isOpened()
    for picture in pictures:
        file.write(np.ascontiguousarray(picture[..., ::-1].astype(np.uint8)))
    file.release()


def plain(colour, count=12, height=48, width=64):
    return np.broadcast_to(np.array(colour), (count, height, width, 3))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("ucf101")
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("".join(f"{k} {name}\r\n" for k, name in enumerate(COLOURS, 1)))
    for part, groups in CLIPS.items():
        lines = []
        for number, (name, colour) in enumerate(COLOURS.items(), 1):
            (root / "UCF-101" / name).mkdir(parents=True, exist_ok=True)
            for group in groups:
                file = f"{name}/v_{name}_{group}.avi"
                write(root / "UCF-101" / file, plain(colour))
                lines.append(f"{file} {number}" if part == "train" else file)
        (lists / f"{part}list01.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def root(original, tmp_path):
    return shutil.copytree(original, tmp_path / "ucf101")


def test_each_clip_has_the_label_of_its_class(original):
    train, test = ucf101(original, frames=4, size=16)
    assert train.clips.shape == (6, 4, 3, 16, 16)
    assert test.clips.shape == (3, 4, 3, 16, 16)
    assert train.classes == tuple(COLOURS)
    for part in (train, test):
        strongest = part.clips.mean((1, 3, 4)).argmax(1)  # the channel of a clip's colour is its class's number here
        assert torch.equal(strongest, part.labels)
        assert (part.clips.mean((1, 3, 4)).max(1).values > 0.7).all()


def test_some_classes_are_numbered_in_the_order_given(original):
    train, test = ucf101(original, classes=("Diving", "Archery"), frames=2, size=8)
    assert train.classes == ("Diving", "Archery")
    assert sorted(train.labels.tolist()) == [0, 0, 1, 1]
    assert torch.equal(test.clips.mean((1, 3, 4)).argmax(1), torch.tensor([2, 0])[test.labels])


def test_clips_are_drawn_by_the_seed(original):
    picks = [ucf101(original, train=3, test=1, frames=2, size=8, seed=seed)[0].clips for seed in (0, 0, 1, 2)]
    assert len(picks[0]) == 3
    assert torch.equal(picks[0], picks[1])
    assert not (torch.equal(picks[0], picks[2]) and torch.equal(picks[0], picks[3]))
    assert len(ucf101(original, train=None, test=None, frames=2, size=8)[0]) == 6


def test_frames_are_spaced_evenly_from_the_first_to_the_last(tmp_path):
    write(tmp_path / "ramp.avi", np.concatenate([plain((20 + 11 * t,) * 3, 1) for t in range(20)]))
    levels = read_video(tmp_path / "ramp.avi", frames=5, size=8).mean((1, 2, 3)) * 255
    wanted = torch.tensor([20.0 + 11 * t for t in (0, 5, 10, 14, 19)])  # 9.5 and 4.75 rounded
    assert (levels - wanted).abs().max() < 8
    twice = read_video(tmp_path / "ramp.avi", frames=39, size=8)
    assert len(twice) == 39
    assert len(torch.unique(twice.mean((1, 2, 3)))) <= 20


@pytest.mark.parametrize(("height", "width"), [(48, 96), (96, 48), (16, 20)])
def test_the_middle_square_is_kept_of_any_size(tmp_path, height, width):
    picture = np.zeros((height, width, 3))
    picture[..., 2] = 250  # blue, beyond the square
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    picture[y : y + side, x : x + side] = (250, 0, 0)
    write(tmp_path / "square.avi", [picture] * 4)
    clip = read_video(tmp_path / "square.avi", frames=2, size=24)
    assert clip.shape == (2, 3, 24, 24)
    assert 0 <= clip.min() <= clip.max() <= 1
    assert clip[:, 0, 4:-4, 4:-4].min() > 0.8
    assert clip[:, 2, 4:-4, 4:-4].max() < 0.2


def test_a_video_of_one_frame_is_refused(tmp_path):
    write(tmp_path / "one.avi", plain((200, 0, 0), 1))
    with pytest.raises(DataError, match=r"at least two frames[\s\S]*1 frame"):
        read_video(tmp_path / "one.avi")


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "text.avi").write_bytes(b"not a video" * 100)
    with pytest.raises(DataError, match="nothing that OpenCV can decode"):
        read_video(tmp_path / "text.avi")


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_file_cut_short_is_refused(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3))
    write(tmp_path / "cut.avi", noise)
    whole = (tmp_path / "cut.avi").read_bytes()
    assert len(read_video(tmp_path / "cut.avi", frames=3)) == 3
    (tmp_path / "cut.avi").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="fetch the file again"):
        read_video(tmp_path / "cut.avi")


@pytest.mark.parametrize("name", ["missing.avi", "."])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(DataError, match=r"no such file|a folder"):
        read_video(tmp_path / name)


def test_without_opencv_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r'pip install "bigmodel-lab\[video\]"'):
        read_video(tmp_path / "any.avi")


def test_a_missing_set_says_where_it_is_found(tmp_path):
    with pytest.raises(DataError, match=r"crcv\.ucf\.edu[\s\S]*6\.5 GB"):
        ucf101(tmp_path / "nowhere")


def test_a_missing_class_is_named(root):
    shutil.rmtree(root / "UCF-101" / "Biking")
    with pytest.raises(DataError, match=r"Biking[\s\S]*no such folder"):
        ucf101(root)
    assert len(ucf101(root, classes=("Archery",), frames=2, size=8)[0]) == 2  # the others are still whole


def test_a_missing_clip_is_named(root):
    (root / "UCF-101" / "Diving" / "v_Diving_g09_c01.avi").unlink()
    with pytest.raises(DataError, match=r"v_Diving_g09_c01\.avi[\s\S]*no such file"):
        ucf101(root)


@pytest.mark.parametrize("name", ["classInd.txt", "trainlist01.txt", "testlist01.txt"])
def test_missing_and_empty_lists_are_named(root, name):
    file = root / "ucfTrainTestlist" / name
    file.write_text("\n")
    with pytest.raises(DataError, match=f"{name}[\\s\\S]*empty"):
        ucf101(root, frames=2, size=8)
    file.unlink()
    with pytest.raises(DataError, match=f"{name}[\\s\\S]*FileNotFoundError"):
        ucf101(root, frames=2, size=8)


@pytest.mark.parametrize("line", ["Juggling/v_Juggling_g08_c01.avi 1", "Archery/v_Archery_g08_c01.avi 2"])
def test_lists_that_contradict_one_another_are_refused(root, line):
    (root / "ucfTrainTestlist" / "trainlist01.txt").write_text(line)
    with pytest.raises(DataError, match="no class of classInd"):
        ucf101(root)


def test_a_part_without_the_classes_asked_for_is_refused(root):
    (root / "ucfTrainTestlist" / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
    with pytest.raises(DataError, match="no clip of Biking"):
        ucf101(root, classes=("Biking",), frames=2, size=8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": 4}, "split 1, 2 or 3"),
        ({"train": 0}, "None for all"),
        ({"classes": ("Bikings",)}, "try:      Biking"),
        ({"classes": ("Biking", "Biking")}, "named once"),
        ({"classes": ()}, "at least one class"),
        ({"frames": 1}, "at least two frames"),
    ],
    ids=str,
)
def test_impossible_wishes_are_refused(original, wrong, message):
    with pytest.raises(InputError, match=message):
        ucf101(original, **wrong)
