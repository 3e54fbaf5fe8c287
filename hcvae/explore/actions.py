"""What the page's controls do, as functions of all that the page holds."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from hcvae.data.export import write_table
from hcvae.errors import UserError
from hcvae.explore.controls import controls_of
from hcvae.explore.explorer import Explorer
from hcvae.explore.settings import ALONE, Page, Reference, Setting


def read_page(explorer: Explorer, held: Mapping[str, Any]) -> Page:
    """The page from the values of its components: `layout` says which these are.

    Raises:
        UserError: a slider without a number.
    """
    preprocessing = explorer.bundle.preprocessing
    controls = controls_of(preprocessing, held["group"])
    given = zip(controls, held["values"], held["unknown"], strict=True)
    condition = {control.name: control.read(value, bool(unknown)) for control, value, unknown in given}
    if preprocessing.signal.group_by is not None:
        condition[preprocessing.signal.group_by] = held["group"]
    shifts = {block: tuple(value or 0.0 for value in values) for block, values in held["shifts"].items()}
    return Page(
        Setting(condition=condition, shifts=shifts, a=held["a"], b=held["b"]),
        tuple(Reference.model_validate(reference) for reference in held["references"]),
        tuple(held["shown"]),
    )


def freeze(explorer: Explorer, page: Page) -> Page:
    """The setting as a further reference.

    Raises:
        UserError: a condition outside what the model was trained on.
    """
    frozen = sum(reference.row is None for reference in page.references)
    return _with(page, explorer.freeze(page, f"frozen {frozen + 1}"))


def add(explorer: Explorer, page: Page, row: int | None) -> Page:
    """A row of the table as a further reference.

    Raises:
        UserError: no such row, or a recording that the model cannot encode.
    """
    if row is None:
        raise UserError(f"row: must be 0 to {explorer.rows - 1}, but got none")
    reference = explorer.recording(row)
    return page if reference in page.references else _with(page, reference)


def clear(page: Page) -> Page:
    """No references, and nothing taken from any."""
    return Page(page.setting.model_copy(update={"a": ALONE, "b": ALONE}))


def exchange(page: Page) -> Page:
    """The global latent of B with the local latent of A."""
    setting = page.setting.model_copy(update={"a": page.setting.b, "b": page.setting.a})
    return replace(page, setting=setting)


def file_of(table: pa.Table, suffix: str) -> bytes:
    """A waveform table as `hcvae generate` writes it, in the format that the suffix names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"waveforms.{suffix}"
        write_table(table, path)
        return path.read_bytes()


def _with(page: Page, reference: Reference) -> Page:
    return replace(page, references=(*page.references, reference), shown=(*page.shown, reference.name))
