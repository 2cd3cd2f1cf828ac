"""Readers of files that a stranger may have written accept what is damaged, or refuse it."""

import contextlib

import jaxtyping
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import targets

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


@pytest.mark.slow
@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_damaged_input_is_read_or_refused(name):
    """Any other error, or a warning, fails."""
    read = targets.guarded(name)
    seeds = [path.read_bytes() for path in targets.seeds(name)] or [b""]

    @settings(max_examples=300)
    @given(seed=st.sampled_from(seeds), edits=_EDITS)
    def check(seed, edits):
        with contextlib.suppress(jaxtyping.TypeCheckError):  # in tests only: JSON's 1 is no 1.0
            read(edited(seed, edits))

    check()
