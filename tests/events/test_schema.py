"""Events are validated by shapes, finite numbers, types and classes only."""

import numpy as np
import pytest

from mlpf_jax.events import schema


@pytest.fixture
def arrays():
    """An event of a track, a row of padding and a tower, of implausible values."""
    X, ygen, ycand = np.full((3, 12), 1e30), np.full((3, 7), -7.0), np.full((3, 7), 0.5)
    X[:, 0], ygen[:, 0], ycand[:, 0] = [2, 0, 1], [5, 0, 0], [1, 0, 4]
    return {"X": X, "ygen": ygen, "ycand": ycand}


def as_lists(arrays):
    return {name: array.tolist() for name, array in arrays.items()}


@pytest.mark.parametrize("convert", [dict, as_lists])
def test_padding_is_dropped_and_the_rest_kept_in_order(arrays, convert):
    event = schema.make_event(convert(arrays))

    for found, given in zip(
        (event.elements, event.targets, event.candidates), arrays.values(), strict=True
    ):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, given[[0, 2]].astype(np.float32))


def test_the_number_of_the_jet_is_dropped(arrays):
    with_jet = arrays | {
        name: np.concatenate([arrays[name], np.ones((3, 1))], axis=1) for name in ("ygen", "ycand")
    }
    event = schema.make_event(with_jet)

    np.testing.assert_array_equal(event.targets, arrays["ygen"][[0, 2]].astype(np.float32))
    assert event.candidates.shape == (2, 7)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i4", "|u1"])
def test_any_type_of_number_is_read(dtype):
    arrays = {name: np.ones((2, widths[0]), dtype) for name, widths in schema.COLUMNS.items()}

    assert schema.make_event(arrays).elements.sum() == 24


@pytest.mark.parametrize("num_rows", [0, 5])
def test_an_event_without_elements_is_none(num_rows):
    arrays = {name: np.zeros((num_rows, widths[0])) for name, widths in schema.COLUMNS.items()}

    with pytest.raises(ValueError, match="it has no elements"):
        schema.make_event(arrays)


def spoil(name, row, column, value):
    def spoiled(arrays):
        arrays[name][row, column] = value
        return arrays

    return spoiled


def replace(**changes):
    return lambda arrays: arrays | changes


SIGNALLING_NAN = np.array(0x7FF0_0000_0000_0001).view(np.float64)
CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("X", 2, 5, np.nan), "X has nan in row 2, column 5: not a finite float32"),
        (replace(X=np.full((3, 12), SIGNALLING_NAN)), "X has nan in row 0, column 0"),
        (spoil("ygen", 1, 3, -np.inf), "ygen has -inf in row 1, column 3: not a finite float32"),
        (spoil("ycand", 0, 2, 1e39), r"ycand has 1e\+39 in row 0, column 2: not a finite float32"),
        (spoil("X", 0, 0, 3), "X has the type 3 in row 0, allowed are 0, 1, 2"),
        (spoil("X", 0, 0, 1.5), "X has the type 1.5 in row 0"),
        (spoil("ygen", 2, 0, 6), "ygen has the class 6 in row 2, allowed are 0, 1, 2, 3, 4, 5"),
        (spoil("ycand", 2, 0, -1), "ycand has the class -1 in row 2"),
        (replace(X=np.zeros((3, 11))), r"X has the shape \(3, 11\), not \(rows, 12\)"),
        (replace(ygen=np.zeros((3, 9))), r"ygen has the shape \(3, 9\), not \(rows, 7\) or"),
        (replace(ygen=np.zeros((2, 7))), "ygen has 2 rows, X has 3"),
        (replace(ycand=np.zeros(7)), r"ycand has the shape \(7,\)"),
        (replace(X=np.zeros((1, 3, 12))), r"X has the shape \(1, 3, 12\)"),
        (replace(X=np.array(1.0)), "X is not an array of numbers"),
        (replace(X=np.zeros((3, 12), bool)), "X is not an array of numbers"),
        (replace(X=np.zeros((3, 12), complex)), "X is not an array of numbers"),
        (replace(X=np.full((3, 12), "1")), "X is not an array of numbers"),
        (replace(X=None), "X is not an array of numbers"),
        (replace(X="text"), "X is not an array of numbers"),
        (replace(X={"a": 1}), "X is not an array of numbers"),
        (replace(X=[[0.0] * 12, [0.0] * 11]), "its rows are not lists of equal length"),
        (replace(X=[0.0] * 12), "its rows are not lists of equal length"),
        (replace(X=[["0"] * 12]), "X is not an array of numbers"),
        (replace(X=[[True] * 12]), "X is not an array of numbers"),
        (replace(X=[[0.0] * 11 + [[0.0]]]), "X is not an array of numbers"),
        (replace(X=[[10**400] * 12]), "X has a number that is not a finite float32"),
        (replace(X=CYCLE), "X is not an array of numbers"),
        (
            replace(X=np.zeros((schema.MAX_ROWS + 1, 1))),
            "1048577 rows, more than the limit of 1048576",
        ),
        (replace(X=[[]] * (schema.MAX_ROWS + 1)), "1048577 rows, more than the limit of 1048576"),
    ],
)
def test_arrays_that_are_not_an_event_are_refused_in_one_line(arrays, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        schema.make_event(change(arrays))

    assert "\n" not in str(caught.value)
