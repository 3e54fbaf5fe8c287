"""Reads damaged copies of a real file in a process of its own: `python mutations.py FILE FOLDER COUNT SEED`.

Ends with 0 if each gave a clear error or waveforms; with a traceback otherwise, or where a file elsewhere was opened.
"""

import resource
import signal
import sys
import sysconfig
from pathlib import Path

import numpy as np

from hcvae.errors import UserError
from hcvae.importers.importing import Wishes, _companions, read_file
from hcvae.importers.registry import MODULES, format_named, recognise

SECONDS, MAX_BYTES = 30, 2**30
HOSTILE = [b"999999999999", b"-1", b"nan", b"1e308", b"../../../etc/passwd", b"/etc/passwd", b"\0", b"", b"\xff\xfe"]


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    kind = random.integers(6)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        damaged = bytearray(content)
        for at in random.integers(len(content), size=random.integers(1, 30)):
            damaged[at] = random.integers(256)
        return bytes(damaged)
    if kind == 2:  # the header, where the sizes are
        damaged = bytearray(content)
        for at in random.integers(min(600, len(content)), size=3):
            damaged[at] ^= 1 << random.integers(8)
        return bytes(damaged)
    lines = content.split(b"\n")
    at = int(random.integers(len(lines)))
    if kind == 3:
        return b"\n".join(lines[:at] + lines[at + 1 :])
    if kind == 4:
        return b"\n".join([*lines[: at + 1], *lines[at:]])
    start = int(random.integers(min(3000, len(content))))
    word = HOSTILE[random.integers(len(HOSTILE))]
    return content[:start] + word + content[start + len(word) :]


def main() -> None:
    original, folder, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for name in MODULES:
        format_named(name)
    content = original.read_bytes()
    companions = {path.name: path.read_bytes() for path in _companions(original)}
    read_file(original, Wishes())  # imports what is imported late
    allowed = [
        str(folder.resolve()),
        sys.prefix,
        sys.base_prefix,
        sysconfig.get_paths()["stdlib"],
        "/proc/self",
        "/dev",
    ]
    allowed.append(str(Path(__file__).resolve().parents[3]))
    elsewhere = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if not str(Path(path).absolute()).startswith(tuple(allowed)):
                elsewhere.append(path)

    sys.addaudithook(watch)
    random, errors = np.random.default_rng(seed), 0
    for number in range(count):
        copy = folder / original.name
        whole = {original.name: content, **companions}
        victim = folder / (original.name if random.random() < 0.7 else [*whole][-1])
        for name, held in whole.items():
            (folder / name).write_bytes(mutated(held, random) if name == victim.name else held)
        signal.alarm(SECONDS)
        result = read_file(copy, Wishes())
        signal.alarm(0)
        if result.error is not None:
            errors += 1
            assert str(copy) in result.error or str(victim) in result.error, result.error
        for row in result.rows:
            assert np.isfinite(row.signal_uv).all(), number
        assert not elsewhere, elsewhere
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak < MAX_BYTES, f"{peak} bytes"
    try:
        recognise(folder / "missing")
    except UserError:
        print(f"{original.name}: {count} mutations, {errors} errors, {peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
