"""The tool writes a page; errors are reported in one line."""

import functools

import pytest

from tests.report import documents


@pytest.fixture
def report(run_program):
    return functools.partial(run_program, "mlpf_jax.commands.report")


def test_a_page_is_written_and_named(report, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    out = tmp_path / "page.html"

    run = report(documents.write(tmp_path / "a.json"), "-o", out, "--title=Ours")

    assert run.returncode == 0, run.stderr
    assert run.stdout == f"{out}\n"
    assert "<title>Ours</title>" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give results"),
        (["a.json", "-o", "page.pdf"], "the name of the page must end in .html"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(report, words, reason):
    run = report(*words)

    assert run.returncode == 2
    assert reason in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_a_damaged_file_is_named_in_one_line_and_nothing_is_written(report, tmp_path):
    damaged, out = tmp_path / "damaged.json", tmp_path / "page.html"
    damaged.write_text("{")

    run = report(damaged, f"--out={out}")

    assert run.returncode == 1
    assert run.stderr.startswith(f"error: {damaged}: ")
    assert len(run.stderr.strip().splitlines()) == 1
    assert not out.exists()
