"""`python -m jobs.search`: search hyperparameters of the hierarchical CVAE against two or more objectives."""

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hcvae import command_line
from hcvae.terminal import output_console, print_line
from jobs.arguments import COMMON_OPTIONS, CONFIG_HELP, lasting, main, read_config, start, without
from tune.config import SearchConfig, narrowed

if TYPE_CHECKING:
    from tune.report.results import SearchResult


class SearchCommand(SearchConfig, command_line.Command):  # type: ignore[misc] # both configure pydantic
    """Search the hyperparameters in search.space against two or more objectives: by default a low error (denoised_nmse
    where it can be measured) and a high disentanglement. The same command again continues the study where it stopped.

    examples:
      python -m jobs.search --config configs/quickstart.json
      python -m jobs.search --config configs/quickstart.json --dry-run
      python -m jobs.search --config configs/search.json --search.trials 200 --training.epochs 40
      python -m jobs.search --config configs/recordings.json --data.split.unit recording
      python -m jobs.search --search.workers 2 --search.study two-workers
      python -m jobs.search --search.study overnight --search.search_seconds 28800 --search.confirm.members 3
    """

    common: ClassVar = COMMON_OPTIONS | {
        *("allow-change", "search.database", "search.early_stopping.eta", "search.gpus_per_worker"),
        *("search.constraints", "search.max_concurrent", "search.objectives", "search.sampler"),
        *("search.search_seconds", "search.start_from_defaults"),
        *("search.storage", "search.study", "search.trials", "search.workers"),
    }
    config: str | None = Field(None, description=CONFIG_HELP)
    dry_run: bool = False
    """Print the resolved configuration and the plan, check everything, start nothing."""
    log_json: bool = False
    """Report progress as one JSON object a line, for programs."""
    wait_for_resources: bool = False
    """Wait until the cluster has the workers and GPUs of a trial, instead of refusing to start."""
    allow_change: bool = False
    """Continue a study with another configuration or other data, and record the change in its study.json."""

    @classmethod
    def values_not_given(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the configuration file."""
        return read_config(given["config"]) if "config" in given else {}


def run(arguments: Sequence[str]) -> int:
    """Search, and print where the results are and what to do next."""
    command = command_line.parse(SearchCommand, arguments)
    config = narrowed(command, SearchConfig).with_absolute_places(lasting)
    start(f"Study {config.search.study!r} in {config.search.storage}: reading the data", config.data.tables, ray=True)
    from tune.search import plan_search, run_search

    console = output_console()
    if command.dry_run:
        console.print_json(config.model_dump_json())
        plan = plan_search(config, wait_for_resources=command.wait_for_resources, allow_change=command.allow_change)
        print_line(console, plan)
        console.print("Dry run: no trial was started, and nothing was written")
        return 0
    result = run_search(
        config,
        log_json=command.log_json,
        wait_for_resources=command.wait_for_resources,
        allow_change=command.allow_change,
    )
    if not result.pareto:
        print(f"error: {result.folder}: {result.why_empty}", file=sys.stderr)
        return 1
    if not command.log_json:
        console.print(result.table())
        for line in (*result.confirmation, *result.warning):
            print_line(console, line)
        comparability = _comparability(result)
        if comparability is not None:
            print_line(console, comparability)
        print_line(console, _next_steps(config, result, arguments))
    return 0


def _comparability(result: "SearchResult") -> str | None:
    counts = Counter(trial.precision for trial in result.trials if trial.precision)
    if len(counts) < 2:
        return None
    trained = ", ".join(f"{count} in {precision}" for precision, count in counts.most_common())
    return (
        f"Trials were trained in different precisions ({trained}): this alone changes their objectives, about as "
        "much as another seed. To compare them exactly, set training.precision to one of these."
    )


def _next_steps(config: SearchConfig, result: "SearchResult", arguments: Sequence[str]) -> str:
    from jobs.next_steps import activate_hint, from_here, generate_command, next_to
    from tune.space.combinations import combinations

    folder = from_here(result.folder)
    models = result.models
    chosen, rule = result.choice
    report = next_to(result.folder, f"{result.folder.name}.html")
    model = next_to(result.folder, "model")
    lines = [
        f"look at the study     {shlex.join(['python', '-m', 'jobs.dashboard', folder])}",
        f"keep it as one file   {shlex.join(['python', '-m', 'jobs.report', folder, '--out', report])}",
    ]
    model_number = result.model_number(chosen)
    if model_number in models:
        lines.append(f"{f'take the {rule}':22}{shlex.join(['python', '-m', 'jobs.pull', folder, '--out', model])}")
        lines.append(f"generate with it      {generate_command(models[model_number], model)}")
    else:
        lines.append(f"models                the {rule}, trial {chosen}, has none; there are those of {[*models]}")
    if not 0 < len(combinations(config)) <= config.search.trials:
        again = ["python", "-m", "jobs.search", *without(arguments, "--search.trials")]
        again += ["--search.trials", str(2 * config.search.trials)]
        lines.append(f"search further        {shlex.join(again)}")
    where = "pareto.json; a model bundle for each trial of the Pareto front under best/"
    return "\n".join(["", f"Results: {folder} ({where})", activate_hint(), *lines, ""])


if __name__ == "__main__":
    sys.exit(main(run))
