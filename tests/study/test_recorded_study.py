"""The tables that docs/scaling.md shows are what the code makes of the recorded runs."""

import json
from pathlib import Path

import pytest

from mlpf_jax.render import tables
from mlpf_jax.study import documents
from mlpf_jax.study.scaling import plan, view
from tests import recorded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def markdown():
    """The recorded study, its findings computed again from its runs."""
    document = json.loads((recorded.DATA / "scaling.json").read_text())
    settings = [*document["arguments"], "--global_batch_size=4"]
    made = plan.make(["strong", "batch"], settings, max_devices=2, repeats=document["repeats"])
    found = made.findings(documents.recorded(document), document["provenance"])
    return tables.render(view.view(found), "markdown")


@pytest.mark.parametrize("title", ["Strong scaling, training", "Accuracy by the batch"])
def test_the_documentation_shows_the_tables_of_the_recorded_study(markdown, title):
    (table,) = (
        f"{start}\n\n{rows}"
        for start, rows in zip(*[iter(markdown.split("\n\n"))] * 2, strict=False)
        if start.startswith(f"**{title}")
    )

    assert table.replace("\\", "") in (ROOT / "docs" / "scaling.md").read_text()


def test_the_accuracies_of_the_recorded_study_lie_within_0_and_1(markdown):
    assert "(-0.0058 to 1.5933)" not in markdown
    assert "0.7937 \\(0.0283 to 0.9980\\)" in markdown
