"""What a finished trial leaves to look at: figures of its model on the validation part, as artifacts of the study.

The trial's process draws them into the trial's folder; the process that tells the study uploads them.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import optuna
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, Trial

from hcvae.bundle import Bundle, load
from hcvae.data.dataset import Part
from hcvae.evaluation.model_figures import ModelFigures
from hcvae.plots import save_figure
from tune.outcome import Outcome
from tune.study import StudyFolder

FOLDER = "figures"
ROWS, RECONSTRUCTED, SWAPPED = 512, 4, 3
"""Rows of the use of the latents, panels of reconstructions, rows and columns of the swap grid."""
DPI = 80


def illustrate(outcome: Outcome, validation: Part, folder: Path) -> Outcome:
    """Draw the figures of a complete trial, whose bundle lies in `folder`; a figure that fails is not the trial's
    failure, but the outcome says why it is missing."""
    if outcome.state != "complete":
        return outcome
    try:
        figures = draw(load(folder / "bundle"), validation, folder / FOLDER)
    except Exception as error:  # noqa: BLE001 - the trial has its values, whatever becomes of its figures
        return outcome.model_copy(update={"figure_failure": f"{type(error).__name__}: {error}"})
    return outcome.model_copy(update={"figures": tuple(str(file) for file in figures)})


def draw(bundle: Bundle, validation: Part, target: Path) -> list[Path]:
    """Draw reconstructions, exchanged latents and the use of the latents as PNG files in `target`."""
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in _figures(bundle, validation):
        files.append(target / f"{name}.png")
        save_figure(figure, files[-1], DPI)
    return files


def upload(folder: StudyFolder, trial: Trial, files: Sequence[str]) -> None:
    """Copy `files` into the study's artifact store, from which its dashboard shows them. A file that an interrupted
    upload has left there already is not copied again.

    Raises:
        OSError: a file cannot be read, or the store not be written.
    """
    folder.artifacts.mkdir(exist_ok=True)
    store = FileSystemArtifactStore(folder.artifacts)
    known = {meta.filename for meta in get_all_artifact_meta(trial)}
    for file in files:
        if Path(file).name not in known:
            upload_artifact(artifact_store=store, file_path=file, study_or_trial=trial)


def images(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> dict[str, bytes]:
    """The PNG files among the artifacts of a trial, by name; one that is gone from the store is left out."""
    store, found = FileSystemArtifactStore(folder.artifacts), {}
    for meta in get_all_artifact_meta(trial, storage=study._storage):
        if meta.mimetype == "image/png":
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                found[meta.filename] = file.read()
    return dict(sorted(found.items()))


def _figures(bundle: Bundle, validation: Part) -> Iterator[tuple[str, Figure]]:
    part = _some_rows(validation)
    model = ModelFigures(bundle.model, bundle.preprocessing, part)
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
