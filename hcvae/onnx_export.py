"""Export of models to ONNX files, which ONNX Runtime runs from many languages, without PyTorch and hcvae.

    <stem>-encoder.onnx  <stem>-prior.onnx  <stem>-decoder.onnx

Shapes: B batch, T samples, C columns of the condition.
"""

import json
import logging
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import hcvae
from hcvae.atomic import atomic_write
from hcvae.bundle import Bundle
from hcvae.data.labelled_peaks import MODEL_WAVES
from hcvae.data.static import StaticColumn
from hcvae.errors import PackageMissing, UserError
from hcvae.portable import PortableDecoder, PortableEncoder, PortablePrior

SUFFIX = ".onnx"
TOLERANCE = 1e-4
"""Largest allowed difference from PyTorch, relative to the largest value of that output. Float32 sums in another order
differ by about 1e-6."""
BATCHES = (1, 3, 64)
"""Batch sizes at which each file is compared with PyTorch."""
TRACED_ROWS = 2
"""Batch size at which the network is traced; not in `BATCHES`."""

RowSource = Callable[[int], NDArray[np.float64]]
"""Generates the given number of rows of an input."""


def check_path(path: str) -> None:
    """Check that `path` can be exported to, before the work begins.

    Raises:
        UserError: another suffix than .onnx, or a package is not installed.
    """
    if Path(path).suffix != SUFFIX:
        raise UserError(f"--onnx {path}: must end in {SUFFIX}, but got {Path(path).suffix!r}")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _library(name)


def export(bundle: Bundle, path: Path) -> dict[Path, float]:
    """Write encoder, prior and decoder of `bundle` beside `path`, all or none.

    Returns:
        The largest difference from PyTorch of each file, relative to the largest value of that output.

    Raises:
        UserError: a file cannot be written, or ONNX Runtime and PyTorch disagree.
    """
    differences = {}
    with ExitStack() as stack:
        for part, (network, inputs) in _parts(bundle).items():
            target = path.with_name(f"{path.stem}-{part}{SUFFIX}")
            temporary = stack.enter_context(atomic_write(target))
            _write(temporary, network.eval(), inputs, _metadata(bundle, part))
            differences[target] = _largest_difference(temporary, network, inputs)
            if not differences[target] <= TOLERANCE:
                raise UserError(
                    f"{target}: ONNX Runtime must agree with PyTorch within {TOLERANCE:g} of the largest value, "
                    f"but differs by {differences[target]:.2g}; no file was written"
                )
    return differences


def _parts(bundle: Bundle) -> dict[str, tuple[Any, dict[str, RowSource]]]:
    """Return the network of each file, with generators of its inputs by name."""
    random = np.random.default_rng(0)
    signal = partial(_signals, bundle, random)
    condition = partial(_conditions, bundle, random)
    latents: dict[str, RowSource] = {}
    noise: dict[str, RowSource] = {}
    for block, dim in bundle.model.latent_dims.items():
        latents[f"z_{block}"] = noise[f"noise_{block}"] = partial(_normal, dim, random)
    return {
        "encoder": (PortableEncoder(bundle), {"signal": signal, "condition": condition}),
        "prior": (PortablePrior(bundle), {"condition": condition, **noise}),
        "decoder": (PortableDecoder(bundle), {"condition": condition, **latents}),
    }


def _write(path: Path, network: Any, inputs: dict[str, RowSource], metadata: dict[str, str]) -> None:
    onnx = _library("onnx")
    arguments = tuple(map(torch.from_numpy, _generated(inputs, TRACED_ROWS).values()))
    rows = {0: torch.export.Dim("batch")}
    shapes: tuple[Any, ...] = (rows, (rows,) * (len(arguments) - 1))  # the inputs after the first one are `*latents`
    if isinstance(network, PortableEncoder):
        shapes = (rows, rows)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that are not needed
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            network,
            arguments,
            input_names=list(inputs),
            output_names=network.output_names,
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def _largest_difference(path: Path, network: nn.Module, inputs: dict[str, RowSource]) -> float:
    session = _library("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    differences = []
    for rows in BATCHES:
        given = _generated(inputs, rows)
        with torch.no_grad():
            expected = network(*map(torch.from_numpy, given.values()))
        for found, tensor in zip(session.run(None, given), expected, strict=True):
            differences.append(_difference(found, tensor.numpy()))
    return max(differences)


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference relative to the largest value; infinite where only one is NaN."""
    known = ~np.isnan(expected)
    if found.shape != expected.shape or not np.array_equal(known, ~np.isnan(found)):
        return float("inf")
    size = np.abs(expected[known]).max(initial=0) or 1.0
    return float(np.abs(found[known] - expected[known]).max(initial=0) / size)


def _metadata(bundle: Bundle, part: str) -> dict[str, str]:
    preprocessing = bundle.preprocessing
    columns = list(map(_described_column, preprocessing.static.columns))
    peaks = list(map("_".join, product(("latency_ms", "amplitude_uv"), MODEL_WAVES)))
    return {
        "hcvae_version": hcvae.__version__,
        "part": part,
        "condition": json.dumps(columns),
        "typical_condition": json.dumps(preprocessing.typical),
        "signal_unit": "uV",
        "signal_length": str(preprocessing.signal_length),
        "sampling_rate_hz": repr(preprocessing.sampling_rate_hz),
        "latent_dims": json.dumps(bundle.model.latent_dims),
        "static": json.dumps(preprocessing.static.names),
        "peaks": json.dumps(peaks),
        "intended_use": "For research. Not for diagnosis.",
    }


def _described_column(column: StaticColumn) -> dict[str, Any]:
    described: dict[str, Any] = {"name": column.name, "kind": column.kind, "may_be_null": column.has_nulls}
    if column.kind == "category":
        return described | {"categories": column.categories}
    return described | {"minimum": column.minimum, "maximum": column.maximum}


def _conditions(bundle: Bundle, random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Sample conditions [B, C] from the training range, some of them null where training rows had nulls."""
    columns = []
    for column in bundle.preprocessing.static.columns:
        if column.kind == "category":
            values = random.integers(len(column.categories), size=rows).astype(np.float64)
        else:
            values = random.uniform(column.minimum, column.maximum, size=rows)
        columns.append(np.where(column.has_nulls & (random.random(rows) < 0.2), np.nan, values))
    return np.stack(columns, axis=1)


def _signals(bundle: Bundle, random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Sample noise [B, T] at the scale of the recordings."""
    scale = next(iter(bundle.preprocessing.signal.groups.values()))
    return random.normal(scale.mean_uv, scale.std_uv, size=(rows, bundle.preprocessing.signal_length))


def _normal(dim: int, random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    return random.normal(size=(rows, dim))


def _generated(inputs: dict[str, RowSource], rows: int) -> dict[str, NDArray[np.float32]]:
    """Return so many rows of each input, by name."""
    return {name: np.asarray(make(rows), np.float32) for name, make in inputs.items()}


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise PackageMissing("export", name, "onnx") from error
