"""Explorers of the small bundle, and of a linear model whose directions are known in closed form."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from hcvae.bundle import Bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of, write_table
from hcvae.explore.explorer import Explorer
from hcvae.explore.settings import Page, Setting
from hcvae.generation import complete_condition
from hcvae.models.pca import PrincipalComponents
from hcvae.training import train_bundle


@pytest.fixture(scope="session")
def recordings_table(tmp_path_factory) -> str:
    """60 simulated recordings that the small bundle was not trained on."""
    path = tmp_path_factory.mktemp("explore") / "recordings.parquet"
    write_table(simulate(60, 77), path)
    return str(path)


@pytest.fixture(scope="session")
def explorer(trained_bundle, recordings_table) -> Explorer:
    return Explorer(trained_bundle, recordings_table)


@pytest.fixture(scope="session")
def page(explorer) -> Page:
    """The page as it starts."""
    shifts = {block: (0.0,) * count for block, count in explorer.direction_counts.items()}
    return Page(Setting(condition=complete_condition(explorer.bundle, {}), shifts=shifts))


@pytest.fixture(scope="session")
def linear(trained_bundle) -> Bundle:
    """Principal components, 3 of them global and 5 local."""
    train = prepare(trained_bundle.config).train
    signals, static = torch.from_numpy(train.signals), torch.from_numpy(train.static)
    model = PrincipalComponents(signals.shape[1], static.shape[1], 3, 5).fit(signals)
    model.fit_generation(signals, static, generator=torch.Generator().manual_seed(0))
    return replace(trained_bundle, model=model.eval())


@pytest.fixture(scope="module")
def good_bundle(tmp_path_factory) -> Path:
    """The folder of a bundle that has learnt what the level does, trained for 20 epochs on 3000 waveforms."""
    config = Config.model_validate(
        {
            "model": {"width": 0.1, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"simulator": {"rows": 3000}},
            "training": {"epochs": 20, "batch_size": 64, "learning_rate": 0.003},
        }
    )
    folder = tmp_path_factory.mktemp("good")
    train_bundle(config, prepare(config), folder)
    return folder / "bundle"


def _heed_ctrl_c() -> None:
    # A shell starts background commands deaf to SIGINT, and whatever they start inherits it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def served(good_bundle, recordings_table) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`hcvae explore` in a process of its own, and the address that it prints."""
    with exploring(good_bundle, "--data", recordings_table) as process:
        yield process, process.stdout.readline().strip()


@pytest.fixture(scope="module")
def served_groups(tmp_path_factory) -> Iterator[str]:
    """The address of an explorer of two species: mice have a tenth of the amplitude, at levels of 30 to 50 dB. Some
    ages are not known."""
    folder = tmp_path_factory.mktemp("species")
    human, mouse = simulate(600, 1), simulate(600, 2)
    levels = np.random.default_rng(0).integers(30, 51, len(mouse)).astype(np.float32)
    small = signals_of(mouse) * 0.1
    for name, values in {
        "species": pa.array(["mouse"] * len(mouse)),
        "subject_id": pc.binary_join_element_wise("mouse", mouse["subject_id"], "-"),
        "stimulus_level_db": pa.array(levels),
        "signal": pa.FixedSizeListArray.from_arrays(pa.array(small.ravel()), small.shape[1]),
    }.items():
        position = mouse.schema.get_field_index(name)
        mouse = mouse.set_column(position, human.schema.field(name), pa.chunked_array([values]).cast(human[name].type))
    for name, table in {"human": human, "mouse": mouse}.items():
        known = np.arange(len(table)) % 10 > 0
        ages = pc.if_else(pa.array(known), table["age_years"], None)
        position = table.schema.get_field_index("age_years")
        write_table(table.set_column(position, table.schema.field("age_years"), ages), folder / f"{name}.parquet")
    tables = [str(folder / "human.parquet"), str(folder / "mouse.parquet")]
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "global_latent_dim": 3, "local_latent_dim": 4, "predict_peaks": False},
            "data": {"tables": tables, "static": ["stimulus_level_db", "age_years", "species"]},
            "normalization": {"group_by": "species"},
            "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01},
        }
    )
    train_bundle(config, prepare(config), folder)
    with exploring(folder / "bundle") as process:
        yield process.stdout.readline().strip()


@contextmanager
def exploring(bundle: Path, *more: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "hcvae", "explore", str(bundle), *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=_heed_ctrl_c) as process:
        yield process
        process.kill()
