"""The public sets that lessons can take in place of the embedded ones: what each is, its licence, size and layout.

`place` finds a set's folder, or says how to get it. Sizes are those of the download, as their homes state them.
"""

from dataclasses import dataclass
from pathlib import Path

from bigmodel_lab.errors import DataError, InputError

__all__ = ["SETS", "PublicSet", "about", "broken", "place"]


@dataclass(frozen=True)
class PublicSet:
    """One public set: where it lives, what it may be used for, what it weighs, how its files lie."""

    title: str
    home: str  # where to get it
    licence: str
    size: str  # of the download
    layout: str  # what lies in its folder
    hub: bool = False  # the `datasets` library fetches it by itself


SETS: dict[str, PublicSet] = {
    "cifar10": PublicSet(
        "CIFAR-10, 60 000 photographs in ten classes",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "none stated; research use is customary",
        "163 MB",
        "cifar-10-batches-py/data_batch_1",
    ),
    "cnn_dailymail": PublicSet(
        "CNN/DailyMail, 312 000 news articles with highlights",
        "https://huggingface.co/datasets/abisee/cnn_dailymail",
        "Apache 2.0 for the set; the articles belong to their publishers",
        "0.8 GB",
        "3.0.0/train-00000-of-00003.parquet",
        hub=True,
    ),
    "coco": PublicSet(
        "COCO 2017, objects with boxes and masks in 80 classes",
        "https://cocodataset.org/#download",
        "annotations CC BY 4.0; each photograph has its own Flickr licence",
        "1 GB (val2017) or 19 GB (with train2017)",
        "annotations/instances_val2017.json (captions: captions_val2017.json) and val2017/*.jpg",
    ),
    "conll2003": PublicSet(
        "CoNLL-2003, named entities in Reuters news",
        "https://www.clips.uantwerpen.be/conll2003/ner/",
        "the text is Reuters', for research by agreement with NIST",
        "1 MB",
        "eng.train, eng.testa, eng.testb",
        hub=True,  # a copy, tomaarsen/conll2003
    ),
    "glue": PublicSet(
        "GLUE, nine tasks about English sentences; SST-2 is one",
        "https://huggingface.co/datasets/nyu-mll/glue",
        "each task has its own; see the set's page",
        "7 MB for SST-2",
        "sst2/train-00000-of-00001.parquet",
        hub=True,
    ),
    "imagenet": PublicSet(
        "ImageNet-1k, 1.28 million photographs in 1000 classes, or any folder laid out like it",
        "https://www.image-net.org/download.php",
        "research and teaching without profit, by agreement",
        "150 GB",
        "train/<class>/*.JPEG and val/<class>/*.JPEG, or val/*.JPEG and ILSVRC2012_devkit_t12",
    ),
    "librispeech": PublicSet(
        "LibriSpeech, 1000 hours of read English",
        "https://www.openslr.org/12",
        "CC BY 4.0",
        "0.3 GB (test-clean) to 30 GB",
        "test-clean/<speaker>/<chapter>/*.flac and *.trans.txt",
    ),
    "lj_speech": PublicSet(
        "LJ Speech, 24 hours read by one speaker",
        "https://keithito.com/LJ-Speech-Dataset/",
        "public domain",
        "2.6 GB",
        "metadata.csv and wavs/*.wav",
    ),
    "opus": PublicSet(
        "OPUS-100, sentences in English and 99 other languages",
        "https://huggingface.co/datasets/Helsinki-NLP/opus-100",
        "not stated for the whole; each source has its own",
        "70 MB for English and Chinese",
        "en-zh/train-00000-of-00001.parquet",
        hub=True,
    ),
    "speech_commands": PublicSet(
        "Speech Commands v0.02, 105 829 clips of 35 words",
        "https://www.tensorflow.org/datasets/catalog/speech_commands",
        "CC BY 4.0",
        "2.4 GB",
        "<word>/*.wav, validation_list.txt, testing_list.txt",
    ),
    "timit": PublicSet(
        "TIMIT, 6300 sentences by 630 speakers with their phones",
        "https://catalog.ldc.upenn.edu/LDC93S1",
        "by licence from the Linguistic Data Consortium",
        "0.5 GB",
        "TRAIN/DR1/FCJF0/SA1.WAV, .TXT, .PHN",
    ),
    "ucf101": PublicSet(
        "UCF101, 13 320 clips of 101 actions",
        "https://www.crcv.ucf.edu/data/UCF101.php",
        "none stated; research use is customary",
        "6.5 GB",
        "UCF-101/<Class>/*.avi and ucfTrainTestlist/trainlist01.txt",
    ),
    "voc": PublicSet(
        "Pascal VOC 2012, objects with masks in 20 classes",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        "photographs under Flickr's terms of use",
        "2 GB",
        "VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}",
    ),
    "wikitext": PublicSet(
        "WikiText, good and featured articles of Wikipedia",
        "https://huggingface.co/datasets/Salesforce/wikitext",
        "CC BY-SA 3.0",
        "5 MB (WikiText-2) or 180 MB (WikiText-103)",
        "wikitext-2-raw-v1/test-00000-of-00001.parquet",
        hub=True,
    ),
}


def about(name: str) -> str:
    """Return a few lines on the set `name`: what it is, where it comes from, its licence and its size."""
    one = _known(name)
    how = "fetched by the datasets library, or read from a folder" if one.hub else "read from a folder you fetched"
    return f"{one.title}\n  from     {one.home}\n  licence  {one.licence}\n  size     {one.size}, {how}"


def place(name: str, root: str | Path | None = None) -> Path:
    """Return the folder of the set `name`: `root`, or `~/.cache/bigmodel_lab/NAME` if None.

    Raises `DataError` if there is no such folder; it says where to get the set, under which licence, and its size.
    """
    one = _known(name)
    folder = Path.home() / ".cache" / "bigmodel_lab" / name if root is None else Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"{one.title}, in {folder}",
            got="a file" if folder.exists() else "no such folder",
            hint=f"get it from {one.home} ({one.size}; licence: {one.licence}) and unpack it there, so that "
            f'{one.layout} lie in that folder; or source="embedded", which needs nothing',
        )
    return folder


def broken(name: str, where: str | Path, got: str) -> DataError:
    """Return the error for a part of the set `name` that is missing or not as its source lays it out; raise it."""
    one = _known(name)
    hint = f"unpack {one.home} again ({one.size}); its folder holds {one.layout}"
    return DataError(f"{where} of {one.title}", got=got, hint=hint)


def _known(name: str) -> PublicSet:
    if name not in SETS:
        raise InputError(f"a public set among {', '.join(SETS)}", got=repr(name))
    return SETS[name]
