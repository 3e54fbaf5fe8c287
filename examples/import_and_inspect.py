"""Import a text file of waveforms into a waveform table, and look for what is wrong with it.

Run it from the checkout: `python -m examples.import_and_inspect`. The file is simulated; replace it by your own.
"""

import sys
from pathlib import Path

import pyarrow.csv

from hcvae import inspection
from hcvae.cli import run
from hcvae.data.simulator import simulate

FOLDER = Path("results/examples/import")


def main() -> None:
    """Write a CSV file as a laboratory might, import it, inspect the table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    recorded, table = FOLDER / "recorded.csv", FOLDER / "table.parquet"
    columns = ["subject_id", "stimulus_level_db", "n_averages"]
    simulated = simulate(200, seed=0)
    signals = simulated["signal"].combine_chunks()
    samples = {f"{0.05 * k:g} ms": signals.flatten()[k :: signals.type.list_size] for k in range(200)}
    pyarrow.csv.write_csv(pyarrow.table({name: simulated[name] for name in columns} | samples), recorded)

    # The importer is a command: call it as a shell would. Its exit code is 0, or 3 where some files could not be read.
    exit_code = run(
        ["import", str(recorded), "--out", str(table), "--map", "signal=* ms", "--key", str(FOLDER / "pseudonyms.key")]
    )
    if exit_code != 0:
        sys.exit(exit_code)

    recordings = inspection.read(str(table))
    summary = inspection.summarise(recordings)
    print(
        f"{summary.rows} waveforms from {summary.subjects} subjects; levels in dB: {', '.join(summary.rows_by_level)}"
    )
    for finding in inspection.find(recordings):
        print(finding)


if __name__ == "__main__":
    main()
