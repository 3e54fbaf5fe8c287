"""The contents of the parts of a split, counted by hand, and remedies that hold."""

import re
import shlex
from pathlib import Path

import pyarrow as pa
import pytest

from hcvae.config import DataConfig, SplitConfig
from hcvae.data.part_contents import contents, split_report
from hcvae.data.split import split_rows
from hcvae.data.table import read_tables, waveform_schema, write_table

STATIC = ("stimulus_level_db",)


def written(path: Path, rows: list[dict[str, object]]) -> str:
    """Write a waveform table with these scalar columns."""
    schema = waveform_schema(
        {
            "subject_id": pa.string(),
            "stimulus_level_db": pa.float32(),
            "recording_index": pa.int32(),
            "stimulus_type": pa.string(),
            "sex": pa.string(),
        },
        64,
        20000.0,
        peaks=False,
    )
    full = [{"sex": None, "signal": [float(number)] * 64} | row for number, row in enumerate(rows)]
    write_table(pa.Table.from_pylist(full, schema), path)
    return str(path)


def rows_of(subjects: int, levels: list[float], kinds: list[str], repeats: int = 1) -> list[dict[str, object]]:
    rows = []
    for subject in range(subjects):
        for level in levels:
            for kind in kinds:
                for repeat in range(repeats):
                    rows.append(
                        {
                            "subject_id": f"s{subject}",
                            "stimulus_level_db": level,
                            "recording_index": repeat,
                            "stimulus_type": kind,
                        }
                    )
    return rows


def test_subjects_recordings_levels_and_stimuli_of_each_part_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rows_of(8, [20, 40, 60], ["click", "tone"]))
    config = DataConfig(tables=(path,), static=STATIC)
    split = split_rows(read_tables(config, 64), config)
    lines = split_report(config, split)
    assert lines[0] == "training part: 36 waveforms, 6 subjects, 18 recordings, 3 levels, 2 stimuli"
    assert lines[1] == "validation part: 6 waveforms, 1 subject, 3 recordings, 3 levels, 2 stimuli"
    assert (
        lines[3] == "warning: the validation part contains 1 of 8 subjects; its metrics are no evidence for the others"
    )


def test_a_part_of_one_animal_at_one_level_is_reported_with_a_remedy_that_holds(tmp_path: Path) -> None:
    rows = rows_of(7, [20, 40, 60], ["tone"]) + [
        {"subject_id": "odd", "stimulus_level_db": 55.0, "recording_index": number, "stimulus_type": "tone"}
        for number in range(20)
    ]
    config = DataConfig(tables=(written(tmp_path / "a.parquet", rows),), static=STATIC)
    table = read_tables(config, 64)
    seed = next(seed for seed in range(100) if "odd" in validated(table, config, seed))
    config = config.model_copy(update={"split": SplitConfig(seed=seed)})
    report = split_report(config, split_rows(table, config))
    assert "the validation part contains 1 of 8 subjects, 1 of 4 levels; " in report[3]
    remedy = report[-1].removeprefix("  what to do: ")
    words = shlex.split(remedy)
    changed = dict(zip([word.removeprefix("--data.split.") for word in words[::2]], words[1::2], strict=True))
    better = config.model_copy(update={"split": SplitConfig.model_validate(config.split.model_dump() | changed)})
    split = split_rows(table, better)
    for rows_of_part in (split.train, split.validation, split.test):
        assert len(set(table["subject_id"].take(rows_of_part).to_pylist())) > 1
        assert len(set(table["stimulus_level_db"].take(rows_of_part).to_pylist())) > 1


def validated(table: pa.Table, config: DataConfig, seed: int) -> set[str]:
    split = split_rows(table, config.model_copy(update={"split": SplitConfig(seed=seed)}))
    return set(table["subject_id"].take(split.validation).to_pylist())


def test_nothing_is_reported_of_what_all_rows_share(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rows_of(1, [20, 40, 60], ["click"], repeats=10))
    config = DataConfig(tables=(path,), static=STATIC)
    lines = split_report(config, split_rows(read_tables(config, 64), config))
    assert len(lines) == 3
    assert all("1 subject," in line and "1 stimulus" in line for line in lines)


def test_recordings_are_requested_where_no_split_helps(tmp_path: Path) -> None:
    rows = rows_of(5, [20], ["click"]) + rows_of(1, [40], ["click"])
    config = DataConfig(tables=(written(tmp_path / "a.parquet", rows),), static=STATIC)
    report = split_report(config, split_rows(read_tables(config, 64), config))
    assert "add recordings" in report[-1]


def test_other_conditions_are_counted(tmp_path: Path) -> None:
    rows = rows_of(4, [20, 40], ["click"])
    for row in rows:
        row["sex"] = "F" if row["subject_id"] == "s0" else "M"
    config = DataConfig(tables=(written(tmp_path / "a.parquet", rows),), static=("stimulus_level_db", "sex"))
    table = read_tables(config, 64)
    parts = contents(table, config, split_rows(table, config))
    assert re.search(r"\d values? of sex", str(parts[0]))
    assert {part.counts[quantity] for part in parts for quantity in part.counts if "sex" in quantity.name} == {1, 2}
    assert not any("sex" in quantity.name for part in parts for quantity in part.uniform)


def test_a_column_that_training_does_not_use_may_differ_between_files(tmp_path: Path) -> None:
    one = written(tmp_path / "a.parquet", rows_of(3, [20, 40], ["click"]))
    other = pa.parquet.read_table(one)
    position = other.schema.get_field_index("stimulus_type")
    other = other.set_column(position, "stimulus_type", pa.array([1.0] * other.num_rows))
    write_table(other, tmp_path / "b.parquet")
    config = DataConfig(tables=(one, str(tmp_path / "b.parquet")), static=STATIC)
    lines = split_report(config, split_rows(read_tables(config, 64), config))
    assert "2 stimuli" in lines[0]


@pytest.mark.parametrize("tables", [()])
def test_simulated_data_have_no_report(tables: tuple[str, ...]) -> None:
    config = DataConfig(tables=tables)
    assert split_report(config, None) == []  # type: ignore[arg-type]
