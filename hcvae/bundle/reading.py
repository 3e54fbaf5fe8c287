"""The files of a bundle that nobody vouches for: nothing is unpickled, memory is taken only after a look, and nothing
is read outside the bundle's folder.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from pydantic_core import from_json, to_json
from safetensors import SafetensorError, safe_open

from hcvae.config import Section
from hcvae.digests import sha256_of_file
from hcvae.errors import UserError
from hcvae.models import MAX_WEIGHTS
from hcvae.validation import explain, shortened

MAX_JSON_BYTES = 16 * 2**20
"""Of each JSON file: a history has 1.4 kB an epoch, so that the 9,999 a configuration may ask for fit. JSON
takes up to 24 times its size when parsed (measured on `[{},{},...]`), here 400 MB."""
MAX_EPOCHS = 9999
"""Of a history: what a configuration may ask for. Kept in memory they take at most 150 MB beside the weights."""
MAX_VALUES = 50_000
"""In a configuration or normalisation: each may be a mistake, and a thousand groups of conditions have fewer."""
MAX_HEADER_BYTES = 2**20
"""Of the safetensors header: 100 bytes a tensor, and the largest model has about 200 tensors."""
MAX_WEIGHTS_BYTES = 4 * MAX_WEIGHTS + MAX_HEADER_BYTES
"""Of the file of weights."""

DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""What models consist of, as safetensors calls it."""

AnySection = TypeVar("AnySection", bound=Section)


def read_json(folder: Path, name: str) -> Any:
    """The content of the JSON file `name`, finite numbers only.

    Raises:
        UserError: the file is missing, elsewhere, too large, nested too deeply, or not JSON.
    """
    path = _own_file(folder, name, MAX_JSON_BYTES)
    try:
        return from_json(path.read_bytes(), allow_inf_nan=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a model bundle: {shortened(str(error))}") from error


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in the file `name`; raises as `read_json`, and where it is none or has too many values."""
    path, content = folder / name, read_json(folder, name)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a model bundle: an object must stand there")
    if (found := _count(content)) > MAX_VALUES:
        raise UserError(f"{path}: must hold at most {MAX_VALUES} values, but got {found}")
    return content


def validated(kind: type[AnySection], content: dict[str, Any], path: Path) -> AnySection:
    """`content` of the file `path` as a `kind`; no text is taken for a number.

    Raises:
        UserError: names the file, the key, the value and what would be right.
    """
    try:
        return kind.model_validate_json(to_json(content), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, kind)}") from error


def read_numbers(folder: Path, name: str, kind: type) -> Any:
    """A list (`kind`) of objects, or an object of objects, that hold finite numbers (null only in lists); not too many.

    Raises:
        UserError: it is something else.
    """
    content = read_json(folder, name)
    if not isinstance(content, kind) or not isinstance(content, dict | list):
        wanted = "an object" if kind is dict else "a list"
        raise UserError(f"{folder / name}: not a model bundle: {wanted} must stand there")
    if len(content) > MAX_EPOCHS:
        raise UserError(f"{folder / name}: must have at most {MAX_EPOCHS} entries, but got {len(content)}")
    inner = content.values() if isinstance(content, dict) else content
    numbers = (int, float) if kind is dict else (int, float, type(None))
    if not all(_are_numbers(each, numbers) for each in inner):
        raise UserError(f"{folder / name}: not a model bundle: names with finite numbers must stand there")
    return content


def read_weights(
    folder: Path, name: str, wanted: Mapping[str, torch.Tensor], sha256: str | None
) -> dict[str, torch.Tensor]:
    """The tensors of the safetensors file `name`, which must be like those of `wanted`, and finite.

    Raises:
        UserError: the file is missing, elsewhere, no safetensors file, has not the digest `sha256`, or a name, type or
            shape differs, all of which is found out before memory is taken; or a number is not finite.
    """
    path = _own_file(folder, name, MAX_WEIGHTS_BYTES)
    try:
        _check_header_size(path)
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            _compare(path, wanted, {key: (s.get_dtype(), list(s.get_shape())) for key, s in slices.items()})
            _check_digest(path, sha256)
            tensors: dict[str, torch.Tensor] = file.get_tensors()
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a safetensors file: {shortened(str(error))}") from error
    for key, tensor in tensors.items():
        # Both ends are NaN where one number is: no copy of the tensor is made.
        if tensor.numel() and not all(end.isfinite() for end in tensor.aminmax()):
            raise UserError(f"{path}: tensor {key}: must hold finite numbers only; the training or the file is damaged")
    return tensors


def _own_file(folder: Path, name: str, most_bytes: int) -> Path:
    path = folder / name
    try:
        real = path.resolve()
        if real.parent != folder.resolve():
            raise UserError(f"{path}: must lie in the bundle's folder, but is a link to {real}; copy the file there")
        if not real.is_file():
            raise UserError(f"{path}: not a model bundle: there is no such file")
        size = real.stat().st_size
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UserError(f"{path}: not a model bundle: {shortened(str(error))}") from error
    if size > most_bytes:
        raise UserError(f"{path}: must have at most {most_bytes} bytes, but got {size}; this is not a model of ours")
    return path


def _count(content: Any) -> int:
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return 1 + sum(map(_count, inner))


def _are_numbers(content: Any, numbers: tuple[type, ...]) -> bool:
    return isinstance(content, dict) and all(
        type(value) in numbers and (value is None or abs(value) <= sys.float_info.max) for value in content.values()
    )


def _check_header_size(path: Path) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise UserError(f"{path}: the header must have at most {MAX_HEADER_BYTES} bytes, but says {size}")


def _compare(path: Path, wanted: Mapping[str, torch.Tensor], found: Mapping[str, tuple[str, list[int]]]) -> None:
    needed = {name: (DTYPES[tensor.dtype], list(tensor.shape)) for name, tensor in wanted.items()}
    for name in sorted(needed.keys() | found.keys()):
        if needed.get(name) != found.get(name):
            raise UserError(
                f"{path}: tensor {shortened(name)}: config.json asks for {needed.get(name)}, "
                f"but got {shortened(str(found.get(name)))}"
            )


def _check_digest(path: Path, sha256: str | None) -> None:
    if sha256 is not None and sha256_of_file(path) != sha256:
        raise UserError(f"{path}: is not the file that config.json was written with (SHA-256); pull the bundle again")
