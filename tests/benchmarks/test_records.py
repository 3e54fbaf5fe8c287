"""Files of records: one line a run."""

from pathlib import Path

from benchmarks import records


def test_records_are_read_by_their_keys_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "results" / "runs.jsonl"
    assert records.read(path) == {}
    for key, value in (("b", 0.1), ("c", 1e-300), ("a", [1, None])):
        records.write(path, {"key": key, "value": value})
    assert [*records.read(path).items()] == [
        ("a", {"key": "a", "value": [1, None]}),
        ("b", {"key": "b", "value": 0.1}),
        ("c", {"key": "c", "value": 1e-300}),
    ]
    assert path.read_text().count("\n") == 3


def test_a_run_that_is_measured_again_replaces_its_record(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    for value in (1, 2):
        records.write(path, {"name": "a", "value": value}, key="name")
    assert records.read(path, key="name") == {"a": {"name": "a", "value": 2}}
