"""The check of summaries prints hep-score's score, or one line that says why there is none."""

import sys

import pytest

from mlpf_jax.commands import check_hepscore
from tests.report import documents

REFERENCES = ("--ref", "training=5", "--ref", "inference=20")


def call(monkeypatch, *words):
    check_hepscore.flags.FLAGS["ref"].unparse()
    check_hepscore.flags.FLAGS["repetitions"].unparse()
    check_hepscore.flags.FLAGS["scaling"].unparse()
    monkeypatch.setattr(sys, "argv", ["check_hepscore", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        check_hepscore.run_app()
    return end.value.code


def test_the_score_of_a_report_of_ours_is_printed(monkeypatch, capsys, tmp_path):
    paths = [documents.write(tmp_path / name) for name in ("a.json", "b.json")]

    assert call(monkeypatch, *paths, *REFERENCES) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "score: 1.0"


def test_a_wrong_file_is_named_with_its_reason(monkeypatch, capsys, tmp_path):
    paths = [documents.write(tmp_path / "a.json"), tmp_path / "b\r.json"]

    assert call(monkeypatch, *paths, *REFERENCES) == 1
    out, err = capsys.readouterr()
    assert "b .json: hep-score does not count it: cannot be read: No such file" in out
    assert err == "error: no score: expected 2 scores, got 1.\n"


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--ref", "training=0", "a.json"], "--ref=training=0"),
        (["--ref", "training", "a.json"], "--ref=training"),
        (["--ref", "training=fast", "a.json"], "--ref=training=fast"),
        (["--ref", "=1", "a.json"], "--ref==1"),
        (["a.json"], "reference scores"),
        (["--ref", "training=1"], "summary of every repetition"),
        (["--ref", "training=1", "--repetitions", "0", "a.json"], "--repetitions=0"),
        (["--ref", "training=1", "--scaling", "0", "a.json"], "--scaling=0"),
    ],
)
def test_wrong_usage_is_one_line(monkeypatch, capsys, words, culprit):
    assert call(monkeypatch, *words) == 2

    err = capsys.readouterr().err
    assert culprit in err
    assert len(err.splitlines()) == 1
