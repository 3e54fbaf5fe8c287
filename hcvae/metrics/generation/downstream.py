"""Train on synthetic, test on real: whether generated waveforms train a predictor as well as recordings do.

Shapes: N rows, T samples of a waveform, C principal components.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.checks import checked_table
from hcvae.metrics.generation.arrays import checked_column

COMPONENTS = 32
"""Principal components from which the predictors learn."""
CHANCE_AUC = 0.5


@dataclass(frozen=True)
class Labelled:
    """Waveforms with the targets of the predictors; raises UserError if the shapes do not fit."""

    signals: FloatArray
    """Waveforms, [N, T]."""
    level: FloatArray
    """Stimulus level in dB, [N]."""
    group: NDArray[Any] | None = None
    """Group of subjects of each row, such as sex or age group, [N]."""

    def __post_init__(self) -> None:
        checked_column("level", self.level, len(checked_table("signals", self.signals, min_rows=2)))
        if self.group is not None and np.shape(self.group) != (len(self.signals),):
            raise UserError(
                f"group: must have one for each of the {len(self.signals)} rows, but got shape {np.shape(self.group)}"
            )

    def sample(self, count: int, random: np.random.Generator) -> "Labelled":
        """Return `count` of the rows, sampled without replacement."""
        rows = random.permutation(len(self.signals))[:count]
        group = self.group
        if group is not None:
            group = np.asarray(group)[rows]
        return Labelled(np.asarray(self.signals)[rows], np.asarray(self.level)[rows], group)


@dataclass(frozen=True)
class TrainOnSynthetic:
    """Scores on held-out recordings, of predictors fitted to generated (synthetic) and to recorded (real) waveforms."""

    level_r2_synthetic: float
    """R2 of the stimulus level."""
    level_r2_real: float
    group_auc_synthetic: float | None
    """Area under the ROC curve, mean over the groups against the rest; chance is 0.5. None without groups."""
    group_auc_real: float | None
    group_balanced_accuracy_synthetic: float | None
    """Mean recall of the groups. None without groups."""
    group_balanced_accuracy_real: float | None

    @property
    def level_ratio(self) -> float | None:
        """R2 of synthetic over that of real; 1 for a perfect generator, None if the level cannot be predicted."""
        return _ratio(self.level_r2_synthetic, self.level_r2_real)

    @property
    def group_ratio(self) -> float | None:
        """AUC - 0.5 of synthetic over that of real; None also without groups."""
        if self.group_auc_synthetic is None or self.group_auc_real is None:
            return None
        return _ratio(self.group_auc_synthetic - CHANCE_AUC, self.group_auc_real - CHANCE_AUC)


def train_on_synthetic(
    generated: Labelled, real_train: Labelled, real_test: Labelled, *, seed: int = 0
) -> TrainOnSynthetic:
    """Fit predictors to generated and to recorded waveforms, and test both on held-out recordings.

    These are TSTR and TRTR (Esteban et al. 2017). Level is predicted from the waveform, and the group from waveform and
    level, by gradient boosting with scikit-learn's defaults on the first 32 principal components. Both fits have the
    same number of rows, sampled by the seed.

    Args:
        generated: waveforms generated for the conditions of recordings.
        real_train: recordings to fit.
        real_test: recordings of other subjects.
        seed: seed of the sampling and the predictors.

    Raises:
        UserError: waveforms of different lengths, groups in only some of the three, or different groups.
    """
    _check_fit(generated, real_train, real_test)
    random = np.random.default_rng(seed)
    count = min(len(generated.signals), len(real_train.signals))
    synthetic = generated.sample(count, random)
    real = real_train.sample(count, random)
    auc_synthetic, accuracy_synthetic = _group_scores(synthetic, real_test, seed)
    auc_real, accuracy_real = _group_scores(real, real_test, seed)
    return TrainOnSynthetic(
        level_r2_synthetic=_level_r2(synthetic, real_test, seed),
        level_r2_real=_level_r2(real, real_test, seed),
        group_auc_synthetic=auc_synthetic,
        group_auc_real=auc_real,
        group_balanced_accuracy_synthetic=accuracy_synthetic,
        group_balanced_accuracy_real=accuracy_real,
    )


def _level_r2(train: Labelled, test: Labelled, seed: int) -> float:
    inputs, held_out = _components(train, test, seed)
    regressor = HistGradientBoostingRegressor(random_state=seed).fit(inputs, train.level)
    return float(r2_score(test.level, regressor.predict(held_out)))


def _group_scores(train: Labelled, test: Labelled, seed: int) -> tuple[float, float] | tuple[None, None]:
    """Return AUC and balanced accuracy."""
    if train.group is None:
        return None, None
    inputs, held_out = _components(train, test, seed)
    inputs = np.column_stack([inputs, train.level])
    held_out = np.column_stack([held_out, test.level])
    classifier = HistGradientBoostingClassifier(random_state=seed).fit(inputs, train.group)
    areas = []
    for name, probability in zip(classifier.classes_, classifier.predict_proba(held_out).T, strict=True):
        areas.append(roc_auc_score(test.group == name, probability))
    return float(np.mean(areas)), float(balanced_accuracy_score(test.group, classifier.predict(held_out)))


def _components(train: Labelled, test: Labelled, seed: int) -> tuple[FloatArray, FloatArray]:
    components = PCA(min(COMPONENTS, *train.signals.shape), random_state=seed).fit(train.signals)
    return components.transform(train.signals), components.transform(test.signals)


def _check_fit(generated: Labelled, real_train: Labelled, real_test: Labelled) -> None:
    lengths = {}
    groups: dict[str, set[Any] | None] = {}
    for name, labelled in (("generated", generated), ("real_train", real_train), ("real_test", real_test)):
        lengths[name] = np.shape(labelled.signals)[1]
        groups[name] = None
        if labelled.group is not None:
            groups[name] = set(np.unique(labelled.group).tolist())
    if len(set(lengths.values())) > 1:
        raise UserError(f"signals: must all have the same length, but got {lengths} samples")
    expected = groups["real_test"]
    if any(found != expected for found in groups.values()):
        raise UserError(f"group: must have the same groups in all three sets, but got {groups}")
    if expected is not None and len(expected) < 2:
        raise UserError(f"group: must have two groups or more, but got {expected}; give None")


def _ratio(synthetic: float, real: float) -> float | None:
    if real > 0:
        return synthetic / real
    return None
