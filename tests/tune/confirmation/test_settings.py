"""The settings of a confirmation, and those that a study refuses."""

import io
from collections import Counter
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial

from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from tests.fixtures.confirming import Search, confirming, given
from tests.fixtures.studies import SmallSearch
from tune.config import Confirmation
from tune.early_stopping.actor import Decisions, reported_at_rungs
from tune.objectives import SPECIFIED
from tune.placement.folds import prepare_folds
from tune.report.progress import LineProgress
from tune.study.leases import study_id
from tune.study.lock import locked_folder
from tune.study.opening import check_folder
from tune.study.repetition import check_confirmation, check_continued
from tune.study.samplers import ask, make_sampler


class TestSettings:
    @pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
    def test_the_sampler_does_not_see_repetitions(self, small_search: SmallSearch, sampler: str) -> None:
        """With and without a confirmation before them, the next trials are the same."""
        space = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
        config = small_search(sampler=sampler, space=space)
        sampled = []
        for n_repetitions in (0, 6):
            study = optuna.create_study(directions=["minimize", "maximize"], sampler=make_sampler(config, 0))
            for n in range(60):
                study.add_trial(self.complete(n, {}))
            for n in range(n_repetitions):
                study.add_trial(self.complete(n, {"repetition": {}}))
            sampled.append(ask(study, config)[1])
        assert sampled[0] == sampled[1]

    @staticmethod
    def complete(n: int, attributes: dict[str, Any]) -> FrozenTrial:
        """A trial at one of 60 learning rates; a repetition of it is better than all of them."""
        made = optuna.trial.create_trial(
            params={"training.learning_rate": 1e-4 * 10 ** (n / 30)},
            distributions={"training.learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)},
            values=(0.0, 1.0) if attributes else (abs(n - 40) / 60, 0.5),
            system_attrs={**attributes, "NSGAIISampler:generation": n // 50},
        )
        return made

    def test_neither_the_rule_nor_a_budget_stops_a_repetition(self, small_search: SmallSearch) -> None:
        early = {"eta": 2, "min_epochs": 1}
        config = small_search(training={"epochs": 8}, early_stopping=early, trial_seconds=1, search_seconds=1e-9)
        decisions = Decisions(config, {0: {1: (0.1, 0.9)}, 1: {1: (0.1, 0.9)}})
        worst = {"epoch": 1.0, "reconstruction_nmse": 9.0, "disentanglement": -1.0, "seconds_so_far": 99.0}
        assert decisions.decide(7, 1, worst, is_limited=False) is None
        decisions.end(7, 1, "adopted")
        assert decisions.decide(7, 1, worst, is_limited=False) is not None
        assert decisions.decide(8, 1, worst) is not None

    def test_no_trial_is_compared_with_a_repetition(self, search: Search) -> None:
        search.run(given, most=4)
        for _ in range(2):
            assignment = search.ledger.hand_out()
            assert assignment
            metrics = {"epoch": 1, "reconstruction_nmse": 0.5, "disentanglement": 0.5}
            search.ledger.record_epoch(assignment.trial, metrics)
        assert reported_at_rungs(search.study, (1,), SPECIFIED).keys() == {0, 1, 2, 3}

    def test_it_can_be_added_to_a_finished_study_and_changed(self, small_search: SmallSearch) -> None:
        config = small_search(trials=4)
        with locked_folder(config) as folder:
            search = Search(folder, config)
            search.run(given)
            confirm = config.with_settings(confirm=Confirmation(members=2, repeats=2))
            check_folder(folder, confirm, "data")
            assert len(Search(folder, confirm).run(given)) == 4
            more = config.with_settings(confirm=Confirmation(members=2, repeats=3))
            check_folder(folder, more, "data")
            check_continued(search.study, study_id(search.study), more.search.confirm)
            check_folder(folder, config, "data")
            longer = Confirmation(members=2, repeats=2, epochs=9)
            message = "search.confirm: the repetitions of this study have .by=seeds, epochs=null, .*epochs=9"
            with pytest.raises(UserError, match=message):
                check_continued(search.study, study_id(search.study), longer)

    def test_folds_validate_on_other_subjects_and_cannot_become_more(self, small_search: SmallSearch) -> None:
        config = confirming(small_search, by="folds")
        with locked_folder(config) as folder:
            search = Search(folder, config)
            done = search.run(given, most=5)
            trained = search.result.config(done[-1].trial.number)
            assert (trained.data.split.folds, trained.data.split.fold) == (2, 1)
            assert trained.training.seed == config.training.seed + 1
            identity = study_id(search.study)
            more = Confirmation(members=2, repeats=3, by="folds")
            with pytest.raises(UserError, match=r"have \(by=folds, .*, repeats=2\), and .*, repeats=3\) cannot be"):
                check_continued(search.study, identity, more)
            with pytest.raises(UserError, match="null, but the study waits for repetition of trial 1: fold 1 of 2"):
                check_continued(search.study, identity, None)
            search.run(given)
            check_continued(search.study, identity, None)

    def test_the_data_of_folds_are_prepared_for_each(self, small_search: SmallSearch) -> None:
        config = confirming(small_search, by="folds")
        data = prepare(config)
        folds = prepare_folds(config, data)
        assert len(folds) == 2
        validated = [set(fold.split.units[fold.split.validation]) for fold in folds]
        outside = set(data.split.units[data.split.train]) | set(data.split.units[data.split.validation])
        assert validated[0] | validated[1] == outside
        assert not validated[0] & validated[1]
        for fold in folds:
            assert np.array_equal(fold.split.test, data.split.test)
        assert len({fold.fingerprint for fold in (data, *folds)}) == 3
        # Normalised on its own training part: mean 0 there, in each group of the scaling.
        assert abs(float(folds[0].train.signals.mean())) < 1e-3 < abs(float(folds[0].validation.signals.mean()))
        assert prepare_folds(confirming(small_search), data) == ()
        many = confirming(small_search, by="folds", repeats=2000)
        with pytest.raises(UserError, match=r"^search\.confirm, fold 1 of 2000: data\.split\.folds: must be at most"):
            prepare_folds(many, data)

    def test_what_will_be_confirmed_is_said_before_the_search(self) -> None:
        assert str(Confirmation()) == "the 3 most promising trials, each with 3 further seeds"
        one = Confirmation(members=1, repeats=4, by="folds", epochs=90, width=0.5)
        said = "the 1 most promising trial, each with 4 folds of the subjects, training.epochs 90, model.width 0.5"
        assert str(one) == said

    def test_a_searched_field_cannot_be_set(self, small_search: SmallSearch) -> None:
        space = {"model.width": {"type": "float", "low": 0.05, "high": 0.1}}
        with pytest.raises(UserError, match=r"^search\.confirm\.width: model\.width is searched, so 1 would train"):
            check_confirmation(small_search(space=space, confirm={"width": 1}))
        check_confirmation(small_search(space=space, confirm={"epochs": 9}))

    def test_progress_counts_repetitions_apart(self, search: Search) -> None:
        from rich.console import Console

        stream = io.StringIO()
        progress = LineProgress(search.config, search.archive, Counter(), Console(file=stream, width=300))
        search.ledger._events = progress
        for _ in range(8):
            assignment = search.ledger.hand_out()
            assert assignment
            progress.started(assignment.trial.number, assignment.params, assignment.repetition)
            search.end(assignment, given(assignment))
        last = stream.getvalue().splitlines()[-1]
        assert last.startswith("trial 7 (repetition of trial 1: seed +2) complete: reconstruction_nmse 0.2000")
        assert "4/4 finished, 4 complete, 4/4 repetitions" in last
        assert progress.left_s == 0
