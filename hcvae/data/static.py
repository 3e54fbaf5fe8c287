"""Static parameters: named columns of the waveform table as numbers for the model.

Numbers are standardised, text is one-hot, null is 0 with a mask of 1. Everything is fitted on the training rows.

Legend: N rows, S encoded static parameters.
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


class ValueRange(Section):
    """What training rows had in a static column: where a model's answers are more than a guess."""

    minimum: float | None = None
    """Numbers: the smallest; null where no row had one."""
    maximum: float | None = None
    """Numbers: the largest."""
    categories: tuple[str, ...] = ()
    """Texts, sorted."""
    has_nulls: bool = False
    """Whether rows had none."""

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        """Of rows of a checked table."""
        known, has_nulls = pc.unique(column.drop_null()), column.null_count > 0
        if pa.types.is_string(column.type):
            return cls(categories=tuple(sorted(known.to_pylist())), has_nulls=has_nulls)
        ends = pc.min_max(known).as_py() if len(known) else {"min": None, "max": None}
        return cls(minimum=ends["min"], maximum=ends["max"], has_nulls=has_nulls)

    def holds(self, value: float | str | None) -> bool:
        """Whether `value` lies within; numbers to a rounding error of float32."""
        if value is None:
            return self.has_nulls
        if isinstance(value, str):
            return value in self.categories
        if self.minimum is None or self.maximum is None:
            return False
        rounding = ROUNDING * max(abs(self.minimum), abs(self.maximum))
        return self.minimum - rounding <= value <= self.maximum + rounding

    def __str__(self) -> str:
        """Such as `0 to 60, or null`."""
        numbers = [] if self.minimum is None else [f"{self.minimum:g} to {self.maximum:g}"]
        known = [", ".join(self.categories)] if self.categories else numbers
        return ", or ".join([*known, *(["null"] if self.has_nulls else [])])


class StaticColumn(Section):
    """One column and how it is encoded. A number that is constant wherever it is known is encoded by its mask only."""

    name: str
    """Column of the waveform table."""
    kind: Literal["number", "category"]
    """How it is encoded."""
    has_nulls: bool
    """Whether training rows had nulls: a mask column follows then."""
    mean: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Numbers: mean of the training rows; categories: 0, as minimum and maximum, and std 1."""
    std: float = Field(ge=0, le=MAX_VALUE)
    """Numbers: standard deviation of the training rows."""
    minimum: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Numbers: smallest value seen in training."""
    maximum: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Numbers: largest value seen in training."""
    categories: tuple[str, ...]
    """Texts seen in training, sorted."""

    @model_validator(mode="after")
    def _can_be_encoded(self) -> Self:
        numbers, texts = (self.minimum, self.maximum, self.std), list(self.categories)
        if self.kind == "category":
            sound = numbers == (0, 0, 1) and bool(texts) and texts == sorted({*texts})
        else:
            varies = self.minimum < self.maximum and self.std >= 1 / MAX_VALUE
            sound = not texts and (self.minimum == self.maximum or varies)
        if not sound:
            raise ValueError(
                "a number must have minimum <= maximum, std > 0 where they differ, and no categories; a category must "
                f"have sorted categories and no numbers, but got column {self.name!r}, a {self.kind} with "
                f"(minimum, maximum, std)={numbers} and {len(self.categories)} categories"
            )
        return self

    @classmethod
    def fit(cls, name: str, column: pa.ChunkedArray) -> Self:
        """Learn the encoding of the training rows.

        Raises:
            UserError: value and mask are both constant.
        """
        column = scalar_column(column, f"data.static: column {name!r}")
        distinct = pc.unique(column)
        if len(distinct) < 2:
            raise UserError(
                f"data.static: column {name!r} must vary among the training rows, "
                f"but got {distinct[0].as_py()!r} in all of them; leave it out or change data.split"
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
        """What the training rows of all groups together had."""
        ends = {} if self.kind == "category" else {"minimum": self.minimum, "maximum": self.maximum}
        return ValueRange(**ends, categories=self.categories, has_nulls=self.has_nulls)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded columns, such as `sex=F` or `age_years is null`."""
        varies = (self.name,) if self.minimum < self.maximum else ()
        mask = (f"{self.name} is null",) if self.has_nulls else ()
        return (*varies, *(f"{self.name}={category}" for category in self.categories), *mask)

    def has(self, value: float | str | None) -> bool:
        """Whether `value` can be encoded."""
        if value is None or self.kind == "category":
            return self.has_nulls if value is None else value in self.categories
        varies = self.minimum < self.maximum
        return isinstance(value, float) and (abs(value) <= MAX_VALUE if varies else value == self.minimum)

    def encode(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """The column's part [N, len(names)] of the encoded parameters.

        Raises:
            UserError: a null, a text or the one other number that no training row had, or a wrong type.
        """
        where = f"static column {self.name!r}"
        column = scalar_column(column, where)
        expected = pa.float64() if self.kind == "number" else pa.string()
        if not pa.types.is_null(column.type) and column.type != expected:
            raise UserError(f"{where}: must be a {self.kind}, but got {column[0].as_py()!r}")
        column, null = column.cast(expected), pc.is_null(column).to_numpy()
        if null.any() and not self.has_nulls:
            raise UserError(f"{where}: must be known, but got null; no training row had none")
        values = self._encode_numbers(column) if self.kind == "number" else self._encode_categories(column)
        return np.column_stack([values, null]) if self.has_nulls else values

    def decode(self, encoded: NDArray[np.floating]) -> float | str | None:
        """The value of one row from its part of the encoded parameters [len(names)]; numbers as exact as float32."""
        if self.has_nulls and encoded[-1] > 0.5:
            return None
        if self.kind == "category":
            return self.categories[int(np.argmax(encoded[: len(self.categories)]))]
        varies = self.minimum < self.maximum
        return float(np.float32(encoded[0] * self.std + self.mean)) if varies else self.minimum

    def _encode_numbers(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        if self.minimum < self.maximum:
            numbers: NDArray[np.float64] = column.to_numpy()  # NaN where null
            return np.nan_to_num((numbers - self.mean) / self.std)[:, None]
        self._refuse_unknown(column.filter(pc.not_equal(column, self.minimum)), [self.minimum])
        return np.empty((len(column), 0))

    def _encode_categories(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        self._refuse_unknown(column.filter(pc.invert(pc.is_in(column, pa.array(self.categories)))), self.categories)
        hits = [pc.equal(column, name).fill_null(False).to_numpy() for name in self.categories]
        return np.stack(hits, axis=1).astype(np.float64)

    def _refuse_unknown(self, unknown: pa.ChunkedArray, known: Sequence[object]) -> None:
        unknown = unknown.drop_null()
        if len(unknown):
            raise UserError(
                f"static column {self.name!r}: must be one of {list(known)}, the training part's values, "
                f"but got {unknown[0].as_py()!r}"
            )


class StaticEncoder(Section):
    """All static columns, in the order of `data.static`."""

    columns: tuple[StaticColumn, ...] = Field(min_length=1)
    """One entry a column of the waveform table."""

    @field_validator("columns")
    @classmethod
    def _names_differ(cls, columns: tuple[StaticColumn, ...]) -> tuple[StaticColumn, ...]:
        if len({column.name for column in columns}) < len(columns):
            raise ValueError("names must differ")
        return columns

    @classmethod
    def fit(cls, table: pa.Table, names: Sequence[str]) -> Self:
        """Learn the encoding from a table of the training rows.

        Raises:
            UserError: a column's value and mask are both constant.
        """
        return cls(columns=tuple(StaticColumn.fit(name, table[name]) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the S encoded parameters."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def dim(self) -> int:
        """S, the number of encoded parameters."""
        return len(self.names)

    def encode(self, table: pa.Table) -> NDArray[np.float32]:
        """Encoded parameters [N, S] of a table that has the static columns.

        Raises:
            UserError: a column is missing, or holds a value that no training row had.
        """
        for column in self.columns:
            if column.name not in table.column_names:
                raise UserError(f"static column {column.name!r}: must be given, but got only {table.column_names}")
        return np.hstack([column.encode(table[column.name]) for column in self.columns]).astype(np.float32)

    def decode(self, encoded: NDArray[np.floating]) -> dict[str, float | str | None]:
        """The values of one row [S], by column; numbers as exact as float32."""
        ends = np.cumsum([len(column.names) for column in self.columns])
        parts = np.split(encoded, ends[:-1])
        return {column.name: column.decode(part) for column, part in zip(self.columns, parts, strict=True)}
