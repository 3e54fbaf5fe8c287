"""Safe reading of the files of an untrusted bundle: nothing is unpickled, sizes are checked before memory is allocated,
and nothing outside the bundle's folder is read.
"""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from pydantic_core import from_json, to_json
from safetensors import SafetensorError, safe_open

from hcvae.bundle.contents import History
from hcvae.config import Section
from hcvae.digests import sha256_of_file
from hcvae.errors import UserError
from hcvae.models import MAX_WEIGHTS
from hcvae.validation import explain, shortened

MAX_JSON_BYTES = 16 * 2**20
"""Of each JSON file: a history has 1.4 kB an epoch, so that the 9,999 epochs that a configuration allows fit. Parsed
JSON takes up to 24 times its size (measured on `[{},{},...]`), here 400 MB."""
MAX_EPOCHS = 9999
"""Of a history: the limit of a configuration. In memory they take at most 150 MB beside the weights."""
MAX_VALUES = 50_000
"""In a configuration or normalisation, each of which an error message may list: a thousand groups have fewer."""
MAX_HEADER_BYTES = 2**20
"""Of the safetensors header, with 100 bytes a tensor: the largest model has about 200 tensors."""
MAX_WEIGHTS_BYTES = 4 * MAX_WEIGHTS + MAX_HEADER_BYTES
"""Of the file of weights."""

DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""Types of the tensors of models, by safetensors' names."""

AnySection = TypeVar("AnySection", bound=Section)


def read_json(folder: Path, name: str) -> Any:
    """Return the content of the JSON file `name`, which must have finite numbers only.

    Raises:
        UserError: the file is missing, outside the folder, too large, nested too deeply, or not JSON.
    """
    path = _own_file(folder, name, MAX_JSON_BYTES)
    try:
        return from_json(path.read_bytes(), allow_inf_nan=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a model bundle: {shortened(str(error))}") from error


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in the file `name`.

    Raises:
        UserError: as `read_json`; or it is not an object, or has too many values.
    """
    path = folder / name
    content = read_json(folder, name)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a model bundle: must be an object")
    found = _count(content)
    if found > MAX_VALUES:
        raise UserError(f"{path}: must hold at most {MAX_VALUES} values, but got {found}")
    return content


def validated(kind: type[AnySection], content: dict[str, Any], path: Path) -> AnySection:
    """Return `content` of the file `path` as a `kind`; text is never accepted as a number.

    Raises:
        UserError: names the file, the key, the value and what would be right.
    """
    try:
        return kind.model_validate_json(to_json(content), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, kind)}") from error


def read_metrics(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Return metrics by the part of the split from the JSON file `name`.

    Raises:
        UserError: as `read_json`; or it has another form, no validation or test part, or too many parts.
    """
    path = folder / name
    content = read_json(folder, name)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a model bundle: must be an object")
    _check_numbers(path, content.values(), (int, float))
    if not {"validation", "test"} <= content.keys():
        raise UserError(f"{path}: must have validation and test, but got {shortened(str([*content]))}")
    return content


def read_history(folder: Path, name: str) -> History:
    """Return the metrics of each epoch, some of them null, from the JSON file `name`.

    Raises:
        UserError: as `read_json`; or it has another form, or too many epochs.
    """
    path = folder / name
    content = read_json(folder, name)
    if not isinstance(content, list):
        raise UserError(f"{path}: not a model bundle: must be a list")
    _check_numbers(path, content, (int, float, type(None)))
    return content


def read_weights(
    folder: Path, name: str, wanted: Mapping[str, torch.Tensor], sha256: str | None
) -> dict[str, torch.Tensor]:
    """Return the tensors of the safetensors file `name`, which must be finite and match those of `wanted`.

    Raises:
        UserError: before memory is allocated, if the file is missing, outside the folder, not a safetensors file, has
            another digest than `sha256`, or a tensor has another name, type or shape; after, if a number is not finite.
    """
    path = _own_file(folder, name, MAX_WEIGHTS_BYTES)
    try:
        _check_header_size(path)
        with safe_open(path, framework="pt") as file:
            _check_tensors(path, wanted, _described(file))
            _check_digest(path, sha256)
            tensors: dict[str, torch.Tensor] = file.get_tensors()
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a safetensors file: {shortened(str(error))}") from error
    for key, tensor in tensors.items():
        if not _is_finite(tensor):
            raise UserError(f"{path}: tensor {key}: must have finite numbers only; the training or the file is damaged")
    return tensors


def _own_file(folder: Path, name: str, max_bytes: int) -> Path:
    """Return the path of a file that is in `folder` itself, not linked from elsewhere, and not too large."""
    path = folder / name
    try:
        real = path.resolve()
        if real.parent != folder.resolve():
            raise UserError(f"{path}: must be in the bundle's folder, but is a link to {real}; copy the file there")
        if not real.is_file():
            raise UserError(f"{path}: not a model bundle: there is no such file")
        size = real.stat().st_size
    except (OSError, RuntimeError) as error:  # RuntimeError: circular links
        raise UserError(f"{path}: not a model bundle: {shortened(str(error))}") from error
    if size > max_bytes:
        raise UserError(f"{path}: must have at most {max_bytes} bytes, but got {size}; not a model bundle of hcvae")
    return path


def _count(content: Any) -> int:
    """Return the number of values in a JSON tree, inner nodes included."""
    if isinstance(content, dict):
        return 1 + sum(map(_count, content.values()))
    if isinstance(content, list):
        return 1 + sum(map(_count, content))
    return 1


def _check_numbers(path: Path, objects: Collection[Any], types: tuple[type, ...]) -> None:
    """Refuse too many objects, and values that are not finite numbers of these types."""
    if len(objects) > MAX_EPOCHS:
        raise UserError(f"{path}: must have at most {MAX_EPOCHS} entries, but got {len(objects)}")
    for numbers in objects:
        if not _holds_numbers(numbers, types):
            raise UserError(f"{path}: not a model bundle: must hold names with finite numbers")


def _holds_numbers(content: Any, types: tuple[type, ...]) -> bool:
    return isinstance(content, dict) and all(_is_number(value, types) for value in content.values())


def _is_number(value: Any, types: tuple[type, ...]) -> bool:
    return type(value) in types and (value is None or abs(value) <= sys.float_info.max)


def _check_header_size(path: Path) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise UserError(f"{path}: the header must have at most {MAX_HEADER_BYTES} bytes, but claims {size}")


def _described(file: Any) -> dict[str, tuple[str, list[int]]]:
    """Return the type and shape of each tensor of an open safetensors file."""
    found = {}
    for key in file.keys():  # noqa: SIM118 - not a dict
        tensor = file.get_slice(key)
        found[key] = (tensor.get_dtype(), list(tensor.get_shape()))
    return found


def _is_finite(tensor: torch.Tensor) -> bool:
    # Minimum and maximum are both NaN if any number is; unlike isfinite they need no copy of the tensor.
    if not tensor.numel():
        return True
    lowest, highest = tensor.aminmax()
    return bool(lowest.isfinite() and highest.isfinite())


def _check_tensors(path: Path, wanted: Mapping[str, torch.Tensor], found: Mapping[str, tuple[str, list[int]]]) -> None:
    needed = {}
    for name, tensor in wanted.items():
        needed[name] = (DTYPES[tensor.dtype], list(tensor.shape))
    for name in sorted(needed.keys() | found.keys()):
        if needed.get(name) != found.get(name):
            raise UserError(
                f"{path}: tensor {shortened(name)}: config.json asks for {needed.get(name)}, "
                f"but got {shortened(str(found.get(name)))}"
            )


def _check_digest(path: Path, sha256: str | None) -> None:
    if sha256 is not None and sha256_of_file(path) != sha256:
        raise UserError(f"{path}: is not the file that config.json was written with (SHA-256); pull the bundle again")
