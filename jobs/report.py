"""`python -m jobs.report`: a study as one HTML file, to keep or to send."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic_settings import CliPositionalArg

from hcvae import command_line
from hcvae.atomic import renamed_file
from hcvae.errors import UserError
from hcvae.outputs import check_output_file
from jobs.arguments import main


class ReportCommand(command_line.Command):
    """Write a study, under way or finished, as one HTML file that needs no server and no network: Pareto front and
    hypervolume over time, importances, parallel coordinates, figures of the front's models, and every trial.

    examples:
      python -m jobs.report results/quickstart
      python -m jobs.report results/quickstart --out results/quickstart.html
    """

    study: CliPositionalArg[str]
    """Folder of the study."""
    out: str | None = None
    """File to write; an older one is replaced. Default: STUDY.html next to the study's folder."""


def run(arguments: Sequence[str]) -> int:
    """Write the report, and print its path."""
    command = command_line.parse(ReportCommand, arguments)
    from jobs.next_steps import next_to
    from tune.report.html import html_report
    from tune.study.folder import StudyFolder

    folder = StudyFolder(command.study)
    folder.read_record()
    out = Path(command.out or next_to(folder.place, f"{folder.place.name}.html"))
    check_output_file("--out", out, [command.study])
    _write(out, html_report(folder))
    print(f"{out}: open it in a browser")
    return 0


def _write(out: Path, text: str) -> None:
    try:
        with renamed_file(out) as temporary:
            # A message may hold half of a surrogate pair, from a file name of unknown encoding: UTF-8 has none.
            temporary.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    except OSError as error:
        raise UserError(
            f"--out: cannot write to {out}: {error.strerror}; name a file in a folder that you may write to"
        ) from error


if __name__ == "__main__":
    sys.exit(main(run))
