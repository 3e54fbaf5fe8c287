"""Millions of waveforms from a bundle, with Ray Data: one Parquet file for each part, written atomically.

One thread generates a part from a seed of its own, so that its bytes depend neither on the number of workers nor on
earlier parts.

Legend: P parts.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, TypedDict

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

MANIFEST = "_generation.json"  # readers of folders skip names that start with an underscore


class Part(TypedDict):
    """One file: some of the samples of one condition."""

    part: int
    """Number of the part."""
    condition: int
    """Index of its condition."""
    first: int
    """Index of its first sample among those of the condition."""
    count: int
    """Samples in it."""


@dataclass(frozen=True)
class BulkRequest:
    """What to generate."""

    bundle: str
    """Folder of the bundle, a path or a URI, as every node sees it."""
    conditions: tuple[Mapping[str, ConditionValue], ...]
    """Complete conditions, see `hcvae.generation.complete_condition`."""
    n_samples: int
    """Waveforms for each condition."""
    seed: int
    residual_noise: bool
    rows_per_file: int

    @property
    def parts(self) -> list[Part]:
        """The parts of all conditions [P]."""
        parts: list[Part] = []
        for condition in range(len(self.conditions)):
            for first in range(0, self.n_samples, self.rows_per_file):
                count = min(self.rows_per_file, self.n_samples - first)
                parts.append({"part": len(parts), "condition": condition, "first": first, "count": count})
        return parts

    def manifest(self) -> dict[str, Any]:
        """Return all that the bytes of the files depend on, as JSON."""
        with (StoragePath.of(self.bundle) / "model.safetensors").open() as file:
            weights = sha256_of_stream(file)
        request = asdict(self)
        del request["bundle"]
        versions = {"hcvae": hcvae.__version__, "torch": torch.__version__, "pyarrow": version("pyarrow")}
        content = {"model_sha256": weights, **request, "versions": versions}
        return dict(json.loads(json.dumps(content)))


def open_output(request: BulkRequest, out: StoragePath) -> list[Part]:
    """Make the folder of the files, or open that of the same request; return the parts that it lacks.

    Raises:
        UserError: `out` holds something else, or files of another request; the message names the difference.
    """
    manifest = request.manifest()
    present = set(out.listdir())
    if MANIFEST in present:
        _check_same_request(manifest, json.loads((out / MANIFEST).read_text()), out)
    elif present:
        raise UserError(f"--out: {out} is not empty, and holds no {MANIFEST}; name a new folder")
    else:
        try:
            (out / MANIFEST).write(json.dumps(manifest, indent=2).encode())
        except OSError as error:
            raise UserError(f"--out: cannot write to {out}: {error}; name a folder that you may write to") from error
    return [part for part in request.parts if _file(part["part"]) not in present]


def _check_same_request(manifest: Mapping[str, Any], earlier: Mapping[str, Any], out: StoragePath) -> None:
    names = sorted(manifest.keys() | earlier.keys())
    changed = [name for name in names if manifest.get(name) != earlier.get(name)]
    if changed:
        raise UserError(
            f"--out: {out} holds files made with another {', '.join(changed)}; name another folder, or use the same "
            "again"
        )


def write_parts(request: BulkRequest, out: StoragePath, parts: Sequence[Part], workers: int) -> Iterator[int]:
    """Write the parts with this many workers of one CPU; yield the number of waveforms of each part when it is done."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    written = ray.data.from_items(list(parts), override_num_blocks=len(parts)).map(
        _Writer, fn_constructor_args=(request, out), num_cpus=1, concurrency=min(workers, len(parts))
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs interruptions, too
    for row in written.iter_rows():
        yield int(row["count"])


class _Writer:
    """A worker, which loads the model once."""

    def __init__(self, request: BulkRequest, out: StoragePath) -> None:
        torch.set_num_threads(1)
        self._request = request
        self._out = out
        self._bundle = hcvae.load(request.bundle)

    def __call__(self, part: Part) -> Part:
        table = self._generate(part)
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        (self._out / _file(int(part["part"]))).write(content.getvalue())
        return part

    def _generate(self, part: Part) -> pa.Table:
        request = self._request
        words = np.random.SeedSequence([request.seed, part["part"]]).generate_state(1, np.uint64)
        table = generate(
            self._bundle,
            [request.conditions[part["condition"]]],
            int(part["count"]),
            int(words[0] >> np.uint64(1)),
            residual_noise=request.residual_noise,
            extrapolate=True,  # the conditions were checked before
        )
        samples = pa.array(np.arange(part["first"], part["first"] + part["count"]))
        return table.set_column(table.schema.get_field_index("sample"), "sample", samples)


def count_rows(out: StoragePath) -> int:
    """Return the number of waveforms in the files of `out`, by their footers."""
    count = 0
    for name in out.listdir():
        if name.startswith("part-"):
            file = out / name
            count += int(pq.read_metadata(file.key, filesystem=file.file_system).num_rows)
    return count


def _file(part: int) -> str:
    return f"part-{part:06d}.parquet"
