"""Figures of a trial's model on the validation part, drawn by the trial's process into its attempt's folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcvae.bundle import Bundle, load
from hcvae.data.dataset import Part
from tune.trial.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = "figures"
"""Folder of the figures of an attempt."""
ROWS = 512
"""Rows of the figure of the use of the latents."""
RECONSTRUCTED = 4
"""Panels of reconstructions."""
SWAPPED = 3
"""Rows and columns of the swap grid."""
DPI = 80


def illustrate(outcome: Outcome, validation: Part, folder: Path) -> Outcome:
    """Draw the figures of a complete trial, whose bundle lies in `folder`; a figure that fails is not the trial's
    failure, but the outcome says why it is missing."""
    if outcome.state != "complete":
        return outcome
    try:
        figures = plot(load(folder / "bundle"), validation, folder / FIGURES)
    except Exception as error:  # noqa: BLE001 - the trial has its values, whatever becomes of its figures
        return outcome.model_copy(update={"figure_failure": f"{type(error).__name__}: {error}"})
    return outcome.model_copy(update={"figures": tuple(file.name for file in figures)})


def plot(bundle: Bundle, validation: Part, target: Path) -> list[Path]:
    """Draw reconstructions, exchanged latents and the use of the latents as PNG files in `target`."""
    from hcvae.plots import save_figure

    target.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in _figures(bundle, validation):
        files.append(target / f"{name}.png")
        save_figure(figure, files[-1], DPI)
    return files


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
