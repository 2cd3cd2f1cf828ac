"""Reports are read back as written; other files are refused in one line."""

import dataclasses
import json
import os
import types

import jsonschema
import pytest

from mlpf_jax.measure import environment, load
from mlpf_jax.report import app, fields, reader, schema
from tests.report import documents
from tests.report.test_hepscore import DOCUMENT, PHASE, changed

NEW = "report/wl-stats/phases/training"


def document(**fields):
    phase = PHASE | {"memory_per_device": {"total_bytes": 7}} | fields
    return changed(NEW, phase)


def test_samples_and_load_come_back_in_order():
    report = reader.from_document(
        document(
            sample_s=[4.0, 1.0, 2.0],
            sample_steps=[1, 1, 2],
            sample_events=[8, 8, 16],
            sample_elements=[1, 2, 3],
            num_unsteady_samples=1,
            sample_other_cores=[None, 0.5, 0.0],
            sample_stolen_cores=[None, 0.25, 0.0],
        ),
        "x.json",
    )

    phase = report.phases["training"]
    assert phase.rates == [8.0, 8.0]
    assert phase.samples[0].load is None
    assert phase.samples[1].load == load.Load(0.5, 0.25)
    assert phase.memory_bytes == 7


def test_reports_of_before_the_load_was_recorded_are_read():
    report = reader.from_document(document(), "x.json")

    assert report.phases["training"].samples[0].load is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "Expecting value"),
        ("[]", "not a HEPscore report"),
        ("{}", "not a HEPscore report"),
        ('{"report": NaN}', "NaN is no number"),
        ("[" * 100_000, "recursion"),
        (json.dumps(DOCUMENT)[:-40], "Expecting"),
    ],
)
def test_a_file_that_is_not_a_report_is_refused_in_one_line_with_its_path(tmp_path, text, word):
    path = tmp_path / "odd.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=word) as caught:
        reader.read(path)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_number_with_a_point_counts_nothing(tmp_path):
    path = documents.write(tmp_path / "a.json")
    text, number = path.read_text(), '"num_unsteady_samples": 0'
    assert number in text
    path.write_text(text.replace(number, f"{number}.0"))

    with pytest.raises(ValueError, match=r"num_unsteady_samples: 0\.0 is not of type 'integer'"):
        reader.read(path)


def test_of_many_numbers_or_errors_few_are_looked_at(monkeypatch):
    """A report of 256 MB has a hundred million numbers, and may have as many errors."""
    looked = []
    kind = schema._validator()
    original = kind.descend

    def descend(self, item, *arguments, **options):
        looked.append(item)
        return original(self, item, *arguments, **options)

    monkeypatch.setattr(kind, "descend", descend)
    wanted = fields.listed(fields.maybe(fields.NONNEGATIVE)).schema
    schema.check([1, 0.5, None] * 10_000, wanted, "wrong", "all")
    with pytest.raises(ValueError, match=r"wrong: \d+: 'x' is not valid"):
        schema.check(["x"] * 10_000, wanted, "wrong", "all")

    assert len(looked) < 4_000


@pytest.mark.parametrize("wrong", [-1, -0.5, 1e31, 10**31, None])
def test_a_wrong_number_among_many_is_found(wrong):
    wanted = fields.listed(fields.NONNEGATIVE).schema

    with pytest.raises(ValueError, match=r"^wrong: 3: "):
        schema.check([1, 0.5, 2, wrong, 7.5, 3], wanted, "wrong", "all")


def test_a_folder_stands_for_its_files_in_order(tmp_path):
    for name in ("b.json", "a.json", "c.txt"):
        (tmp_path / name).write_text("{}")

    assert [path.name for path in reader.find([tmp_path])] == ["a.json", "b.json"]


def test_copies_of_a_workload_are_no_results_of_their_own(tmp_path):
    copy = tmp_path / "run0" / "proc_1" / "report.json"
    copy.parent.mkdir(parents=True)
    for path in (copy, tmp_path / "run0" / "sum.json", tmp_path / "report.json"):
        path.write_text("{}")

    found = reader.find([tmp_path])

    assert found == [tmp_path / "report.json", tmp_path / "run0" / "sum.json"]
    assert reader.find([copy]) == reader.find([copy.parent]) == [copy]


def test_what_is_no_file_is_left_out_of_a_folder(tmp_path):
    """Reading a pipe would wait for ever."""
    path = documents.write(tmp_path / "a.json")
    os.mkfifo(tmp_path / "b.json")
    (tmp_path / "c.json").mkdir()

    assert reader.find([tmp_path]) == [path]


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    path = documents.write(tmp_path / "a.json")
    monkeypatch.setattr(fields, "MOST_BYTES", path.stat().st_size - 1)

    with pytest.raises(ValueError, match=r"a\.json: larger than \d+ bytes"):
        reader.read(path)


def test_missing_files_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="no result file"):
        reader.find([tmp_path])
    with pytest.raises(ValueError, match=r"gone\.json: no such file"):
        reader.find([tmp_path / "gone.json"])


def test_the_machine_class_tells_devices_and_cores_apart():
    gpus = [{"device_id": str(i), "name": "NVIDIA H200", "platform": "gpu"} for i in range(2)]
    on_gpus = document()
    on_gpus["app"]["devices"] = gpus

    assert reader.from_document(document(), "x.json").machine_class == "cpu-1-core"
    assert reader.from_document(on_gpus, "y.json").machine_class == "2-x-nvidia-h200"


def test_the_machine_class_tells_two_generations_of_one_name_apart():
    identity = "app/environment/surroundings/identity"
    zen4, zen5 = (
        documents.report(changes={identity: documents.IDENTITY[name]}) for name in ("zen4", "zen5")
    )

    assert zen4.machine_class != zen5.machine_class
    assert zen4.machine_class.startswith("amd-epyc-f25-m17-")
    assert zen4.unidentified_class == zen5.unidentified_class == "cpu-1-core"


def test_the_machine_class_of_devices_and_of_virtual_ones_holds_the_host():
    key = documents.report().machine_class
    on_gpu = documents.report(changes={"app/devices": documents.GPU})
    emulated = documents.report(changes={"run_info/is_emulated": True})

    assert on_gpu.machine_class == f"1-x-nvidia-h200-host-{key.rpartition('-')[2]}"
    assert emulated.machine_class == f"{key}-1-virtual-devices"


@dataclasses.dataclass(frozen=True)
class Pair:
    values: tuple[int, ...]


class Parts(fields.Record):
    pairs = fields.Field("deep/", fields.listed(fields.shaped(values=fields.ANY)), "pairs")
    seen = fields.optional("", fields.keyed(fields.listed(fields.COUNT)), "seen")


def test_written_values_match_the_schema_before_serialisation():
    subject = types.SimpleNamespace(pairs=(Pair((1, 2)),), seen={"a": (3,)})

    document = fields.written(Parts, subject)

    assert document == {"deep": {"pairs": [{"values": [1, 2]}]}, "seen": {"a": [3]}}
    jsonschema.validate(document, fields.schema_of(Parts))
    assert Parts(document).seen == {"a": [3]}
    assert Parts({"deep": {}}).seen is None
    with pytest.raises(KeyError, match="deep/pairs"):
        assert Parts({"deep": {}}).pairs


def test_the_machine_that_runs_this_test_fits_the_schema():
    described = environment.describe() | {
        "runtime": {"xla_flags": "", "allocator": "default", "num_cores": 1}
    }
    environment_of = types.SimpleNamespace(environment=described)

    class Told(fields.Record):
        environment = app.App.declared()["environment"]

    found = documents.document(
        changes={"app/environment": fields.written(Told, environment_of)["app"]["environment"]}
    )
    schema.validate(found)
    assert reader.from_document(found, "here").identity is not None
