"""Train a small model on simulated recordings, generate waveforms at three levels, and draw them.

Run it from the checkout: `python -m examples.train_and_generate`. It takes about a minute and writes into
`results/examples`.
"""

from pathlib import Path

import numpy as np

import hcvae
from hcvae import plots
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.table import sampling_rate_of, signals_of
from hcvae.generation import generate
from hcvae.training import train_bundle

FOLDER = Path("results/examples/model")
LEVELS_DB = (20.0, 40.0, 60.0)


def main() -> None:
    """Train, load the bundle, generate, draw."""
    config = Config.model_validate(
        {
            "model": {"width": 0.1},
            "data": {"simulator": {"rows": 1500}},
            "training": {"epochs": 8, "batch_size": 128},
        }
    )
    train_bundle(config, prepare(config), FOLDER)

    bundle = hcvae.load(FOLDER / "bundle")
    conditions = [{"stimulus_level_db": level} for level in LEVELS_DB]
    table = generate(bundle, conditions, n_samples=100)  # an Arrow table, one waveform a row

    waveforms_uv = signals_of(table).reshape(len(LEVELS_DB), 100, -1)
    times_ms = np.arange(waveforms_uv.shape[-1]) * 1e3 / sampling_rate_of(table)
    figure = plots.level_series(waveforms_uv.mean(axis=1), np.array(LEVELS_DB), times_ms)
    plots.save_figure(figure, FOLDER / "levels.png")
    print(f"{table.num_rows} waveforms generated; their mean at each level is drawn in {FOLDER / 'levels.png'}")


if __name__ == "__main__":
    main()
