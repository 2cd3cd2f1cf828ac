"""How a program ends: by Ctrl-C even if the first one is lost on the way, and in one line."""

import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from absl import flags

from mlpf_jax import cli


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("--mode=x: no such mode.", "error: --mode=x: no such mode."),
        (FileNotFoundError(2, "No such file", "a.json"), "error: a.json: No such file."),
        (OSError("the disk is full"), "error: the disk is full"),
        (OSError(28, "No space left"), "error: No space left."),
        (ValueError("wrong\nand why"), "error: wrong"),
        (RuntimeError(), "error: RuntimeError"),
        ("\x1b[2J" + "x" * 10**6, "error: \\x1b[2J" + "x" * 3996 + "..."),
    ],
)
def test_problems_are_reported_in_one_line(capsys, reason, line):
    assert cli.complain(reason, cli.FAILURE) == 1

    assert capsys.readouterr().err.splitlines() == [line]


def failing(monkeypatch, capsys, error, *words, **options):
    """Returns the exit status and what is said of a program that fails."""

    def fail(argv):
        raise error

    monkeypatch.setattr(sys, "argv", ["program", *words])
    with pytest.raises(SystemExit) as ended:
        cli.run(fail, values=flags.FlagValues(), **options)
    return ended.value.code, capsys.readouterr().err


def test_an_unexpected_error_is_one_line_that_names_a_private_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    status, said = failing(monkeypatch, capsys, KeyError("shape"))

    (path,) = tmp_path.iterdir()
    assert status == 1
    assert said == (
        f"error: unexpected: KeyError: 'shape' (traceback: {path}, or here with --debug)\n"
    )
    assert path.read_text().splitlines()[-1] == "KeyError: 'shape'"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("options", [{}, {"crash_status": 70}])
def test_with_debug_the_traceback_is_on_the_terminal(monkeypatch, capsys, tmp_path, options):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    status, said = failing(monkeypatch, capsys, TypeError(), "--debug", **options)

    assert status == options.get("crash_status", 1)
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.splitlines()[-1] == "error: unexpected: TypeError"
    assert not list(tmp_path.iterdir())


def test_a_traceback_that_cannot_be_kept_is_shown(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    status, said = failing(monkeypatch, capsys, TypeError("no"))

    assert status == 1
    assert re.match("Traceback .*\nerror: unexpected: TypeError: no\n$", said, re.DOTALL)


def test_a_lack_of_memory_needs_no_traceback(monkeypatch, capsys):
    error = MemoryError("Unable to allocate 8 TiB")

    assert failing(monkeypatch, capsys, error, crash_status=70) == (
        70,
        "error: out of memory on this machine: Unable to allocate 8 TiB\n",
    )


def test_a_word_after_two_dashes_is_no_flag_of_ours(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["program", "--", "--debug"])

    with pytest.raises(SystemExit):
        cli.run(seen.append, takes_files=True, values=flags.FlagValues())

    assert seen == [["program", "--debug"]]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("mlpf_jax.main", []),
        ("tools.regress", ["--base=HEAD"]),
        ("benchmarks.step", []),
    ],
)
def test_an_unknown_user_without_a_home_is_told_the_way_out_in_one_line(tmp_path, module, words):
    """As in a container with an arbitrary user; the status must not be 1 (a regression)."""
    unknown = (
        "import pwd, runpy, sys\n"
        "def getpwuid(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = getpwuid\n"
        f"sys.argv = {[module, *words]!r}\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    root = str(Path(__file__).parents[1])
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": root, "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", unknown], cwd=tmp_path, env=environ, capture_output=True, text=True
    )

    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    if module != "tools.regress":  # which looks for its preset first
        assert done.stderr == (
            "error: no home folder for events: set HOME or XDG_CACHE_HOME, or name a "
            "folder with --data_dir=.\n"
        )


def test_nothing_is_said_of_a_reader_who_has_seen_enough(capsys):
    assert cli.complain(BrokenPipeError(32, "Broken pipe"), cli.FAILURE) == 1

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--size=99999999999999999999999"],
            "--size=99999999999999999999999: has more than 64 bits.",
        ),
        (["--share=nan"], "--share=nan: must be a number."),
        (["--folder", "--size=1"], "--folder: needs a value, but --size=1 follows."),
    ],
)
def test_a_value_that_no_flag_can_mean_is_refused(capsys, monkeypatch, words, line):
    values = flags.FlagValues()
    flags.DEFINE_integer("size", 1, "How many.", flag_values=values)
    flags.DEFINE_float("share", 0.5, "How much.", flag_values=values)
    flags.DEFINE_string("folder", None, "Where.", flag_values=values)
    monkeypatch.setattr(sys, "argv", ["program", *words])

    with pytest.raises(SystemExit) as ended:
        cli.run(lambda argv: None, values=values)

    assert (ended.value.code, capsys.readouterr().err) == (2, f"error: {line}\n")


def test_the_help_of_a_flag_that_can_be_repeated_says_so_in_a_sentence():
    values = flags.FlagValues()
    flags.DEFINE_multi_enum("phase", ["a", "b"], ["a", "b"], "Step.", flag_values=values)
    flags.DEFINE_list("study", ["a", "b"], "Studies.", flag_values=values)

    text = cli.help_text(lambda argv: None, values)

    assert "--phase: <a|b>: Step. May be given several times. Default: a, b.\n" in text
    assert "--study: Studies. Default: a,b.\n" in text
