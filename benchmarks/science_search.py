"""Search from the defaults, at the size of the ablations of docs/science.md, and record the trials.

python -m benchmarks.science_search              # an hour on 2 cores; run it again to continue for as long
python -m benchmarks.science_search --record     # only records the trials that the study has
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console

from benchmarks.science_runs import PRECISION, QUARTER, SEARCHED, merged
from hcvae import command_line
from hcvae.atomic import atomic_write
from tests.fixtures.studies import SIX_PARAMETERS
from tune.config import SearchConfig
from tune.report.results import SearchResult

SEARCH: dict[str, Any] = {
    "study": "quarter",
    "trials": 1000,
    "start_from_defaults": True,
    "early_stopping": {},
    "space": SIX_PARAMETERS,
}
"""The defaults are the first trial, so that the search must beat them."""


class ScienceSearch(command_line.Command):
    """Search KL weights, latent dimensions, early_signal_ratio and swap weight at width 0.25; record the trials.

    examples:
      python -m benchmarks.science_search
    """

    seconds: float = Field(3600, gt=0)
    """Time of the search."""
    storage: str = "results"
    """Folder of the study."""
    record: bool = False
    """Search nothing; record the trials that the study has."""


def run(arguments: Sequence[str]) -> int:
    """Search and record."""
    command = command_line.parse(ScienceSearch, arguments)
    if command.record:
        result = SearchResult.open(Path(command.storage) / SEARCH["study"])
    else:
        from tune.search import run_search

        changes = {"search": SEARCH | {"storage": command.storage, "search_seconds": command.seconds}}
        base = merged(QUARTER, PRECISION["recommended in bf16"])
        result = run_search(SearchConfig.model_validate(merged(base, changes)))
    SEARCHED.parent.mkdir(parents=True, exist_ok=True)
    kept = {"number", "state", "best_epoch", "reconstruction_nmse", "disentanglement", "params"}
    lines = [json.dumps(trial.model_dump(include=kept)) + "\n" for trial in result.trials if trial.state != "running"]
    with atomic_write(SEARCHED) as temporary:
        temporary.write_text("".join(lines))
    front = [trial.number for trial in result.pareto]
    Console().print(f"{len(lines)} trials in {SEARCHED}; front: {front}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.main(run))
