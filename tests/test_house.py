"""What the repository promises about itself: locks, versions, commands, workflows, clean files."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from flit_core import buildapi

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {path.stem: path.read_text() for path in sorted((ROOT / "locks").glob("*.txt"))}
BACKENDS = ["cuda12", "cuda13", "rocm7", "tpu"]
PAGES = sorted(
    path for folder in (".", "docs", "benchmarks") for path in (ROOT / folder).glob("*.md")
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("only a checkout tells which files are the project's")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_files() -> list[Path]:
    return [path for path in tracked_files() if b"\0" not in path.read_bytes()[:4096]]


def code_of(page: str) -> str:
    """What a page shows as code: fenced blocks and `spans`."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join(blocks + re.findall(r"`([^`\n]+)`", text))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", lock, re.MULTILINE))


def requirement(line: str) -> tuple[str, str]:
    """The name as locks spell it, and the lower bound: `("jax", "0.10.2")` of `jax>=0.10.2`."""
    name, bound = re.fullmatch(r"([\w-]+)(?:\[[\w-]+\])?>=([\w.]+)", line).groups()
    return re.sub(r"[-_.]+", "-", name).lower(), bound


def test_the_locks_are_those_that_are_documented():
    assert set(LOCKS) == {"cpu", "newest", "test", *BACKENDS}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address_and_has_a_hash_for_every_pin(name):
    lines = [line.strip() for line in LOCKS[name].splitlines()]
    requirements = [line for line in lines if not line.startswith("--hash=sha256:")]

    assert not re.search(r"://|^-|@", "\n".join(requirements), re.MULTILINE)
    assert all(re.match(r"[a-z0-9.-]+==\S+ .*\\$", line) for line in requirements)
    assert LOCKS[name].count("--hash=") >= len(requirements)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_run_time_dependency_and_the_build_back_end(name):
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["build"]]

    assert {requirement(line)[0] for line in needed} <= set(pins(LOCKS[name]))


@pytest.mark.parametrize("extra", ["generate", "import", "lock", "plots", "test", "validate"])
def test_the_lock_of_the_tests_pins_what_they_use(extra):
    needed = {requirement(line)[0] for line in PROJECT["optional-dependencies"][extra]}

    assert needed <= set(pins(LOCKS["test"]))
    assert needed <= set(pins(LOCKS["newest"]))


@pytest.mark.parametrize("name", [*BACKENDS, "test"])
def test_a_lock_shares_every_pin_with_the_one_of_the_cpu(name):
    assert pins(LOCKS["cpu"]).items() <= pins(LOCKS[name]).items()


def test_a_lower_bound_is_the_version_that_was_tested():
    tested = {}
    for name in (*BACKENDS, "test"):  # a back end pins what it alone needs
        tested |= pins(LOCKS[name])
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]

    assert {name: tested[name] for name, _ in map(requirement, lines)} == dict(
        map(requirement, lines)
    )


def test_all_files_tell_the_same_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)

    installed = importlib.metadata.version("mlpf_jax")

    assert [citation["version"], newest, installed] == [PROJECT["version"]] * 3


@pytest.mark.parametrize("command", PROJECT["scripts"].values(), ids=PROJECT["scripts"])
def test_a_console_script_leads_to_a_function(command):
    module, _, function = command.partition(":")
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()

    assert function in {
        node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)
    }


def test_the_wheel_holds_the_data_and_no_program_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    wheel = zipfile.ZipFile(tmp_path / buildapi.build_wheel(str(tmp_path)))

    names = set(wheel.namelist())
    data = {
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.suffix in {".json", ".npz"} and path.is_relative_to(ROOT / "mlpf_jax")
    }
    assert {"mlpf_jax/regress/schema.json", "mlpf_jax/simulation/bank_4096.npz"} <= data <= names
    folder = f"mlpf_jax-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == {"mlpf_jax", folder}
    assert {f"{folder}/licenses/LICENSE", f"{folder}/entry_points.txt"} <= names
    for preset in (ROOT / "flags").glob("*.cfg"):
        assert wheel.read(f"mlpf_jax/presets/{preset.name}") == preset.read_bytes()


def test_the_source_distribution_holds_the_presets_and_the_package_finds_them(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)

    with tarfile.open(tmp_path / buildapi.build_sdist(str(tmp_path))) as archive:
        archive.extractall(tmp_path, filter="data")

    unpacked = tmp_path / f"mlpf_jax-{PROJECT['version']}"
    for preset in (ROOT / "flags").glob("*.cfg"):
        assert (unpacked / "flags" / preset.name).read_bytes() == preset.read_bytes()
        packaged = unpacked / "mlpf_jax" / "presets" / preset.name
        assert packaged.read_bytes() == preset.read_bytes()


@pytest.mark.parametrize("page", ["README.md", "BUILD.md"])
def test_every_make_command_of_a_page_exists(page):
    named = re.findall(r"\bmake ([a-z][a-z-]*)", code_of(page))

    assert named
    assert set(named) <= make_targets()


@pytest.mark.parametrize("page", ["README.md", "BUILD.md"])
def test_every_module_that_a_page_runs_exists(page):
    for module in re.findall(r"python -m ((?:mlpf_jax|tools|benchmarks)[\w.]*)", code_of(page)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def headings(page):
    """The anchors of a page, as GitHub names them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_heading_that_a_page_links_to_exists(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in headings(path), f"{target}#{anchor}"


def test_every_published_result_and_picture_is_shown_by_a_page():
    text = "".join(page.read_text() for page in PAGES)
    published = [*(ROOT / "benchmarks" / "results").iterdir(), *(ROOT / "docs").glob("*.png")]

    assert [path.name for path in published if path.name not in text] == []


def test_ci_at_home_runs_the_readmes_test_command():
    assert re.search(r"\bmake test\n", (ROOT / ".ci" / "run").read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_pins_its_actions_and_starts_with_no_rights(path):
    workflow = yaml.safe_load(path.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]

    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["cancel-in-progress"] is True


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_ends_in_one_job_that_needs_all_others(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]

    assert set(jobs["pass"]["needs"]) == set(jobs) - {"pass"}
    assert jobs["pass"]["if"] == "always()"


def test_no_file_names_a_path_of_one_machine_or_a_registry():
    machine = re.compile(
        r"(?<![\w.<>$}])/(?:home(?!/someone)|root|work|Users|opt|tmp/brief)/|--(?:extra-)?index-url"
        r"|(?:pypi|pythonhosted|anaconda)\.org|https?://\S+/simple\b"
    )

    offences = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in text_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if machine.search(line)
    ]

    assert offences == []


def test_the_type_checker_finds_a_planted_bug_with_our_settings(tmp_path):
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "mlpf_jax").mkdir()
    (tmp_path / "mlpf_jax" / "planted.py").write_text(
        'def double(x: int) -> int:\n    return 2 * x\n\n\ndouble("1")\n'
    )

    checker = subprocess.run(
        [sys.executable, "-m", "pyrefly", "check", f"--python-interpreter-path={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checker.returncode == 1
    assert "bad-argument-type" in checker.stdout
