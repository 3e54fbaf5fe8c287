import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from matplotlib.image import imread
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState
from rich.console import Console

from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.storage import StoragePath
from hcvae.training import train_bundle
from tests.fixtures.studies import SmallSearch
from tune.objectives import SPECIFIED
from tune.report.progress import JsonProgress, LineProgress, Progress
from tune.search.searcher import StudySearcher
from tune.study.artifacts import images, upload
from tune.study.budget import Budget
from tune.study.database import Database
from tune.study.folder import StudyFolder
from tune.study.ledger import TrialLedger
from tune.study.lock import locked_folder
from tune.study.opening import open_study
from tune.study.outcome import Outcome
from tune.study.pareto_archive import ParetoArchive
from tune.study.trial_attributes import attributes_of
from tune.trial.figures import FIGURES, illustrate

NAMES = ["latent_use.png", "reconstructions.png", "swap_grid.png"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(Config.model_validate({"data": {"simulator": {"rows": 600}}}))


@pytest.fixture(scope="module")
def trained(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trial after its training."""
    folder = tmp_path_factory.mktemp("trial")
    training = {"epochs": 1, "batch_size": 64}
    train_bundle(Config.model_validate({"model": {"width": 0.05}, "training": training}), data, folder)
    return folder


def complete(figures: tuple[str, ...] = (), figure_failure: str | None = None) -> Outcome:
    return Outcome(state="complete", values=(0.25, 0.5), figures=figures, figure_failure=figure_failure)


class TestDrawing:
    def test_three_small_figures(self, trained: Path, data: Dataset) -> None:
        outcome = illustrate(complete(), data.validation, trained)
        assert sorted(outcome.figures) == NAMES
        files = [trained / FIGURES / name for name in outcome.figures]
        assert sum(file.stat().st_size for file in files) < 300_000
        for file in files:
            assert np.ptp(imread(file)) == 1  # from white to black: something is drawn
        assert outcome.figure_failure is None

    def test_the_same_model_gives_the_same_figures(self, trained: Path, data: Dataset) -> None:
        drawn = []
        for _ in range(2):
            files = illustrate(complete(), data.validation, trained).figures
            drawn.append([(trained / FIGURES / name).read_bytes() for name in files])
        assert drawn[0] == drawn[1]

    def test_a_figure_that_fails_leaves_the_trial_complete(self, data: Dataset, tmp_path: Path) -> None:
        outcome = illustrate(complete(), data.validation, tmp_path)
        assert (outcome.state, outcome.values, outcome.figures) == ("complete", (0.25, 0.5), ())
        assert str(outcome.figure_failure).startswith(f"UserError: {tmp_path}/bundle: not a model bundle")

    def test_a_failed_trial_has_no_figures(self, data: Dataset, tmp_path: Path) -> None:
        failed = Outcome(state="failed", failure="no")
        assert illustrate(failed, data.validation, tmp_path) == failed
        assert list(tmp_path.iterdir()) == []


class TestTelling:
    @pytest.fixture
    def folder(self, small_search: SmallSearch) -> Iterator[StudyFolder]:
        config = small_search()
        with locked_folder(config) as folder:
            open_study(folder, config, "data")
            yield folder

    def tell(
        self, folder: StudyFolder, outcome: Outcome, view: Callable[..., Progress], stream: io.StringIO
    ) -> optuna.trial.FrozenTrial:
        """Hand out a trial, as to Ray Tune, and tell its outcome."""
        config, study = folder.read_record().config, folder.load()
        front = ParetoArchive.open(folder, study, SPECIFIED)
        progress = view(config, front, Counter(), stream)
        database = Database.of(config.search, folder.path)
        ledger = TrialLedger(study, database, config, front, Budget(config.search, study), progress)
        searcher = StudySearcher(ledger, config, progress)
        attempt = searcher.suggest("a")["attempt"]
        if outcome.figures == tuple(NAMES):
            self.write_figures(attempt.place / FIGURES)
        searcher.end("a", outcome)
        assert searcher.broken is None
        return study.trials[-1]

    def write_figures(self, place: StoragePath) -> None:
        for name in NAMES:
            (place / name).write(name.encode())

    def test_figures_become_artifacts_of_the_trial(self, folder: StudyFolder) -> None:
        trial = self.tell(folder, complete(tuple(NAMES)), JsonProgress, io.StringIO())
        study = folder.load()
        found = get_all_artifact_meta(trial, storage=study._storage)
        assert sorted(meta.filename for meta in found) == NAMES
        assert {meta.mimetype for meta in found} == {"image/png"}
        for meta in found:
            assert (folder.path / "artifacts" / meta.artifact_id).read_bytes() == meta.filename.encode()
        assert images(folder, study, trial) == {name: name.encode() for name in NAMES}
        (folder.artifacts / found[0].artifact_id).remove()
        assert len(images(folder, study, trial)) == 2

    def test_what_an_interrupted_upload_left_is_not_uploaded_again(self, folder: StudyFolder) -> None:
        trial = folder.load().ask()
        figures = folder.attempt(0, 1) / FIGURES
        self.write_figures(figures)
        upload(folder, trial, figures, NAMES[:2])
        upload(folder, trial, figures, NAMES)
        assert len(get_all_artifact_meta(trial)) == len(folder.artifacts.listdir()) == 3

    @pytest.mark.parametrize("outcome", [complete(figure_failure="ValueError: no rows"), complete(("swap_grid.png",))])
    @pytest.mark.parametrize("view", [JsonProgress, lambda c, f, n, s: LineProgress(c, f, n, Console(file=s))])
    def test_a_missing_figure_is_recorded_and_said(self, folder: StudyFolder, outcome: Outcome, view: Any) -> None:
        stream = io.StringIO()
        trial = self.tell(folder, outcome, view, stream)
        assert trial.state == TrialState.COMPLETE
        assert trial.values == [0.25, 0.5]
        recorded = attributes_of(trial)["figure_failure"]
        assert recorded == outcome.figure_failure or "FileNotFoundError" in recorded
        said = stream.getvalue()
        if view is JsonProgress:
            assert json.loads(said.splitlines()[-1])["figure_failure"] == recorded
        else:
            assert f"(without figures: {recorded})" in said
