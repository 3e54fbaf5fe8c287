"""Preparation of training data: read or simulate, check, split, normalise, encode.

Shapes: N rows of a part, T samples, S encoded static parameters.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.config import Config, DataConfig
from hcvae.data.labelled_peaks import MODEL_WAVES, PeakRange
from hcvae.data.normalization import SignalNormalization
from hcvae.data.preprocessing import Preprocessing, frequent_combinations, last_sample_ms, seen_values
from hcvae.data.split import Split, recording_key, row_codes, split_rows
from hcvae.data.static import StaticEncoder
from hcvae.data.table import (
    PEAK_COLUMNS,
    RESPONSE_COLUMNS,
    WAVES,
    check_table,
    licence_of,
    read_tables,
    sampling_rate_of,
    signals_of,
)
from hcvae.described import Described
from hcvae.errors import UserError


@dataclass(frozen=True, repr=False)
class Part(Described):
    """One part of the split, as plain arrays, which Ray shares among processes without a copy."""

    signals: NDArray[np.float32]
    """Normalised waveforms [N, T]."""
    static: NDArray[np.float32]
    """Encoded static parameters [N, S]."""
    peaks: NDArray[np.float32]
    """Latencies of waves I, III, V in ms, then their amplitudes in uV [N, 6]; 0 if not labelled."""
    peak_mask: NDArray[np.bool_]
    """Which of `peaks` are labelled [N, 6]."""
    group: NDArray[np.int64]
    """Normalisation group [N], for `SignalNormalization.denormalize`."""
    independent: NDArray[np.int64]
    """Another row of this part that is an independent average of the same response [N]; -1 if there is none."""

    def __len__(self) -> int:
        return len(self.signals)

    def facts(self) -> dict[str, object]:
        """Return the sizes."""
        rows, samples = self.signals.shape
        return {"rows": rows, "samples": samples, "static": self.static.shape[1], "labelled": int(self.peak_mask.sum())}

    @property
    def is_paired(self) -> NDArray[np.bool_]:
        """Which rows have an independent average [N]."""
        return self.independent >= 0

    @property
    def has_independent_averages(self) -> bool:
        """Whether there are several averages of a response."""
        return bool(self.is_paired.any())

    @property
    def other(self) -> NDArray[np.int64]:
        """The row with an independent average of the same response, or the row itself where there is none, [N]."""
        return np.where(self.is_paired, self.independent, np.arange(len(self)))

    def independent_averages(self, waveforms: NDArray[Any]) -> NDArray[Any]:
        """Return the independent average of each row among `waveforms` [N, T]; NaN where there is none."""
        return np.where(self.is_paired[:, None], waveforms[self.independent], np.nan)

    def take(self, rows: NDArray[np.int64]) -> "Part":
        """Return some of the rows, without the relation of independent averages."""
        selected = {name: array[rows] for name, array in vars(self).items()}
        selected["independent"] = np.full(len(rows), -1)
        return Part(**selected)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        return sum(array.nbytes for array in vars(self).values())


class TrainingRows(Protocol):
    """Training rows that are not in memory (see `hcvae.data.streaming`)."""

    @property
    def nbytes(self) -> int:
        """Memory of the blocks in transit, in bytes."""

    @property
    def n_groups(self) -> int:
        """Number of row groups, the units that are shuffled."""

    def __len__(self) -> int: ...

    def blocks(self, groups: Sequence[int], first: int, count: int) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Yield `count` rows from number `first` on, of the row groups in the order `groups`, for `PartTensors`."""


@dataclass(frozen=True, repr=False)
class Dataset(Described):
    """The three parts of the split, and the preprocessing that relates them to physical units."""

    train: Part
    """The training rows; with `stream` a sample of them, for what is fitted before and after the training."""
    validation: Part
    test: Part
    preprocessing: Preprocessing
    fingerprint: str
    """SHA-256 of all values that training uses, and of the split."""
    split: Split
    licence: str | None
    """Licence of the recordings, from the configuration or else the tables' metadata."""
    stream: TrainingRows | None = None
    """Training rows that stay on disk."""

    def facts(self) -> dict[str, object]:
        """Return sizes, split and fingerprint."""
        samples = self.preprocessing.signal_length
        rate_hz = self.preprocessing.sampling_rate_hz
        return {
            "train": self.n_train,
            "validation": len(self.validation),
            "test": len(self.test),
            "unit": self.split.unit,
            "samples": f"{samples} at {rate_hz:g} Hz",
            "fingerprint": self.fingerprint[:12],
        }

    @property
    def n_train(self) -> int:
        """Number of training rows, in memory or on disk."""
        if self.stream is None:
            return len(self.train)
        return len(self.stream)

    @property
    def nbytes(self) -> int:
        """Memory of the three parts and of the blocks of the stream, in bytes."""
        total = self.train.nbytes + self.validation.nbytes + self.test.nbytes
        if self.stream is not None:
            total += self.stream.nbytes
        return total


def prepare(config: Config) -> Dataset:
    """Read or simulate the rows, and split them; all statistics are those of the training part.

    Raises:
        UserError: invalid tables, static columns, split or `model.static_dim`.
    """
    table = _load(config)
    split = split_rows(table, config.data)
    signals = signals_of(table)
    rate = sampling_rate_of(table)
    licence = config.data.licence or licence_of(table)
    table = table.drop_columns("signal")
    train_table = table.take(split.train)
    scaling = SignalNormalization.fit(signals[split.train], train_table, config.normalization.group_by)
    rows = Rows.of(table, signals, rate, scaling, config.data)
    labelled = PeakRange.of(rows.peaks[split.train], rows.peak_mask[split.train])
    preprocessing = fit_preprocessing(config, train_table, scaling, rate, labelled)
    static = preprocessing.static
    check_held_out(static, table, split, config.data)
    content = [signals, rows.peaks, rows.peak_mask, rows.group, rows.response, np.array(rate)]
    return Dataset(
        train=rows.part(split.train, scaling, static),
        validation=rows.part(split.validation, scaling, static),
        test=rows.part(split.test, scaling, static),
        preprocessing=preprocessing,
        fingerprint=fingerprint(
            table.select(config.data.static), [*content, split.train, split.validation, split.test]
        ),
        split=split,
        licence=licence,
    )


def fit_preprocessing(
    config: Config,
    train: pa.Table,
    scaling: SignalNormalization,
    rate_hz: float,
    labelled: PeakRange,
) -> Preprocessing:
    """Fit the preprocessing to the training rows `train`.

    Args:
        config: The configuration.
        train: Training rows, without signals.
        scaling: Scaling of the waveforms, already fitted.
        rate_hz: Sampling rate.
        labelled: Range of the labelled peaks of the training rows.

    Raises:
        UserError: invalid static columns, `model.static_dim` or `model.peak_window_ms`.
    """
    static = StaticEncoder.fit(train, config.data.static)
    if config.model.static_dim not in (None, static.dim):
        raise UserError(
            f"model.static_dim: must be {static.dim} for the encoded columns {list(static.names)}, "
            f"but got {config.model.static_dim}; null: from the data"
        )
    window_ms = last_sample_ms(config.model.signal_length, rate_hz)
    if config.model.peak_window_ms not in (None, window_ms):
        raise UserError(
            f"model.peak_window_ms: must be {window_ms!r}, the time of the last sample, "
            f"but got {config.model.peak_window_ms!r}; null: from the data"
        )
    group = scaling.index(train)
    groups = list(scaling.groups)
    peak_limits = labelled.limits()
    combinations, uncounted = frequent_combinations(static, train, group, groups)
    return Preprocessing(
        signal_length=config.model.signal_length,
        sampling_rate_hz=rate_hz,
        signal=scaling,
        static=static,
        typical={name: found[0].values for name, found in combinations.items()},
        labelled_waves=tuple(peak_limits),
        peak_limits=peak_limits,
        seen=seen_values(static, train, group, groups),
        combinations=combinations,
        uncounted=uncounted,
    )


def check_held_out(static: StaticEncoder, table: pa.Table, split: Split, config: DataConfig) -> None:
    """Check that the conditions of the validation and the test part occur in the training part.

    Args:
        static: The encoding, fitted to the training part.
        table: The static columns of all rows.
        split: The split of these rows.
        config: The columns and the seed of the split, for the message.

    Raises:
        UserError: a null or a category that no training row has; the message names options that avoid it.
    """
    for name, rows in (("validation", split.validation), ("test", split.test)):
        for column in static.columns:
            try:
                column.encode(table[column.name].take(rows))
            except UserError as error:
                raise UserError(f"{name} part: {error}; {_remedy(column.name, config)}") from error


def _remedy(name: str, config: DataConfig) -> str:
    """Return options with which the static column `name` is not needed, complete, or divided in another way."""
    steps = []
    others = [column for column in config.static if column != name]
    if others:
        steps.append(f"leave it out (--data.static '{json.dumps(others)}')")
    steps.append(f"fill in missing values at import (hcvae import --value {name}=VALUE)")
    steps.append(f"split the rows in another way (--data.split.seed {config.split.seed + 1})")
    return ", or ".join(steps)


def read_part(config: Config, preprocessing: Preprocessing) -> Part:
    """Read or simulate all rows as one part, with the preprocessing of a trained model.

    Raises:
        UserError: invalid tables, another sampling rate, or a condition that no training row had.
    """
    table = _load(config)
    rate = sampling_rate_of(table)
    if rate != preprocessing.sampling_rate_hz:
        raise UserError(
            f"data: the model's waveforms have {preprocessing.sampling_rate_hz:g} Hz, but got {rate:g} Hz; "
            "resample the tables"
        )
    scaling = preprocessing.signal
    rows = Rows.of(table.drop_columns("signal"), signals_of(table), rate, scaling, config.data)
    return rows.part(np.arange(table.num_rows), scaling, preprocessing.static)


@dataclass(frozen=True)
class Rows:
    """Rows [N] of the tables before the split."""

    table: pa.Table
    signals: NDArray[np.float32]
    peaks: NDArray[np.float32]
    peak_mask: NDArray[np.bool_]
    group: NDArray[np.int64]
    response: NDArray[np.int64]
    """Rows with the same number are independent averages of one response."""

    @classmethod
    def of(
        cls,
        table: pa.Table,
        signals: NDArray[np.float32],
        rate_hz: float,
        scaling: SignalNormalization,
        config: DataConfig,
    ) -> "Rows":
        """Collect the rows of a checked `table`, given without its `signals` [N, T]."""
        peaks, peak_mask = peaks_of(table, last_sample_ms(signals.shape[1], rate_hz))
        return cls(table, signals, peaks, peak_mask, scaling.index(table), response_codes(table, config))

    def part(self, rows: NDArray[np.int64], scaling: SignalNormalization, static: StaticEncoder) -> Part:
        """Return the rows with these numbers, normalised and encoded."""
        return Part(
            signals=scaling.normalize(self.signals[rows], self.group[rows]),
            static=static.encode(self.table.take(rows)),
            peaks=self.peaks[rows],
            peak_mask=self.peak_mask[rows],
            group=self.group[rows],
            independent=next_in_cycle(self.response[rows]),
        )


def next_in_cycle(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row [N] the next row with the same code, cyclically; -1 if it is the only one."""
    order = np.argsort(codes, kind="stable")
    first = np.flatnonzero(np.diff(codes[order], prepend=-1))
    following = np.roll(order, -1)
    following[np.append(first[1:], len(codes)) - 1] = order[first]
    result = np.empty_like(order)
    result[order] = np.where(following == order, -1, following)
    return result


def response_codes(table: pa.Table, config: DataConfig) -> NDArray[np.int64]:
    """Return a number for each row [N], the same for independent averages of one response.

    By default, the averages of one response have the same condition: halves with unequal numbers of sweeps do not pair,
    nor do two ears or two stimuli.
    """
    return row_codes(table, response_columns(config, table.column_names))


def response_columns(config: DataConfig, present: Sequence[str]) -> Sequence[str]:
    """Return the columns in which averages of one response agree, in a table with the columns `present`."""
    if config.average_columns is not None:
        return config.average_columns
    described = [name for name in RESPONSE_COLUMNS if name in present]
    return list(dict.fromkeys([*recording_key(config), *config.static, *described]))


def _load(config: Config) -> pa.Table:
    if config.data.tables:
        return read_tables(config.data, config.model.signal_length)
    from hcvae.data.simulator import simulate

    table = simulate(config.data.simulator.rows, config.data.simulator.seed)
    return check_table(table, config.data, config.model.signal_length, "simulator")


def peaks_of(table: pa.Table, last_ms: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return peaks and their mask, both [N, 6]; labels outside the recorded window, 0 to `last_ms`, are masked."""
    if PEAK_COLUMNS[0] not in table.column_names:
        return np.zeros((table.num_rows, 6), np.float32), np.zeros((table.num_rows, 6), np.bool_)
    latency_column, amplitude_column, valid_column = PEAK_COLUMNS
    # A null list, from a file without labels, gives null elements: NaN here, and false for `peak_valid`.
    latency = np.stack(_by_wave(table[latency_column]), axis=1)
    amplitude = np.stack(_by_wave(table[amplitude_column]), axis=1)
    valid = np.stack(_by_wave(table[valid_column], null=False), axis=1)
    in_window = (latency >= 0) & (latency <= np.float32(last_ms))
    mask = np.tile(valid & in_window & np.isfinite(amplitude), 2)
    return np.where(mask, np.hstack([latency, amplitude]), 0).astype(np.float32), mask


def _by_wave(lists: pa.ChunkedArray, null: bool | None = None) -> list[NDArray[Any]]:
    """Return the values [N] of each wave of the model in a column of peaks; `null` replaces nulls if given."""
    values = []
    for wave in MODEL_WAVES:
        elements = pc.list_element(lists, WAVES.index(wave))
        if null is not None:
            elements = elements.fill_null(null)
        values.append(elements.to_numpy())
    return values


def fingerprint(static: pa.Table, arrays: list[NDArray[np.generic]]) -> str:
    """Return the SHA-256 of raw static columns and arrays, before arithmetic that could differ between machines."""
    digest = hashlib.sha256()
    for name in static.column_names:
        text = static[name].cast(pa.string()).fill_null("\0").combine_chunks()
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(text)], text), "\n")
        digest.update(name.encode())
        digest.update(joined[0].as_buffer())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
