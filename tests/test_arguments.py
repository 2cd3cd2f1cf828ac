"""Flag files as people write them: with dashes, from a Windows editor, one within the other."""

import pytest

from mlpf_jax import arguments


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    (tmp_path / "outer.cfg").write_text("# first\n\n--num-devices=2\n--flagfile=inner/more.cfg\n")
    (tmp_path / "inner" / "more.cfg").write_bytes(b"\xef\xbb\xbf--a-b=c-d\r\n  --flagfile=last.cfg")
    (tmp_path / "inner" / "last.cfg").write_bytes(b"// old\n--out=\xff\n--quiet")
    monkeypatch.chdir(tmp_path.parent)
    return tmp_path


def test_flag_files_are_read_where_they_stand_and_searched_beside_the_one_that_names_them(folder):
    words = ["--x-y=1", f"--flagfile={folder}/outer.cfg", "file-name", "--", "--z-z"]

    assert arguments.expand(words) == [
        *("--x_y=1", "--num_devices=2", "--a_b=c-d", "--out=\udcff", "--quiet"),
        *("file-name", "--", "--z-z"),
    ]


@pytest.mark.parametrize("form", ["--flagfile {}", "-flagfile={}", "--flagfile={}"])
def test_a_flag_file_can_be_named_in_every_form_of_a_flag(folder, form):
    assert arguments.expand(form.format(folder / "inner" / "last.cfg").split()) == [
        "--out=\udcff",
        "--quiet",
    ]


def test_home_is_expanded_wherever_a_path_may_stand(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    (folder / "inner" / "last.cfg").write_text("--cache=~/cache\n")
    words = ["--out=~/x", "--a-b", "~/y", "~", "a~b", "--c=~", "--d=x~", "--e=~ 5 %", "--", "~"]

    assert arguments.expand([*words[:-2], f"--flagfile={folder}/inner/last.cfg", *words[-2:]]) == [
        *("--out=/home/someone/x", "--a_b", "/home/someone/y", "/home/someone", "a~b"),
        *("--c=/home/someone", "--d=x~", "--e=~ 5 %", "--cache=/home/someone/cache", "--", "~"),
    ]
    monkeypatch.setenv("HOME", str(folder))
    assert arguments.expand(["--flagfile=~/inner/last.cfg"])


def test_a_home_folder_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="~nobody-at-all/x: no such home folder"):
        arguments.expand(["--out=~nobody-at-all/x"])


def test_a_flag_file_that_includes_itself_is_refused(folder):
    (folder / "inner" / "last.cfg").write_text("--flagfile=../outer.cfg")

    with pytest.raises(ValueError, match=r"outer.cfg: includes itself"):
        arguments.expand([f"--flagfile={folder}/outer.cfg"])


def test_a_flag_file_without_end_is_refused():
    with pytest.raises(ValueError, match="--flagfile=/dev/zero: is larger than"):
        arguments.expand(["--flagfile=/dev/zero"])


def test_flag_files_that_multiply_are_refused(tmp_path):
    """Each of twenty files includes the next one twice: a million in all."""
    for number in range(20):
        (tmp_path / str(number)).write_text(f"--flagfile={number + 1}\n" * 2)
    (tmp_path / "20").touch()

    with pytest.raises(ValueError, match="more than 100 files are included"):
        arguments.expand([f"--flagfile={tmp_path}/0"])
