"""Read damaged copies of a real file in a separate process: `python mutations.py FILE FOLDER COUNT SEED`.

Ends with 0 if each gave a clear error or waveforms; with a traceback otherwise, or where a file elsewhere was opened.
"""

import sys
from pathlib import Path

import numpy as np

from hcvae.errors import UserError
from hcvae.importers.file_result import ImportOptions
from hcvae.importers.files import companions_of
from hcvae.importers.importing import read_file
from hcvae.importers.registry import MODULES, format_named, recognise
from tests.hcvae.hostile import MAX_BYTES, Watch, deadline, mutated, peak_bytes


def main() -> None:
    original, folder, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for name in MODULES:
        format_named(name)
    content = original.read_bytes()
    companions = {path.name: path.read_bytes() for path in companions_of(original)}
    read_file(original, ImportOptions())  # imports what is imported late
    watch = Watch(folder)
    random, errors = np.random.default_rng(seed), 0
    for number in range(count):
        copy = folder / original.name
        whole = {original.name: content, **companions}
        victim = folder / (original.name if random.random() < 0.7 else [*whole][-1])
        for name, held in whole.items():
            (folder / name).write_bytes(mutated(held, random) if name == victim.name else held)
        with deadline():
            result = read_file(copy, ImportOptions())
        if result.error is not None:
            errors += 1
            assert str(copy) in result.error or str(victim) in result.error, result.error
        for row in result.rows:
            assert np.isfinite(row.signal_uv).all(), number
        assert not watch.harm, watch.harm
    peak = peak_bytes()
    assert peak < MAX_BYTES, f"{peak} bytes"
    try:
        recognise(folder / "missing")
    except UserError:
        print(f"{original.name}: {count} mutations, {errors} errors, {peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
