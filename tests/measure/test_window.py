"""A phase begins and ends with those of the other runs of a meeting, if there is one."""

from mlpf_jax.measure import window


def test_a_phase_takes_place_between_the_start_and_the_end_of_a_meeting(monkeypatch):
    told = []

    class Meeting:
        def start(self, phase):
            told.append(f"start {phase}")

        def end(self, phase, work):
            work()
            told.append(f"end {phase}")

    def phase():
        with window.together("training", lambda: told.append("one more step")):
            told.append("steps")

    phase()
    assert told == ["steps"]
    monkeypatch.setattr(window, "meeting", Meeting())
    phase()
    assert told[1:] == ["start training", "steps", "one more step", "end training"]
