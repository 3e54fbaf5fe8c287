"""Figures of a trial's model on the validation part, plotted by the trial's process into its attempt's folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcvae.bundle import Bundle, load
from hcvae.data.dataset import Part
from tune.study.folder import FIGURES
from tune.study.outcome import Ending, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 512
"""Waveforms in the figure of the use of the latents."""
RECONSTRUCTED = 4
"""Panels of reconstructions."""
SWAPPED = 3
"""Rows and columns of the swap grid."""
DPI = 80


def illustrate(outcome: Outcome, validation: Part, folder: Path) -> Outcome:
    """Plot the figures of a complete trial, whose bundle is in `folder`; return the outcome with their names.

    An error does not fail the trial: it is recorded in the outcome.
    """
    if outcome.state != Ending.COMPLETE:
        return outcome
    try:
        figures = plot(load(folder / "bundle"), validation, folder / FIGURES)
    except Exception as error:  # noqa: BLE001 - the trial has its values, with or without figures
        return outcome.model_copy(update={"figure_failure": f"{type(error).__name__}: {error}"})
    return outcome.model_copy(update={"figures": tuple(file.name for file in figures)})


def plot(bundle: Bundle, validation: Part, target: Path) -> list[Path]:
    """Plot reconstructions, exchanged latents and the use of the latents as PNG files in `target`."""
    from hcvae.plots import save_figure

    target.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in _figures(bundle, validation):
        files.append(target / f"{name}.png")
        save_figure(figure, files[-1], DPI)
    return files


def _figures(bundle: Bundle, validation: Part) -> Iterator[tuple[str, "Figure"]]:
    from hcvae.model_figures import ModelFigures  # here: matplotlib would delay each start of a search

    part = _fixed_sample(validation)
    model = ModelFigures(bundle.model, bundle.preprocessing, part)
    shown = _first_row_of_each_condition(part)
    yield "reconstructions", model.reconstructions(shown[:RECONSTRUCTED])
    yield "swap_grid", model.swap_grid(shown[:SWAPPED])
    yield "latent_use", model.latent_use()


def _fixed_sample(part: Part) -> Part:
    """Return the same rows in every trial of a study, so that its figures can be compared."""
    return part.take(np.random.default_rng(0).permutation(len(part))[:ROWS])


def _first_row_of_each_condition(part: Part) -> NDArray[np.int64]:
    """Return the first row of each condition, in the order of the part."""
    return np.sort(np.unique(part.static, axis=0, return_index=True)[1])
