"""ImageNet-1k as its archives unpack: for training a folder a class, for validation one folder, its truth elsewhere.

Validation labels come from folders, from Kaggle's `LOC_val_solution.csv`, or from the development kit, whose numbers
count the classes in another order than their names do. Sources: Deng et al. (2009), doi 10.1109/CVPR.2009.5206848;
Russakovsky et al. (2015), ImageNet Large Scale Visual Recognition Challenge, arXiv 1409.0575.
Dimension letters: N images, S side.
"""

import csv
import re
from collections import Counter
from pathlib import Path

import torch

from bigmodel_lab.data.images import ImageSet
from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.public import broken, place
from bigmodel_lab.data.public_images import ENDINGS, _files, _read
from bigmodel_lab.errors import DataError, MissingExtraError

__all__ = ["imagenet", "synsets"]

ALSO = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # where Kaggle's archive keeps train and val
KIT = ("ILSVRC2012_devkit_t12/data", "devkit/data", "data")
TRUTH, META, SOLUTION = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "LOC_val_solution.csv"
SYNSET = re.compile(r"n\d{8}")
VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})")


def imagenet(
    root: str | Path | None = None, *, size: int = 224, most: int | None = None, seed: int = 0
) -> tuple[ImageSet, ImageSet]:
    """Return (train, validation) of ImageNet-1k, images (N, 3, S, S), classes the WordNet ids in sorted order.

    - `root` holds train/<WordNet id>/*.JPEG and val, both also below ILSVRC/Data/CLS-LOC; None for
      `~/.cache/bigmodel_lab/imagenet`. `val` has a folder for each class, or 50 000 pictures side by side; then the
      truth is read from `LOC_val_solution.csv`, or from the development kit, ILSVRC2012_devkit_t12/data.
    - `size`, `most`, `seed`: as in `public_images.image_folder`; all of it would take a terabyte.

    Raises `MissingExtraError` without Pillow, or without SciPy for the development kit; `DataError` if a part is
    missing, not unpacked, or does not fit another: pictures without a truth, or a truth without its picture.
    """
    size = integer("size", size, 16)
    most = None if most is None else integer("most", most, 1)
    folder = place("imagenet", root)
    pictures = next((one for one in (folder, *(folder / also for also in ALSO)) if (one / "train").is_dir()), folder)
    if archives := sorted((pictures / "train").glob("n*.tar")):
        raise DataError(
            f"a folder for each class in {pictures / 'train'}",
            got=f"{len(archives)} archives, such as {archives[0].name}",
            hint="ILSVRC2012_img_train.tar holds an archive for each class: unpack each into a folder of its name",
        )
    train = _files(pictures, "train")
    if odd := [name for name in train if not SYNSET.fullmatch(name)]:
        hint = "public_images.image_folder reads folders of any name"
        raise DataError("folders called by WordNet ids, such as n01440764", got=", ".join(odd)[:200], hint=hint)
    flat = _flat(pictures / "val")
    validation = _labelled(folder, flat, tuple(train)) if flat else _files(pictures, "val")
    if strange := sorted(set(validation) - set(train)):
        raise broken("imagenet", "the same classes in train and val", f"in val alone: {', '.join(strange)[:200]}")
    generator = torch.Generator().manual_seed(seed)
    changes: Counter[str] = Counter()
    sets = [_read(files, tuple(train), size, most, generator, changes) for files in (train, validation)]
    if changes:
        print("imagenet: " + ", ".join(f"{count} {what}" for what, count in sorted(changes.items())))
    return sets[0], sets[1]


def synsets(root: str | Path | None = None) -> dict[str, str]:
    """Return the words of each WordNet id, such as {"n01440764": "tench, Tinca tinca"}, in the order of the ids.

    Read from `LOC_synset_mapping.txt`, or else from the development kit. Words do not tell classes apart: of the
    1000, two are called "crane" and two "maillot". Raises `DataError` if neither is there, or a line is not as above.
    """
    folder = place("imagenet", root)
    table = folder / "LOC_synset_mapping.txt"
    if not table.is_file():
        return dict(sorted(_kit(folder)[1].values()))
    words = {}
    for line in table.read_text(encoding="utf-8").splitlines():
        name, _, text = line.partition(" ")
        if not SYNSET.fullmatch(name) or not text.strip():
            raise broken("imagenet", f"a WordNet id and words in each line of {table}", repr(line))
        words[name] = text.strip()
    return dict(sorted(words.items()))


def _flat(folder: Path) -> dict[str, Path]:
    """Return the pictures that lie in `folder` itself, by their names without ending, in order."""
    if not folder.is_dir():
        return {}
    found = (one for one in folder.iterdir() if one.is_file() and one.suffix.lower() in ENDINGS and one.name[0] != ".")
    return {one.stem: one for one in sorted(found)}


def _labelled(folder: Path, flat: dict[str, Path], classes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return the validation pictures of each class, by the truth that lies beside them."""
    truth = _solution(folder / SOLUTION) if (folder / SOLUTION).is_file() else _ground_truth(folder, flat)
    if unknown := sorted(set(flat) - set(truth)):
        raise broken("imagenet", "a truth for each picture in val", f"none for {len(unknown)}, such as {unknown[0]}")
    if lost := sorted(set(truth) - set(flat)):
        got = f"{len(flat)} of {len(truth)}, without {lost[0]}"
        raise broken("imagenet", "a picture in val for each line of the truth", got)
    found: dict[str, list[Path]] = {name: [] for name in sorted(set(truth.values()))}
    for name, path in flat.items():
        found[truth[name]].append(path)
    return found


def _solution(table: Path) -> dict[str, str]:
    """Return the class of each picture in Kaggle's table: ImageId, PredictionString (class and box, repeated)."""
    truth = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, said = row.get("ImageId"), (row.get("PredictionString") or "").split()
            if not name or not said or not SYNSET.fullmatch(said[0]):
                raise broken("imagenet", f"ImageId and a WordNet id in each line of {table}", repr(list(row.values())))
            truth[name] = said[0]
    return truth


def _ground_truth(folder: Path, flat: dict[str, Path]) -> dict[str, str]:
    """Return the class of each picture by the development kit: line n is picture n, and says ILSVRC2012_ID."""
    kit, numbers = _kit(folder)
    lines = (kit / TRUTH).read_text(encoding="ascii").split()
    if odd := [line for line in lines if not line.isdigit() or int(line) not in numbers]:
        raise broken("imagenet", f"in each line of {kit / TRUTH} the ILSVRC2012_ID of a class in {META}", repr(odd[0]))
    if strange := [name for name in flat if not VALIDATION.fullmatch(name)]:
        raise broken("imagenet", "pictures in val called ILSVRC2012_val_00000001.JPEG and so on", strange[0])
    return {f"ILSVRC2012_val_{at:08}": numbers[int(line)][0] for at, line in enumerate(lines, 1)}


def _kit(folder: Path) -> tuple[Path, dict[int, tuple[str, str]]]:
    """Return the development kit's folder, and (WordNet id, words) of each ILSVRC2012_ID that is no group of others."""
    kit = next((folder / one for one in KIT if (folder / one / TRUTH).is_file()), None)
    if kit is None or not (kit / META).is_file():
        raise DataError(
            f"the truth about val in {folder}: {SOLUTION}, or {TRUTH} beside {META}",
            got="neither" if kit is None else f"{kit / TRUTH} without {META}",
            hint=f"unpack ILSVRC2012_devkit_t12.tar.gz there (2.5 MB, where the pictures come from), or copy "
            f"Kaggle's {SOLUTION}; or sort the pictures into val/<WordNet id>",
        )
    try:
        from scipy.io import loadmat
    except ImportError as error:
        got = f"{type(error).__name__}: {error}"
        raise MissingExtraError(f"SciPy, which reads {META}", got=got, hint="pip install scipy") from error
    try:
        rows = loadmat(str(kit / META), squeeze_me=True)["synsets"].reshape(-1)
        leaves = [row for row in rows if int(row["num_children"]) == 0]
        return kit, {int(row["ILSVRC2012_ID"]): (str(row["WNID"]), str(row["words"])) for row in leaves}
    except Exception as error:  # SciPy raises many kinds for a file cut short
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"the synsets in {kit / META}", got=got, hint="unpack the development kit again") from error
