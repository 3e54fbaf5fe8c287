"""The models of the front in a report: metrics, figures, and the command that copies each of them."""

import shlex
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial
from pydantic_core import from_json

from hcvae.bundle.model_card import REPORTED
from tune.report.front_table import with_sd
from tune.study.artifacts import images
from tune.study.folder import StudyFolder
from tune.study.pareto_archive import model_of, stored_models
from tune.study.trial_summary import TrialSummary

Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class MetricRow:
    """One metric of a model."""

    name: str
    validation: float | None
    test: float | None
    interval: tuple[float, float] | None
    """95 % interval of the test part."""


@dataclass(frozen=True)
class Member:
    """A trial of the front."""

    summary: TrialSummary
    model: TrialSummary
    """The trial whose model stands for it: itself, or a repetition of it."""
    metrics: list[MetricRow]
    """Metrics; none where the study has no model of the trial."""
    figures: dict[str, str]
    """Pictures as data URIs, by file name."""
    command: str
    """Command that copies the model, or trains it again where the study has none."""
    values: list[str]
    """Its place on the front, for each objective; of a confirmed one mean and standard deviation."""


def front_members(
    folder: StudyFolder, study: optuna.Study, front: Iterable[tuple[TrialSummary, TrialSummary, FrozenTrial]]
) -> list[Member]:
    """Return the models of the front, in its order: of each member the trial, and the one whose model stands for it,
    as a summary and as the study records it."""
    stored = stored_models(folder)
    members = []
    for summary, model, recorded in front:
        place = model_of(model, stored)
        metrics = []
        job = ["jobs.train", "--study"]
        if place is not None:
            metrics = _metrics(from_json((place / "metrics.json").read_text()), model.objectives)
            job = ["jobs.pull"]
        number = str(model.number)
        command = ["python", "-m", *job, str(folder), "--trial", number, "--out", f"model-{number}"]
        figures = _data_uris(images(folder, study, recorded))
        members.append(Member(summary, model, metrics, figures, shlex.join(command), with_sd(summary)))
    return members


def _metrics(metrics: Metrics, objectives: Iterable[str]) -> list[MetricRow]:
    """Return the metrics of a model card, then the objectives that it does not have."""
    meanings = dict(REPORTED)
    for name in objectives:
        meanings.setdefault(name, name)
    lower = metrics.get("test_lower", {})
    upper = metrics.get("test_upper", {})
    rows = []
    for name, meaning in meanings.items():
        if name in metrics["test"]:
            interval = None
            if name in lower and name in upper:
                interval = (lower[name], upper[name])
            rows.append(MetricRow(meaning, metrics["validation"].get(name), metrics["test"][name], interval))
    return rows


def _data_uris(pictures: Mapping[str, bytes]) -> dict[str, str]:
    uris = {}
    for name, content in pictures.items():
        uris[name] = f"data:image/png;base64,{b64encode(content).decode()}"
    return uris
