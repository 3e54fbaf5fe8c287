"""Training, validation and test parts that share no subject, or at least no recording.

Rows of one subject resemble each other, and two averages of one recording even more: a split of rows would measure
how well the model remembers.

Legend: N rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.config import DataConfig
from hcvae.described import Described
from hcvae.errors import UserError

PARTS = ("train", "validation", "test")
MIN_SUBJECTS = 5
"""From so many subjects on, the automatic choice is to split by subject."""


@dataclass(frozen=True, repr=False)
class Split(Described):
    """Sorted row numbers of the three parts, and why they are what they are."""

    unit: Literal["subject", "recording"]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    n_units: dict[str, int]
    units: NDArray[np.int64]
    """Number of each row's unit [N]."""
    explanation: str

    def facts(self) -> dict[str, object]:
        """The unit, and the rows of each part."""
        return {"unit": self.unit, **{part: len(getattr(self, part)) for part in PARTS}}


def split_rows(table: pa.Table, config: DataConfig) -> Split:
    """Divide the rows of a checked table; the same rows, in any order, and seed give the same parts.

    Raises:
        UserError: fewer than 3 units, or shares that leave no unit for training.
    """
    n_subjects = len(pc.unique(table[config.subject_column]))
    unit = config.split.unit
    if unit == "auto":
        unit = "subject" if n_subjects >= MIN_SUBJECTS else "recording"
    units = row_codes(table, [config.subject_column] if unit == "subject" else recording_key(config))
    counts = _unit_counts(int(units.max()) + 1, unit, config)
    part_of_unit = np.random.default_rng(config.split.seed).permutation(np.repeat(np.arange(3), counts))
    train, validation, test = (np.flatnonzero(part_of_unit[units] == part) for part in range(3))
    n_units = dict(zip(PARTS, counts, strict=True))
    explanation = _explain(unit, config.split.unit, n_subjects, counts, [len(train), len(validation), len(test)])
    return Split(unit, train, validation, test, n_units, units, explanation)


def recording_key(config: DataConfig) -> list[str]:
    """The columns that name a recording; a recording never spans subjects."""
    return list(dict.fromkeys((config.subject_column, *config.recording_columns)))


def row_codes(table: pa.Table, columns: Sequence[str]) -> NDArray[np.int64]:
    """A number [N] from 0 for each row, the same for rows that agree in all of `columns` (null agrees with null).

    The numbers follow the sorted values, so that they do not depend on the order of the rows.
    """
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        if not pa.types.is_null(table[name].type):
            rank = pc.rank(table[name], tiebreaker="dense").to_numpy().astype(np.int64)  # 1 to at most N
            codes = np.unique(codes * (table.num_rows + 1) + rank, return_inverse=True)[1]
    return codes


def _unit_counts(n: int, unit: str, config: DataConfig) -> list[int]:
    """Units in training, validation and test."""
    validation, test = (max(1, round(share * n)) for share in (config.split.validation, config.split.test))
    if n - validation - test < 1:
        raise UserError(
            f"data.split: each part needs a {unit}, but got {n} in all for validation={config.split.validation} and "
            f"test={config.split.test}, where 3 are needed at least; "
            + (
                "use unit 'recording', smaller shares or more data"
                if unit == "subject"
                else "check data.recording_columns"
            )
        )
    return [n - validation - test, validation, test]


def _explain(unit: str, asked: str, n_subjects: int, counts: Sequence[int], rows: Sequence[int]) -> str:
    compared = "at least" if n_subjects >= MIN_SUBJECTS else "fewer than"
    subjects = f"{n_subjects} subject" + "s" * (n_subjects > 1)
    reason = f"{subjects}, {compared} {MIN_SUBJECTS}" if asked == "auto" else "data.split.unit says so"
    meaning = (
        "No subject is in two parts: the figures hold for subjects that the model has not seen."
        if unit == "subject"
        else f"No recording is in two parts, but subjects are: the figures hold for further recordings of the same "
        f"{subjects}, and say nothing about other subjects."
    )
    return (
        f"Split by {unit} ({reason}): {' / '.join(map(str, counts))} {unit}s, {' / '.join(map(str, rows))} rows "
        f"for training / validation / test. {meaning}"
    )
