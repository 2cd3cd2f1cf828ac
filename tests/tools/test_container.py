"""The scripts that build the container image and check what it promises."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tools" / "container"
CANNOT = 77  # exit status of check_contract where no container can be run


def run(script, *arguments, **environ):
    return subprocess.run(
        [FOLDER / script, *arguments],
        env=os.environ | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def engine(tmp_path):
    """A program that tells its version and, if it is to build, its arguments."""

    def make(version):
        program = tmp_path / "engine"
        program.write_text(f'#!/bin/sh\n[ "$1" = build ] && echo "$@" || echo "{version}"\n')
        program.chmod(0o755)
        return str(program)

    return make


def test_a_build_with_podman_is_given_the_time_of_the_sources_and_the_base(engine):
    program = engine("podman version 4.3.1")

    done = run("build", "cuda", "--quiet", ENGINE=program, BASE="a:1", SOURCE_DATE_EPOCH="7")

    words, image = done.stdout.splitlines()
    expected = {"--timestamp=7", "--no-cache", "--target=cuda", "--build-arg=BASE=a:1"}
    assert expected <= set(words.split())
    assert words.endswith(" --quiet .")
    assert image.startswith("localhost/mlpf-jax-bmk:v")
    assert image.endswith("-cuda12")


def test_a_build_with_docker_rewrites_the_times_of_files(engine):
    done = run("build", "cpu", ENGINE=engine("Docker version 27.0.3"), SOURCE_DATE_EPOCH="7")

    assert "--output=type=docker,rewrite-timestamp=true" in done.stdout
    assert "--build-arg=SOURCE_DATE_EPOCH=7" in done.stdout


def test_a_build_keeps_the_site_settings_of_pip_out_of_the_image(engine):
    done = run("build", "cpu", ENGINE=engine("buildah version 1"), PIP_CONFIG_FILE="/site/pip.conf")

    assert "--secret=id=pip.conf,src=/site/pip.conf" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ([], {}, "error: usage: tools/container/build cpu|cuda"),
        (["tpu"], {}, "error: usage: tools/container/build cpu|cuda"),
        (["cpu"], {"ENGINE": "no-engine"}, "error: no no-engine here"),
        (["cuda"], {"ENGINE": "true", "CUDA": "cuda11"}, "error: CUDA=cuda11: there is no such"),
    ],
)
def test_a_build_that_is_impossible_ends_in_one_line(arguments, environ, message):
    done = run("build", *arguments, **environ)

    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_docker_and_apptainer_start_the_same_program():
    docker = re.search(r"^ENTRYPOINT (\[.*\])$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    definition = (FOLDER / "mlpf-jax-bmk.def").read_text()
    apptainer = re.search(r'^ +exec (.*) "\$@"$', definition, re.MULTILINE)

    assert docker is not None
    assert apptainer is not None
    assert apptainer[1].split() == json.loads(docker[1])


def test_the_host_s_python_does_not_reach_the_program_that_apptainer_starts():
    script = (FOLDER / "mlpf-jax-bmk.def").read_text().partition("%runscript\n")[2]

    done = subprocess.run(
        ["sh", "-c", re.sub("exec .*", "env", script)],
        env=os.environ | {"PYTHONHOME": "/host", "PYTHONPATH": "/host", "OTHER": "/host"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line for line in done.stdout.splitlines() if line.endswith("=/host")] == ["OTHER=/host"]


def test_an_apptainer_build_replaces_an_earlier_file_only_if_it_succeeds(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "tools/container")
    # What is called: save --output ARCHIVE IMAGE; build --build-arg archive=ARCHIVE NEW DEFINITION.
    engine, apptainer = tmp_path / "engine", tmp_path / "apptainer"
    engine.write_text('#!/bin/sh\necho "$4" >"$3"\n')
    apptainer.write_text('#!/bin/sh\n! [ -e "$4" ] && cp "${3#archive=}" "$4" && exit "$STATUS"\n')
    for program in (engine, apptainer):
        program.chmod(0o755)

    done = [
        run(
            tmp_path / "tools/container/build_sif",
            image,
            ENGINE=str(engine),
            STATUS=status,
            PATH=f"{tmp_path}:{os.environ['PATH']}",
        ).returncode
        for image, status in (("a:1", "0"), ("a:2", "0"), ("a:3", "255"))
    ]

    assert done == [0, 0, 255]
    assert [file.name for file in (tmp_path / "build").iterdir()] == ["mlpf-jax-bmk.sif"]
    assert (tmp_path / "build/mlpf-jax-bmk.sif").read_text() == "a:2\n"


@pytest.mark.slow
def test_the_image_keeps_the_contract_of_a_workload():
    """Builds it twice, from Debian's packages and the registry's, and runs the smoke preset."""
    done = run("check_contract", PYTHON=sys.executable)

    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
