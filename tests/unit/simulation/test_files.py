"""Telemetry and labels from files: every way to write a time, and errors that say what is wrong and where."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autopilot.infra.simulate.declared import read_configuration, read_effects
from autopilot.infra.simulate.files import Columns, InputError, read_labels, read_recording
from autopilot.schemas.events.telemetry import SeriesKind

NOON_US = 1_661_169_600_000_000
HEAD = "service,metric,timestamp,value"


def csv(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "telemetry.csv"
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1661169600",
        "1661169600.0",
        "1661169600000",
        "1661169600000000",
        "2022-08-22T12:00:00",
        "2022-08-22 14:00:00+02:00",
    ],
)
def test_a_time_may_be_written_in_many_ways(tmp_path: Path, text: str) -> None:
    recording = read_recording(csv(tmp_path, f"cart,latency,{text},0.5"), Columns())
    assert recording.series[0].timestamps_us.tolist() == [NOON_US]


def test_parquet_timestamps_of_any_unit_and_zone(tmp_path: Path) -> None:
    for number, kind in enumerate((pa.timestamp("ns", "UTC"), pa.timestamp("s"), pa.timestamp("ms", "Europe/Berlin"))):
        stamps = pa.array([datetime(2022, 8, 22, 12, tzinfo=UTC)], pa.timestamp("us", "UTC")).cast(pa.int64())
        divisor = {"ns": 1, "s": 1_000_000, "ms": 1_000}[kind.unit]
        scaled = pa.array([stamps[0].as_py() * 1_000 if kind.unit == "ns" else stamps[0].as_py() // divisor]).cast(kind)
        table = pa.table({"service": ["cart"], "metric": ["m"], "timestamp": scaled, "value": [1]})
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path)
        assert read_recording(path, Columns()).series[0].timestamps_us.tolist() == [NOON_US]


def test_columns_of_other_names_with_attributes_kinds_and_units(tmp_path: Path) -> None:
    path = csv(
        tmp_path, "cart,a,requests,1661169600,5,delta,1", "cart,b,requests,1661169600,7,delta,1",
        head="svc,pod,name,at,v,kind,unit",
    )  # fmt: skip
    recording = read_recording(path, Columns("svc", "name", "at", "v", ("pod",)))
    assert [one.id.attributes for one in recording.series] == [(("pod", "a"),), (("pod", "b"),)]
    assert {one.id.kind for one in recording.series} == {SeriesKind.DELTA}


def test_a_row_without_a_value_is_left_out_and_counted(tmp_path: Path) -> None:
    recording = read_recording(csv(tmp_path, "cart,m,1661169600,", "cart,m,1661169660,2"), Columns())
    assert (recording.points, recording.left_out) == (1, 1)


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    csv(tmp_path, "cart,m,1661169600,1").rename(tmp_path / "first.csv")
    csv(tmp_path, "cart,m,1661169660,2")
    assert read_recording(tmp_path, Columns()).series[0].values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("cart,m,1661169660,fast", r"telemetry.csv, row 2: `value` is 'fast', expected a number"),
        ("cart,m,yesterday,1", r"row 2: `timestamp` is 'yesterday', expected an ISO 8601 time, or seconds"),
        ("cart,m,12,1", r"row 2: `timestamp` is 12.0, expected an ISO 8601 time"),
        ("cart,m,,1", r"row 2: `timestamp` is None"),
        (",m,1661169660,1", r"row 2: `service` is None, expected a text"),
    ],
)
def test_a_bad_row_is_named_with_field_value_and_what_was_expected(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_recording(csv(tmp_path, "cart,m,1661169600,1", row), Columns())


def test_a_kind_that_is_none_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "cart,m,1661169600,1,counter", head=HEAD + ",kind")
    with pytest.raises(InputError, match="row 1: `kind` is 'counter', expected one of gauge, delta, cumulative"):
        read_recording(path, Columns())


def test_a_missing_column_an_empty_file_and_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a column `value`"):
        read_recording(csv(tmp_path, "cart,m,1661169600", head="service,metric,timestamp"), Columns())
    with pytest.raises(InputError, match="expected at least one row with a value"):
        read_recording(csv(tmp_path), Columns())
    (tmp_path / "telemetry.txt").write_text("x")
    with pytest.raises(InputError, match=r"expected a .parquet or .csv file"):
        read_recording(tmp_path / "telemetry.txt", Columns())
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match=r"expected a readable .parquet file"):
        read_recording(tmp_path / "broken.parquet", Columns())


def test_labels_are_read_and_a_window_that_ends_before_it_starts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("service,start,end,kind,noticed\ncart,2022-08-22T12:00:00Z,1661170000,slow,\n")
    label = read_labels(path)[0]
    assert (label.start_us, label.end_us, label.noticed_us) == (NOON_US, 1_661_170_000_000_000, None)
    path.write_text("service,start,end\ncart,1661170000,1661169600\n")
    with pytest.raises(InputError, match="row 1: `end` is 1661169600000000, expected later than `start`"):
        read_labels(path)


def test_an_effect_that_is_none_is_refused_by_field(tmp_path: Path) -> None:
    path = tmp_path / "effects.yaml"
    path.write_text("kind: EffectModel\nname: x\neffects: [{driver: d, verb: v, after_ms: -1}]\n")
    with pytest.raises(InputError, match=r"`effects.0.after_ms` is -1"):
        read_effects(path)
    path.write_text("kind: [")
    with pytest.raises(InputError, match="expected YAML"):
        read_effects(path)


def test_a_fleet_that_pins_its_domains_can_be_simulated_in_the_one_partition_of_a_simulation(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(
        "kind: Fleet\nname: f\ndomains: [{name: shop}, {name: bank, partition: 3}]\n"
        "services: [{name: pay, domain: bank, tier: 0, owner: o}]\n"
    )
    documents, findings = read_configuration(tmp_path)
    assert [finding for finding in findings if "partition" in finding.field] == []
    assert [document.kind for document in documents] == ["Fleet"]
