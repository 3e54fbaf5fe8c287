"""A small trained bundle, for whatever uses bundles."""

from pathlib import Path

import pytest

from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.training import train_bundle


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of a bundle, trained for 2 epochs on 1500 simulated waveforms."""
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"simulator": {"rows": 1500}},
            "training": {"epochs": 2},
        }
    )
    folder = tmp_path_factory.mktemp("trained")
    train_bundle(config, prepare(config), folder)
    return folder / "bundle"


@pytest.fixture(scope="session")
def trained_bundle(trained) -> Bundle:
    return load(trained)
