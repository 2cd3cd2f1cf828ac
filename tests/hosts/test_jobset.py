"""The JobSet matches the schema of JobSets, and its pods find each other."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from mlpf_jax import config
from mlpf_jax.hosts import launchers

FILE = Path(__file__).parents[2] / "tools" / "launch" / "jobset.yaml"
SCHEMA = json.loads(Path(__file__).with_name("jobset.schema.json").read_text())
ACCOUNT, JOBSET = yaml.safe_load_all(FILE.read_text())
RUN = JOBSET["spec"]["replicatedJobs"][0]
JOB = RUN["template"]["spec"]
POD = JOB["template"]["spec"]
(CONTAINER,) = POD["containers"]


def test_it_matches_the_schema_of_a_jobset():
    jsonschema.validate(JOBSET, SCHEMA)
    assert JOBSET["apiVersion"] == "jobset.x-k8s.io/v1alpha2"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda spec: spec["network"].update(enableDnsHostnames=True),
        lambda spec: spec["replicatedJobs"][0].pop("name"),
        lambda spec: spec["replicatedJobs"][0]["template"]["spec"].update(parallelism="4"),
        lambda spec: spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"].update(
            serviceAccount=["mlpf-jax"]
        ),
    ],
)
def test_the_schema_finds_a_wrong_field(break_it):
    broken = copy.deepcopy(JOBSET)
    break_it(broken["spec"])

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_the_account_that_it_needs_is_there_and_has_no_rights():
    assert (ACCOUNT["apiVersion"], ACCOUNT["kind"]) == ("v1", "ServiceAccount")
    assert set(ACCOUNT) == {"apiVersion", "kind", "metadata", "automountServiceAccountToken"}
    assert ACCOUNT["metadata"]["name"] == POD["serviceAccountName"]
    assert not ACCOUNT["automountServiceAccountToken"]
    assert not POD["automountServiceAccountToken"]


def test_its_pods_find_each_other_by_what_it_sets():
    values = {one["name"]: one["value"] for one in CONTAINER["env"] if "value" in one}
    from_pod = {
        one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in CONTAINER["env"]
        if "valueFrom" in one
    }

    found = launchers.place(config.HostsConfig(), {**values, "JAX_PROCESS_ID": "3"})

    # Kubernetes makes this name: the JobSet's, the job's, the numbers of the job and of the pod.
    service = JOBSET["spec"]["network"]["subdomain"]
    assert found.host == f"{JOBSET['metadata']['name']}-{RUN['name']}-0-0.{service}"
    assert found.num_processes == JOB["parallelism"] == JOB["completions"]
    assert (RUN["replicas"], JOB["completionMode"]) == (1, "Indexed")
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert from_pod == {"JAX_PROCESS_ID": index}


def test_all_accelerators_of_its_pods_take_part():
    (asked,) = (word for word in CONTAINER["args"] if word.startswith("--num_devices="))

    number = JOB["parallelism"] * CONTAINER["resources"]["limits"]["nvidia.com/gpu"]
    assert asked == f"--num_devices={number}"


def test_what_it_mounts_is_there():
    assert {one["name"] for one in CONTAINER["volumeMounts"]} <= {
        one["name"] for one in POD["volumes"]
    }
