"""Folders of photographs, one a class: what is read, what is converted and said so, what is refused."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bigmodel_lab.data.public_images import image_folder, read_image
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

CLASSES = ("n01440764", "n01443537", "n01484850")


def picture(red=200, green=40, blue=90, size=(40, 30)):
    return Image.new("RGB", size, (red, green, blue))


@pytest.fixture
def root(tmp_path):
    """ImageNet's layout: train/<class>/*.JPEG, val/<class>/*.JPEG; each class has its own red."""
    for part, count in (("train", 3), ("val", 2)):
        for k, name in enumerate(CLASSES):
            home = tmp_path / part / name
            home.mkdir(parents=True)
            for n in range(count):
                picture(red=80 * k).save(home / f"{name}_{n}.JPEG", quality=95)
    return tmp_path


def test_classes_come_from_folders_and_images_in_one_size(root, capsys):
    train, test = image_folder(root, size=32)
    assert train.images.shape == (9, 3, 32, 32)
    assert test.images.shape == (6, 3, 32, 32)
    assert train.classes == CLASSES
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert train.images.dtype == torch.float32
    torch.testing.assert_close(
        train.images[:, 0].mean((1, 2)), train.labels.float() * 80 / 255, atol=0.02, rtol=0
    )  # JPEG rounds
    assert capsys.readouterr().out == ""  # nothing was converted


def test_at_most_so_many_of_each_class_are_drawn_and_the_same_again(root):
    train, test = image_folder(root, size=32, most=2)
    assert train.labels.bincount().tolist() == [2, 2, 2]
    assert len(test) == 6
    assert image_folder(root, size=32, most=2)[0].images.equal(train.images)


def test_the_middle_is_cut_out_at_one_scale():
    wide = np.zeros((28, 84, 3), dtype=np.uint8)
    wide[:, 28:56] = 255  # the middle third is white
    image = read_image(saved(Image.fromarray(wide)), 28)
    assert image.mean() > 0.97
    narrow = read_image(saved(Image.fromarray(wide.transpose(1, 0, 2))), 28)
    torch.testing.assert_close(narrow, image.transpose(1, 2))


def saved(image, name="one.png", **options):
    """A file-like place that Pillow opens."""
    from io import BytesIO

    place = BytesIO()
    image.save(place, format=name.split(".")[-1].upper(), **options)
    place.seek(0)
    return place


def test_values_are_the_picture_s_own():
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    big = Image.fromarray(values).resize((37, 37), Image.Resampling.NEAREST)  # 37 = 32 / 0.875, rounded
    middle = np.asarray(big)[2:34, 2:34]
    found = read_image(saved(big), 32)
    torch.testing.assert_close(found, torch.from_numpy(middle / 255).permute(2, 0, 1).float())


def test_other_modes_are_made_rgb_and_counted(root, capsys):
    home = root / "train" / CLASSES[0]
    whole = picture()
    whole.convert("L").save(home / "grey.png")
    whole.convert("P").save(home / "palette.png")
    whole.convert("CMYK").save(home / "print.jpg")
    clear = whole.convert("RGBA")
    clear.putalpha(0)
    clear.save(home / "clear.png")
    train, _ = image_folder(root, size=32)
    assert len(train) == 13
    said = capsys.readouterr().out
    for what in ("1 grey images", "1 palette images", "1 CMYK images", "1 RGBA images"):
        assert what in said
    names = sorted(file.name for file in home.iterdir())
    shown = dict(zip(names, train.images[: len(names)], strict=True))
    assert shown["clear.png"].min() == 1  # nothing but the white behind it
    torch.testing.assert_close(shown["grey.png"][0], shown["grey.png"][2])
    colour = torch.tensor([200, 40, 90]) / 255
    for name in ("palette.png", "print.jpg"):
        torch.testing.assert_close(shown[name].mean((1, 2)), colour, atol=0.08, rtol=0)


def test_half_clear_pixels_lie_on_white():
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert abs(read_image(saved(clear), 16).mean() - (1 - 128 / 255)) < 0.01


def test_sixteen_bits_are_scaled_not_cut_off():
    deep = Image.fromarray(np.full((20, 20), 32768, dtype=np.uint16))
    assert abs(read_image(saved(deep), 16).mean() - 0.5) < 0.01


def test_a_turned_photograph_is_put_upright(capsys, root):
    half = np.zeros((40, 40, 3), dtype=np.uint8)
    half[:20] = 255  # the upper half is white
    image = Image.fromarray(half[:, :30])
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned right by a quarter
    found = read_image(saved(image, "one.jpeg", exif=exif, quality=95), 16)
    assert found[:, :, 9:].mean() > 0.9  # what was above is now on the right
    assert found[:, :, :7].mean() < 0.1


def test_an_unreadable_file_is_named(root):
    bad = root / "val" / CLASSES[1] / "broken.JPEG"
    bad.write_bytes(b"this is no picture")
    with pytest.raises(DataError, match=r"broken\.JPEG[\s\S]*take it out"):
        image_folder(root, size=32)


def test_a_file_that_ends_too_early_is_named(root):
    whole = next((root / "train" / CLASSES[2]).iterdir())
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noisy.save(whole)
    whole.write_bytes(whole.read_bytes()[:700])
    with pytest.raises(DataError, match=whole.name):
        image_folder(root, size=32)


def test_a_line_of_pixels_is_refused(root):
    picture(size=(50, 1)).save(root / "val" / CLASSES[0] / "line.png")
    with pytest.raises(DataError, match=r"line\.png[\s\S]*50 × 1"):
        image_folder(root, size=32)


def test_missing_parts_are_named(root, tmp_path):
    with pytest.raises(DataError, match=r"no such folder[\s\S]*150 GB[\s\S]*embedded"):
        image_folder(tmp_path / "nowhere")
    (root / "val" / "n99").mkdir()
    with pytest.raises(DataError, match=r"pictures in val/n99"):
        image_folder(root)
    picture().save(root / "val" / "n99" / "a.png")
    with pytest.raises(DataError, match=r"in val alone: n99"):
        image_folder(root)
    (root / "val").rename(root / "validation")
    with pytest.raises(DataError, match=r"the folder val[\s\S]*there: train, validation"):
        image_folder(root)


def test_what_is_no_picture_by_its_name_and_hidden_files_are_passed_over(root):
    (root / "train" / CLASSES[0] / "notes.txt").write_text("not a picture")
    (root / "train" / CLASSES[0] / "._ghost.JPEG").write_bytes(b"")
    (root / "train" / ".cache").mkdir()
    assert len(image_folder(root, size=32)[0]) == 9


@pytest.mark.parametrize("wrong", [{"size": 8}, {"size": 32.5}, {"most": 0}])
def test_wrong_sizes_are_refused(root, wrong):
    with pytest.raises(InputError):
        image_folder(root, **wrong)


def test_without_pillow_the_error_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="pip install pillow"):
        image_folder(root, size=32)
