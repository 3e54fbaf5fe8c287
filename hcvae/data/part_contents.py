"""What the parts of a split contain, with a warning where a part is too uniform to measure a model on.

Shapes: N rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.config import DataConfig, SplitConfig
from hcvae.counting import counted
from hcvae.data.split import PARTS, Split, recording_key, row_codes, split_rows
from hcvae.data.table import LEVEL, SPECIES, open_parquet, read_tables, text_column
from hcvae.errors import UserError

STIMULUS_PREFIX = "stimulus_"
"""Start of the names of the columns that describe a stimulus."""
SEEDS = range(10)
"""Seeds of the split that a remedy tries."""
LARGER_SHARE = 0.25
"""Share of the validation and of the test part that a remedy tries."""


@dataclass(frozen=True)
class Quantity:
    """Something of which a part should contain more than one."""

    name: str
    plural: str
    columns: tuple[str, ...]
    """Columns in which two rows must agree to count as one."""
    is_essential: bool = True
    """Whether a part that contains only one is reported. One sex or ear is common among few subjects, and tolerable."""


@dataclass(frozen=True)
class PartContents:
    """The number of different subjects, recordings, levels, stimuli and other conditions of a part."""

    part: str
    rows: int
    counts: dict[Quantity, int]
    totals: dict[Quantity, int]
    """The same numbers of all parts together."""

    def __str__(self) -> str:
        listed = [counted(count, quantity.name, quantity.plural) for quantity, count in self.counts.items()]
        return f"{self.part} part: {counted(self.rows, 'waveform')}, {', '.join(listed)}"

    @property
    def uniform(self) -> list[Quantity]:
        """The essential quantities of which it contains one, while all parts together contain more."""
        uniform = []
        for quantity, count in self.counts.items():
            if quantity.is_essential and count == 1 < self.totals[quantity]:
                uniform.append(quantity)
        return uniform


def split_report(config: DataConfig, split: Split) -> list[str]:
    """Return a line on each part of the split, and for uniform parts a warning with a remedy.

    Args:
        config: The tables and the columns. Simulated data give no lines: their subjects and conditions are random.
        split: The split of their rows.

    Raises:
        UserError: as `read_tables`.
    """
    if not config.tables:
        return []
    table = _describing_columns(config)
    parts = contents(table, config, split)
    lines = list(map(str, parts))
    warnings = list(_warnings(parts))
    if warnings:
        lines += [*warnings, f"  what to do: {_remedy(table, config)}"]
    return lines


def contents(table: pa.Table, config: DataConfig, split: Split) -> list[PartContents]:
    """Count the contents of the three parts of a `split` of the rows [N] of `table`."""
    codes = {quantity: row_codes(table, quantity.columns) for quantity in _quantities(table, config)}
    totals = _counts(codes, np.arange(table.num_rows))
    found = []
    for name, rows in zip(PARTS, (split.train, split.validation, split.test), strict=True):
        counts = _counts(codes, rows)
        found.append(PartContents("training" if name == "train" else name, len(rows), counts, totals))
    return found


def _counts(codes: Mapping[Quantity, NDArray[np.int64]], rows: NDArray[np.int64]) -> dict[Quantity, int]:
    """Return how many different codes of each quantity the `rows` have."""
    return {quantity: len(np.unique(numbers[rows])) for quantity, numbers in codes.items()}


def _quantities(table: pa.Table, config: DataConfig) -> Iterator[Quantity]:
    yield Quantity("subject", "subjects", (config.subject_column,))
    yield Quantity("recording", "recordings", tuple(recording_key(config)))
    if LEVEL in table.column_names:
        yield Quantity("level", "levels", (LEVEL,))
    stimulus = tuple(filter(_describes_stimulus, table.column_names))
    if stimulus:
        yield Quantity("stimulus", "stimuli", stimulus)
    for name in config.static:
        if name != LEVEL and name not in stimulus:
            yield Quantity(f"value of {name}", f"values of {name}", (name,), is_essential=name == SPECIES)


def _columns_of(quantities: Iterable[Quantity]) -> list[str]:
    """Return the columns of the quantities, each once."""
    columns: list[str] = []
    for quantity in quantities:
        columns += quantity.columns
    return list(dict.fromkeys(columns))


def _describes_stimulus(column: str) -> bool:
    return column.startswith(STIMULUS_PREFIX) and column != LEVEL


def _describing_columns(config: DataConfig) -> pa.Table:
    """Return the columns of subjects, recordings, conditions and stimuli [N], in the order of a training's rows."""
    table = read_tables(config, 0, waveforms=False)
    schemas = []
    for path in config.tables:
        with open_parquet(path) as file:
            schemas.append(file.schema_arrow)
    for name in schemas[0].names:
        is_described = name == LEVEL or _describes_stimulus(name)
        if is_described and name not in table.column_names and all(_is_scalar(schema, name) for schema in schemas):
            table = table.append_column(name, _texts(config.tables, name))
    return table


def _is_scalar(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and not pa.types.is_nested(schema.field(name).type)


def _texts(paths: Sequence[str], name: str) -> pa.ChunkedArray:
    """Return a column that training does not use, as text, whatever its type in each file."""
    chunks: list[pa.Array] = []
    for path in paths:
        with open_parquet(path) as file:
            chunks += text_column(file.read(columns=[name])[name], f"{path}: column {name!r}").chunks
    return pa.chunked_array(chunks, pa.string())


def _warnings(parts: list[PartContents]) -> Iterator[str]:
    for part in parts:
        listed = [f"1 of {counted(part.totals[quantity], quantity.name, quantity.plural)}" for quantity in part.uniform]
        if listed:
            yield f"warning: the {part.part} part contains {', '.join(listed)}; {_consequence(part.part)}"


def _consequence(part: str) -> str:
    if part == "training":
        return "a model cannot learn the others"
    return "its metrics are no evidence for the others"


def _remedy(table: pa.Table, config: DataConfig) -> str:
    """Return options of the split with which no part is uniform, or else which recordings are missing."""
    columns = _columns_of(_quantities(table, config))
    units = table.select(columns).group_by(columns).aggregate([])  # the split depends on the units alone
    for settings in _other_splits(config.split):
        other = config.model_copy(update={"split": settings})
        try:
            split = split_rows(units, other)
        except UserError:
            continue  # too few units for these shares
        if not any(part.uniform for part in contents(units, other, split)):
            return _options(settings, config.split)
    return (
        "add recordings, so that each part can have several subjects, levels and stimuli; no split of these does "
        f"(tried: data.split.unit, data.split.validation and data.split.test up to {LARGER_SHARE}, {len(SEEDS)} values "
        "of data.split.seed)"
    )


def _other_splits(now: SplitConfig) -> Iterator[SplitConfig]:
    """Yield splits in the order of preference: another seed, larger parts, then parts that share subjects."""
    larger = {"validation": max(now.validation, LARGER_SHARE), "test": max(now.test, LARGER_SHARE)}
    shares: list[dict[str, float]] = [{}, larger]
    for unit, share, seed in product((now.unit, "recording"), shares, SEEDS):
        yield now.model_copy(update={"unit": unit, "seed": seed, **share})


def _options(settings: SplitConfig, now: SplitConfig) -> str:
    changed = []
    for name, value in settings.model_dump().items():
        if value != getattr(now, name):
            changed.append(f"--data.split.{name} {value}")
    return " ".join(changed)
