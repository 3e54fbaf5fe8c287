"""`python -m jobs.pull`: copy a model out of a study. Needs no Ray."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.outputs import check_output
from hcvae.terminal import print_line
from jobs.arguments import main
from tune.objectives import names_of, shown

if TYPE_CHECKING:
    from hcvae.storage import StoragePath
    from tune.report.results import SearchResult
    from tune.study.trial_summary import TrialSummary


class PullCommand(command_line.Command):
    """Copy the bundle of one trial out of a study: the knee of the Pareto front by default, or, where it has
    none (fewer than three points, or more than two objectives), the point nearest to the ideal of all objectives.
    After a confirmation (search.confirm) the front goes by the means of the repetitions of each trial, and the model is
    that of the repetition nearest to the means.

    examples:
      python -m jobs.pull results/quickstart --out results/model
      python -m jobs.pull results/quickstart --by disentanglement --out results/best-separated
      python -m jobs.pull results/quickstart --trial 5 --out results/model-5
      python -m jobs.pull s3://bucket/studies/nightly --out results/model
    """

    study: CliPositionalArg[str]
    """Folder of the study, a path or a URI."""
    out: str
    """Folder to write the bundle to; must not exist yet."""
    trial: int | None = Field(None, ge=0)
    """Number of a trial of the Pareto front."""
    by: str = "compromise"
    """`compromise`: the knee, or the point nearest to the ideal; otherwise the best by the objective of that name."""


def run(arguments: Sequence[str]) -> int:
    """Copy the bundle, and print which trial it is of."""
    command = command_line.parse(PullCommand, arguments)
    if command.trial is not None and "by" in command.model_fields_set:
        raise UserError("--by and --trial: each of them chooses the model; give one")
    from jobs.next_steps import generate_command
    from tune.report.results import SearchResult

    out = Path(command.out)
    if out.exists():
        raise UserError(f"--out: {out} exists; name a folder that does not")
    check_output("--out", out, [command.study])
    result = SearchResult.open(command.study)
    summary = _chosen(command, result)
    _fetch(result.bundle(summary.number), out)
    confirmation = _confirmation(result, summary)
    if confirmation:
        _add_to_card(out, f"{_described(summary)}: {confirmation}")
    why = ""
    if command.trial is None and command.by == "compromise":
        why = _why(result)
    print_line(
        Console(),
        f"{_described(summary)} copied to {out}\n{confirmation}{why}{_warning(result, out)}\n"
        f"what it is            {out}/README.md\n"
        f"generate with it      {generate_command(out, str(out))}",
    )
    return 0


def _chosen(command: PullCommand, result: "SearchResult") -> "TrialSummary":
    """Return the trial that the options name."""
    if command.trial is not None:
        return result.trial(command.trial)
    if command.by == "compromise":
        return result.compromise()
    names = names_of(result.objectives)
    if command.by not in names:
        raise UserError(
            f"--by: must be compromise or one of the study's objectives, {', '.join(names)}, but got {command.by!r}"
        )
    return result.best(by=command.by)


def _described(summary: "TrialSummary") -> str:
    from tune.report.front_table import with_sd

    values = {name: shown(value) for name, value in summary.objectives.items() if value is not None}
    if summary.confirmed and summary.confirmed.mean:
        values = dict(zip(summary.objectives, with_sd(summary), strict=True))
    listed = ", ".join(map(" ".join, values.items()))
    return f"trial {summary.number} ({listed})"


def _confirmation(result: "SearchResult", summary: "TrialSummary") -> str:
    """Return a line about the repetitions of a confirmed trial, and whose model is copied; otherwise nothing."""
    if summary.confirmed is None or summary.confirmed.model is None:
        return ""
    repetitions = ", ".join(map(str, summary.confirmed.repetitions))
    model = _described(result.trial(summary.confirmed.model))
    return (
        f"means ± standard deviations of its repetitions, trials {repetitions}; the model is that of the one nearest "
        f"to the means: {model}\n"
    )


def _add_to_card(model: Path, confirmation: str) -> None:
    """Add what is known of the other trainings of the configuration to the model's card."""
    with (model / "README.md").open("a", encoding="utf-8") as card:
        card.write(f"\n## Confirmation\n\nValidation part: {confirmation}")


def _warning(result: "SearchResult", model: Path) -> str:
    """Return lines that warn of a model, or of a whole front, that is no better than the reference point."""
    from hcvae.bundle import load
    from hcvae.poor_reconstruction import reconstruction_warning

    lines = reconstruction_warning(load(model).reconstruction_nmse) or result.warning
    return "".join(f"{line}\n" for line in lines)


def _why(result: "SearchResult") -> str:
    """Return the rule of the choice, and the other choices."""
    others = [f"--by {name}: {_described(trial)}\n" for name, trial in result.alternatives().items()]
    return "".join([f"{result.choice}\n", *others])


def _fetch(bundle: "StoragePath", out: Path) -> None:
    try:
        bundle.fetch(out)
    except OSError as error:
        raise UserError(
            f"--out: cannot copy {bundle} to {out}: {error.strerror or error}; name a folder that you may write to"
        ) from error


if __name__ == "__main__":
    sys.exit(main(run))
