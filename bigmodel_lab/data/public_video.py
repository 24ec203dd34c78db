"""Real clips from files, by OpenCV: any video that it decodes, and UCF101 in its own layout.

Source: Soomro, Zamir & Shah (2012), UCF101: a dataset of 101 human action classes, arXiv 1212.0402.
Dimension letters: N clips, T frames, C channels, H height, W width.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bigmodel_lab.data.public import broken, place
from bigmodel_lab.data.video import VideoSet
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

__all__ = ["read_video", "ucf101"]

SPLITS = (1, 2, 3)
WHOLE = 0.9  # of the frames that a file announces, how many must be there


def read_video(path: str | Path, *, frames: int = 16, size: int = 64) -> Tensor:
    """Return frames of a video file, evenly spaced from its first to its last, as (frames, 3, size, size) in [0, 1].

    What is changed on the way: a video of fewer frames shows some of them twice; one of another size or shape is
    scaled until its shorter side is `size`, and the middle square is cut out; colours come in the order red, green,
    blue. All frames are decoded, so it is meant for clips, not for films.
    Raises `MissingExtraError` without OpenCV, and `DataError` for a file that is missing, unreadable, cut short, or a
    single picture.
    """
    if frames < 2 or size < 1:
        raise InputError("at least two frames, and a size of at least 1", got=f"frames={frames}, size={size}")
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(
            "OpenCV, which decodes videos",
            got=f"{type(error).__name__}: {error}",
            hint='pip install "bigmodel-lab[video]", or source="embedded" for the drawn clips',
        ) from error
    path = Path(path)
    if not path.is_file():
        raise DataError(f"a video in {path}", got="a folder" if path.is_dir() else "no such file")
    file = cv2.VideoCapture(str(path))
    try:
        announced, pictures = file.get(cv2.CAP_PROP_FRAME_COUNT), []
        while (read := file.read())[0]:
            pictures.append(_square(cv2, read[1], size))
    finally:
        file.release()
    if len(pictures) < max(2, WHOLE * announced):
        got = f"{len(pictures)} frames" + (f" of {announced:.0f} announced" if announced > len(pictures) else "")
        raise DataError(
            f"a whole video of at least two frames in {path}",
            got=got if pictures else "nothing that OpenCV can decode",
            hint="fetch the file again; a single picture shows no motion",
        )
    chosen = np.linspace(0, len(pictures) - 1, frames).round().astype(int)
    clip = np.stack([pictures[i] for i in chosen])[..., ::-1]  # (T, H, W, C), blue, green, red -> red, green, blue
    return torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2))).float() / 255


def _square(cv2, picture: np.ndarray, size: int) -> np.ndarray:
    """Return the middle square of a picture (H, W, 3), scaled to (size, size, 3)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(picture[y : y + side, x : x + side], (size, size), interpolation=way)


def ucf101(
    root: str | Path | None = None,
    *,
    split: int = 1,
    classes: Sequence[str] | None = None,
    train: int | None = 1000,
    test: int | None = 300,
    frames: int = 16,
    size: int = 64,
    seed: int = 0,
) -> tuple[VideoSet, VideoSet]:
    """Return (train, test) of UCF101: clips (N, frames, 3, size, size) of people doing 101 things.

    - `root`: the folder that holds UCF-101/<Class>/v_<Class>_g01_c01.avi and ucfTrainTestlist/; None for
      `~/.cache/bigmodel_lab/ucf101`.
    - `split`: which of the three official ones; in each, train and test show different people.
    - `classes`: names such as "Archery", which become the labels 0, 1, ...; None for all.
    - `train`, `test`: clips to draw at random by `seed`; None for all of them, 9 537 and 3 783: 9 GB at 16 × 64 × 64.

    Each file is read by `read_video`, which says what is changed. Raises `DataError` where a list, a class or a file is
    missing or broken, `MissingExtraError` without OpenCV.
    """
    if split not in SPLITS:
        raise InputError("split 1, 2 or 3", got=repr(split))
    if min(1 if count is None else count for count in (train, test)) < 1:
        raise InputError("train and test of at least 1, or None for all", got=f"train={train}, test={test}")
    folder = place("ucf101", root)
    known = [line.split()[-1] for line in _lines(folder / "ucfTrainTestlist" / "classInd.txt")]
    names = tuple(known if classes is None else classes)
    for name in names:
        if name not in known:
            near = ", ".join(get_close_matches(name, known)) or ", ".join(known[:5]) + " ..."
            raise InputError("classes of UCF101", got=repr(name), hint=near)
    if len(set(names)) != len(names) or not names:
        raise InputError("at least one class, each named once", got=repr(names))
    parts = []
    for part, count in (("train", train), ("test", test)):
        files = _files(folder, f"{part}list0{split}.txt", known, names)
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
        drawn = [files[i] for i in order[:count]]
        clips = torch.stack([read_video(file, frames=frames, size=size) for file, _ in drawn])
        parts.append(VideoSet(clips, torch.tensor([label for _, label in drawn]), names))
    return parts[0], parts[1]


def _lines(file: Path) -> list[str]:
    """Return the lines of a list that are not empty."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise broken("ucf101", file, f"{type(error).__name__}: {error}") from error
    if not lines:
        raise broken("ucf101", file, "an empty file")
    return lines


def _files(folder: Path, name: str, known: Sequence[str], names: Sequence[str]) -> list[tuple[Path, int]]:
    """Return the files of the list `name` that show one of `names`, each with its label; all of them must be there."""
    found = []
    for line in _lines(folder / "ucfTrainTestlist" / name):
        file, _, number = line.partition(" ")  # training lists have the class's number as well, from 1
        kind = file.split("/")[0]
        if kind not in known or number not in ("", str(known.index(kind) + 1)):
            raise broken("ucf101", folder / "ucfTrainTestlist" / name, f"{line!r}, no class of classInd.txt")
        if kind in names:
            found.append((folder / "UCF-101" / file, names.index(kind)))
    for kind in names:
        if not (folder / "UCF-101" / kind).is_dir():
            raise broken("ucf101", folder / "UCF-101" / kind, "no such folder")
    for file, _ in found:
        if not file.is_file():
            raise broken("ucf101", file, "no such file")
    if not found:
        raise broken("ucf101", folder / "ucfTrainTestlist" / name, f"no clip of {', '.join(names)}")
    return found
