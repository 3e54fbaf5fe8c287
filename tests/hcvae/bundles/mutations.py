"""Loads damaged copies of a bundle in a process of its own: `python mutations.py BUNDLE FOLDER COUNT SEED`.

Ends with 0 if each gave a clear error, or was loaded as it is written and generates finite waveforms; with a traceback
otherwise, where code was run, where a file elsewhere was opened, or where memory grew beyond 1 GB.
"""

import hashlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

import hcvae
from hcvae.bundle import Bundle, Origin
from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.generation import generate
from hcvae.inspection.bundle import find_in_bundle, summarise_bundle
from tests.hcvae.hostile import Watch, deadline, limit_memory, mutated, peak_bytes

FILES = ("config.json", "normalization.json", "metrics.json", "history.json", "model.safetensors")
LEAVES: tuple[Any, ...] = (
    *(10**12, -1, 0, 1, 2**63, 10**400, 1e308, 1e-320, float("nan"), float("inf"), True, None, "200", "", [], {}),
    *("../../etc/passwd", "/etc/passwd", "\x1b[2J", "x" * 10**5, "F32", "I64", "__class__"),
    *([0, 10**15], [2**62, 2**62]),
)
MAX_MESSAGE_LENGTH = 4000
NAMED_BY_USE = ("model: generated waveforms must be finite", "history: each epoch must have")
"""What only using a bundle brings out."""


class Bomb:
    """Says so if it is ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch exploded",)


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key in `content`."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


def restructured(content: Any, random: np.random.Generator) -> Any:
    """JSON with a value replaced, removed, doubled, nested or exchanged, once to three times."""
    for _ in range(random.integers(1, 4)):
        found = list(places(content))
        if not found:
            return content
        inside, key = found[random.integers(len(found))]
        kind = random.integers(6)
        if kind <= 1:
            inside[key] = LEAVES[random.integers(len(LEAVES))]
        elif kind == 2:
            del inside[key]
        elif kind == 3 and isinstance(inside, dict):
            inside[f"{key}2"] = inside[key]
        elif kind == 3:
            inside.append(inside[key])
        elif kind == 4:
            inside[key] = [{"a": inside[key]}, [inside[key]]][random.integers(2)]
        else:
            other, there = found[random.integers(len(found))]
            if key in inside if isinstance(inside, dict) else key < len(inside):
                other[there] = json.loads(json.dumps(inside[key]))
    return content


def damaged_json(content: bytes, random: np.random.Generator) -> bytes:
    kind = random.random()
    if kind < 0.7:
        return json.dumps(restructured(json.loads(content), random)).encode()
    if kind < 0.75:
        return [b"[" * 10**5, b'{"a":' * 10**5, b"1" * 10**4, b"[" + b"{}," * 10**6 + b"{}]", b""][random.integers(5)]
    return mutated(content, random)


def damaged_weights(content: bytes, random: np.random.Generator) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], content[8 + size :]
    kind = random.random()
    if kind < 0.4:
        header = json.dumps(restructured(json.loads(header), random)).encode()
        return len(header).to_bytes(8, "little") + header + data
    if kind < 0.5:
        return [2**63, 2**40, 0, len(content)][random.integers(4)].to_bytes(8, "little") + content[8:]
    if kind < 0.6:
        values = np.frombuffer(data[: len(data) // 4 * 4], np.float32).copy()
        values[random.integers(len(values), size=3)] = [np.nan, np.inf, -3e38, -1][random.integers(4)]
        return content[: 8 + size] + values.tobytes() + data[len(values) * 4 :]
    if kind < 0.7:
        return pickle.dumps(Bomb())
    return mutated(content, random)


def damage(bundle: Path, original: Path, random: np.random.Generator) -> str:
    """Damage a file of `bundle` and return which."""
    name = FILES[min(random.integers(7), 4)]  # weights as often as config and normalisation together, and more
    path = bundle / name
    if random.random() < 0.05:
        path.unlink()
        kind = random.integers(4)
        if kind == 0:
            path.symlink_to(original / name)
        elif kind == 1:
            path.symlink_to(path)
        elif kind == 2:
            os.mkfifo(path)
        else:
            path.mkdir()
        return name
    change = damaged_json if name.endswith(".json") else damaged_weights
    path.write_bytes(change(path.read_bytes(), random))
    if name == "model.safetensors" and random.random() < 0.8:  # who means harm gives the right digest
        config = json.loads((bundle / "config.json").read_text())
        config["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (bundle / "config.json").write_text(json.dumps(config))
    return name


def use(folder: Path) -> Bundle:
    """Load the bundle, check that it is what is written, and generate with it."""
    bundle = hcvae.load(folder)
    written = json.loads((folder / "config.json").read_text())
    config = bundle.config.model_dump(mode="json")
    assert all(config[key] == value or _within(value, config[key]) for key, value in written.items() if key in config)
    assert written.keys() <= config.keys() | Origin.model_fields.keys()
    assert bundle.preprocessing.model_dump(mode="json") == json.loads((folder / "normalization.json").read_text())
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert np.array_equal(bundle.model.state_dict()[name].numpy(), tensor.numpy()), name
    typical = [bundle.preprocessing.typical[group] for group in bundle.preprocessing.signal.groups]
    assert np.isfinite(signals_of(generate(bundle, typical, 1))).all()
    summarise_bundle(bundle)
    find_in_bundle(bundle)
    return bundle


def _within(written: Any, loaded: Any) -> bool:
    """Whether a section of the configuration is loaded as written; what is not written has its default."""
    return isinstance(written, dict) and all(
        loaded[key] == value or _within(value, loaded[key]) for key, value in written.items()
    )


def main() -> None:
    original, folder, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    os.chdir(folder)
    whole = {path.name: path.read_bytes() for path in original.iterdir()}
    use(original)  # imports what is imported late
    limit_memory()
    watch = Watch(folder)
    random, errors = np.random.default_rng(seed), 0
    for number in range(count):
        bundle = folder / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir()
        for file, content in whole.items():
            (bundle / file).write_bytes(content)
        name = damage(bundle, original, random)
        with deadline():
            try:
                use(bundle)
                assert not (bundle / name).is_symlink(), (number, name)
            except UserError as error:
                errors, said = errors + 1, str(error)
                assert said.startswith((str(bundle), *NAMED_BY_USE)), said[:MAX_MESSAGE_LENGTH]
                assert len(said) < MAX_MESSAGE_LENGTH, (number, name, said[:MAX_MESSAGE_LENGTH])
                assert said.replace("\n", "").isprintable(), (number, name, said)
            except BaseException:
                print(f"mutation {number} of {name}", file=sys.stderr)
                raise
        assert not watch.harm, (number, name, watch.harm)
        assert ([*os.listdir(folder)], {*os.listdir(bundle)}) == (["bundle"], {*whole}), number
    print(f"{count} mutations, {errors} errors, {peak_bytes() / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
