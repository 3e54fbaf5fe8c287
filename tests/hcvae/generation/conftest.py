"""Small models that have learnt nothing: generation is arithmetic on what they decode."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from hcvae.bundle import Bundle
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of, write_table
from hcvae.generation import EncodedRecording, encode_recording
from hcvae.models import build
from hcvae.training.configuration import resolve


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> tuple[Config, Dataset]:
    """Simulated recordings in which the scale of `sex=M` is ten times that of `sex=F`."""
    table = simulate(1000, 0)
    scale = np.where(table["sex"].to_numpy(zero_copy_only=False) == "M", 10, 1).astype(np.float32)
    position = table.schema.get_field_index("signal")
    signals = (signals_of(table) * scale[:, None]).ravel()
    table = table.set_column(position, "signal", pa.FixedSizeListArray.from_arrays(signals, 200))
    path = tmp_path_factory.mktemp("data") / "table.parquet"
    write_table(table, path)
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"tables": [str(path)]},
            "normalization": {"group_by": "sex"},
        }
    )
    return config, prepare(config)


@pytest.fixture
def bundle(grouped) -> Bundle:
    config, data = grouped
    return untrained(config, data)


def untrained(config: Config, data: Dataset) -> Bundle:
    torch.manual_seed(0)
    model = build(resolve(config, data, 1).model).eval()
    return Bundle(model, config, data.preprocessing, {}, [])


@pytest.fixture
def untrained_bundle():
    """A function from a configuration and its data to a bundle."""
    return untrained


@pytest.fixture
def two(bundle, grouped) -> tuple[EncodedRecording, EncodedRecording]:
    """A recording of a woman and one of a man, with latents as large as those of a trained model."""
    table = simulate(1000, 0)
    sexes = table["sex"].to_pylist()
    found = (encode_recording(bundle, table.slice(sexes.index(sex), 1)) for sex in ("F", "M"))
    first, second = (replace(one, latents={name: 50 * z for name, z in one.latents.items()}) for one in found)
    assert all(0.3 < z.std() < 30 for one in (first, second) for z in one.latents.values())
    return first, second
