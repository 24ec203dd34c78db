import pytest

from bigmodel_lab.data import public
from bigmodel_lab.errors import DataError, InputError


@pytest.mark.parametrize("name", sorted(public.SETS))
def test_every_set_has_a_home_a_licence_and_a_size(name):
    said = public.about(name)
    one = public.SETS[name]
    assert one.home.startswith("http")
    assert all(part in said for part in (one.home, one.licence, one.size))


def test_a_missing_set_says_how_to_get_it_its_licence_and_its_size(tmp_path):
    with pytest.raises(DataError) as caught:
        public.place("lj_speech", tmp_path / "none")
    for said in ("keithito.com", "public domain", "2.6 GB", "wavs/*.wav", "embedded"):
        assert said in str(caught.value)


def test_a_folder_that_is_there_is_found(tmp_path):
    assert public.place("coco", tmp_path) == tmp_path


def test_without_a_root_it_is_looked_for_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    with pytest.raises(DataError, match=r"bigmodel_lab/voc"):
        public.place("voc")
    folder = tmp_path / ".cache" / "bigmodel_lab" / "voc"
    folder.mkdir(parents=True)
    assert public.place("voc") == folder


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    file = tmp_path / "ucf101.rar"
    file.write_text("")
    with pytest.raises(DataError, match="a file"):
        public.place("ucf101", file)


def test_a_broken_part_names_the_set():
    assert "TIMIT" in str(public.broken("timit", "TRAIN/DR1", "nothing"))


def test_another_name_is_refused():
    with pytest.raises(InputError, match="cifar10"):
        public.about("imagenot")
