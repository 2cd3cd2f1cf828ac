"""A process finds its place among those of its run, from its launcher's variables alone."""

import types

import pytest

from mlpf_jax import config
from mlpf_jax.hosts import launchers

AUTO = config.HostsConfig()
SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NODELIST": "node[007-009],big1",
}
SHELL = {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}  # srun --pty bash
BY_JAX = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1", "JAX_COORDINATOR_ADDRESS": "a:5000"}
OPEN_MPI_4 = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "PMIX_NAMESPACE": "1531576321",
}
OPEN_MPI_5 = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "0",
    "PMIX_NAMESPACE": "prterun-my-node-4711@1",
}


@pytest.mark.parametrize(
    ("environ", "process_id", "number", "host", "launcher"),
    [
        (SLURM, 3, 4, "node007", "Slurm"),
        (OPEN_MPI_4, 1, 2, "10.96.0.1", "Open MPI"),
        (OPEN_MPI_5, 0, 2, "my-node", "Open MPI"),
        (
            {
                "JAX_NUM_PROCESSES": "8",
                "JOB_COMPLETION_INDEX": "5",
                "JAX_COORDINATOR_ADDRESS": "run-0-0.run",
            },
            5,
            8,
            "run-0-0.run",
            "environment",
        ),
        ({"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_WORKER_ID": "1"}, 1, 2, "t0", "TPU"),
        ({**SLURM, **OPEN_MPI_4}, 1, 2, "10.96.0.1", "Open MPI"),  # mpirun in a step of Slurm
        ({**SHELL, **BY_JAX}, 1, 2, "a", "environment"),
        ({**SLURM, **BY_JAX}, 3, 4, "node007", "Slurm"),
    ],
    ids=[
        *("slurm", "open-mpi-4", "open-mpi-5", "kubernetes", "tpu"),
        *("mpirun-in-slurm", "local-in-a-shell-of-slurm", "exported-in-slurm"),
    ],
)
def test_a_launcher_tells_the_place(environ, process_id, number, host, launcher):
    found = launchers.place(AUTO, environ)

    assert (found.process_id, found.num_processes) == (process_id, number)
    assert (found.host, found.launcher) == (host, launcher)
    assert 1024 < found.port < 65_536


@pytest.mark.parametrize(
    "environ",
    [
        {},
        SHELL,
        {**SLURM, **OPEN_MPI_4, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        # A batch script of Slurm that starts a run without srun.
        {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        {"TPU_WORKER_HOSTNAMES": "t0", "TPU_WORKER_ID": "0"},
        {"JOB_COMPLETION_INDEX": "3"},  # of a job whose pods are runs of their own
        {"PMI_SIZE": "1", "PMI_RANK": "0"},
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": "8"},  # in a script whose steps have ranks
    ],
)
def test_one_process_is_a_run_of_its_own(environ):
    assert launchers.place(AUTO, environ) is None


def test_off_means_a_run_of_its_own():
    assert launchers.place(config.HostsConfig(distributed="off"), SLURM) is None


def test_all_processes_of_a_job_find_the_same_port_and_another_job_another():
    ports = {
        launchers.place(AUTO, {**SLURM, **changes}).port
        for changes in ({}, {"SLURM_PROCID": "0"}, {"SLURM_STEP_ID": "1"})
    }

    assert len(ports) == 2


def test_the_address_of_the_user_wins_over_the_launchers():
    settings = config.HostsConfig(coordinator_address="[fe80::1]:1234")

    found = launchers.place(settings, OPEN_MPI_4)

    assert (found.host, found.port, found.process_id) == ("fe80::1", 1234, 1)


def test_manual_takes_what_is_given():
    settings = config.HostsConfig(
        distributed="manual", coordinator_address="a:1234", num_processes=3, process_id=2
    )

    found = launchers.place(settings, SLURM)

    assert (found.host, found.port) == ("a", 1234)
    assert (found.process_id, found.num_processes) == (2, 3)


@pytest.mark.parametrize(
    ("settings", "environ", "words"),
    [
        ({"coordinator_address": "a:1"}, {}, "no launcher of several processes was found"),
        ({"coordinator_address": "a"}, SLURM, "give HOST:PORT"),
        ({"coordinator_address": "a:99999"}, SLURM, "give HOST:PORT"),
        ({}, {**SLURM, "SLURM_PROCID": "four"}, "SLURM_PROCID=four: not a number"),
        ({}, {**SLURM, "SLURM_PROCID": "4"}, "process 4 of 4"),
        ({}, {"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun does not tell where process 0 is"),
        ({}, {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "give HOST:PORT"),
        ({}, {"PMI_SIZE": "2"}, "PMI_RANK is not set"),
        ({}, {**BY_JAX, "JAX_NUM_PROCESSES": "1"}, "process 1 of 1"),
        ({}, {"JAX_PROCESS_ID": "1"}, "JAX_NUM_PROCESSES is not set"),
        ({}, {**SHELL, "PMI_SIZE": "2"}, "PMI_RANK is not set"),
        ({}, {**SHELL, "WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE=2: started by a launcher"),
    ],
)
def test_what_a_launcher_does_not_tell_is_named(settings, environ, words):
    with pytest.raises(ValueError, match=words):
        launchers.place(config.HostsConfig(**settings), environ)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"distributed": "manual", "process_id": 0}, "needs --num_processes, --coordinator_addr"),
        ({"process_id": 0}, "--process_id: needs --distributed=manual"),
        ({"host_timeout": 1.0}, "at least 5 seconds"),
        ({"process_id": -1}, "--process_id=-1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        config.HostsConfig(**settings)


def test_mpi4py_tells_where_process_0_is():
    world = types.SimpleNamespace(bcast=lambda name, root: "first")
    mpi = types.SimpleNamespace(COMM_WORLD=world)

    found = launchers._other_mpi({"PMI_SIZE": "2", "PMI_RANK": "1"}, None, lambda name: mpi)

    assert (found.host, found.process_id, found.launcher) == ("first", 1, "mpi4py")


def test_without_mpi4py_the_way_out_is_named():
    def load(name):
        raise ImportError(name)

    with pytest.raises(ValueError, match="install it, or give --coordinator_address"):
        launchers._other_mpi({"PMI_SIZE": "2", "PMI_RANK": "1"}, None, load)
