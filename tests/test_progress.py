"""Plain lines where there is no terminal, bars on one, nothing when quiet."""

import io

from mlpf_jax import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def use(stream, *, quiet=False):
    shown = progress.Progress(quiet=quiet, stream=stream)
    shown.say("compiling")
    with shown.stage("training", 3) as stage:
        for done in range(1, 4):
            stage.update(done, "1.5 events/s")
    return stream.getvalue()


def test_the_news_is_what_is_being_done_and_not_how_far_it_is():
    news = []
    shown = progress.Progress(stream=io.StringIO(), news=news.append)

    shown.say("compiling")
    with shown.stage("training", 1) as stage:
        stage.update(1, "1.5 events/s")
        shown.tell("epoch 1/1: loss 3")

    assert news == ["compiling", "training", "training"]


def test_a_log_gets_plain_lines_and_the_end_of_each_stage():
    lines = use(io.StringIO()).splitlines()
    assert [line.partition("] ")[2] for line in lines] == [
        "compiling",
        "training: 3/3, 1.5 events/s",
    ]


def test_a_terminal_gets_a_bar():
    text = use(Terminal())
    assert "training" in text
    assert "3/3" in text


def test_quiet_says_nothing():
    assert use(io.StringIO(), quiet=True) == ""
    assert use(Terminal(), quiet=True) == ""


def test_a_stage_learns_its_length_on_the_way():
    stream = io.StringIO()
    with progress.Progress(stream=stream).stage("simulating", 10) as stage:
        for done in range(1, 51):
            stage.update(done, total=50)
    assert stream.getvalue().count("simulating") == 1
    assert "50/50" in stream.getvalue()


def test_a_narrow_terminal_still_gets_the_numbers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    assert "3/3" in use(Terminal())


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_ends_nothing():
    assert use(Full()) == ""


class Gone(Full):
    def isatty(self):
        return True

    def flush(self):
        raise OSError(5, "Input/output error")


def test_a_terminal_that_has_gone_away_ends_nothing():
    assert use(Gone()) == ""


def test_what_a_checkpoint_tells_does_not_control_the_terminal():
    stream = io.StringIO()

    progress.Progress(stream=stream).tell("host: \x1b[2J\nerror: no")

    assert stream.getvalue().endswith("] host: \\x1b[2J\\nerror: no\n")


def test_brackets_are_shown_as_they_are():
    stream = Terminal()
    with progress.Progress(stream=stream).stage("importing", 1) as stage:
        stage.update(1, "[a].pkl [/b]")
    assert "[a].pkl [/b]" in stream.getvalue()
