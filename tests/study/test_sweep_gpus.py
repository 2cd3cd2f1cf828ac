"""Clocks and power limits come back, whatever ends the sweep."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_jax.study.sweep import gpus
from tests.telemetry import fake_nvml

ROOT = Path(__file__).parents[2]
UUID = fake_nvml.Card.uuid.removeprefix("GPU-")


def settings_of(card):
    return card.limit_mw, card.locked_mhz


def serve(card, state, *requests):
    """The refusals of a guardian with these requests, and the settings of the card after each."""
    seen = []

    def lines():
        for request in requests:
            yield json.dumps(request)
            seen.append(settings_of(card))

    refusals = []
    gpus.serve(fake_nvml.module(card), [UUID], state, lines(), refusals.append)
    return refusals, seen


def test_each_point_gets_its_settings_and_the_first_ones_come_back(tmp_path):
    card = fake_nvml.Card(limit_mw=650_000)
    points = [{"gpu_clock": 1500, "power_limit": 300}, {"gpu_clock": 1200, "power_limit": 500}]

    refusals, seen = serve(card, tmp_path / "state", *points)

    assert refusals == [None, None]
    assert seen == [(300_000, (1500, 1500)), (500_000, (1200, 1200))]
    assert settings_of(card) == (650_000, None)
    assert not (tmp_path / "state").exists()


def test_a_clock_that_is_not_swept_stays_locked(tmp_path):
    card = fake_nvml.Card(locked_mhz=(900, 900))

    serve(card, tmp_path / "state", {"power_limit": 300})

    assert settings_of(card) == (700_000, (900, 900))


def test_a_crash_of_the_guardian_restores_on_its_way_out(tmp_path):
    card = fake_nvml.Card()

    def requests():
        yield json.dumps({"power_limit": 300})
        raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        gpus.serve(fake_nvml.module(card), [UUID], tmp_path / "state", requests(), print)

    assert settings_of(card) == (700_000, None)


def test_the_next_start_restores_what_a_killed_guardian_left(tmp_path):
    card = fake_nvml.Card(limit_mw=650_000)
    killed = gpus.Gpus(fake_nvml.module(card), [UUID], tmp_path / "state")
    killed.apply({"gpu_clock": 1200, "power_limit": 300})
    assert settings_of(card) == (300_000, (1200, 1200))

    serve(card, tmp_path / "state")

    assert settings_of(card) == (650_000, None)
    assert not (tmp_path / "state").exists()


def test_a_gpu_that_is_lost_keeps_no_other_one_from_being_restored(tmp_path):
    cards = [fake_nvml.Card(uuid="GPU-a"), fake_nvml.Card(uuid="GPU-b")]
    found = gpus.Gpus(fake_nvml.module(*cards), ["a", "b"], tmp_path / "state")
    found.apply({"power_limit": 300})
    cards[0].unsupported = frozenset({"SetPowerManagementLimit"})

    with pytest.raises(fake_nvml.NVMLError):
        found.restore()

    assert [card.limit_mw for card in cards] == [300_000, 700_000]
    assert (tmp_path / "state").exists()


def test_what_is_not_permitted_is_refused_and_leaves_nothing_to_restore(tmp_path):
    card = fake_nvml.Card(unsupported=frozenset({"SetPowerManagementLimit"}))

    refusals, _ = serve(card, tmp_path / "state", {"power_limit": 300})

    assert refusals == ["--power_limit=300: Not Supported"]
    assert not (tmp_path / "state").exists()


@pytest.mark.slow
def test_what_a_killed_guardian_left_is_restored_although_no_point_is_left_to_run(tmp_path):
    card, state = tmp_path / "card.json", tmp_path / "state.json"
    uuid = fake_nvml.Card.uuid.removeprefix("GPU-")
    state.write_text(json.dumps({uuid: {"gpu_clock": True, "power_limit_mw": 400_000}}))

    with gpus.Guardian(state, (sys.executable, "-m", "tests.study.fake_guardian", str(card))):
        pass

    assert json.loads(card.read_text()) == {"limit_mw": 400_000, "mhz": None}
    assert not state.exists()


@pytest.mark.slow
def test_another_guardian_restores_at_the_end_what_a_killed_one_left(tmp_path):
    card, state = tmp_path / "card.json", tmp_path / "state.json"
    command = (sys.executable, "-m", "tests.study.fake_guardian", str(card))

    with gpus.Guardian(state, command) as guardian:
        assert guardian.apply({"power_limit": 300}) is None
        guardian._process.kill()
        assert guardian.apply({"power_limit": 400}) == "the settings of GPUs: no answer"

    assert json.loads(card.read_text()) == {"limit_mw": 650_000, "mhz": None}
    assert not state.exists()


def test_a_guardian_that_hangs_in_the_driver_keeps_no_sweep_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "_PATIENCE_S", 0.05)
    state = tmp_path / "state.json"
    guardian = gpus.Guardian(state, ("sh", "-c", "exec sleep 600"))

    refusals = [guardian.apply({"power_limit": watts}) for watts in (300, 400)]
    state.write_text("{}")
    with pytest.raises(RuntimeError, match="the GPUs were not restored"):
        guardian.__exit__()

    assert set(refusals) == {"the settings of GPUs: no answer"}
    assert guardian._process.poll() is None, "it restores if the driver comes back"
    guardian._process.kill()
    guardian._process.communicate()


@pytest.mark.slow
def test_nothing_is_measured_on_gpus_that_were_not_restored(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    answer = ("sh", "-c", 'echo \'{"refusal": "no driver"}\'')

    with (
        pytest.raises(RuntimeError, match="the GPUs were not restored"),
        gpus.Guardian(tmp_path / "state.json", answer),
    ):
        pytest.fail("the sweep began")


PROGRAM = """
import signal, sys
from pathlib import Path
from mlpf_jax import processes
from mlpf_jax.study.sweep import gpus

card, state = sys.argv[1:]
command = (sys.executable, "-m", "tests.study.fake_guardian", card)
with processes.interrupted_by_terminate(), gpus.Guardian(Path(state), command) as guardian:
    print(guardian.apply({"gpu_clock": 1200, "power_limit": 300}), flush=True)
    signal.pause()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_sweep_restores_by_whatever_signal(number, tmp_path):
    card, state = tmp_path / "card.json", tmp_path / "state.json"
    sweep = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, card, state],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert sweep.stdout is not None
    assert sweep.stdout.readline() == "None\n"
    assert json.loads(card.read_text()) == {"limit_mw": 300_000, "mhz": [1200, 1200]}
    assert state.exists()

    os.killpg(sweep.pid, number)
    sweep.communicate(timeout=60)  # until the guardian, too, has closed its stderr

    assert json.loads(card.read_text()) == {"limit_mw": 650_000, "mhz": None}
    assert not state.exists()
