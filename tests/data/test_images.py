"""Image sets: their truth is true, their errors say what to do, and CIFAR-10 is read as torchvision lays it out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bigmodel_lab.data import images
from bigmodel_lab.errors import DataError, InputError, MissingExtraError


@pytest.fixture(scope="module")
def drawn():
    return images.shapes(train=400, test=100, seed=3)


def test_digits_are_the_scans_of_scikit_learn_split_by_class():
    train, test = images.digits()
    assert train.images.shape == (1347, 1, 8, 8)
    assert test.images.shape == (450, 1, 8, 8)
    assert float(train.images.min()) == 0
    assert float(train.images.max()) == 1
    shares = [part.labels.bincount() / len(part) for part in (train, test)]
    assert (shares[0] - shares[1]).abs().max() < 0.01


def test_another_seed_splits_digits_otherwise():
    assert not torch.equal(images.digits(seed=0)[1].images, images.digits(seed=1)[1].images)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1])
def test_digits_refuse_an_impossible_fraction(fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        images.digits(test_fraction=fraction)


def test_shapes_are_images_with_balanced_labels(drawn):
    train, _ = drawn
    assert train.images.shape == (400, 3, 32, 32)
    assert train.images.dtype == torch.float32
    assert 0 <= float(train.images.min()) <= float(train.images.max()) <= 1
    assert train.labels.bincount().tolist() == [40] * 10


def test_shapes_repeat_and_do_not_depend_on_the_other_set(drawn):
    again = images.shapes(train=400, test=7, seed=3)
    assert torch.equal(drawn[0].images, again[0].images)
    assert not torch.equal(drawn[0].images, images.shapes(train=400, test=7, seed=4)[0].images)


def test_training_and_test_shapes_are_different_pictures(drawn):
    train, test = drawn
    distances = torch.cdist(train.images.flatten(1), test.images.flatten(1))
    assert float(distances.min()) > 1


def test_a_box_is_the_tight_box_of_its_mask(drawn):
    for mask, box in zip(drawn[1].masks, drawn[1].boxes.int().tolist(), strict=True):
        x0, y0, x1, y1 = box
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
        assert mask[y0].any()
        assert mask[y1 - 1].any()
        assert mask[:, x0].any()
        assert mask[:, x1 - 1].any()


def test_the_distractor_never_covers_the_shape_and_is_there(drawn):
    assert not (drawn[0].masks & drawn[0].distractors).any()
    assert (drawn[0].distractors.sum((1, 2)) > 5).all()


def test_the_mask_is_where_the_colour_of_the_caption_is(drawn):
    train, _ = drawn
    for picture, mask, caption in zip(train.images[:100], train.masks, train.captions, strict=False):
        colour = torch.tensor(images.COLOURS[caption.split()[1]])
        inside, outside = ((picture[:, part].mean(1) - colour).norm() for part in (mask, ~mask))
        assert inside < outside / 2


def test_captions_name_the_class_and_the_place(drawn):
    _, test = drawn
    for caption, label, box in zip(test.captions, test.labels, test.boxes, strict=True):
        words = caption.split()
        assert words[2] == test.classes[label]
        middle = float(box[0] + box[2]) / 64
        assert ("left" in words) <= (middle < 0.45)
        assert ("right" in words) <= (middle > 0.55)


def test_a_linear_model_of_colour_alone_is_at_chance(drawn):
    from sklearn.linear_model import LogisticRegression

    train, test = images.shapes(train=2000, test=1000)
    colour = [part.images.mean((2, 3)).numpy() for part in (train, test)]
    model = LogisticRegression(max_iter=1000).fit(colour[0], train.labels)
    assert model.score(colour[1], test.labels) < 0.25


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": -1}, {"size": 8}, {"difficulty": -1}])
def test_shapes_refuse_impossible_sizes(wrong):
    with pytest.raises(InputError, match="expected"):
        images.shapes(**{"train": 1, "test": 1, **wrong})


def test_shapes_scale_with_the_image():
    large = images.shapes(train=10, test=1, size=96)[0]
    assert large.images.shape == (10, 3, 96, 96)
    assert 150 < float(large.masks.sum((1, 2)).float().mean()) < 96 * 96 / 2


def test_a_part_of_a_set_keeps_each_truth_with_its_image(drawn):
    part = drawn[0][[5, 2]]
    assert len(part) == 2
    assert torch.equal(part.masks[0], drawn[0].masks[5])
    assert part.captions == (drawn[0].captions[5], drawn[0].captions[2])
    chosen = drawn[0][drawn[0].labels == 4]
    assert set(chosen.labels.tolist()) == {4}
    assert len(drawn[0][:7]) == 7
    with pytest.raises(InputError, match=r"images\[3:4\]"):
        drawn[0][3]


def test_random_affine_draws_from_its_generator_alone():
    pictures = torch.rand(6, 1, 8, 8)
    before = torch.get_rng_state()
    first, second, other = (images.random_affine(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.shape == pictures.shape


def test_random_affine_of_no_size_changes_nothing():
    pictures = torch.rand(3, 2, 16, 16)
    same = images.random_affine(pictures, torch.Generator(), degrees=0, shift=0, scale=0)
    torch.testing.assert_close(same, pictures)


def test_ten_classes_says_which_set_it_gives(capsys):
    train, test = images.ten_classes(train=20, test=10)
    assert (len(train), len(test)) == (20, 10)
    assert "drawn shapes: 20 training and 10 test" in capsys.readouterr().out
    with pytest.raises(InputError, match="torchvision"):
        images.ten_classes(source="internet")


def test_without_torchvision_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*torchvision"):
        images.cifar10()


# --- CIFAR-10, with the real torchvision ----------------------------------------------------------------------------

TORCHVISION = "torchvision==0.28.0"  # belongs to torch 2.13

READ = """
import hashlib, json, pickle, sys
from pathlib import Path
import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):  # torchvision's compiled part does not load beside a CPU build of torch; its Python does
    try:
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    except RuntimeError:
        pass
from torchvision.datasets import CIFAR10
from bigmodel_lab.data import images
from bigmodel_lab.errors import DataError

root = Path(sys.argv[1])

def checksums():  # torchvision compares checksums; ours are those of the small files
    md5 = lambda name: hashlib.md5((root / CIFAR10.base_folder / name).read_bytes()).hexdigest()
    CIFAR10.train_list = [[f"data_batch_{i}", md5(f"data_batch_{i}")] for i in range(1, 6)]
    CIFAR10.test_list = [["test_batch", md5("test_batch")]]
    CIFAR10.meta = {**CIFAR10.meta, "md5": md5("batches.meta")}

checksums()
train, test = images.cifar10(root=root, download=False)
some, few = images.ten_classes(source="torchvision", root=root, train=7, test=3, seed=1)
answer = {"train": list(train.images.shape), "labels": train.labels.tolist(), "classes": train.classes,
          "pixel": train.images[3, :, 2, 5].mul(255).round().int().tolist(), "some": [len(some), len(few)]}
batch = root / CIFAR10.base_folder / "data_batch_2"
batch.write_bytes(batch.read_bytes()[:-100])  # truncated: the checksum no longer holds
try:
    images.cifar10(root=root, download=False)
except DataError as error:
    answer["truncated"] = str(error)
checksums()  # even with a checksum that holds
try:
    images.cifar10(root=root, download=False)
except DataError as error:
    answer["foreign"] = str(error)
print("answer:", json.dumps(answer))
"""


def _write_cifar10(root: Path) -> None:
    """Write four images a batch, laid out as cs.toronto.edu's python version of CIFAR-10 is."""
    import pickle

    import numpy as np

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 3072), dtype=np.uint8)  # red, green, blue planes
        batch = {"batch_label": name, "labels": [number, 1, 2, 9], "data": pixels, "filenames": ["a.png"] * 4}
        (folder / name).write_bytes(pickle.dumps(batch))
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes, "num_vis": 3072}))


@pytest.fixture(scope="module")
def torchvision_path(tmp_path_factory):
    """A folder with torchvision, beside the environment: installed into it, other libraries would try to load it."""
    folder = tmp_path_factory.mktemp("torchvision")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), TORCHVISION]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.slow
def test_cifar10_is_read_from_its_own_layout(tmp_path, torchvision_path):
    import numpy as np

    _write_cifar10(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(torchvision_path)}
    command = [sys.executable, "-W", "ignore", "-c", READ, str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    answer = json.loads(run.stdout.split("answer:")[1])
    assert answer["train"] == [20, 3, 32, 32]
    assert answer["labels"][:5] == [0, 1, 2, 9, 1]
    assert answer["classes"][5] == "dog"
    planes = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)[3].reshape(3, 32, 32)
    assert answer["pixel"] == planes[:, 2, 5].tolist()
    assert answer["some"] == [7, 3]
    for what in ("truncated", "foreign"):
        assert "cifar-10-batches-py" in answer[what]
        assert 'source="embedded"' in answer[what]


def test_data_error_is_an_error_of_the_lab():
    with pytest.raises(DataError, match="expected: a\ngot:      b\ntry:      c"):
        raise DataError("a", got="b", hint="c")


def test_images_are_picked_by_slices_indices_and_masks():
    whole = images.shapes(train=5, test=1)[0]
    for which, places in (
        (slice(None, None, -1), [4, 3, 2, 1, 0]),
        (slice(3, 1), []),
        ([], []),
        (np.array([3, -1], dtype=np.int16), [3, 4]),
        (range(1, 3), [1, 2]),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
    ):
        part = whole[which]
        assert torch.equal(part.images, whole.images[places])
        assert part.captions == tuple(whole.captions[i] for i in places)


@pytest.mark.parametrize(
    "which",
    [2, np.int64(2), torch.tensor(2), [True, False], [0.0, 1.0], [[0, 1]], [5], [-6], "ab", [[0], [1, 2]], 1.5],
)
def test_what_names_no_images_is_refused(which):
    whole = images.shapes(train=5, test=1)[0]
    with pytest.raises(InputError, match="expected"):
        whole[which]
