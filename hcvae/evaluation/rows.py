"""The waveforms on which a bundle is evaluated, with the columns that describe them.

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
from hcvae.data.table import LEVEL, SPECIES
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.metrics.ground_truth import CONDITION_COLUMNS, READ_FACTORS

PartName = Literal["train", "validation", "test"]
GROUPS = ("sex", SPECIES)
"""Columns of which one may divide the rows into two groups."""
SAME_SCALE = 1e-4
"""Tolerance within which two scales of the data are the same."""


@dataclass(frozen=True, repr=False)
class Sample(Described):
    """Recorded or generated waveforms, and the table that describes them."""

    signals: NDArray[np.float32]
    """Normalised, [N, T]."""
    signals_uv: NDArray[np.float32]
    """[N, T]."""
    table: pa.Table
    """Subject, recording, condition and, where known, factors of each row; no waveforms."""

    def __len__(self) -> int:
        return len(self.signals)

    def facts(self) -> dict[str, object]:
        """Return the sizes and the describing columns."""
        return {"rows": len(self), "samples": self.signals.shape[1], "columns": ", ".join(self.table.column_names)}

    def take(self, rows: NDArray[np.int64]) -> "Sample":
        """Return the rows of these numbers."""
        return Sample(self.signals[rows], self.signals_uv[rows], self.table.take(rows))

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers [N], NaN for null.

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
        """Return a column as text [N], empty for null; None if there is no such column."""
        if name not in self.table.column_names:
            return None
        return np.array(self.table[name].cast(pa.string()).fill_null("").to_pylist(), dtype=str)

    def one_per_recording(self, config: DataConfig, max_rows: int, seed: int) -> NDArray[np.int64]:
        """Return the first row of each recording, as its averages are not independent; `max_rows` of them at random."""
        _, first = np.unique(row_codes(self.table, recording_key(config)), return_index=True)
        return np.sort(np.random.default_rng(seed).permutation(first)[:max_rows])


@dataclass(frozen=True, repr=False)
class EvaluationRows(Described):
    """The rows to evaluate, and those that the model was trained on."""

    source: str
    """A description of the evaluated rows."""
    key: str
    """Equal for bundles that are evaluated, and were trained, on the same rows with the same scales."""
    part: Part
    recorded: Sample
    """The rows of `part`."""
    train_part: Part | None
    validation_part: Part | None
    train: Sample | None
    """The training rows; None if the bundle's own data were not read."""
    is_training_part: bool = False

    def facts(self) -> dict[str, object]:
        """Return the source and the number of rows."""
        n_train = None
        if self.train:
            n_train = len(self.train)
        return {"source": self.source, "rows": len(self.recorded), "train": n_train}


def own_rows(bundle: Bundle, part: PartName) -> EvaluationRows:
    """Read a part of the bundle's own data: its tables, or its simulator.

    Raises:
        UserError: the tables are missing, or not those that the model was trained on.
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

    def sample(arrays: Part, rows: NDArray[np.int64]) -> Sample:
        return _sample(arrays, table.take(rows), bundle.preprocessing)

    evaluated: Part = getattr(data, part)
    return EvaluationRows(
        source=f"{part} part of {', '.join(config.data.tables) or 'the simulator'}. {data.split.explanation}",
        key=f"{data.fingerprint} {config.normalization.group_by} {config.data.static} {part}",
        part=evaluated,
        recorded=sample(evaluated, getattr(data.split, part)),
        train_part=data.train,
        validation_part=data.validation,
        train=sample(data.train, data.split.train),
        is_training_part=part == "train",
    )


def rows_of_tables(bundle: Bundle, tables: Sequence[str]) -> EvaluationRows:
    """Read all rows of `tables`, scaled as the bundle's data. That the model was not trained on them is not checked.

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


def generated_sample(
    recorded: Sample, signals: NDArray[np.float32], part: Part, preprocessing: Preprocessing
) -> Sample:
    """Return normalised waveforms [N, T] generated for the conditions of `recorded`, whose part is `part`."""
    return replace(recorded, signals=signals, signals_uv=preprocessing.signal.denormalize(signals, part.group))


def _sample(part: Part, table: pa.Table, preprocessing: Preprocessing) -> Sample:
    return Sample(part.signals, preprocessing.signal.denormalize(part.signals, part.group), table)


def _check_unchanged(found: Preprocessing, trained: Preprocessing) -> None:
    """Refuse data whose training part has other conditions, or other scales, than that of the training."""

    def scales(preprocessing: Preprocessing) -> list[tuple[float, float]]:
        pairs = []
        for scale in preprocessing.signal.groups.values():
            pairs.append((scale.mean_uv, scale.std_uv))
        for column in preprocessing.static.columns:
            pairs.append((column.mean, column.std))
        return pairs

    same_groups = found.signal.groups.keys() == trained.signal.groups.keys()
    same_columns = found.static.names == trained.static.names
    if (
        not same_groups
        or not same_columns
        or not np.allclose(scales(found), scales(trained), rtol=SAME_SCALE, atol=SAME_SCALE)
    ):
        raise UserError(
            "data: the bundle's own data have changed since it was trained: their training part has another scale or "
            "other conditions; restore the old tables, or name new ones with --data"
        )


def _describing_columns(config: Config) -> pa.Table:
    """Read the columns of subject, recording, condition and factors, as far as they exist; no waveforms."""
    data = config.data
    wanted = {data.subject_column, *data.recording_columns, *data.static, LEVEL, *GROUPS}
    wanted |= {*READ_FACTORS, *CONDITION_COLUMNS}
    if not data.tables:
        from hcvae.data.simulator import simulate

        table = simulate(data.simulator.rows, data.simulator.seed)
        return table.select(_among(table.column_names, wanted))
    tables = []
    for path in data.tables:
        names = _among(pq.read_schema(path).names, wanted)
        tables.append(pq.read_table(path, columns=names))
    return pa.concat_tables(tables, promote_options="permissive")


def _among(names: Sequence[str], wanted: set[str]) -> list[str]:
    return [name for name in names if name in wanted]
