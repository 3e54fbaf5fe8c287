"""`hcvae diagnose`: problems in the training of a model bundle."""

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
"""Exit code if there are problems."""


class Diagnose(command_line.Command):
    """Report problems in the training of a model (poor reconstruction, poor disentanglement, instability, collapse,
    misplaced peaks), the evidence for them, and what to change. The exit code is 0 without problems, 1 with problems, 2
    on bad input.

    examples:
      hcvae diagnose results/model
      hcvae diagnose results/quickstart/best/trial-3 --json
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    as_json: bool = Field(False, validation_alias="json")
    """Print one JSON object: the `findings`, and the `figures` on which each check is based."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Diagnose, arguments)
    from hcvae.bundle import load
    from hcvae.inspection.bundle import examine_bundle

    diagnosis = examine_bundle(load(command.bundle))
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
            reason = "the last phase of the training was too short to judge it, or the data do not allow to measure it"
            console.print(f"[yellow]not checked[/yellow]: {trouble}: {reason}", highlight=False, soft_wrap=True)
        else:
            console.print(f"[green]healthy[/green]: no {trouble}: {escape(figures)}", highlight=False, soft_wrap=True)
