"""Programs as users start them: with closed, full and unread streams, in every encoding."""

import os
import subprocess
import sys

import pytest

from mlpf_jax import streams

_PROGRAM = """
import os, sys
from mlpf_jax import cli

def main(argv):
    opened = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY)
    assert opened > 2, "it would take in what is written to a closed stream"
    print("wide \\u00e9 \\udcff", "x" * int(sys.argv[1]))
    print("told", file=sys.stderr)
    return 3

cli.run(main, takes_files=True)
"""


def run(tmp_path, redirections, size=10, **environ):
    words = [sys.executable, "-c", _PROGRAM, str(size), str(tmp_path / "opened")]
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirections}', "bash", *words],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize("size", [10, 10**6])
@pytest.mark.parametrize(
    ("redirections", "said"),
    [("2>&-", ""), (">&-", "told\n"), ("<&- >&- 2>&-", "")],
)
def test_a_stream_that_is_closed_ends_nothing(tmp_path, redirections, said, size):
    done = run(tmp_path, redirections, size)

    assert (done.returncode, done.stderr) == (3, said)


def test_output_that_cannot_be_written_is_one_line_and_no_success(tmp_path):
    short, long = (run(tmp_path, "> /dev/full", size) for size in (10, 10**6))

    assert short.stderr == "told\nerror: standard output: No space left on device.\n"
    assert short.returncode == 3
    assert long.returncode == 1
    assert "standard output" in long.stderr


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    for size in (10, 10**6):
        done = run(tmp_path, "| head -c 5; exit ${PIPESTATUS[0]}", size)
        assert done.stdout == "wide "
        assert "Traceback" not in done.stderr
        assert "error" not in done.stderr


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii:strict", "wide \\xe9 \\udcff"), ("utf-8", "wide \xe9 \\udcff")]
)
def test_what_an_encoding_lacks_is_written_as_its_number(tmp_path, encoding, shown):
    assert run(tmp_path, "", PYTHONIOENCODING=encoding).stdout.startswith(shown)


class FakeStream:
    def __init__(self, *, isatty):
        self.isatty = lambda: isatty


@pytest.mark.parametrize(("isatty", "columns", "width"), [(True, 40, 40), (True, 300, 92)])
def test_a_narrow_terminal_is_filled_and_a_wide_one_is_not(monkeypatch, isatty, columns, width):
    monkeypatch.setenv("COLUMNS", str(columns))

    assert streams.width(FakeStream(isatty=isatty), 92) == width
    assert streams.width(FakeStream(isatty=False), 92) == 92
