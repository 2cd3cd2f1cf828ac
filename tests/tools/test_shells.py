"""The programs in tools/ that the package has as commands."""

import runpy
import sys
import types
from pathlib import Path

import pytest

import mlpf_jax.commands

COMMANDS = sorted(path.stem for path in Path(mlpf_jax.commands.__path__[0]).glob("[a-z]*.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_started_by_the_tool_of_its_name(monkeypatch, name):
    started = []
    command = types.ModuleType(name)
    command.run_app = lambda: started.append(name)
    monkeypatch.setitem(sys.modules, f"mlpf_jax.commands.{name}", command)

    runpy.run_module(f"tools.{name}", run_name="__main__")

    assert started == [name]
