"""Records give rates of real events and the total memory."""

from mlpf_jax.measure import records


def test_rates_count_real_events_and_elements():
    sample = records.Sample(seconds=2.0, num_steps=3, num_events=10, num_elements=50_000)
    assert (sample.events_per_s, sample.elements_per_s) == (5.0, 25_000.0)


def test_outputs_that_take_the_place_of_arguments_count_once():
    needed = records.StepMemory(
        argument_bytes=100, output_bytes=60, alias_bytes=50, temporary_bytes=7
    )
    assert needed.total_bytes == 117
