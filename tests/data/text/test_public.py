"""GLUE and WikiText are read from files laid out as the real ones; what is missing, cut or foreign is named."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bigmodel_lab.data.text.public import GLUE, WIKITEXT, glue, wikitext
from bigmodel_lab.errors import DataError, InputError, MissingExtraError


def columns(task, n=4, label=None):
    """Columns of a small set, as the hub's files have them: texts, label, idx."""
    spec = GLUE[task]
    table = {c: [f"{c} number {i}, naïve" for i in range(n)] for c in spec.columns}
    high = len(spec.classes)
    labels = [i % high for i in range(n)] if high else [0.0, 5.0, 2.5, 3.8][:n]
    return table | {"label": labels if label is None else [label] * n, "idx": list(range(n))}


def features(task):
    """The features that the hub's files keep in their metadata."""
    spec = GLUE[task]
    label = datasets.ClassLabel(names=list(spec.classes)) if spec.classes else datasets.Value("float32")
    texts = {c: datasets.Value("string") for c in spec.columns}
    return datasets.Features(texts | {"label": label, "idx": datasets.Value("int32")})


def dataset(task, n=4):
    return datasets.Dataset.from_dict(columns(task, n), features=features(task))


def write(folder, split, table, part=0, parts=1):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), folder / f"{split}-{part:05}-of-{parts:05}.parquet")


def validation(task):
    return "validation_matched" if task == "mnli" else "validation"


@pytest.fixture
def root(tmp_path):
    """A folder like the hub's repository, with all nine tasks, hidden test labels included."""
    for task in GLUE:
        write(tmp_path / task, "train", columns(task))
        write(tmp_path / task, validation(task), columns(task, 3))
        write(tmp_path / task, "test", columns(task, label=-1))
    return tmp_path


@pytest.mark.parametrize("task", GLUE)
def test_every_task_gives_its_texts_and_labels(root, task):
    train, held_out = glue(task, root=root)
    assert (len(train), len(held_out)) == (4, 3)
    assert train.classes == GLUE[task].classes
    assert train.texts[1] == f"{GLUE[task].columns[0]} number 1, naïve"
    if len(GLUE[task].columns) == 2:
        assert train.pairs[1] == f"{GLUE[task].columns[1]} number 1, naïve"
    else:
        assert train.pairs is None
    expected = [0.0, 5.0, 2.5, 3.8] if task == "stsb" else [i % len(train.classes) for i in range(4)]
    torch.testing.assert_close(train.labels, torch.tensor(expected))


def test_mnli_has_two_validation_sets(root):
    write(root / "mnli", "validation_mismatched", columns("mnli", 2))
    assert len(glue("mnli", root=root)[1]) == 3
    assert len(glue("mnli", root=root, matched=False)[1]) == 2


def test_several_files_are_one_set_in_order(root):
    (root / "qqp" / "train-00000-of-00001.parquet").unlink()
    write(root / "qqp", "train", columns("qqp", 2), 0, 2)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet"):
        glue("qqp", root=root)
    write(root / "qqp", "train", columns("qqp", 3), 1, 2)
    assert [text.split()[2] for text in glue("qqp", root=root)[0].texts] == ["0,", "1,", "0,", "1,", "2,"]


def test_files_as_the_datasets_library_writes_them_are_read(root):
    dataset("rte").to_parquet(root / "rte" / "train-00000-of-00001.parquet")
    assert glue("rte", root=root)[0].labels.tolist() == [0, 1, 0, 1]


def test_other_names_of_the_labels_are_refused(root):
    """WNLI and RTE number the same two names the other way round."""
    swapped = datasets.Dataset.from_dict(columns("wnli"), features=features("rte"))
    swapped.to_parquet(root / "wnli" / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match="labels called not_entailment, entailment"):
        glue("wnli", root=root)


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_a_file_cut_short_is_named(root, kept):
    file = root / "sst2" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"(?s)whole Parquet files.*copy train-00000-of-00001.parquet"):
        glue("sst2", root=root)


def test_a_file_of_something_else_is_named(root):
    (root / "sst2" / "train-00000-of-00001.parquet").write_text("<html>404</html>", encoding="utf-8")
    with pytest.raises(DataError, match="whole Parquet files"):
        glue("sst2", root=root)


def test_files_of_different_columns_are_refused(root):
    write(root / "sst2", "train", columns("rte"))
    with pytest.raises(DataError, match=r"(?s)the columns sentence, label in sst2, train.*no sentence"):
        glue("sst2", root=root)


def test_an_empty_file_is_refused(root):
    write(root / "sst2", "train", {name: [] for name in columns("sst2")})
    with pytest.raises(DataError, match="at least one row"):
        glue("sst2", root=root)


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("sst2", [0, 1, 0, -1]),
        ("sst2", [0, 1, 0, 2]),
        ("sst2", [0.0, 1.0, 0.0, 1.0]),
        ("rte", [0, 1, 0, None]),
        ("stsb", [0.0, 5.0, 2.5, -1.0]),
        ("stsb", [0.0, 5.0, 2.5, float("nan")]),
    ],
)
def test_a_hidden_label_or_one_out_of_range_is_refused(root, task, labels):
    write(root / task, "train", columns(task) | {"label": labels})
    with pytest.raises(DataError, match=r"labels from 0 to \d in .*, train\n.* of 4 rows\n"):
        glue(task, root=root)


def test_a_row_without_text_is_refused(root):
    write(root / "sst2", "train", columns("sst2") | {"sentence": ["a", None, "b", "c"]})
    with pytest.raises(DataError, match="a text in every row"):
        glue("sst2", root=root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"(?s)train-00000-of-00001.parquet.*no such file.*nyu-mll/glue"):
        glue("sst2", root=tmp_path / "nowhere")


def test_an_unknown_task_is_answered_with_the_known():
    with pytest.raises(InputError, match="sst2"):
        glue("imdb")
    with pytest.raises(InputError, match="wikitext-2-raw-v1"):
        wikitext("wikitext-3")


class TestFromTheHub:
    def test_without_a_network_the_ways_out_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
        with pytest.raises(DataError, match=r"(?s)nyu-mll/glue \(sst2\).*HF_ENDPOINT.*root="):
            glue("sst2")

    def test_the_whole_repository_is_asked_for_its_splits(self, monkeypatch):
        asked = []

        def load(*args, **kwargs):
            asked.append((args, kwargs))
            return [dataset("mnli", n) for n in (4, 2)]

        monkeypatch.setattr(datasets, "load_dataset", load)
        train, held_out = glue("mnli")
        assert asked == [(("nyu-mll/glue", "mnli"), {"split": ["train", "validation_matched"]})]
        assert (train.labels.tolist(), held_out.pairs[1]) == ([0, 1, 2, 0], "hypothesis number 1, naïve")

    def test_without_the_package_the_command_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingExtraError, match="pip install datasets"):
            glue("sst2")


CARD = """---
configs:
- config_name: rte
  data_files:
  - split: train
    path: rte/train-*
  - split: validation
    path: rte/validation-*
---
"""


@pytest.fixture
def mirror(tmp_path):
    """Serve a folder as the repository nyu-mll/glue, with as much of the hub's API as `datasets` asks for."""
    folder, commit = tmp_path / "repository", "a" * 40
    for split, count in (("train", 4), ("validation", 3)):
        (folder / "rte").mkdir(parents=True, exist_ok=True)
        dataset("rte", count).to_parquet(folder / "rte" / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(CARD, encoding="utf-8")

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self):
            path = urlparse(self.path).path
            if path.startswith("/datasets/nyu-mll/glue/resolve/"):
                file = folder / path.split("/", 6)[6]
                body = file.read_bytes() if file.is_file() else None
            elif path == f"/api/datasets/nyu-mll/glue/revision/{commit}":
                body = json.dumps({"id": "nyu-mll/glue", "sha": commit}).encode()
            elif path.startswith(f"/api/datasets/nyu-mll/glue/tree/{commit}"):
                inside = folder / path.partition(commit)[2].strip("/")
                kinds = [
                    (f.relative_to(folder).as_posix(), "file" if f.is_file() else "directory", f.stat().st_size)
                    for f in sorted(inside.iterdir())
                ]
                body = json.dumps([{"path": f, "type": k, "size": n, "oid": commit} for f, k, n in kinds]).encode()
            else:
                body = None
            self.send_response(404 if body is None else 200)
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hash(body)}"', "Content-Length": str(len(body or b""))}
            for name, value in (headers | ({"X-Error-Code": "EntryNotFound"} if body is None else {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET" and body:
                self.wfile.write(body)

        do_GET = do_HEAD = answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_a_mirror_is_asked_once_and_then_the_copy_is_enough(mirror, tmp_path):
    code = (
        "from bigmodel_lab.data.text.public import glue; train, held_out = glue('rte');"
        "print(len(train), len(held_out), held_out.pairs[2], train.labels.tolist())"
    )

    def run(**settings):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env = clean | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"} | settings
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    expected = "4 3 sentence2 number 2, naïve [0, 1, 0, 1]"
    assert "DataError" in run(HF_HUB_OFFLINE="1")
    assert run(HF_ENDPOINT=mirror) == expected
    assert run(HF_HUB_OFFLINE="1") == expected


# As in the real files: a row is a line, with a blank before and after each heading.
LINES = ["", " = Robert = \n", "", " Robert is an actor . \n", " = 2 = \n", " = = Career = = \n", "", " He acts . \n"]
MORE = ["", " = Du = Fu = \n", "", " A poet 杜甫 . \n", ""]


@pytest.fixture
def wiki(tmp_path):
    for split in ("train", "validation", "test"):
        write(tmp_path / WIKITEXT[2], split, {"text": LINES + MORE})
    return tmp_path


def test_wikitext_is_cut_into_articles_and_nothing_is_lost(wiki):
    for part in wikitext(root=wiki):
        assert len(part) == 2
        assert "".join(part) == "".join(LINES + MORE)
        assert part[1] == " = Du = Fu = \n A poet 杜甫 . \n"


def test_wikitext_without_titles_is_refused(wiki):
    write(wiki / WIKITEXT[2], "test", {"text": ["a line\n", " = = Section = = \n"]})
    with pytest.raises(DataError, match="wikitext-2-raw-v1, test"):
        wikitext(root=wiki)
