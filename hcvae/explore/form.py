"""The page's form: its controls, and what their texts mean."""

from typing import NamedTuple

from hcvae.config import Section
from hcvae.data.preprocessing import ConditionValue
from hcvae.errors import UserError
from hcvae.explore.controls import Control, controls_of
from hcvae.explore.explorer import Explorer
from hcvae.explore.settings import Page, Reference, Setting
from hcvae.validation import shortened

FARTHEST = 3.0
"""Standard deviations that a slider of a latent goes to."""


class Form(Section):
    """What the browser sends: the complete state of the page."""

    fields: dict[str, str]
    """The texts of all enabled controls, by the names of their fields."""
    references: tuple[Reference, ...] = ()
    """All references."""
    shown: tuple[str, ...] = ()
    """The names of the references that are drawn."""


class Named(NamedTuple):
    """A control, and the name of its field in the form."""

    field: str
    control: Control


class InvalidForm(UserError):
    """Some fields have no permitted value; `problems` says why, by the field's name."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


def conditions(explorer: Explorer, group: str) -> dict[str, Named]:
    """The controls of a normalisation group's conditions, by column."""
    position = list(explorer.groups).index(group)
    controls = controls_of(explorer.bundle.preprocessing, group)
    return {control.name: Named(f"condition-{position}-{n}", control) for n, control in enumerate(controls)}


def latents(explorer: Explorer) -> dict[str, list[Named]]:
    """The controls of each latent block's directions."""
    return {
        block: [
            Named(f"{block}-{number}", Control(f"{block} {number}", 0.0, (), -FARTHEST, FARTHEST))
            for number in range(1, count + 1)
        ]
        for block, count in explorer.direction_counts.items()
    }


def null_field(field: str) -> str:
    """The name of the tick box that asks for null in place of the field's number."""
    return f"{field}-unknown"


def read_page(explorer: Explorer, form: Form) -> Page:
    """The page that the form describes.

    Raises:
        InvalidForm: some fields have no permitted value.
    """
    group = explorer.groups[int(form.fields.get("group", 0))]
    problems: dict[str, str] = {}

    def read(named: Named) -> ConditionValue:
        if null_field(named.field) in form.fields:
            return None
        try:
            return named.control.read(form.fields.get(named.field, ""))
        except UserError as error:
            problems[named.field] = str(error)
            return None

    condition = {column: read(named) for column, named in conditions(explorer, group).items()}
    shifts = {block: [read(named) for named in found] for block, found in latents(explorer).items()}
    if problems:
        raise InvalidForm(problems)
    if (group_by := explorer.bundle.preprocessing.signal.group_by) is not None:
        condition[group_by] = group
    setting = Setting(condition=condition, shifts=shifts, a=form.fields["a"], b=form.fields["b"])
    return Page(setting, form.references, form.shown)


def read_row(explorer: Explorer, text: str) -> int:
    """The number of a row of the table.

    Raises:
        UserError: the table has no such row.
    """
    digits = text.strip()
    if digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) < explorer.rows:
        return int(digits)
    got = repr(shortened(digits)) if digits else "an empty field"
    raise UserError(f"row of the table: must be a whole number from 0 to {explorer.rows - 1}, but got {got}")
