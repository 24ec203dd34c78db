"""ImageNet in the layouts that its archives have: read alike, with the right labels, or refused with what to do."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bigmodel_lab.data.imagenet import imagenet, synsets
from bigmodel_lab.data.public_images import image_folder
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

REDS = {"n01440764": 10, "n01443537": 110, "n02012849": 210}  # the red of each class's pictures
WORDS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish, Carassius auratus", "n02012849": "crane"}
NUMBERS = {"n01440764": 3, "n01443537": 1, "n02012849": 2}  # ILSVRC2012_ID: not in the order of the names
TRUTH = ["n02012849", "n01440764", "n01443537", "n01440764", "n02012849"]  # of the five validation pictures


def save(path, red):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 20), (red, 40, 90)).save(path, quality=95)


def pictures(folder):
    """Two training pictures of each class, and five of validation side by side."""
    for name, red in REDS.items():
        for n in range(2):
            save(folder / "train" / name / f"{name}_{n}.JPEG", red)
    for at, name in enumerate(TRUTH, 1):
        save(folder / "val" / f"ILSVRC2012_val_{at:08}.JPEG", REDS[name])


def kit(folder):
    """The development kit: a group of classes among the classes, as there."""
    from scipy.io import savemat

    names = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    rows = [(NUMBERS[name], name, WORDS[name], 0) for name in REDS] + [(4, "n00001930", "physical entity", 2)]
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=[(name, object) for name in names])})
    lines = "".join(f"{NUMBERS[name]}\n" for name in TRUTH)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    return data


def solution(folder):
    """Kaggle's table, in another order than the pictures; the second picture has two boxes."""
    rows = [f"ILSVRC2012_val_{at:08},{name} 1 2 20 20 " for at, name in enumerate(TRUTH, 1)]
    rows[1] += "n01440764 3 4 9 9 "
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows[::-1]]) + "\n")


@pytest.fixture
def root(tmp_path):
    pictures(tmp_path)
    kit(tmp_path)
    return tmp_path


def seen(part):
    """The class of each picture, as its colour says."""
    red = (part.images[:, 0].mean((1, 2)) * 255).round()
    reds = torch.tensor([float(one) for one in REDS.values()])
    return (red[:, None] - reds).abs().argmin(1)


def test_the_development_kit_labels_flat_pictures(root, capsys):
    train, validation = imagenet(root, size=16)
    assert train.classes == validation.classes == tuple(REDS)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert validation.images.shape == (5, 3, 16, 16)
    assert validation.labels.tolist() == [0, 0, 1, 2, 2]
    assert seen(validation).equal(validation.labels)
    assert capsys.readouterr().out == ""


def test_its_numbers_are_not_the_order_of_the_names(root):
    """What a loader would get that takes ILSVRC2012_ID - 1 for the class: planted, and unlike the pictures."""
    lines = (root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt").read_text().split()
    naive = sorted(int(line) - 1 for line in lines)
    assert naive != imagenet(root, size=16)[1].labels.tolist()


@pytest.mark.parametrize("below", [".", "ILSVRC/Data/CLS-LOC"])
def test_kaggle_s_table_labels_them_alike(tmp_path, below):
    pictures(tmp_path / below)
    solution(tmp_path)
    train, validation = imagenet(tmp_path, size=16)
    assert len(train) == 6
    assert validation.labels.tolist() == [0, 0, 1, 2, 2]
    assert seen(validation).equal(validation.labels)


def test_folders_are_read_as_image_folder_reads_them(root):
    flat = imagenet(root, size=16)[1]
    for at, name in enumerate(TRUTH, 1):
        picture = root / "val" / f"ILSVRC2012_val_{at:08}.JPEG"
        (root / "val" / name).mkdir(exist_ok=True)
        picture.rename(root / "val" / name / picture.name)
    sorted_out = imagenet(root, size=16)[1]
    assert sorted_out.labels.equal(flat.labels)
    assert sorted_out.images.equal(flat.images)
    assert image_folder(root, size=16)[1].images.equal(flat.images)


def test_at_most_so_many_of_each_class(root):
    train, validation = imagenet(root, size=16, most=1)
    assert train.labels.tolist() == validation.labels.tolist() == [0, 1, 2]
    with pytest.raises(InputError):
        imagenet(root, size=16, most=0)
    with pytest.raises(InputError):
        imagenet(root, size=8)


def test_words_of_the_classes(root):
    assert synsets(root) == WORDS
    (root / "LOC_synset_mapping.txt").write_text("n01443537 goldfish\nn01440764 tench, Tinca tinca\n")
    assert synsets(root) == {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish"}
    (root / "LOC_synset_mapping.txt").write_text("tench\n")
    with pytest.raises(DataError, match="WordNet id and words"):
        synsets(root)


def test_archives_in_train_are_to_be_unpacked(root):
    (root / "train" / "n01440764.tar").write_bytes(b"")
    with pytest.raises(DataError, match="unpack each into a folder"):
        imagenet(root, size=16)


def test_train_folders_are_called_by_wordnet_ids(root):
    save(root / "train" / "tench" / "one.JPEG", 1)
    with pytest.raises(DataError, match="image_folder"):
        imagenet(root, size=16)


def test_flat_pictures_without_a_truth_are_refused(tmp_path):
    pictures(tmp_path)
    with pytest.raises(DataError, match=r"devkit_t12\.tar\.gz"):
        imagenet(tmp_path, size=16)
    with pytest.raises(DataError, match="neither"):
        synsets(tmp_path)
    data = kit(tmp_path)
    (data / "meta.mat").write_bytes(b"cut short")
    with pytest.raises(DataError, match="unpack the development kit again"):
        imagenet(tmp_path, size=16)
    (data / "meta.mat").unlink()
    with pytest.raises(DataError, match=r"without meta\.mat"):
        imagenet(tmp_path, size=16)


@pytest.mark.parametrize("how", ["kit", "table"])
def test_pictures_and_truth_must_fit(tmp_path, how):
    pictures(tmp_path)
    (kit if how == "kit" else solution)(tmp_path)
    save(tmp_path / "val" / "ILSVRC2012_val_00000006.JPEG", 10)
    with pytest.raises(DataError, match="none for 1, such as ILSVRC2012_val_00000006"):
        imagenet(tmp_path, size=16)
    (tmp_path / "val" / "ILSVRC2012_val_00000006.JPEG").unlink()
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    with pytest.raises(DataError, match="4 of 5, without ILSVRC2012_val_00000002"):
        imagenet(tmp_path, size=16)


def test_a_broken_truth_is_refused(root):
    truth = root / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("2\n3\n1\n3\n4\n")  # 4 is a group of classes
    with pytest.raises(DataError, match="ILSVRC2012_ID of a class"):
        imagenet(root, size=16)
    truth.write_text("2\n3\n1\n3\n2\n")
    (root / "val" / "ILSVRC2012_val_00000001.JPEG").rename(root / "val" / "one.JPEG")
    with pytest.raises(DataError, match=r"got: +one"):
        imagenet(root, size=16)
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,tench\n")
    with pytest.raises(DataError, match="ImageId and a WordNet id"):
        imagenet(root, size=16)


def test_a_class_in_val_alone_is_refused(root):
    for one in (root / "train" / "n02012849").iterdir():
        one.unlink()
    (root / "train" / "n02012849").rmdir()
    with pytest.raises(DataError, match="in val alone: n02012849"):
        imagenet(root, size=16)


def test_missing_parts_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="150 GB"):
        imagenet(tmp_path / "nowhere")
    with pytest.raises(DataError, match="the folder train"):
        imagenet(tmp_path)
    pictures(tmp_path)
    kit(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match="pip install scipy"):
        imagenet(tmp_path, size=16)


def test_grey_pictures_are_made_rgb_and_said_so(root, capsys):
    Image.new("L", (20, 20), 99).save(root / "train" / "n01440764" / "grey.JPEG")
    imagenet(root, size=16)
    assert capsys.readouterr().out == "imagenet: 1 grey images made RGB\n"
