"""What a finished trial leaves to look at: figures of its model on the validation part, as artifacts of the study.

The trial's process draws them into the trial's folder; the process that tells the study uploads them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.trial import Trial

from hcvae.data.dataset import Dataset, Part
from hcvae.evaluation.model_figures import ModelFigures
from hcvae.plots import save_figure
from hcvae.training import FitResult
from tune.study import StudyFolder

FOLDER = "figures"
ROWS, RECONSTRUCTED, SWAPPED = 512, 8, 3
"""Rows of the latents' use, panels of reconstructions, rows and columns of the swap grid."""
DPI = 80


def draw(trained: FitResult, data: Dataset, folder: Path) -> tuple[Path, ...]:
    """Draw the figures of a training into `folder`/figures and return their files."""
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in _figures(trained, data):
        files.append(target / f"{name}.png")
        save_figure(figure, files[-1], DPI)
    return tuple(files)


def upload(folder: StudyFolder, trial: Trial, files: Sequence[Path]) -> None:
    """Copy `files` into the study's artifact store, where its dashboard finds them; those already there stay."""
    store = FileSystemArtifactStore(folder.artifacts)
    known = {meta.filename for meta in get_all_artifact_meta(trial)}
    for file in files:
        if file.name not in known:
            upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=trial)


def _figures(trained: FitResult, data: Dataset) -> Iterator[tuple[str, Figure]]:
    part = _some_rows(data.validation)
    model = ModelFigures(trained.model, data.preprocessing, part)
    shown = _different_conditions(part)
    yield "reconstructions", model.reconstructions(shown[:RECONSTRUCTED])
    yield "swap_grid", model.swap_grid(shown[:SWAPPED])
    yield "latent_use", model.latent_use()


def _some_rows(part: Part) -> Part:
    """The same rows in every trial of a study, so that its models are compared on them."""
    return part.take(np.random.default_rng(0).permutation(len(part))[:ROWS])


def _different_conditions(part: Part) -> NDArray[np.int64]:
    """The first row of each condition, in the part's order."""
    return np.sort(np.unique(part.static, axis=0, return_index=True)[1])
