"""The waveforms that a bundle is evaluated on, with all that their table says of them.

Shapes: N rows, T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hcvae.bundle import Bundle
from hcvae.config import Config, DataConfig
from hcvae.data.dataset import Part, prepare, read_part
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.split import recording_key, row_codes
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.metrics.ground_truth import CONDITION_COLUMNS, READ_FACTORS

PartName = Literal["train", "validation", "test"]
LEVEL, SPECIES = "stimulus_level_db", "species"
GROUPS = ("sex", SPECIES)
SAME_SCALE = 1e-4


@dataclass(frozen=True, repr=False)
class Sample(Described):
    """Waveforms, recorded or generated, and the table that describes them."""

    signals: NDArray[np.float32]
    """Normalised, [N, T]."""
    signals_uv: NDArray[np.float32]
    """[N, T]."""
    table: pa.Table
    """Subject, recording, condition and, where known, factors of each row; no waveforms."""

    def __len__(self) -> int:
        return len(self.signals)

    def facts(self) -> dict[str, object]:
        """Sizes, and what describes the rows."""
        return {"rows": len(self), "samples": self.signals.shape[1], "columns": ", ".join(self.table.column_names)}

    def take(self, rows: NDArray[np.int64]) -> "Sample":
        """Some of the rows."""
        return Sample(self.signals[rows], self.signals_uv[rows], self.table.take(rows))

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as numbers [N], NaN for null.

        Raises:
            UserError: there is no such column, or it is text.
        """
        if name not in self.table.column_names:
            raise UserError(f"column {name!r} is missing")
        try:
            return np.asarray(self.table[name].cast(pa.float64()).to_numpy(), np.float64)
        except pa.ArrowInvalid as error:
            raise UserError(f"column {name!r} must hold numbers: {error}") from error

    def texts(self, name: str) -> NDArray[np.str_] | None:
        """A column as text [N], empty for null; None where there is no such column."""
        if name not in self.table.column_names:
            return None
        return np.array(self.table[name].cast(pa.string()).fill_null("").to_pylist(), dtype=str)

    def one_a_recording(self, config: DataConfig, most: int, seed: int) -> NDArray[np.int64]:
        """The first row of each recording, at most `most` of them, drawn by the seed: averages of one recording are
        not independent of each other."""
        _, first = np.unique(row_codes(self.table, recording_key(config)), return_index=True)
        return np.sort(np.random.default_rng(seed).permutation(first)[:most])


@dataclass(frozen=True, repr=False)
class EvaluationRows(Described):
    """What is evaluated, and what the model was trained on."""

    source: str
    """In words."""
    key: str
    """The same for bundles that are evaluated on, and were trained on, the same rows in the same numbers."""
    part: Part
    recorded: Sample
    """The rows of `part`."""
    train_part: Part | None
    validation_part: Part | None
    train: Sample | None
    """The training rows; None where the bundle's own data were not read."""
    is_training_part: bool = False

    def facts(self) -> dict[str, object]:
        """Where the rows are from, and how many there are."""
        return {"source": self.source, "rows": len(self.recorded), "train": len(self.train) if self.train else None}


def own_rows(bundle: Bundle, part: PartName) -> EvaluationRows:
    """A part of the bundle's own data: its tables, or its simulator.

    Raises:
        UserError: the tables are not there, or not those that the model was trained on.
    """
    config = bundle.config
    try:
        data = prepare(config)
    except UserError as error:
        raise UserError(
            f"{error} (the bundle's own data could not be read; name tables with --data to use others)"
        ) from error
    _check_unchanged(data.preprocessing, bundle.preprocessing)
    table = _describing_columns(config)

    def sample(name: str) -> Sample:
        return _sample(getattr(data, name), table.take(getattr(data.split, name)), bundle.preprocessing)

    return EvaluationRows(
        source=f"{part} part of {', '.join(config.data.tables) or 'the simulator'}. {data.split.explanation}",
        key=f"{data.fingerprint} {config.normalization.group_by} {config.data.static} {part}",
        part=getattr(data, part),
        recorded=sample(part),
        train_part=data.train,
        validation_part=data.validation,
        train=sample("train"),
        is_training_part=part == "train",
    )


def rows_of_tables(bundle: Bundle, tables: Sequence[str]) -> EvaluationRows:
    """All rows of `tables`, in the bundle's numbers. They must be none that it was trained on: nobody checks that.

    Raises:
        UserError: a table cannot be read, lacks a column, or has waveforms of another length or sampling rate.
    """
    config = bundle.config.model_copy(update={"data": bundle.config.data.model_copy(update={"tables": tuple(tables)})})
    part = read_part(config, bundle.preprocessing)
    return EvaluationRows(
        source=f"all rows of {', '.join(tables)}",
        key=f"{tables} {bundle.preprocessing.model_dump_json()}",
        part=part,
        recorded=_sample(part, _describing_columns(config), bundle.preprocessing),
        train_part=None,
        validation_part=None,
        train=None,
    )


def generated(recorded: Sample, signals: NDArray[np.float32], part: Part, preprocessing: Preprocessing) -> Sample:
    """Normalised waveforms [N, T] generated for the conditions of `recorded`, whose part is `part`."""
    return replace(recorded, signals=signals, signals_uv=preprocessing.signal.denormalize(signals, part.group))


def _sample(part: Part, table: pa.Table, preprocessing: Preprocessing) -> Sample:
    return Sample(part.signals, preprocessing.signal.denormalize(part.signals, part.group), table)


def _check_unchanged(found: Preprocessing, trained: Preprocessing) -> None:
    def numbers(preprocessing: Preprocessing) -> list[float]:
        scales = [(scale.mean_uv, scale.std_uv) for scale in preprocessing.signal.groups.values()]
        columns = [(column.mean, column.std) for column in preprocessing.static.columns]
        return [number for pair in (*scales, *columns) for number in pair]

    names = (found.signal.groups.keys(), found.static.names) != (trained.signal.groups.keys(), trained.static.names)
    if names or not np.allclose(numbers(found), numbers(trained), rtol=SAME_SCALE, atol=SAME_SCALE):
        raise UserError(
            "data: the bundle's own data have changed since it was trained: their training part has another scale or "
            "other conditions; put the old tables back, or name new ones with --data"
        )


def _describing_columns(config: Config) -> pa.Table:
    """The columns that name subject, recording, condition and factors, as far as they are there; no waveforms."""
    data = config.data
    wanted = {data.subject_column, *data.recording_columns, *data.static, LEVEL, *GROUPS}
    wanted |= {*READ_FACTORS, *CONDITION_COLUMNS}
    if not data.tables:
        from hcvae.data.simulator import simulate

        table = simulate(data.simulator.rows, data.simulator.seed)
        return table.select([name for name in table.column_names if name in wanted])
    tables = [
        pq.read_table(path, columns=[name for name in pq.read_schema(path).names if name in wanted])
        for path in data.tables
    ]
    return pa.concat_tables(tables, promote_options="permissive")
