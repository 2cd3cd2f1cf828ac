"""The work of the parts, counted from shapes, is that of the programs."""

import jax
import pytest

from benchmarks.step import pieces, workload
from tests import tiny


@pytest.fixture(scope="module")
def found():
    run = workload.run_config("small", 2, 256)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "NUM_ELEMENTS", 256)
        batch = jax.tree.map(lambda x: x[0], tiny.make_batch(1, 2))
    return {one.name: one for one in pieces.make(run, workload.drawn_state(run), batch)}


def product_flops(jaxpr) -> float:
    """Counts all matrix products in a traced function, with two per multiply-add."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            length = 1
            for axis in contracted:
                length *= shape[axis]
            total += 2.0 * equation.outvars[0].aval.size * length
        for value in equation.params.values():
            for one in value if isinstance(value, tuple) else (value,):
                inner = getattr(one, "jaxpr", one)
                if hasattr(inner, "eqns"):
                    total += product_flops(inner)
    return total


def test_the_parts_are_those_of_a_step(found):
    assert list(found) == [
        "binning: hash and sort",
        "gather into bins and back",
        "adjacency",
        "message passing",
        "graph layer, first",
        "graph layer, later",
        "heads",
        "loss",
        "optimiser",
    ]
    layers = found["graph layer, first"].num_in_step + found["graph layer, later"].num_in_step
    assert layers == found["adjacency"].num_in_step == 4


def test_forward_operations_are_those_of_the_program(found):
    for one in found.values():
        function, arguments = one.forward()
        counted = product_flops(jax.make_jaxpr(function)(*arguments).jaxpr)
        assert counted == pytest.approx(one.flops, rel=0.01), one.name


def test_operations_with_gradients_are_those_of_the_program(found):
    for one in found.values():
        if one.num_with_gradient:
            function, arguments = one.forward_and_backward()
            counted = product_flops(jax.make_jaxpr(function)(*arguments).jaxpr)
            assert counted == pytest.approx(one.flops_with_backward, rel=0.02), one.name


def test_bytes_are_those_of_arguments_and_results(found):
    function, arguments = found["optimiser"].forward()

    weights = sum(leaf.size for leaf in jax.tree.leaves(arguments[0]))
    # Gradients, weights and two moments are read; weights and moments written; and counters.
    assert pieces.num_bytes(function, arguments) == pytest.approx(4 * 7 * weights, rel=0.001)


def test_dense_layers_count_a_multiply_add_as_two():
    assert pieces.ffn_flops(10, [3, 5, 2]) == 2 * 10 * (3 * 5 + 5 * 2)
