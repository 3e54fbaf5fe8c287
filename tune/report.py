"""A study as one HTML page that needs nothing else: no server, no network, no file beside it.

Jinja escapes all that the template is given; what is markup already (Plotly's program, charts as JSON in which Plotly
escapes `<`) says so.
"""

import warnings
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import optuna
import plotly.graph_objects as go
from markupsafe import Markup
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from plotly.offline import get_plotlyjs

from tune.artifacts import images
from tune.charts import Timeline, hypervolume_chart, importance_chart, parallel_chart, pareto_chart
from tune.front import TrialSummary, summarize
from tune.pareto import DIRECTIONS, OBJECTIVES, knee
from tune.study_folder import StudyFolder

BEST_SHARE, FEWEST_TRIALS = 0.25, 20
"""PED-ANOVA compares the best quarter of the trials with all, and wants five trials in it."""


def html_report(folder: StudyFolder) -> str:
    """The page of a study, which may be under way or hold no complete trial.

    Raises:
        UserError: the folder holds no study.
    """
    record, study = folder.read_record(), folder.load()
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    content = {
        "record": record,
        "made": datetime.now().astimezone(),
        "states": Counter(trial.state.name.lower() for trial in trials),
        "complete": len(complete),
        "budget": record.config.search.trials,
        "objectives": dict(zip(OBJECTIVES, DIRECTIONS, strict=True)),
        "fewest": FEWEST_TRIALS,
        "trials": [_row(trial) for trial in trials],
        "params": list(dict.fromkeys(name for trial in trials for name in trial.params)),
        **(_content_of(folder, study, trials, complete) if complete else {}),
    }
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html.jinja").render(content)


def param_importances(study: optuna.Study, n_complete: int) -> dict[str, dict[str, float]] | None:
    """PED-ANOVA's importances of the parameters by objective; None where there are too few trials to tell.

    Watanabe et al. 2023, PED-ANOVA (arXiv 2304.10255). It draws no random numbers.
    """
    if n_complete < FEWEST_TRIALS:
        return None
    signs = {"minimize": 1, "maximize": -1}
    importances = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a reminder that the target must be minimised, as it is here
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
        for index, (name, direction) in enumerate(zip(OBJECTIVES, DIRECTIONS, strict=True)):

            def loss(trial: FrozenTrial, index: int = index, sign: int = signs[direction]) -> float:
                return sign * float(trial.values[index])

            importances[name] = get_param_importances(study, evaluator=evaluator, target=loss)
    return importances


def _content_of(
    folder: StudyFolder, study: optuna.Study, trials: Sequence[FrozenTrial], complete: Sequence[FrozenTrial]
) -> dict[str, Any]:
    """What a page shows of complete trials, of which there is at least one."""
    timeline = Timeline.of(complete, min(trial.datetime_start for trial in trials if trial.datetime_start))
    *_, front = timeline.fronts()
    importances = param_importances(study, len(complete))
    shared = set.intersection(*(set(trial.params) for trial in complete))
    return {
        "plotly": Markup(get_plotlyjs()),
        "pareto_chart": _embedded("pareto", pareto_chart(timeline)),
        "hypervolume_chart": _embedded("hypervolume", hypervolume_chart(timeline)),
        "importance_chart": importances and _embedded("importances", importance_chart(importances)),
        "parallel_chart": _embedded("parallel", parallel_chart(timeline, sorted(shared))),
        "conditional": sorted({name for trial in complete for name in trial.params} - shared),
        "knee": knee(front),
        "front": [(summarize(trials[number]), _data_uris(images(folder, study, trials[number]))) for number in front],
    }


def _row(trial: FrozenTrial) -> tuple[TrialSummary, float | None]:
    """A trial, and its duration in seconds."""
    return summarize(trial), trial.duration.total_seconds() if trial.duration else None


def _data_uris(pictures: Mapping[str, bytes]) -> dict[str, str]:
    return {name: f"data:image/png;base64,{b64encode(content).decode()}" for name, content in pictures.items()}


def _embedded(name: str, chart: go.Figure) -> Markup:
    config = {"displaylogo": False}
    return Markup(chart.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))
