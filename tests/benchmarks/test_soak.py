"""The soak tells growth from noise."""

import pytest

from benchmarks.soak import watching


@pytest.mark.parametrize(
    ("name", "values", "grows"),
    [
        ("descriptors", [9, 12, 12, 12, 12, 13, 12, 14], False),
        ("descriptors", [9, 12, 12, 13, 14, 15, 16, 17], True),
        ("memory_mib", [100, 900, 900, 900, 905, 910, 915, 920], False),
        ("memory_mib", [100, 900, 900, 950, 1000, 1050, 1100, 1150], True),
        ("step_s", [0.1, 0.01, 0.011, 0.01, 0.012, 0.01, 0.011, 0.01], False),
    ],
)
def test_growth_from_the_second_quarter_to_the_last_is_found(name, values, grows):
    assert watching.judge({name: values}) == [name] * grows
