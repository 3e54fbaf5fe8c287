"""How fast are millions of waveforms, against a plain loop? Writes its table into docs/benchmarks.md.

python -m benchmarks.generation model     # 5 million waveforms, 4 GB of disk for a while; minutes
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from pydantic_settings import CliPositionalArg

from benchmarks.pages import ROOT, publish, spread
from benchmarks.processor import machine
from hcvae import command_line
from hcvae.bundle import load
from hcvae.data.table import write_table
from hcvae.generation import generate
from hcvae.generation.conditions import complete_condition, condition_table

LEVEL = "stimulus_level_db"
FORWARD_ROWS = 500
"""That the decoder takes at once when it is timed alone."""
PLAIN_ROUNDS = 3
"""Before the jobs, and again after them: the machine may change."""


class Generation(command_line.Command):
    """Time `python -m jobs.generate` against a plain loop in one process, and compare its files for 1 and 2 workers and
    after a kill.

    examples:
      python -m benchmarks.generation model
      python -m benchmarks.generation model --samples 200000 --compared 50000
    """

    bundle: CliPositionalArg[str]
    """The model bundle; its conditions need a `stimulus_level_db`."""
    samples: int = Field(5_000_000, ge=1)
    """Waveforms of the timed job."""
    compared: int = Field(200_000, ge=1)
    """Waveforms of the jobs whose files are compared."""
    rows_per_file: int = Field(5000, ge=1)
    """Waveforms of a file, and of a round of the plain loop."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(Generation, arguments)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        plain = plain_rates(command, scratch)
        forward = forward_rates(command)
        seconds = job(command, command.samples, scratch / "many")
        shutil.rmtree(scratch / "many")
        plain += plain_rates(command, scratch)
        forward += forward_rates(command)
        same, resumed = compared(command, scratch)
    rate = command.samples / seconds
    parameters = sum(p.numel() for p in load(command.bundle).model.parameters())
    ratios = [rate / one for one in plain]
    workers = os.cpu_count() or 1
    shares = [rate / (workers * one) for one in forward]
    lines = [
        "| | waveforms | waveforms/s |",
        "| --- | --- | --- |",
        f"| plain loop, one process, one thread | {2 * PLAIN_ROUNDS} x {command.rows_per_file:,} | {spread(plain)} |",
        f"| `jobs.generate`, start and all | {command.samples:,} | {rate:,.0f} |",
        f"| ratio | | {spread(ratios)} |",
        f"| the decoder's forward pass alone, one thread | {2 * PLAIN_ROUNDS} x {command.rows_per_file:,} "
        f"| {spread(forward)} |",
        f"| `jobs.generate` as a share of {workers} such threads | | {spread(shares)} |",
        "",
        f"{command.compared:,} waveforms by 1 and by 2 workers: {'the same' if same else 'NOT the same'} files; by 2 "
        f"workers, killed and resumed: {'the same' if resumed else 'NOT the same'}.",
        "",
        f"A model of {parameters:,} parameters; {machine()}, load average {os.getloadavg()[0]:.1f} at the end.",
    ]
    publish("benchmarks.md", "generation", lines)
    return 0 if same and resumed else 1


def plain_rates(command: Generation, scratch: Path) -> list[float]:
    """Return waveforms per second of a loop that samples and writes file after file."""
    torch.set_num_threads(1)
    bundle = load(command.bundle)
    rates = []
    for seed in range(PLAIN_ROUNDS):
        started = time.perf_counter()
        table = generate(bundle, [{LEVEL: 60.0}], command.rows_per_file, seed)
        write_table(table, scratch / "plain.parquet")
        rates.append(command.rows_per_file / (time.perf_counter() - started))
    return rates


@torch.inference_mode()
def forward_rates(command: Generation) -> list[float]:
    """Return waveforms per second of the decoder's forward pass, without sampling, scaling and writing."""
    torch.set_num_threads(1)
    bundle = load(command.bundle)
    rates = []
    condition = condition_table(bundle, [complete_condition(bundle, {LEVEL: 60.0})])
    static = torch.from_numpy(bundle.preprocessing.static.encode(condition)).expand(command.rows_per_file, -1)
    latents = {f"z_{block}": torch.randn(len(static), dim) for block, dim in bundle.model.latent_dims.items()}
    for _ in range(PLAIN_ROUNDS):
        started = time.perf_counter()
        for rows in torch.arange(len(static)).split(FORWARD_ROWS):
            bundle.model.decode(**{name: z[rows] for name, z in latents.items()}, static_params=static[rows])
        rates.append(command.rows_per_file / (time.perf_counter() - started))
    return rates


def job(command: Generation, samples: int, out: Path, *more: str) -> float:
    """Return the seconds of `jobs.generate` in processes of its own."""
    started = time.perf_counter()
    subprocess.run(_command(command, samples, out, *more), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def compared(command: Generation, scratch: Path) -> tuple[bool, bool]:
    """Return whether 2 workers write the same files as 1, undisturbed and after a kill halfway."""
    job(command, command.compared, scratch / "one", "--workers", "1")
    job(command, command.compared, scratch / "two", "--workers", "2")
    whole = hashes(scratch / "one")
    killed = _command(command, command.compared, scratch / "killed", "--workers", "2")
    process = subprocess.Popen(killed, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    while len(hashes(scratch / "killed")) < len(whole) // 2 and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    job(command, command.compared, scratch / "killed", "--workers", "2")
    return hashes(scratch / "two") == whole, hashes(scratch / "killed") == whole


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of waveforms."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("part-*.parquet")}


def _command(command: Generation, samples: int, out: Path, *more: str) -> list[str]:
    options = ["--condition", f"{LEVEL}=60", "--samples", str(samples), "--rows-per-file", str(command.rows_per_file)]
    bundle = str(Path(command.bundle).absolute())
    return [sys.executable, "-m", "jobs.generate", bundle, *options, "--out", str(out), *more]


if __name__ == "__main__":
    sys.exit(command_line.main(run))
