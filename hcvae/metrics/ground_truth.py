"""J_gt: the swap analysis on the simulator's known factors, predicted from the decoded waveform by a fixed regressor.

It is independent of the swap-routing score, so that it can judge a penalty that trains on the score's attributes.

Shapes: N rows, T = 200 samples, F = 7 factors, S static parameters, Q swaps; G global, L local and M intermediate
latent dimensions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hcvae.arrays import FloatArray
from hcvae.data.normative import RecordingConditions
from hcvae.data.simulator import COARSE_FACTORS, FACTORS, FINE_FACTORS, response_of, simulate
from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.metrics.checks import to_numpy
from hcvae.metrics.decoding import ArrayT, Decode, LatentDecoder
from hcvae.metrics.swap_shares import LevelShares, global_selectivity, level_shares

READ_FACTORS = (*COARSE_FACTORS, *FINE_FACTORS)
"""The F factors that determine a waveform, without the noise level."""
CONDITION_COLUMNS = ("stimulus_level_db", "stimulus_rate_hz", "age_years", "hearing_loss_db", "sex")
"""The inputs of the reader besides the waveform."""
TRAINING_ROWS = 20_000
HELD_OUT_ROWS = 4_000
SEED = 987_654
MIN_R2 = 0.3
"""Smallest R2 of the reader on held-out rows for a factor that counts."""
NEGLIGIBLE_EFFECT = 1e-4
"""Variance under swaps, as a share of the factor's variance, below which no latent has an effect."""


@dataclass(frozen=True)
class FactorReader:
    """Predicts the factors from a waveform and its condition: an MLP with two layers of 256."""

    regressor: Pipeline
    r2: Mapping[str, float]
    """R2 of each factor on held-out simulated rows."""

    @classmethod
    def fit(cls, rows: int = TRAINING_ROWS, seed: int = SEED) -> "FactorReader":
        """Train on simulated rows of `seed`, and test on rows of `seed` + 1."""
        network = MLPRegressor(
            hidden_layer_sizes=(256, 256),
            batch_size=256,
            max_iter=60,
            early_stopping=True,
            n_iter_no_change=8,
            random_state=0,
        )
        regressor = make_pipeline(StandardScaler(), network)
        table = simulate(rows, seed)
        held_out = simulate(HELD_OUT_ROWS, seed + 1)
        regressor.fit(_inputs(signals_of(table), condition_of(table)), factors_of(table))
        predicted = cls(regressor, {})(signals_of(held_out), condition_of(held_out))
        r2 = r2_score(factors_of(held_out), predicted, multioutput="raw_values").tolist()
        return cls(regressor, dict(zip(READ_FACTORS, r2, strict=True)))

    def __call__(self, signals_uv: ArrayLike, condition: ArrayLike) -> FloatArray:
        """Return the factors in standard deviations [N, F] of waveforms in uV [N, T] under conditions [N, 5]."""
        return np.asarray(self.regressor.predict(_inputs(signals_uv, condition)), np.float64)


@cache
def factor_reader() -> FactorReader:
    """Return the fixed reader, which the first call in a process trains (about 10 s)."""
    return FactorReader.fit()


@dataclass(frozen=True)
class GroundTruthRouting:
    """Which latent controls the simulator's factors."""

    signed: float
    """J_gt, the mean of coarse and fine: 1 for the intended routing, -1 for the reverse. Compare with the oracle's."""
    coarse: float
    """Mean of global minus local share over the coarse factors."""
    fine: float
    """Mean of local minus global share over the fine factors."""
    shares: Mapping[str, LevelShares]
    """Shares of each factor that counts, by name."""
    reader_r2: Mapping[str, float]
    """R2 of the reader on held-out rows, by factor; factors below 0.3 do not count."""


def ground_truth_routing(
    decode: Decode[ArrayT],
    z_global: ArrayT,
    z_local: ArrayT,
    condition: ArrayT,
    reader_condition: FloatArray,
    *,
    z_intermediate: ArrayT | None = None,
    reader: FactorReader | None = None,
    pairs: int = 256,
    repeats: int = 4,
    seed: int = 0,
) -> GroundTruthRouting:
    """Exchange latents of simulated rows, predict the factors from the decoded waveforms, and divide their variance.

    Nothing is clipped or weighted. A factor that no latent changes has shares of 0.

    Args:
        decode: (z_global, z_local, condition) -> waveforms in uV [n, T], a model in eval mode; with `z_intermediate`
            it takes that as a fourth argument. Called `repeats` times.
        z_global: posterior means, [N, G].
        z_local: posterior means, [N, L].
        condition: what `decode` takes as the condition, [N, S].
        reader_condition: conditions of the same rows in physical units, [N, 5], from `condition_of`.
        z_intermediate: posterior means between the two, [N, M]; None for models without.
        reader: predicts the factors; None: the fixed reader, with which all results are comparable.
        pairs: swaps in a repeat.
        repeats: calls of `decode`.
        seed: seed of the random swaps.

    Raises:
        UserError: numbers of rows that differ, or fewer than 2, or a `reader` that predicts no factor of a group.
        ValueError: `decode` returns another shape than 200 samples a row, or values that are not finite.
    """
    latents: tuple[ArrayT, ...] = (z_global, z_local)
    if z_intermediate is not None:
        latents = (z_global, z_local, z_intermediate)
    inputs: list[Any] = [*latents, condition, reader_condition]
    n_rows = set(map(len, inputs))
    if len(n_rows) > 1 or min(n_rows) < 2:
        raise UserError(
            f"latents, conditions: must all have the same number of rows, 2 or more, but got {sorted(n_rows)}"
        )
    reader = reader or factor_reader()
    split = -reader_condition.shape[1]

    def decode_factors(z_global: ArrayT, z_local: ArrayT, conditions: ArrayT, *z_intermediate: ArrayT) -> FloatArray:
        signals_uv = decode(z_global, z_local, conditions[:, :split], *z_intermediate)
        return reader(to_numpy(signals_uv), to_numpy(conditions[:, split:]))

    decoder = LatentDecoder(decode_factors, latents, _concatenate(condition, reader_condition), len(READ_FACTORS))
    corners = np.concatenate(list(decoder.swaps(pairs, repeats, seed)), axis=-2)
    shares = {}
    for column, name in enumerate(READ_FACTORS):
        if reader.r2[name] >= MIN_R2:
            shares[name] = level_shares(corners[..., [column]], NEGLIGIBLE_EFFECT)
    coarse = _mean_global_selectivity(shares, COARSE_FACTORS)
    fine = 0.0 - _mean_global_selectivity(shares, FINE_FACTORS)
    return GroundTruthRouting((coarse + fine) / 2, coarse, fine, shares, reader.r2)


def oracle_routing(table: pa.Table, *, reader: FactorReader | None = None, seed: int = 0) -> GroundTruthRouting:
    """Return J_gt of the simulator itself, its coarse factors as z_global and its fine ones as z_local: about 0.92.

    It is below 1 because of the reader's error. `table` contains the factors and the condition of each row.

    Raises:
        UserError: as for `factors_of` and `condition_of`.
    """
    coarse = _columns(table, COARSE_FACTORS)
    fine = _columns(table, FINE_FACTORS)
    condition = condition_of(table)
    return ground_truth_routing(oracle_decode, coarse, fine, condition, condition, reader=reader, seed=seed)


def oracle_decode(coarse: FloatArray, fine: FloatArray, condition: FloatArray) -> FloatArray:
    """Return the simulator's noise-free waveforms in uV [N, T] for factors [N, 3], [N, 4] and conditions [N, 5]."""
    level_db, rate_hz, age_years, loss_db, female = condition.T
    factors = dict(zip(READ_FACTORS, np.hstack([coarse, fine]).T, strict=True))
    return response_of(RecordingConditions(level_db, rate_hz, age_years, loss_db, female > 0.5), factors)


def rows_with_factors(table: pa.Table) -> NDArray[np.int64]:
    """Return the rows with known factors and condition, as a table may also contain recordings.

    Raises:
        UserError: columns are missing, or fewer than 2 rows have values in all of them.
    """
    names = (*READ_FACTORS, *CONDITION_COLUMNS)
    _check_columns(table, names)
    is_known = np.ones(len(table), dtype=bool)
    for name in names:
        is_known &= table[name].is_valid().to_numpy()
    known = np.flatnonzero(is_known)
    if len(known) < 2:
        raise UserError(
            f"known factors: at least 2 rows must have them, but got {len(known)} of {len(table)}; use simulated rows"
        )
    return known


def factors_of(table: pa.Table) -> FloatArray:
    """Return the factors of each row in standard deviations, [N, F]; multipliers as their logarithms.

    Raises:
        UserError: columns are missing; the message names them.
    """
    values = _columns(table, READ_FACTORS)
    standardised = []
    for name, column in zip(READ_FACTORS, values.T, strict=True):
        deviation, is_log = FACTORS[name]
        if is_log:
            standardised.append(np.log(column) / deviation)
        else:
            standardised.append(column / deviation)
    return np.column_stack(standardised)


def condition_of(table: pa.Table) -> FloatArray:
    """Return the condition of each row for the reader, [N, 5]: level, rate, age, hearing loss, and 1 for women.

    Raises:
        UserError: columns are missing; the message names them.
    """
    *numbers, sex = CONDITION_COLUMNS
    _check_columns(table, CONDITION_COLUMNS)
    female = np.array(table[sex].to_pylist()) == "F"
    return np.column_stack([_columns(table, numbers), female])


def _columns(table: pa.Table, names: Iterable[str]) -> FloatArray:
    _check_columns(table, names)
    return np.column_stack([table[name].to_numpy().astype(np.float64) for name in names])


def _check_columns(table: pa.Table, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise UserError(f"known factors: the simulator's columns {missing} are missing; use simulated rows")


def _inputs(signals_uv: ArrayLike, condition: ArrayLike) -> NDArray[np.float32]:
    return np.hstack([np.asarray(signals_uv, np.float32), np.asarray(condition, np.float32)])


def _concatenate(condition: Any, reader_condition: FloatArray) -> Any:
    if isinstance(condition, torch.Tensor):
        return torch.cat([condition.cpu().double(), torch.from_numpy(reader_condition)], dim=1)
    return np.hstack([condition, reader_condition])


def _mean_global_selectivity(shares: Mapping[str, LevelShares], names: Iterable[str]) -> float:
    """Return the mean over those of `names` that have shares."""
    selectivities = [global_selectivity(shares[name]) for name in names if name in shares]
    if not selectivities:
        raise UserError(
            f"reader: must predict a factor of each group with R2 >= {MIN_R2}, but does not; train it on more rows"
        )
    return float(np.mean(selectivities))
