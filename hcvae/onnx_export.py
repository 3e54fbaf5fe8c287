"""Models as ONNX files, which ONNX Runtime runs from many languages, without PyTorch and without hcvae.

    <stem>-encoder.onnx  <stem>-prior.onnx  <stem>-decoder.onnx

Legend: B batch, T samples, C columns of the condition.
"""

import json
import logging
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import hcvae
from hcvae.atomic import atomic_write
from hcvae.bundle import Bundle
from hcvae.data.static import StaticColumn
from hcvae.errors import PackageMissing, UserError
from hcvae.portable import PortableDecoder, PortableEncoder, PortablePrior

SUFFIX = ".onnx"
TOLERANCE = 1e-4
"""Largest difference from PyTorch, over the largest value of that output: sums of float32 in another order differ by
about 1e-6."""
BATCHES = (1, 3, 64)
"""Rows at once with which each file is compared with PyTorch. The network is traced with another number of rows."""
TRACED_ROWS = 2

Rows = Callable[[int], NDArray[np.float64]]
"""Makes as many rows of an input."""


def check_path(path: str) -> None:
    """Refuse what cannot be done before the work begins.

    Raises:
        UserError: another suffix than .onnx, or a package is not installed.
    """
    if Path(path).suffix != SUFFIX:
        raise UserError(f"--onnx {path}: must end in {SUFFIX}, but got {Path(path).suffix!r}")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _library(name)


def export(bundle: Bundle, path: Path) -> dict[Path, float]:
    """Write encoder, prior and decoder of `bundle` beside `path`, all of them or none.

    Returns:
        Each file with its largest difference from PyTorch, over the largest value of that output.

    Raises:
        UserError: a file cannot be written, or ONNX Runtime computes something else than PyTorch.
    """
    latents = {f"z_{block}": dim for block, dim in bundle.model.latent_dims.items()}
    random = np.random.default_rng(0)
    rows: dict[str, Rows] = {
        "signal": partial(_signals, bundle, random),
        "condition": partial(_conditions, bundle, random),
        **{name: partial(_normal, dim, random) for name, dim in latents.items()},
    }
    noise = {f"noise_{name.removeprefix('z_')}": rows[name] for name in latents}
    parts: dict[str, tuple[Any, dict[str, Rows]]] = {
        "encoder": (PortableEncoder(bundle), {name: rows[name] for name in ("signal", "condition")}),
        "prior": (PortablePrior(bundle), {"condition": rows["condition"], **noise}),
        "decoder": (PortableDecoder(bundle), {name: rows[name] for name in ("condition", *latents)}),
    }
    differences = {}
    with ExitStack() as stack:
        for part, (network, inputs) in parts.items():
            target = path.with_name(f"{path.stem}-{part}{SUFFIX}")
            temporary = stack.enter_context(atomic_write(target))
            _write(temporary, network.eval(), inputs, _metadata(bundle, part))
            differences[target] = _largest_difference(temporary, network, inputs)
            if not differences[target] <= TOLERANCE:
                raise UserError(
                    f"{target}: ONNX Runtime must agree with PyTorch within {TOLERANCE:g} of the largest value, "
                    f"but differs by {differences[target]:.2g}; nothing was written"
                )
    return differences


def _write(path: Path, network: Any, inputs: dict[str, Rows], metadata: dict[str, str]) -> None:
    onnx = _library("onnx")
    arguments = tuple(_tensor(make(TRACED_ROWS)) for make in inputs.values())
    rows = {0: torch.export.Dim("batch")}
    # The first input, or the first two of the encoder, are arguments of their own, all others one tuple.
    shapes = (rows, rows) if isinstance(network, PortableEncoder) else (rows, (rows,) * (len(arguments) - 1))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it speaks of packages that are not needed
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


def _largest_difference(path: Path, network: nn.Module, inputs: dict[str, Rows]) -> float:
    session = _library("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    differences = []
    for rows in BATCHES:
        given = {name: np.asarray(make(rows), np.float32) for name, make in inputs.items()}
        with torch.no_grad():
            wanted = network(*map(_tensor, given.values()))
        differences += [
            _difference(found, tensor.numpy()) for found, tensor in zip(session.run(None, given), wanted, strict=True)
        ]
    return max(differences)


def _difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Of the largest value; infinite where one is NaN and the other is not."""
    known = ~np.isnan(wanted)
    if found.shape != wanted.shape or not np.array_equal(known, ~np.isnan(found)):
        return float("inf")
    size = np.abs(wanted[known]).max(initial=0) or 1.0
    return float(np.abs(found[known] - wanted[known]).max(initial=0) / size)


def _metadata(bundle: Bundle, part: str) -> dict[str, str]:
    preprocessing = bundle.preprocessing
    columns = [
        {
            "name": column.name,
            "kind": column.kind,
            "may_be_null": column.has_nulls,
            **({"categories": column.categories} if column.kind == "category" else _range(column)),
        }
        for column in preprocessing.static.columns
    ]
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
        "peaks": json.dumps(
            [f"{what}_{wave}" for what in ("latency_ms", "amplitude_uv") for wave in ("I", "III", "V")]
        ),
        "intended_use": "For research. Not for diagnosis.",
    }


def _range(column: StaticColumn) -> dict[str, float]:
    return {"minimum": column.minimum, "maximum": column.maximum}


def _conditions(bundle: Bundle, random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Conditions [B, C] from the range of the training, some of them null where that is allowed."""
    columns = []
    for column in bundle.preprocessing.static.columns:
        if column.kind == "category":
            values = random.integers(len(column.categories), size=rows).astype(np.float64)
        else:
            values = random.uniform(column.minimum, column.maximum, size=rows)
        columns.append(np.where(column.has_nulls & (random.random(rows) < 0.2), np.nan, values))
    return np.stack(columns, axis=1)


def _signals(bundle: Bundle, random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Noise [B, T] of the size of the recordings."""
    scale = next(iter(bundle.preprocessing.signal.groups.values()))
    return random.normal(scale.mean_uv, scale.std_uv, size=(rows, bundle.preprocessing.signal_length))


def _normal(dim: int, random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    return random.normal(size=(rows, dim))


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise PackageMissing("export", name, "onnx") from error
