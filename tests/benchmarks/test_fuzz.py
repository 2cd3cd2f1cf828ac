"""Readers of files that a stranger may have written accept what is damaged, or refuse it."""

import contextlib
import io
import json
import random
import subprocess
import zipfile

import jaxtyping
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import mutating, running, targets

_TOKENS = (b"", b"\0", b"\xff", b"0", b"-1", b"1e999", b"NaN", b"null", b"[", b"{}", b'"', b"\n")
_EDITS = st.lists(
    st.tuples(
        st.floats(0.0, 1.0),  # where, as a share of the file
        st.sampled_from([0, 1, 2, 8, 200]),  # bytes removed there
        st.one_of(st.sampled_from(_TOKENS), st.binary(max_size=8)),  # and put there
    ),
    min_size=1,
    max_size=4,
)


def edited(content, edits):
    for share, removed, put in edits:
        place = int(share * len(content))
        content = content[:place] + put + content[place + removed :]
    return content


@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_reader_accepts_its_seeds_whole(name):
    """Otherwise no changed input would come further than the first check."""
    seeds = [path.read_bytes() for path in targets.seeds(name)]

    assert seeds
    assert max(map(len, seeds)) < targets.MOST_BYTES
    for seed in seeds:
        targets.TARGETS[name]()(seed)


def reverse(content, most_bytes):
    return content[::-1][:most_bytes]


@given(number=st.integers(0, 10**6))
def test_changed_json_is_json_or_as_changed_by_bytes(number):
    content = b'{"a": [1, {"b": "text"}], "c": null, "d": 1%s, "e": 1e999}' % (b"0" * 400)

    found = mutating.mutated(content, 1000, random.Random(number), reverse)

    if found != content[::-1]:
        json.loads(found)


@given(number=st.integers(0, 10**6))
def test_a_changed_archive_is_an_archive_or_as_changed_by_bytes(number):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"abc")

    found = mutating.mutated(buffer.getvalue(), 1000, random.Random(number), reverse)

    if found != buffer.getvalue()[::-1]:
        assert zipfile.ZipFile(io.BytesIO(found)).testzip() is None


def test_an_input_that_would_be_too_large_is_changed_by_bytes():
    for number in range(20):
        found = mutating.mutated(b'{"a": 12345}', 2, random.Random(number), reverse)

        assert found in (b"}5", b"{}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # shown to nobody
@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_damaged_input_is_read_or_refused(name):
    """Any other error, or a warning, fails."""
    read = targets.guarded(name)
    seeds = [path.read_bytes() for path in targets.seeds(name)]

    @settings(max_examples=300)
    @given(seed=st.sampled_from(seeds), edits=_EDITS, number=st.integers(0, 10**6))
    def check(seed, edits, number):
        def edit(content, most_bytes):
            return edited(content, edits)[:most_bytes]

        changed = mutating.mutated(seed, targets.MOST_BYTES, random.Random(number), edit)
        with contextlib.suppress(jaxtyping.TypeCheckError):  # in tests only: JSON's 1 is no 1.0
            read(changed)

    check()


def test_a_reader_that_hangs_beyond_every_limit_is_a_finding(tmp_path, monkeypatch):
    def hang(command, *, timeout_s, **options):
        raise subprocess.TimeoutExpired(command, timeout_s)

    monkeypatch.setattr(running.processes, "status_of", hang)

    assert running.run("seal", tmp_path, 1)
