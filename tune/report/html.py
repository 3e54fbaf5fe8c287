"""A study as one self-contained HTML page: no server, no network, no other file.

Jinja escapes all values of the template except those marked as markup: Plotly's program, and charts as JSON, in which
Plotly escapes `<`.
"""

import copy
import math
import warnings
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import jinja2
import optuna
import plotly.graph_objects as go
from markupsafe import Markup
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial
from plotly.offline import get_plotlyjs

from tune.objectives import Objectives, directions_of
from tune.report.charts import Timeline, hypervolume_chart, importance_chart, parallel_chart, pareto_chart
from tune.report.front_members import front_members
from tune.report.front_table import parameter_names
from tune.report.results import SearchResult
from tune.space.conditional import by_path, names_in_effect
from tune.study.folder import StudyFolder
from tune.study.trial_summary import TrialSummary

BEST_SHARE = 0.25
"""PED-ANOVA compares the best quarter of the trials with all of them."""
MIN_TRIALS = 20
"""Complete trials below which no importances are shown: the best quarter must have five."""


def html_report(folder: StudyFolder) -> str:
    """Return the page of a study, which may be under way or have no complete trial.

    Raises:
        UserError: the folder holds no study.
    """
    record = folder.read_record()
    study = folder.load()
    trials = study.get_trials(deepcopy=False)
    objectives = record.config.search.compared_by
    result = SearchResult.of(folder, record, trials)
    summaries = result.trials
    timeline = _timeline(trials, result)
    rows = list(zip(summaries, map(_seconds, trials), strict=True))
    members = result.front
    content = {
        "record": record,
        "warning": result.warning,
        "confirmation": result.confirmation,
        "confirmed": result.confirmed,
        "n_repetitions": sum(summary.repetition is not None for summary in summaries),
        "average_lost": result.average_lost,
        "made": datetime.now().astimezone(),
        "states": result.states,
        "complete": 0,
        "budget": record.config.search.trials,
        "objectives": objectives,
        "fewest": MIN_TRIALS,
        "members": members,
        "trials": sorted(rows, key=lambda row: _rank(row[0], members, objectives)),
        "params": parameter_names(summaries),
    }
    if timeline is not None:
        content |= _content_of(folder, study, trials, timeline, result)
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.jinja").render(content)


def param_importances(complete: Sequence[FrozenTrial], objectives: Objectives) -> dict[str, dict[str, float]] | None:
    """Return PED-ANOVA's importances of the parameters by objective; None where there are too few trials.

    Watanabe et al. 2023, PED-ANOVA (arXiv 2304.10255). It uses no random numbers.
    """
    if len(complete) < MIN_TRIALS:
        return None
    study = optuna.create_study(directions=directions_of(objectives))
    study.add_trials(complete)
    importances = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a reminder that the target must be minimised, which holds here
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
        for index, objective in enumerate(objectives):

            def loss(trial: FrozenTrial, index: int = index, sign: int = objective.sign) -> float:
                return sign * float(trial.values[index])

            importances[objective.name] = get_param_importances(study, evaluator=evaluator, target=loss)
    return importances


def _content_of(
    folder: StudyFolder,
    study: optuna.Study,
    trials: Sequence[FrozenTrial],
    timeline: Timeline,
    result: SearchResult,
) -> dict[str, Any]:
    """Return the content about the complete trials, of which there is at least one, of all `trials` of the study."""
    importances = param_importances(timeline.trials, timeline.objectives)
    by_number = {trial.number: trial for trial in trials}
    shown = []
    for summary in result.pareto:
        model = result.trial(result.model_number(summary.number))
        shown.append((summary, model, by_number[model.number]))
    shared = set(timeline.trials[0].params).intersection(*map(attrgetter("params"), timeline.trials))
    return {
        "complete": len(timeline.trials),
        "plotly": Markup(get_plotlyjs()),
        "pareto_chart": _embedded("pareto", pareto_chart(timeline)),
        "hypervolume_chart": _embedded("hypervolume", hypervolume_chart(timeline)),
        "importance_chart": importances and _embedded("importances", importance_chart(importances)),
        "parallel_chart": _embedded("parallel", parallel_chart(timeline, sorted(shared))),
        "conditional": sorted(set(parameter_names(timeline.trials)) - shared),
        "chosen": result.choice if result.pareto else None,
        "front": front_members(folder, study, shown),
    }


def _timeline(trials: Sequence[FrozenTrial], result: SearchResult) -> Timeline | None:
    """Return the complete trials of the search, without repetitions; None where there is none."""
    complete = []
    infeasible = []
    started = []
    for trial, summary in zip(trials, result.trials, strict=True):
        if trial.datetime_start and not summary.outside_budget:
            started.append(trial.datetime_start)
        if summary.repetition is not None:
            continue
        if summary.own_point:
            complete.append(_with_paths(trial))
        elif summary.infeasible:
            infeasible.append(_with_paths(trial))
    if not complete:
        return None
    return Timeline.of(complete, min(started), result.objectives, infeasible, result.confirmed)


def _with_paths(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy whose parameters are named by their paths."""
    copied = copy.copy(trial)
    copied.params = by_path(trial.params)
    names = names_in_effect(trial.params)
    copied.distributions = {path: trial.distributions[name] for path, name in names.items()}
    return copied


def _seconds(trial: FrozenTrial) -> float | None:
    """Return the time from a trial's start to its end; None where it has not ended, or the clock was set back."""
    if trial.duration is None or trial.duration.total_seconds() < 0:
        return None
    return trial.duration.total_seconds()


def _rank(summary: TrialSummary, members: Sequence[int], objectives: Objectives) -> tuple[bool, float, int]:
    """Return the rank in the table of all trials: the front first, then by the first objective, trials without it
    last."""
    first = summary.objectives[objectives[0].name]
    loss = math.inf
    if first is not None:
        loss = objectives[0].sign * first
    return summary.number not in members, loss, summary.number


def _embedded(name: str, chart: go.Figure) -> Markup:
    config = {"displaylogo": False, "responsive": True}
    return Markup(chart.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))
