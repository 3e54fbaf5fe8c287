"""Search two hyperparameters with a budget of four trials, and generate with the model that is chosen by default.

Run it from the checkout, with the extra `search` installed: `python -m examples.search_from_python`. It takes about a
minute on 2 cores and leaves a study in `results/examples/search`. Run it again and it finds the study complete.
"""

from hcvae.generation import generate
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.search import run_search


def main() -> SearchResult:
    """Search, print the Pareto front, generate."""
    config = SearchConfig.model_validate(
        {
            "model": {"width": 0.1},
            "data": {"simulator": {"rows": 1500}},
            "training": {"epochs": 8, "batch_size": 128},
            "search": {
                "storage": "results/examples",
                "study": "search",
                "trials": 4,
                "space": {
                    "training.learning_rate": {"type": "float", "low": 3e-4, "high": 3e-3, "log": True},
                    "model.global_latent_dim": {"type": "int", "low": 4, "high": 32},
                },
            },
        }
    )
    result = run_search(config)
    for trial in result.pareto:
        print(trial.number, trial.point, trial.params)

    chosen = result.compromise()
    table = generate(result.load(chosen), [{"stimulus_level_db": 60.0}], n_samples=10)
    print(f"trial {chosen.number} generated {table.num_rows} waveforms")
    return result


if __name__ == "__main__":
    main()
