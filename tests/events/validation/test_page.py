"""A page shows every panel, and is written whole. Needs the extra `plots`."""

import dataclasses

import pytest

pytest.importorskip("matplotlib")

from matplotlib import figure

from mlpf_jax.events.validation import page, panels, published


@pytest.fixture(scope="module")
def drawn(qcd, ttbar):
    return page.draw(qcd, ttbar)


def test_every_panel_has_a_title_and_something_in_it(drawn):
    assert len(drawn.axes) == 25
    for panel in drawn.axes:
        assert panel.get_title(loc="left")
        assert panel.lines or panel.patches or panel.images


def test_the_second_set_is_dashed(drawn):
    styles = {p.get_linestyle() for panel in drawn.axes for p in panel.patches}
    assert {"-", "--"} <= styles


def test_the_title_says_what_is_shown(drawn, qcd, ttbar):
    title = drawn.get_suptitle()
    assert qcd.title in title
    assert f"dashed: {ttbar.title}" in title
    assert "inside their band" in title


def test_without_jets_the_panel_says_so(qcd):
    last = figure.Figure().subplots()
    without = dataclasses.replace(qcd, jet_response=None)
    sets = panels.Sets(measured=without, other=None, published=published.of_process("qcd"))
    panels.draw_jets(last, sets)
    assert "FastJet is not installed" in last.texts[0].get_text()


def test_a_pdf_has_the_same_bytes_every_time(tmp_path):
    files = [tmp_path / name for name in ("a.pdf", "b.pdf")]
    for file in files:
        simple = figure.Figure()
        simple.subplots().plot([1, 2], label="$p_T$ [GeV]")
        simple.legend()
        assert page.write(file, [simple]) == [file]
    contents = [file.read_bytes() for file in files]
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"%PDF")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "b.pdf"]


def test_pictures_are_numbered(drawn, tmp_path):
    files = page.write(tmp_path / "plots.png", [drawn])
    assert files == [tmp_path / "plots-1.png"]
    assert files[0].read_bytes().startswith(b"\x89PNG")


def test_a_page_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"name of a page must end in \.pdf or \.png"):
        page.check_path(tmp_path / "page.html")
    with pytest.raises(ValueError, match="there is no folder"):
        page.check_path(tmp_path / "nowhere" / "page.pdf")
    page.check_path(tmp_path / "page.pdf")
