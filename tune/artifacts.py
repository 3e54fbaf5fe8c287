"""What a finished trial leaves to look at, as artifacts of the study: figures of its model on the validation part, the
metrics of its epochs, and whatever is too long for an attribute.

The trial's process draws the figures into its attempt's folder; the process that tells the study uploads them.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.artifacts import get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, Trial

from hcvae.bundle import Bundle, load
from hcvae.data.dataset import Part
from hcvae.storage import Place
from tune.internals.optuna_internals import storage_of
from tune.outcome import Outcome
from tune.study_folder import StudyFolder
from tune.trial_attributes import is_long

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = "figures"
"""Folder of the figures of an attempt."""
HISTORY = "history.jsonl"
"""Metrics of every epoch, one a line; the dashboard shows it as a table."""
ROWS, RECONSTRUCTED, SWAPPED = 512, 4, 3
"""Rows of the use of the latents, panels of reconstructions, rows and columns of the swap grid."""
DPI = 80


def illustrate(outcome: Outcome, validation: Part, folder: Path) -> Outcome:
    """Draw the figures of a complete trial, whose bundle lies in `folder`; a figure that fails is not the trial's
    failure, but the outcome says why it is missing."""
    if outcome.state != "complete":
        return outcome
    try:
        figures = draw(load(folder / "bundle"), validation, folder / FIGURES)
    except Exception as error:  # noqa: BLE001 - the trial has its values, whatever becomes of its figures
        return outcome.model_copy(update={"figure_failure": f"{type(error).__name__}: {error}"})
    return outcome.model_copy(update={"figures": tuple(file.name for file in figures)})


def draw(bundle: Bundle, validation: Part, target: Path) -> list[Path]:
    """Draw reconstructions, exchanged latents and the use of the latents as PNG files in `target`."""
    from hcvae.plots import save_figure

    target.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in _figures(bundle, validation):
        files.append(target / f"{name}.png")
        save_figure(figure, files[-1], DPI)
    return files


class ArtifactStore:
    """Optuna's artifact store in a folder on any file system, see `optuna.artifacts`."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """An artifact's content.

        Raises:
            ArtifactNotFound: there is none.
        """
        try:
            return cast(BinaryIO, (self._place / artifact_id).open())
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"{self._place}: no artifact {artifact_id}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an artifact."""
        (self._place / artifact_id).write(content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Forget an artifact."""
        (self._place / artifact_id).remove()


def upload(folder: StudyFolder, trial: Trial, files: Place, names: Sequence[str]) -> None:
    """Copy the files `names` of a folder into the study's artifact store, from which its dashboard shows them. A file
    that an interrupted upload has left there already is not copied again.

    Raises:
        OSError: a file cannot be read, or the store not be written.
    """
    store = ArtifactStore(folder.artifacts)
    known = {meta.filename for meta in get_all_artifact_meta(trial)}
    missing = [name for name in names if name not in known]
    if missing:
        with files.fetched() as local:
            for name in missing:
                upload_artifact(artifact_store=store, file_path=str(local / name), study_or_trial=trial)


def upload_texts(
    folder: StudyFolder, trial: Trial, attributes: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Put a trial's history, and those of its attributes that are too long for the dashboard's page, into the study's
    artifact store.

    Raises:
        OSError: the store cannot be written.
    """
    texts = {HISTORY: "".join(f"{json.dumps(epoch)}\n" for epoch in history)} if history else {}
    for name, value in attributes.items():
        if value is not None and is_long(value):
            is_text = isinstance(value, str)
            texts[f"{name}.{'txt' if is_text else 'json'}"] = value if is_text else json.dumps(value, indent=2)
    with tempfile.TemporaryDirectory() as local:
        for name, text in texts.items():
            Path(local, name).write_text(text, encoding="utf-8", errors="replace")
        upload(folder, trial, Place.of(Path(local)), list(texts))


def history_of(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> list[dict[str, Any]]:
    """The metrics of every epoch of a finished trial; empty where there are none, or no longer."""
    store = ArtifactStore(folder.artifacts)
    for meta in get_all_artifact_meta(trial, storage=storage_of(study)):
        if meta.filename == HISTORY:
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                return [json.loads(line) for line in file.read().splitlines()]
    return list(trial.user_attrs.get("history") or ())  # of earlier versions


def images(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> dict[str, bytes]:
    """The PNG files among the artifacts of a trial, by name; one that is gone from the store is left out."""
    store, found = ArtifactStore(folder.artifacts), {}
    for meta in get_all_artifact_meta(trial, storage=storage_of(study)):
        if meta.mimetype == "image/png":
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                found[meta.filename] = file.read()
    return dict(sorted(found.items()))


def _figures(bundle: Bundle, validation: Part) -> Iterator[tuple[str, "Figure"]]:
    from hcvae.model_figures import ModelFigures  # here: matplotlib would hold up each start of a search

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
