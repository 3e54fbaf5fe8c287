"""Millions of waveforms from a bundle, with Ray Data: one Parquet file a part, each whole or not there.

A part is drawn from a seed of its own by one thread, so that its bytes depend neither on the number of workers nor on
what was there before.

Legend: P parts.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch

import hcvae
from hcvae.data.preprocessing import ConditionValue
from hcvae.digests import sha256_of_stream
from hcvae.errors import UserError
from hcvae.generation import generate
from hcvae.storage import StoragePath

MANIFEST = "_generation.json"  # readers of folders pass over names that begin so


@dataclass(frozen=True)
class Order:
    """What is to be generated."""

    bundle: str
    """Folder of the bundle, a path or a URI, as every node sees it."""
    conditions: tuple[Mapping[str, ConditionValue], ...]
    """Complete ones, see `hcvae.generation.complete_condition`."""
    n_samples: int
    """Waveforms for each condition."""
    seed: int
    residual_noise: bool
    rows_per_file: int

    @property
    def parts(self) -> list[dict[str, int]]:
        """Number, condition, first sample and samples of each part [P]."""
        per_condition = math.ceil(self.n_samples / self.rows_per_file)
        starts = [(c, k * self.rows_per_file) for c in range(len(self.conditions)) for k in range(per_condition)]
        return [
            {"part": part, "condition": c, "first": first, "count": min(self.rows_per_file, self.n_samples - first)}
            for part, (c, first) in enumerate(starts)
        ]

    def manifest(self) -> dict[str, Any]:
        """All that the bytes of the files depend on, as JSON."""
        with (StoragePath.of(self.bundle) / "model.safetensors").open() as file:
            weights = sha256_of_stream(file)
        wanted = {name: value for name, value in asdict(self).items() if name != "bundle"}
        versions = {"hcvae": hcvae.__version__, "torch": torch.__version__, "pyarrow": version("pyarrow")}
        content = {"model_sha256": weights, **wanted, "versions": versions}
        return dict(json.loads(json.dumps(content)))


def begin(order: Order, out: StoragePath) -> list[dict[str, int]]:
    """Make the folder, or open that of the same order; the parts that it lacks.

    Raises:
        UserError: `out` holds something else, or was begun with another order; the difference is named.
    """
    wanted, manifest, there = order.manifest(), out / MANIFEST, set(out.listdir())
    if MANIFEST in there:
        begun = json.loads(manifest.read_text())
        changed = sorted(name for name in wanted.keys() | begun.keys() if wanted.get(name) != begun.get(name))
        if changed:
            raise UserError(
                f"--out: {out} was begun with another {', '.join(changed)}; name another folder, or go on as it began"
            )
    elif there:
        raise UserError(f"--out: {out} is not empty, and holds no {MANIFEST}; name a new folder")
    else:
        try:
            manifest.write(json.dumps(wanted, indent=2).encode())
        except OSError as error:
            raise UserError(f"--out: cannot write to {out}: {error}; name a folder that you may write to") from error
    return [part for part in order.parts if _file(part["part"]) not in there]


def write_parts(order: Order, out: StoragePath, parts: Sequence[dict[str, int]], workers: int) -> Iterator[int]:
    """Write the parts with so many workers of one CPU; gives the number of waveforms of each as it is there."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    written = ray.data.from_items(list(parts), override_num_blocks=len(parts)).map(
        _Writer, fn_constructor_args=(order, out), num_cpus=1, concurrency=min(workers, len(parts))
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it would tell of an interruption, too
    for row in written.iter_rows():
        yield int(row["count"])


class _Writer:
    """A worker: the model is loaded once."""

    def __init__(self, order: Order, out: StoragePath) -> None:
        torch.set_num_threads(1)
        self._order, self._out, self._bundle = order, out, hcvae.load(order.bundle)

    def __call__(self, part: dict[str, int]) -> dict[str, int]:
        order = self._order
        seed = int(np.random.SeedSequence([order.seed, part["part"]]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        condition = order.conditions[part["condition"]]
        count, noisy = int(part["count"]), order.residual_noise
        # The order's conditions have been checked, or are wanted outside the training range.
        table = generate(self._bundle, [condition], count, seed, residual_noise=noisy, extrapolate=True)
        samples = pa.array(np.arange(part["first"], part["first"] + part["count"]))
        table = table.set_column(table.schema.get_field_index("sample"), "sample", samples)
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        (self._out / _file(int(part["part"]))).write(content.getvalue())
        return part


def rows_of(out: StoragePath) -> int:
    """Waveforms in the files of `out`, by their footers."""
    files = [out / name for name in out.listdir() if name.startswith("part-")]
    return sum(pq.read_metadata(file.key, filesystem=file.file_system).num_rows for file in files)


def _file(part: int) -> str:
    return f"part-{part:06d}.parquet"
