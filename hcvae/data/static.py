"""Encoding of static parameters: columns of the waveform table as model inputs.

Numbers are standardised, text is one-hot encoded, null is 0 with a mask of 1. The encoding is fitted on the training
rows.

Shapes: N rows, S encoded static parameters.
"""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from hcvae.config import Section
from hcvae.data.normalization import MAX_VALUE
from hcvae.data.table import scalar_column
from hcvae.errors import UserError

ROUNDING = 1e-6
"""Relative tolerance for numbers stored as float32."""


class ValueRange(Section):
    """The values of a static column in the training rows; outside them the model extrapolates."""

    minimum: float | None = None
    """Smallest number; null if no row had a number."""
    maximum: float | None = None
    """Largest number."""
    categories: tuple[str, ...] = ()
    """Text values, sorted."""
    has_nulls: bool = False
    """Whether rows had nulls."""

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        """Return the range of a column of a checked table."""
        known = pc.unique(column.drop_null())
        has_nulls = column.null_count > 0
        if pa.types.is_string(column.type):
            return cls(categories=tuple(sorted(known.to_pylist())), has_nulls=has_nulls)
        if not len(known):
            return cls(has_nulls=has_nulls)
        ends = pc.min_max(known).as_py()
        return cls(minimum=ends["min"], maximum=ends["max"], has_nulls=has_nulls)

    def holds(self, value: float | str | None) -> bool:
        """Whether `value` is in the range; numbers up to a rounding error of float32."""
        if value is None:
            return self.has_nulls
        if isinstance(value, str):
            return value in self.categories
        if self.minimum is None or self.maximum is None:
            return False
        rounding = ROUNDING * max(abs(self.minimum), abs(self.maximum))
        return self.minimum - rounding <= value <= self.maximum + rounding

    def __str__(self) -> str:
        """Format the range, for example `0 to 60, or null`."""
        alternatives: list[str] = []
        if self.categories:
            alternatives.append(", ".join(self.categories))
        elif self.minimum is not None:
            alternatives.append(f"{self.minimum:g} to {self.maximum:g}")
        if self.has_nulls:
            alternatives.append("null")
        return ", or ".join(alternatives)


class StaticColumn(Section):
    """A column and its encoding. A number that is constant except for nulls is encoded by its mask only."""

    name: str
    """Column of the waveform table."""
    kind: Literal["number", "category"]
    """Kind of encoding."""
    has_nulls: bool
    """Whether training rows had nulls; if so, the last encoded column is their mask."""
    mean: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Numbers: mean of the training rows. For categories mean, minimum and maximum are 0, and std is 1."""
    std: float = Field(ge=0, le=MAX_VALUE)
    """Numbers: standard deviation of the training rows."""
    minimum: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Numbers: smallest value in training."""
    maximum: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Numbers: largest value in training."""
    categories: tuple[str, ...]
    """Text values in training, sorted."""

    @model_validator(mode="after")
    def _can_be_encoded(self) -> Self:
        numbers = (self.minimum, self.maximum, self.std)
        categories = list(self.categories)
        if self.kind == "category":
            is_valid = numbers == (0, 0, 1) and bool(categories) and categories == sorted({*categories})
        else:
            varies = self.minimum < self.maximum and self.std >= 1 / MAX_VALUE
            is_valid = not categories and (self.minimum == self.maximum or varies)
        if not is_valid:
            raise ValueError(
                "a number must have minimum <= maximum, std > 0 if they differ, and no categories; a category must "
                f"have sorted categories and no numbers, but got column {self.name!r}, a {self.kind} with "
                f"(minimum, maximum, std)={numbers} and {len(self.categories)} categories"
            )
        return self

    @classmethod
    def fit(cls, name: str, column: pa.ChunkedArray) -> Self:
        """Fit the encoding to the training rows.

        Raises:
            UserError: value and mask are both constant.
        """
        column = scalar_column(column, f"data.static: column {name!r}")
        distinct = pc.unique(column)
        if len(distinct) < 2:
            raise UserError(
                f"data.static: column {name!r} must vary among the training rows, "
                f"but got {distinct[0].as_py()!r} in all of them; leave it out "
                "of --data.static, or split the rows in another way (--data.split.seed)"
            )
        has_nulls = column.null_count > 0
        if pa.types.is_string(column.type):
            categories = tuple(sorted(distinct.drop_null().to_pylist()))
            numbers = {"mean": 0.0, "std": 1.0, "minimum": 0.0, "maximum": 0.0}
            return cls(name=name, kind="category", has_nulls=has_nulls, categories=categories, **numbers)
        known = column.drop_null().to_numpy()
        if len(known) and np.abs(known).max() > MAX_VALUE:
            raise UserError(
                f"data.static: column {name!r} must hold numbers up to {MAX_VALUE:g}, but got {np.abs(known).max():g}"
            )
        return cls(
            name=name,
            kind="number",
            has_nulls=has_nulls,
            mean=known.mean(),
            std=known.std(),
            minimum=known.min(),
            maximum=known.max(),
            categories=(),
        )

    @property
    def seen(self) -> ValueRange:
        """The values of the training rows of all groups."""
        if self.kind == "category":
            return ValueRange(categories=self.categories, has_nulls=self.has_nulls)
        return ValueRange(minimum=self.minimum, maximum=self.maximum, has_nulls=self.has_nulls)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded columns, such as `sex=F` or `age_years is null`."""
        names = [f"{self.name}={category}" for category in self.categories]
        if self.minimum < self.maximum:
            names.append(self.name)
        if self.has_nulls:
            names.append(f"{self.name} is null")
        return tuple(names)

    def has(self, value: float | str | None) -> bool:
        """Whether `value` can be encoded."""
        if value is None:
            return self.has_nulls
        if self.kind == "category":
            return value in self.categories
        if not isinstance(value, float):
            return False
        if self.minimum < self.maximum:
            return abs(value) <= MAX_VALUE
        return value == self.minimum

    def encode(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return the column's part [N, len(names)] of the encoded parameters.

        Raises:
            UserError: a wrong type, or a value that no training row had: a null, a category, or a number other than the
                only one.
        """
        where = f"static column {self.name!r}"
        column = scalar_column(column, where)
        expected = pa.float64() if self.kind == "number" else pa.string()
        if not pa.types.is_null(column.type) and column.type != expected:
            raise UserError(f"{where}: must be a {self.kind}, but got {column[0].as_py()!r}")
        null = pc.is_null(column).to_numpy()
        column = column.cast(expected)
        if null.any() and not self.has_nulls:
            raise UserError(f"{where}: must not be null, because every training row has a value")
        values = self._encode_values(column)
        if self.has_nulls:
            return np.column_stack([values, null])
        return values

    def _encode_values(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        if self.kind == "number":
            return self._encode_numbers(column)
        return self._encode_categories(column)

    def decode(self, encoded: NDArray[np.floating]) -> float | str | None:
        """Return the value of one row from its encoded parameters [len(names)]; numbers are rounded to float32."""
        if self.has_nulls and encoded[-1] > 0.5:
            return None
        if self.kind == "category":
            return self.categories[int(np.argmax(encoded[: len(self.categories)]))]
        if self.minimum < self.maximum:
            return float(np.float32(encoded[0] * self.std + self.mean))
        return self.minimum

    def _encode_numbers(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        if self.minimum < self.maximum:
            numbers: NDArray[np.float64] = column.to_numpy()  # NaN where null
            return np.nan_to_num((numbers - self.mean) / self.std)[:, None]
        self._check_known(column.filter(pc.not_equal(column, self.minimum)), [self.minimum])
        return np.empty((len(column), 0))

    def _encode_categories(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        is_known = pc.is_in(column, pa.array(self.categories))
        self._check_known(column.filter(pc.invert(is_known)), self.categories)
        hits = [pc.equal(column, name).fill_null(False).to_numpy() for name in self.categories]
        return np.stack(hits, axis=1).astype(np.float64)

    def _check_known(self, unknown: pa.ChunkedArray, known: Sequence[object]) -> None:
        unknown = unknown.drop_null()
        if len(unknown):
            raise UserError(
                f"static column {self.name!r}: must be one of {list(known)}, the training part's values, "
                f"but got {unknown[0].as_py()!r}"
            )


class StaticEncoder(Section):
    """All static columns, in the order of `data.static`."""

    columns: tuple[StaticColumn, ...] = Field(min_length=1)
    """One entry per column of the waveform table."""

    @field_validator("columns")
    @classmethod
    def _names_differ(cls, columns: tuple[StaticColumn, ...]) -> tuple[StaticColumn, ...]:
        if len({column.name for column in columns}) < len(columns):
            raise ValueError("names must differ")
        return columns

    @classmethod
    def fit(cls, table: pa.Table, names: Sequence[str]) -> Self:
        """Fit the encoding to a table of the training rows.

        Raises:
            UserError: a column's value and mask are both constant.
        """
        return cls(columns=tuple(StaticColumn.fit(name, table[name]) for name in names))

    @property
    def by_name(self) -> dict[str, StaticColumn]:
        """The columns by their names in the waveform table."""
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the S encoded parameters."""
        names: list[str] = []
        for column in self.columns:
            names += column.names
        return tuple(names)

    @property
    def dim(self) -> int:
        """S, the number of encoded parameters."""
        return len(self.names)

    def encode(self, table: pa.Table) -> NDArray[np.float32]:
        """Return the encoded parameters [N, S] of a table with the static columns.

        Raises:
            UserError: a column is missing, or holds a value that no training row had.
        """
        for column in self.columns:
            if column.name not in table.column_names:
                raise UserError(f"static column {column.name!r}: must be given, but got only {table.column_names}")
        return np.hstack([column.encode(table[column.name]) for column in self.columns]).astype(np.float32)

    def decode(self, encoded: NDArray[np.floating]) -> dict[str, float | str | None]:
        """Return the values of one row [S] by column; numbers are rounded to float32."""
        ends = np.cumsum([len(column.names) for column in self.columns])
        parts = np.split(encoded, ends[:-1])
        return {column.name: column.decode(part) for column, part in zip(self.columns, parts, strict=True)}
