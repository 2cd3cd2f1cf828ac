"""The result of a run that nobody ran, with chosen samples and telemetry."""

from mlpf_jax import config
from mlpf_jax.measure import load, machine, records, surroundings
from mlpf_jax.report import result

_SHA256 = "0" * 64
_QUALITY = result.Quality(
    losses={"total": 1.0}, accuracy=0.9, real_accuracy=0.8, weighted_accuracy=0.7
)
_DATA = result.DatasetResult(
    provenance={"kind": "simulated", "process": "ttbar"},
    num_events=80,
    num_elements=400,
    num_cut_events=0,
    num_cut_elements=0,
    sha256=_SHA256,
)
_STATE = machine.MachineState(governors=None, core_mhz=None, swapped_pages=0, throttle_events=0)
_ENVIRONMENT = {
    "versions": dict.fromkeys(("python", "jax", "jaxlib", "flax", "mlpf_jax"), "1"),
    "git_commit": None,
    "num_cpu_cores": 16,
    "runtime": {"xla_flags": "", "allocator": "default", "num_cores": 16},
}


def samples(num=30, seconds=1.0, events=100, joules=500.0, host_joules=None, start_s=10.0):
    """Samples one after the other, all alike."""
    return tuple(
        records.Sample(
            seconds=seconds,
            num_steps=10,
            num_events=events,
            num_elements=5000 * events,
            load=load.Load(0.0, 0.0),
            energy=records.Energy(joules, host_joules),
            start_s=start_s + i * seconds,
        )
        for i in range(num)
    )


def run(training, inference=None, platform="gpu", **fields):
    """A run with these samples on one H200, or on a CPU."""
    phases = {"training": training, "inference": inference or training}
    name = {"gpu": "NVIDIA H200", "cpu": "cpu"}[platform]
    return result.RunResult(
        config=config.RunConfig(),
        devices=(result.Device(device_id="0", name=name, platform=platform),),
        is_emulated=False,
        environment=_ENVIRONMENT,
        surroundings=surroundings.read(),
        started_at="2026-11-29T20:00:00+00:00",
        finished_at="2026-11-29T20:02:00+00:00",
        init_s=1.0,
        train_data=_DATA,
        test_data=_DATA,
        **{
            phase: result.PhaseResult(
                compile_times=records.CompileTimes(1.0, 20.0),
                first_call_s=2.0,
                samples=found,
                memory=records.StepMemory(1, 1, 0, 1),
                program_sha256=_SHA256,
                flops_per_event=1e11,
            )
            for phase, found in phases.items()
        },
        inference_quality=_QUALITY,
        inference_weights="trained",
        epochs=(
            result.EpochResult(
                seconds=30.0,
                validation_s=2.0,
                num_steps=300,
                num_events=3000,
                train=_QUALITY,
                validation=_QUALITY,
            ),
        ),
        input_times=records.InputTimes(),
        train_seconds=72.0,
        peak_device_bytes=None,
        peak_process_bytes=None,
        machine=machine.MachineChange(before=_STATE, after=_STATE),
        graph_sha256=_SHA256,
        loss_sha256=_SHA256,
        params_sha256=_SHA256,
        **fields,
    )
