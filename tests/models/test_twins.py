"""Weights carried between layouts, and twins run in a process of their own."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from bigmodel_lab.errors import InputError, LabError, MissingExtraError
from bigmodel_lab.models import twins

FEATURES = (3, 4, 5)  # channels, height, width of the map that is flattened


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def weights():
    """A kernel, its bias, the matrix behind the flattening, its bias, and one more matrix, in PyTorch's layout."""
    shapes = [(3, 2, 3, 3), (3,), (7, 60), (7,), (4, 7)]
    return [draw(*shape, seed=n) for n, shape in enumerate(shapes)]


def channels_first(x, kernel, bias, first, shift, last):
    """A CNN of loops: images (B, 2, 6, 7) to (B, 4), flattened as (C, H, W)."""
    out = np.zeros((len(x), 3, 4, 5))
    for i in range(4):
        for j in range(5):
            out[:, :, i, j] = np.einsum("bcuv,ocuv->bo", x[:, :, i : i + 3, j : j + 3], kernel) + bias
    hidden = np.maximum(np.maximum(out, 0).reshape(len(x), -1) @ first.T + shift, 0)
    return hidden @ last.T


def channels_last(x, kernel, bias, first, shift, last):
    """The same in the other layout: images (B, 6, 7, 2) to (B, 4), flattened as (H, W, C)."""
    out = np.zeros((len(x), 4, 5, 3))
    for i in range(4):
        for j in range(5):
            out[:, i, j, :] = np.einsum("buvc,uvco->bo", x[:, i : i + 3, j : j + 3, :], kernel) + bias
    hidden = np.maximum(np.maximum(out, 0).reshape(len(x), -1) @ first + shift, 0)
    return hidden @ last


class TestLayouts:
    def test_both_layouts_give_the_same_outputs(self):
        x = draw(2, 2, 6, 7, seed=9)
        turned = channels_last(twins.images_to_keras(x), *twins.to_keras(weights(), features=FEATURES))
        np.testing.assert_allclose(turned, channels_first(x, *weights()), rtol=1e-12)

    @pytest.mark.parametrize("wrong", ["matrix transposed only", "kernel reshaped", "features of another order"])
    def test_a_wrong_conversion_fits_in_shape_and_gives_other_outputs(self, wrong):
        x, right = draw(2, 2, 6, 7, seed=9), twins.to_keras(weights(), features=FEATURES)
        planted = [array.copy() for array in right]
        if wrong == "matrix transposed only":
            planted[2] = weights()[2].T
        elif wrong == "kernel reshaped":
            planted[0] = weights()[0].reshape(3, 3, 2, 3)
        else:
            planted[2] = twins.to_keras(weights(), features=(5, 4, 3))[2]
        assert [a.shape for a in planted] == [a.shape for a in right]
        difference = channels_last(twins.images_to_keras(x), *planted) - channels_first(x, *weights())
        assert np.abs(difference).max() > 0.1

    def test_there_and_back(self):
        back = twins.from_keras(twins.to_keras(weights(), features=FEATURES), features=FEATURES)
        assert all(map(np.array_equal, back, weights()))

    def test_the_given_arrays_stay_and_are_not_shared(self):
        given = weights()
        for array in twins.to_keras(given, features=FEATURES):
            array[:] = 0
        assert all(map(np.array_equal, given, weights()))

    @pytest.mark.parametrize("carry", [twins.to_keras, twins.from_keras])
    def test_features_that_do_not_fit(self, carry):
        with pytest.raises(InputError, match="flattened features"):
            carry([draw(7, 60) if carry is twins.to_keras else draw(60, 7)], features=(3, 4, 6))

    def test_an_array_of_another_kind(self):
        with pytest.raises(InputError, match="1, 2 or 4 dimensions"):
            twins.to_keras([draw(2, 3, 4)], features=FEATURES)

    def test_images_without_a_batch(self):
        with pytest.raises(InputError, match="B, C, H, W"):
            twins.images_to_keras(draw(3, 8, 8))

    def test_a_sample_has_both_ends(self):
        flat = np.arange(1000.0).reshape(10, 100)
        assert twins.sample(flat, 5).tolist() == [0, 249, 499, 749, 999]
        assert twins.sample(flat[0, :3], 5).tolist() == [0, 1, 2]


FAKE = """
import sys
import numpy as np
task, source, target = sys.argv[1:]
if task == "fail":
    raise SystemExit("the last words")
np.savez(target, twice=2 * np.load(source)["x"])
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A twin that needs NumPy alone, beside a file that would hide a package if the twin ran where it lies."""
    home = tmp_path / "a" / "b"
    home.mkdir(parents=True)
    (home / "keras_twin.py").write_text(FAKE, encoding="utf-8")
    (home / "numpy.py").write_text("raise ImportError('hidden')", encoding="utf-8")
    monkeypatch.setattr(twins, "HERE", home)
    monkeypatch.setattr(twins, "TWINS", {"keras": "numpy"})
    return tmp_path


class TestRunning:
    def test_arrays_go_in_and_come_out(self, fake):
        assert twins.run("keras", "double", {"x": np.array([1, 2])})["twice"].tolist() == [2, 4]

    def test_a_failure_says_the_last_words(self, fake):
        with pytest.raises(LabError, match="the last words"):
            twins.run("keras", "fail")

    def test_without_its_framework_it_says_how_to_get_it(self, fake, monkeypatch):
        monkeypatch.setattr(twins, "TWINS", {"keras": "no_such_package"})
        monkeypatch.setenv(twins.VARIABLE, sys.executable)
        assert twins.find("keras") is None
        with pytest.raises(MissingExtraError, match="make tensorflow"):
            twins.run("keras", "double")

    def test_the_variable_decides_before_the_folder(self, fake, monkeypatch):
        beside = fake / ".venv-tensorflow" / "bin" / "python"
        beside.parent.mkdir(parents=True)
        beside.symlink_to(sys.executable)
        monkeypatch.setattr(twins, "find_spec", lambda name: None)  # not in this interpreter
        monkeypatch.delenv(twins.VARIABLE, raising=False)
        assert twins.find("keras") == beside
        monkeypatch.setenv(twins.VARIABLE, sys.executable)
        assert str(twins.find("keras")) == sys.executable

    def test_a_variable_that_names_no_file(self, fake, monkeypatch):
        monkeypatch.setattr(twins, "find_spec", lambda name: None)
        monkeypatch.setenv(twins.VARIABLE, str(fake / "nothing"))
        with pytest.raises(InputError, match="no file"):
            twins.find("keras")

    def test_an_unknown_twin(self):
        with pytest.raises(InputError, match="keras, jax"):
            twins.find("theano")


class TestListing:
    @pytest.mark.parametrize("twin", ["keras", "jax"])
    def test_is_the_text_of_the_file(self, twin):
        text = twins.listing(twin, "step")
        assert text.startswith("def step(")
        assert text in (twins.HERE / f"{twin}_twin.py").read_text(encoding="utf-8")

    def test_an_unknown_function(self):
        with pytest.raises(InputError, match="nothing_like_it"):
            twins.listing("jax", "forward", "nothing_like_it")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


@pytest.mark.parametrize("twin", ["keras", "jax"])
def test_a_twin_computes_what_pytorch_computes(twin):
    if twins.find(twin) is None:
        pytest.skip(f"no Python with {twins.TWINS[twin]}; try: {twins.HOW_TO_GET}")
    model, features = network(), (64, 8, 8)
    images, labels = torch.from_numpy(draw(6, 3, 32, 32).astype(np.float32)), torch.arange(6)
    arrays = [p.detach().numpy().copy() for p in model.parameters()]
    given = {"labels": labels.numpy(), "rate": 0.1, "steps": 2}
    if twin == "keras":
        arrays = twins.to_keras(arrays, features=features)
    given["images"] = twins.images_to_keras(images.numpy()) if twin == "keras" else images.numpy()
    found = twins.run(twin, "follow", given | {f"w{n}": w for n, w in enumerate(arrays)})
    logits = model(images)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    np.testing.assert_allclose(found["logits"], logits.detach().numpy(), atol=1e-5)
    assert found["losses"][0] == pytest.approx(loss.item(), abs=1e-5)
    for what in ("gradient", "after"):
        theirs = [found[f"{what}{n}"] for n in range(8)]
        theirs = twins.from_keras(theirs, features=features) if twin == "keras" else theirs
        for p, array in zip(model.parameters(), theirs, strict=True):
            want = p.grad if what == "gradient" else p.detach() - 0.1 * p.grad
            np.testing.assert_allclose(array, want.numpy(), atol=1e-5 * max(1.0, float(want.abs().max())))
