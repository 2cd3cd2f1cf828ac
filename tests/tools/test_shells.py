"""The programs in tools/ that the package has as commands."""

import runpy
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLS, COMMANDS = (
    {path.stem for path in (ROOT / folder).glob("[a-z]*.py")}
    for folder in ("tools", "mlpf_jax/commands")
)


@pytest.mark.parametrize("name", sorted(SHELLS & COMMANDS))
def test_a_tool_starts_the_command_of_its_name(monkeypatch, name):
    started = []
    command = types.ModuleType(name)
    command.run_app = lambda: started.append(name)
    monkeypatch.setitem(sys.modules, f"mlpf_jax.commands.{name}", command)

    runpy.run_module(f"tools.{name}", run_name="__main__")

    assert started == [name]
