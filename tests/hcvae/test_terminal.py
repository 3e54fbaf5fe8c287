import io
import re

import pytest
from rich.console import Console

from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.evaluation.comparison import Comparison
from hcvae.evaluation.findings import MEASURES, Findings
from hcvae.terminal import TerminalTable

WIDTHS = [80, 60, 40]


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", WIDTHS)
def test_every_number_is_complete_and_next_to_its_row(width):
    headers = ("trial", *(f"parameter_of_number_{number}" for number in range(12)))
    table = TerminalTable("Front", headers)
    for row in range(3):
        table.rows.append((f"row-{row}", *(f"{row}.{number:04}" for number in range(12))))
    text = printed(table, width)
    for row in range(3):
        lines = [line for line in text.splitlines() if line.startswith(f"row-{row}")]
        assert [word for line in lines for word in line.split()[1:]] == [f"{row}.{number:04}" for number in range(12)]


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_are_wrapped_between_words(width):
    values = "0 to 80, mouse, human, guinea pig, chinchilla, gerbil, " * 3
    table = TerminalTable("", ("column", "type", "values"), [("residual_noise_uv", "float", values), ("a[b]", "", "")])
    text = printed(table, width)
    assert set(values.split()) <= set(text.split())
    assert "a[b]" in text
    assert re.search(r"residual_noise_uv|residual_noise_\s|residual_\s", text)


def test_a_fraction_is_not_broken_and_a_long_word_is_complete():
    table = TerminalTable("", ("epoch", "path"), [("1234/5678", "x" * 100)])
    text = printed(table, 60)
    assert "1234/5678" in text
    assert text.count("x") == 100


def test_a_section_has_a_line_of_its_own():
    table = TerminalTable("", ("measure", "model"), [("Latents",), ("KL", "1.5")])
    assert [line.split() for line in printed(table, 80).splitlines()][-3:] == [["Latents"], [], ["KL", "1.5"]] or (
        ["Latents"] in [line.split() for line in printed(table, 80).splitlines()]
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_an_evaluation_of_two_bundles_beside_baselines(width):
    names = ("a-model", "results/quickstart/best/trial-3", "PCA 8+16", "condition mean", "oracle", "recorded")
    values = {name: 100 * column + row / 7 for column in range(6) for row, name in enumerate(MEASURES)}
    comparison = Comparison()
    for column, name in enumerate(names):
        of_column = {measure: 100 * column + row / 7 for row, measure in enumerate(MEASURES)}
        comparison.bundles[name] = Findings(measures=of_column)
        values |= {(name, measure): value for measure, value in of_column.items()}
    words = printed(comparison.table(), width).split()
    shown = [f"{100 * column + row / 7:.3f}" for column in (0,) for row in range(len(MEASURES)) if row / 7 < 10]
    assert set(shown) <= set(words)
    assert {f"{500 + row / 7:.1f}" for row in range(len(MEASURES))} <= set(words)


@pytest.mark.parametrize("columns", ["80", "60"])
def test_inspection_of_a_table(tmp_path, capsys, monkeypatch, columns):
    from hcvae import cli

    monkeypatch.setenv("COLUMNS", columns)
    write_table(simulate(200, 1), tmp_path / "a.parquet")
    assert cli.run(["inspect", str(tmp_path / "a.parquet")]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    for words in ("responses", "averages", "correlation", "split-half", "residual_noise_uv", "hearing_loss_db"):
        assert words in text, words


@pytest.mark.parametrize("columns", ["80", "60"])
def test_inspection_of_a_bundle(trained, capsys, monkeypatch, columns):
    from hcvae import cli

    monkeypatch.setenv("COLUMNS", columns)
    assert cli.run(["inspect", str(trained)]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    for words in ("reconstruct", "disentanglement", "validation", "stimulus_level_db"):
        assert words in text, words
