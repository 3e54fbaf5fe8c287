"""Training, validation and test parts that share no subject, or at least no recording.

Rows of one subject are similar, and two averages of one recording even more so: with a split by rows, test metrics
would reward memorisation.

Shapes: N rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.config import DataConfig, SplitConfig
from hcvae.counting import counted
from hcvae.described import Described
from hcvae.errors import UserError

PARTS = ("train", "validation", "test")
MIN_SUBJECTS = 5
"""Smallest number of subjects for which `auto` splits by subject."""


@dataclass(frozen=True, repr=False)
class Split(Described):
    """Sorted row numbers of the three parts, and the reason for the unit."""

    unit: Literal["subject", "recording"]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    n_units: dict[str, int]
    units: NDArray[np.int64]
    """Unit of each row, as a number [N]."""
    explanation: str

    def facts(self) -> dict[str, object]:
        """Return the unit and the number of rows of each part."""
        return {"unit": self.unit, "train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def split_rows(table: pa.Table, config: DataConfig) -> Split:
    """Split the rows of a checked table; the result depends on the rows, not their order, and on the seed.

    Raises:
        UserError: fewer than 3 units, shares that leave no unit for training, or fewer units than folds.
    """
    n_subjects = len(pc.unique(table[config.subject_column]))
    unit = config.split.unit
    if unit == "auto":
        unit = "subject" if n_subjects >= MIN_SUBJECTS else "recording"
    key = recording_key(config)
    if unit == "subject":
        key = [config.subject_column]
    units = row_codes(table, key)
    counts = _unit_counts(int(units.max()) + 1, unit, config)
    part_of_unit = np.random.default_rng(config.split.seed).permutation(np.repeat(np.arange(3), counts))
    if config.split.folds is not None:
        part_of_unit = _with_fold(part_of_unit, unit, config.split)
        counts = np.bincount(part_of_unit, minlength=3).tolist()
    part_of_row = part_of_unit[units]
    train = np.flatnonzero(part_of_row == PARTS.index("train"))
    validation = np.flatnonzero(part_of_row == PARTS.index("validation"))
    test = np.flatnonzero(part_of_row == PARTS.index("test"))
    n_units = dict(zip(PARTS, counts, strict=True))
    explanation = _explain(unit, config.split.unit, n_subjects, counts, [len(train), len(validation), len(test)])
    if config.split.folds is not None:
        explanation += f" The validation part is fold {config.split.fold} of {config.split.folds}."
    return Split(unit, train, validation, test, n_units, units, explanation)


def recording_key(config: DataConfig) -> list[str]:
    """Return the columns that identify a recording; the subject is one of them."""
    return list(dict.fromkeys((config.subject_column, *config.recording_columns)))


def row_codes(table: pa.Table, columns: Sequence[str]) -> NDArray[np.int64]:
    """Return a number from 0 for each row [N], the same for rows that agree in all `columns`; null equals null.

    The numbers follow the sorted values, so they do not depend on the order of the rows.
    """
    codes = np.zeros(table.num_rows, np.int64)
    for name in columns:
        if not pa.types.is_null(table[name].type):
            rank = pc.rank(table[name], tiebreaker="dense").to_numpy().astype(np.int64)  # 1 to at most N
            codes = np.unique(codes * (table.num_rows + 1) + rank, return_inverse=True)[1]
    return codes


def _unit_counts(n: int, unit: str, config: DataConfig) -> list[int]:
    """Return the number of units in training, validation and test."""
    validation = max(1, round(config.split.validation * n))
    test = max(1, round(config.split.test * n))
    if n - validation - test < 1:
        remedy = "name the columns that identify a recording (--data.recording_columns), or add recordings"
        if unit == "subject":
            remedy = (
                "use --data.split.unit recording, smaller parts (--data.split.validation, --data.split.test), or more "
                "subjects"
            )
        raise UserError(
            f"data.split: each part needs a {unit}, but got {n} in total for validation={config.split.validation} and "
            f"test={config.split.test}, where at least 3 are needed; {remedy}"
        )
    return [n - validation - test, validation, test]


def _with_fold(part_of_unit: NDArray[np.int64], unit: str, config: SplitConfig) -> NDArray[np.int64]:
    """Return the part of each unit where a fold of those outside the test part is the validation part.

    Each of them is in one fold, and the folds differ by one unit at most.
    """
    outside_test = np.flatnonzero(part_of_unit != PARTS.index("test"))
    folds = config.folds or 1
    if len(outside_test) < folds:
        raise UserError(
            f"data.split.folds: must be at most the number of {unit}s outside the test part, {len(outside_test)}, but "
            f"got {folds}; use fewer folds, or more {unit}s"
        )
    divided = np.array_split(np.random.default_rng(config.seed).permutation(outside_test), folds)
    result = part_of_unit.copy()
    result[outside_test] = PARTS.index("train")
    result[divided[config.fold - 1]] = PARTS.index("validation")
    return result


def _explain(unit: str, asked: str, n_subjects: int, counts: Sequence[int], rows: Sequence[int]) -> str:
    compared = "at least" if n_subjects >= MIN_SUBJECTS else "fewer than"
    subjects = counted(n_subjects, "subject")
    reason = "set by data.split.unit"
    if asked == "auto":
        reason = f"{subjects}, {compared} {MIN_SUBJECTS}"
    if unit == "subject":
        meaning = "No subject is in two parts: the metrics hold for subjects that the model has not seen."
    else:
        meaning = (
            "No recording is in two parts, but subjects are: the metrics hold for further recordings of the same "
            f"{'subject' if n_subjects == 1 else subjects}, not for other subjects."
        )
    return (
        f"Split by {unit} ({reason}): {' / '.join(map(str, counts))} {unit}s, {' / '.join(map(str, rows))} rows "
        f"for training / validation / test. {meaning}"
    )
