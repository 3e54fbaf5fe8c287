"""Open a study and plot its trials and its Pareto front with matplotlib.

Run it from the checkout after a search, such as `make search`: `python -m examples.load_study_and_plot
results/quickstart`. It needs no Ray, and works while the study is being searched.
"""

import sys

import matplotlib.pyplot as plt

from tune.report.results import SearchResult


def main(folder: str) -> None:
    """Write `front.png` beside the caller."""
    result = SearchResult.open(folder)
    trials = result.to_pandas()
    front = trials.loc[[trial.number for trial in result.pareto]]

    figure, axes = plt.subplots(layout="constrained")
    first, second = result.objectives
    axes.scatter(trials[first.name], trials[second.name], label="all trials")
    axes.step(front[first.name], front[second.name], where="post", marker="o", label="Pareto front")
    axes.set(xlabel=first.label, ylabel=second.label)
    axes.legend()
    figure.savefig("front.png")
    print(f"{len(front)} of {len(trials)} trials are on the front; drawn in front.png")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "results/quickstart")
