"""`hcvae diagnose`: what went wrong in the training of a model bundle."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.markup import escape

from hcvae import command_line

if TYPE_CHECKING:
    from hcvae.training.diagnosis import Diagnosis

TROUBLED = 1


class Diagnose(command_line.Command):
    """List the troubles of a model's training (poor disentanglement, training instability, collapse, misplaced peaks):
    the numbers that show them, and what to change. The exit code is 0 when there are none, 1 when there are, 2 on bad
    input.

    examples:
      hcvae diagnose results/model
      hcvae diagnose results/quickstart/best/trial-3 --json
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    as_json: bool = Field(False, validation_alias="json")
    """Print one JSON object: `findings`, and the `figures` that each trouble was looked for in."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Diagnose, arguments)
    from hcvae.bundle import load
    from hcvae.training.diagnosis import examine

    bundle = load(command.bundle)
    diagnosis = examine(bundle.config, bundle.history)
    if command.as_json:
        print(json.dumps(asdict(diagnosis)))
    else:
        _show(diagnosis, Console())
    return TROUBLED if diagnosis.findings else 0


def _show(diagnosis: "Diagnosis", console: Console) -> None:
    found = {finding.trouble: finding for finding in diagnosis.findings}
    for trouble, figures in diagnosis.figures.items():
        if trouble in found:
            console.print(f"[red]{trouble}[/red]: {escape(found[trouble].evidence)}", highlight=False, soft_wrap=True)
            console.print(f"  remedy: {escape(found[trouble].remedy)}", highlight=False, soft_wrap=True)
        elif figures is None:
            why = "the training ended too early, or its data do not show it"
            console.print(f"[yellow]not judged[/yellow]: {trouble}: {why}", highlight=False)
        else:
            console.print(f"[green]healthy[/green]: no {trouble}: {escape(figures)}", highlight=False, soft_wrap=True)
