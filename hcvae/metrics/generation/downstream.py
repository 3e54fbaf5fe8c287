"""Train on synthetic, test on real: is a generated data set as good to learn from as a recorded one?

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
from hcvae.metrics.generation.arrays import checked_column, checked_rows

COMPONENTS = 32
CHANCE = 0.5


@dataclass(frozen=True)
class Labelled:
    """Waveforms and what is to be learned of them; raises UserError where the shapes do not fit."""

    signals: FloatArray
    """[N, T]."""
    level: FloatArray
    """Stimulus level, dB, [N]."""
    group: NDArray[Any] | None = None
    """A group of subjects that each row belongs to, such as sex or age group, [N]."""

    def __post_init__(self) -> None:
        checked_column("level", self.level, len(checked_rows("signals", self.signals)))
        if self.group is not None and np.shape(self.group) != (len(self.signals),):
            raise UserError(
                f"group: one for each of the {len(self.signals)} rows is needed, but got shape {np.shape(self.group)}"
            )

    def some(self, count: int, random: np.random.Generator) -> "Labelled":
        """`count` of the rows, drawn without replacement."""
        rows = random.permutation(len(self.signals))[:count]
        group = None if self.group is None else np.asarray(self.group)[rows]
        return Labelled(np.asarray(self.signals)[rows], np.asarray(self.level)[rows], group)


@dataclass(frozen=True)
class TrainOnSynthetic:
    """Scores on held-out recordings of models fitted to generated (synthetic) and to recorded (real) waveforms."""

    level_r2_synthetic: float
    """R2 of the stimulus level."""
    level_r2_real: float
    group_auc_synthetic: float | None
    """Area under the ROC curve, mean over the groups against the rest; chance is 0.5. None where no group is given."""
    group_auc_real: float | None
    group_balanced_accuracy_synthetic: float | None
    """Mean recall of the groups. None where no group is given."""
    group_balanced_accuracy_real: float | None

    @property
    def level_ratio(self) -> float | None:
        """R2 of the synthetic over that of the real; 1 for a perfect generator, None where nothing is learnable."""
        return _ratio(self.level_r2_synthetic, self.level_r2_real)

    @property
    def group_ratio(self) -> float | None:
        """The same of AUC - 0.5; None where no group is given, too."""
        if self.group_auc_synthetic is None or self.group_auc_real is None:
            return None
        return _ratio(self.group_auc_synthetic - CHANCE, self.group_auc_real - CHANCE)


def train_on_synthetic(
    generated: Labelled, real_train: Labelled, real_test: Labelled, *, seed: int = 0
) -> TrainOnSynthetic:
    """TSTR beside TRTR (Esteban et al. 2017): fit on generated or recorded waveforms, test on held-out recordings.

    Level is predicted from the waveform, the group from waveform and level, by gradient boosting with scikit-learn's
    defaults on the first 32 principal components. Both fits see the same number of rows, drawn by the seed.

    Args:
        generated: waveforms generated for the conditions of recordings.
        real_train: recordings to fit.
        real_test: recordings of other subjects.
        seed: seed of the draw and the models.

    Raises:
        UserError: waveforms of different lengths, groups in only some of the three, or different groups.
    """
    _check_fit(generated, real_train, real_test)
    random = np.random.default_rng(seed)
    count = min(len(generated.signals), len(real_train.signals))
    synthetic, real = generated.some(count, random), real_train.some(count, random)
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
    """AUC and balanced accuracy."""
    if train.group is None:
        return None, None
    inputs, held_out = _components(train, test, seed)
    inputs, held_out = np.column_stack([inputs, train.level]), np.column_stack([held_out, test.level])
    classifier = HistGradientBoostingClassifier(random_state=seed).fit(inputs, train.group)
    probability = classifier.predict_proba(held_out)
    areas = [roc_auc_score(test.group == name, probability[:, i]) for i, name in enumerate(classifier.classes_)]
    return float(np.mean(areas)), float(balanced_accuracy_score(test.group, classifier.predict(held_out)))


def _components(train: Labelled, test: Labelled, seed: int) -> tuple[FloatArray, FloatArray]:
    components = PCA(min(COMPONENTS, *train.signals.shape), random_state=seed).fit(train.signals)
    return components.transform(train.signals), components.transform(test.signals)


def _check_fit(generated: Labelled, real_train: Labelled, real_test: Labelled) -> None:
    of_set = {"generated": generated, "real_train": real_train, "real_test": real_test}
    lengths = {name: np.shape(labelled.signals)[1] for name, labelled in of_set.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"signals: all must be of one length, but got {lengths} samples")
    groups = {
        name: None if labelled.group is None else set(np.unique(labelled.group).tolist())
        for name, labelled in of_set.items()
    }
    if any(found != groups["real_test"] for found in groups.values()):
        raise UserError(f"group: all three sets must hold the same groups, but got {groups}")
    if groups["real_test"] is not None and len(groups["real_test"]) < 2:
        raise UserError(f"group: two groups or more must be told apart, but got {groups['real_test']}; give None")


def _ratio(synthetic: float, real: float) -> float | None:
    return synthetic / real if real > 0 else None
