"""The order of the modules is a contract: each may import only what is listed for it here."""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A folder or top-level module of the package, and the others that it may import.
ALLOWED: dict[str, set[str]] = {
    "arguments": set(),
    "presets": set(),
    "settings": set(),
    "config": {"settings"},
    "simulation": set(),
    "stats": set(),
    "atomic": set(),
    "cache": set(),
    "errors": set(),
    "keeping": {"atomic", "errors"},
    "processes": set(),
    "progress": {"streams"},
    "runtime": {"measure"},
    "stopping": set(),
    "hosts": {"config", "errors", "stopping"},
    "streams": set(),
    "cli": {"arguments", "errors", "streams"},
    "options": {"arguments", "config", "presets", "settings"},
    "measure": {"stats"},
    "render": set(),
    "events": {"atomic", "cache", "config", "keeping", "measure", "simulation"},
    "model": {"config", "events"},
    "training": {"atomic", "config", "errors", "events", "model"},
    "verify": {"config", "events", "model", "simulation", "training"},
    "telemetry": {"measure", "stats"},
    "report": {"atomic", "config", "measure", "render", "stats", "streams", "telemetry"},
    "compare": {"atomic", "config", "render", "report", "stats"},
    "sides": {"measure", "processes"},
    "study": {
        "atomic",
        "config",
        "errors",
        "processes",
        "progress",
        "keeping",
        "measure",
        "render",
        "report",
        "stats",
        "telemetry",
    },
    "page": {"compare", "measure", "render", "report", "stats", "study"},
    "regress": {
        "atomic",
        "cache",
        "compare",
        "errors",
        "keeping",
        "measure",
        "processes",
        "render",
        "report",
        "sides",
        "stats",
    },
    "run": {
        "atomic",
        "config",
        "errors",
        "events",
        "hosts",
        "keeping",
        "measure",
        "model",
        "progress",
        "report",
        "runtime",
        "simulation",
        "stats",
        "stopping",
        "telemetry",
        "training",
    },
    "workload": {
        "atomic",
        "config",
        "events",
        "measure",
        "processes",
        "progress",
        "render",
        "report",
        "stats",
    },
    "main": {
        "cli",
        "config",
        "errors",
        "hosts",
        "measure",
        "options",
        "progress",
        "report",
        "run",
        "runtime",
        "stopping",
        "telemetry",
    },
}
ALLOWED["commands"] = set(ALLOWED) - {"main"}
# The order inside a folder: a module may import those before the last "<" in front of it.
INSIDE = {
    "compare": "comparability runs < history ratios talk < energy_tables history_tables"
    " < ratio_tables",
    "events": "batch manifest pickles tfrecord validation < ragged store < display schema writing"
    " < delphes workers < importing source",
    "hosts": "agreement channel launchers relay < meeting < group < collectives starting windows",
    "measure": "accelerators jax_options linux peaks profiling window xla_flags"
    " < identity process slot variables < load machine surroundings"
    " < environment records trust < memory timing",
    "model": "parts precision < lsh message_passing < pair_kernel < layers < pfnet"
    " < loss metrics reference",
    "regress": "checkouts costs exports < baseline installations < sources < pairing"
    " < judging < resolution < documents < session",
    "report": "checksums fields processes < result < consumption"
    " < app incomplete phase settings summary < model < facts schema < hepscore replay < reader"
    " < copies mllog quality summed_energy < summing",
    "run": "devices ending feed files programs setup < fit inputs phases < track"
    " < loop resuming < serving < leaving story < together",
    "sides": "extra_work protocol < driver member",
    "stats": "change_points power_laws rank_tests scaling_laws summaries turns"
    " < comparison sum_ratios < sequential",
    "study": "claims formats running scaling sweep < engine < runs < trade_offs"
    " < findings trade_off_plots < documents output plots",
    "telemetry": "runtimes source < gpu host rapl record tpu < amd doubts energy meters nvidia"
    " readings < recorder < opening",
    "training": "checkpoint_folder state < checkpoint step < cost parallel",
    "workload": "cores member together < plan < outcome < session",
    "verify": "golden measures parting tolerances < computed < judging < parity",
}
FLAGS_ALLOWED = {"mlpf_jax.cli", "mlpf_jax.options"}
READERS = {"compare", "page", "render", "report", "study"}  # of results: without JAX
JAX = {"flax", "jax", "jaxlib", "optax", "orbax"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "mlpf_jax").rglob("*.py"))}
PROGRAMS = sorted(
    path for folder in ("benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")
)


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """All that a file imports, wherever in it, as dotted names; of ours the modules themselves."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                origin = ".".join([*package, *filter(None, [origin])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return frozenset(name if name in MODULES else _module_of(name) for name in found)


def _module_of(name: str) -> str:
    """The module of ours that a symbol's dotted name lies in; other names stay."""
    parent = name.rpartition(".")[0]
    return parent if parent in MODULES else name


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] == "mlpf_jax"}


def top_level(names) -> set[str]:
    return {name.split(".")[0] for name in names}


def unit(name: str) -> str:
    """The folder or top-level module: `events` of `mlpf_jax.events.store`."""
    return [*name.split("."), ""][1]


def test_every_module_has_its_place_in_the_order():
    assert {unit(name) for name in MODULES} - {""} == set(ALLOWED)


def test_the_order_itself_has_no_circle():
    graphlib.TopologicalSorter(ALLOWED).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_is_allowed(name):
    used = {unit(imported) for imported in ours(MODULES[name])} - {unit(name)}

    assert used <= ALLOWED.get(unit(name), set())


@pytest.mark.parametrize("folder", INSIDE)
def test_a_folder_keeps_its_own_order(folder):
    levels = [set(level.split()) for level in INSIDE[folder].split(" < ")]
    prefix = f"mlpf_jax.{folder}."
    inside = {
        name.removeprefix(prefix): path
        for name, path in MODULES.items()
        if name.startswith(prefix) and name.count(".") == 2
    }

    assert set().union(*levels) == set(inside)
    below: set[str] = set()
    for level in levels:
        for name in level:
            imported = {i.removeprefix(prefix) for i in ours(inside[name]) if i.startswith(prefix)}
            assert {i for i in imported if "." not in i} - {name} <= below, name
        below |= level


def test_no_two_modules_import_each_other():
    graph = {name: ours(path) for name, path in MODULES.items()}

    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_the_package_imports_no_program(name):
    assert not top_level(imports(MODULES[name])) & {"benchmarks", "tests", "tools"}


@pytest.mark.parametrize("name", [name for name in MODULES if unit(name) == "simulation"])
def test_the_simulation_needs_numpy_alone_and_its_generator_pythia(name):
    foreign = top_level(imports(MODULES[name])) - sys.stdlib_module_names

    generator = {"pythia8mc"} if name == "mlpf_jax.simulation.generator" else set()
    assert foreign <= {"jaxtyping", "mlpf_jax", "numpy"} | generator


@pytest.mark.parametrize("name", [name for name in MODULES if unit(name) == "events"])
def test_events_are_read_without_jax(name):
    batches = {"mlpf_jax.events.batch", "mlpf_jax.events.ragged"}
    if name not in batches:
        assert not top_level(imports(MODULES[name])) & JAX
        assert not imports(MODULES[name]) & batches


@pytest.mark.parametrize("name", [name for name in MODULES if unit(name) in READERS])
def test_results_are_read_and_shown_without_jax(name):
    with_jax = {module for module, path in MODULES.items() if top_level(imports(path)) & JAX}

    assert not (_all_below(name) | {name}) & with_jax


def _all_below(name: str) -> set[str]:
    """The modules of ours that an import of this one imports, at whatever depth."""
    found, left = set(), {name}
    while left:
        module = left.pop()
        new = ours(MODULES[module]) & set(MODULES) - found
        found |= new
        left |= new
    return found


@pytest.mark.parametrize("name", ["compare", "report", "regress", "scaling"])
def test_a_tool_that_reads_and_shows_starts_without_jax(name):
    """JAX takes seconds to import; and who only looks at results need not have it work."""
    code = f"import sys, mlpf_jax.commands.{name}; sys.exit(str(sorted({JAX} & set(sys.modules))))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)

    assert done.stderr.decode().strip() == "[]"


@pytest.mark.parametrize("module", ["tools.compare", "mlpf_jax.main"])
def test_help_is_the_same_however_a_program_is_started(module):
    name = module.replace("tools", "mlpf_jax.commands")
    script = f"import sys, {name} as program; sys.argv = ['x', '--help']; program.run_app()"

    started = [
        subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
        for words in (["-m", module, "--help"], ["-c", script])
    ]

    assert started[0].stdout == started[1].stdout
    assert b"\n  --" in started[0].stdout


@pytest.mark.parametrize("name", sorted(set(MODULES) - FLAGS_ALLOWED))
def test_a_library_module_knows_no_flags(name):
    if unit(name) != "commands":
        assert "absl.flags" not in imports(MODULES[name])


@pytest.mark.parametrize("path", PROGRAMS, ids=module_name)
def test_a_program_imports_only_the_package_and_its_neighbours(path):
    folders = {
        name for name in ("benchmarks", "tests", "tools") if name in top_level(imports(path))
    }

    assert folders <= {path.relative_to(ROOT).parts[0]}
