"""Time from a key on a slider of `hcvae explore` to the redrawn waveform; writes its table into docs/benchmarks.md.

python -m benchmarks.explorer quarter/bundle full/bundle
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright
from pydantic_settings import CliPositionalArg

from benchmarks.pages import ROOT, publish
from benchmarks.processor import machine
from hcvae import command_line
from hcvae.bundle import load
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table

CHROMIUM = "/usr/bin/chromium"
LEVEL = "stimulus level (dB)"
WATCH = """() => {
    window.times = [];
    const graph = document.querySelector("#waveform .js-plotly-plot");
    const note = () => window.times.push(performance.now() - window.pressed);
    document.addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
    graph.on("plotly_afterplot", () => requestAnimationFrame(note));
}"""
"""JavaScript that measures the time from a key to the frame after the redraw of the plot."""


class ExplorerBenchmark(command_line.Command):
    """Move the level slider of the page by keys, in a headless browser, and time each redraw.

    examples:
      python -m benchmarks.explorer quarter/bundle full/bundle
      python -m benchmarks.explorer quarter/bundle --screenshot docs/figures/explore.png
    """

    bundles: CliPositionalArg[list[str]]
    """Model bundles, one per row of the table."""
    moves: int = 50
    """Keys pressed, each after the redraw of the one before."""
    screenshot: str | None = None
    """PNG of the first bundle's page, with a frozen waveform and a recording."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(ExplorerBenchmark, arguments)
    lines = ["| parameters | median, ms | 10 to 90 % | largest |", "| --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = f"{folder}/recordings.parquet"
        write_table(simulate(200, 9), data)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for number, bundle in enumerate(command.bundles):
            with served(bundle, data) as address:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(address)
                page.locator("#waveform .scatterlayer .lines path").first.wait_for()
                low, median, high, largest = np.percentile(redraws(page, command.moves), [10, 50, 90, 100])
                if number == 0 and command.screenshot is not None:
                    picture(page, command.screenshot)
            parameters = sum(parameter.numel() for parameter in load(bundle).model.parameters())
            lines.append(f"| {parameters:,} | {median:.0f} | {low:.0f} to {high:.0f} | {largest:.0f} |")
    load_average = os.getloadavg()[0]
    lines += ["", f"{command.moves} moves each, on {machine()}, load average {load_average:.1f} at the end."]
    publish("benchmarks.md", "explorer", lines)
    return 0


@contextmanager
def served(bundle: str, data: str) -> Iterator[str]:
    """Serve the page from a process of its own; yield its address."""
    command = [sys.executable, "-m", "hcvae", "explore", bundle, "--data", data]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)


def redraws(page: Page, moves: int) -> list[float]:
    """Return the milliseconds from each key, up and down in turn, to its redraw."""
    page.get_by_role("slider", name=LEVEL).focus()
    page.evaluate(WATCH)
    for number in range(moves):
        page.keyboard.press("ArrowRight" if number % 2 else "ArrowLeft")
        page.wait_for_function("count => window.times.length >= count", arg=number + 1)
    times: Any = page.evaluate("window.times")
    return [float(time) for time in times[:moves]]


def picture(page: Page, path: str) -> None:
    """Save the page with a frozen waveform, a recording, and the current waveform at a lower level."""
    for button, rows in (("Freeze current", 2), ("Add recording", 3)):
        page.get_by_role("button", name=button).click()
        page.locator("#peaks tbody tr").nth(rows - 1).wait_for()
    page.get_by_role("slider", name=LEVEL).focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    level = page.get_by_role("slider", name=LEVEL).input_value()
    page.locator("#condition", has_text=f"{LEVEL} {level},").wait_for()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)


if __name__ == "__main__":
    sys.exit(command_line.main(run))
