"""The form of the page of `hcvae explore`: the fields of its controls, and how their texts are read."""

from typing import NamedTuple

from hcvae.config import Section
from hcvae.data.preprocessing import ConditionValue
from hcvae.errors import UserError
from hcvae.explore.controls import Control, controls_of, quoted
from hcvae.explore.explorer import Explorer
from hcvae.explore.settings import Page, Reference, Setting

FARTHEST = 3.0
"""Standard deviations at the ends of a latent's slider."""


class Form(Section):
    """The complete state of the page, as the browser sends it."""

    fields: dict[str, str]
    """The texts of all enabled controls, by the names of their fields."""
    references: tuple[Reference, ...] = ()
    """All references."""
    shown: tuple[str, ...] = ()
    """The names of the references to plot."""


class Named(NamedTuple):
    """A control, and the name of its field in the form."""

    field: str
    control: Control


class InvalidForm(UserError):
    """Some fields have no permitted value; `problems` has the reasons by the field's name."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


def conditions(explorer: Explorer, group: str) -> dict[str, Named]:
    """Return the controls of a normalisation group's conditions, by column."""
    position = explorer.groups.index(group)
    named = {}
    for number, control in enumerate(controls_of(explorer.bundle.preprocessing, group)):
        named[control.name] = Named(f"condition-{position}-{number}", control)
    return named


def latents(explorer: Explorer) -> dict[str, list[Named]]:
    """Return the controls of each latent block's directions."""
    controls = {}
    for block, count in explorer.direction_counts.items():
        controls[block] = [_direction(block, number) for number in range(1, count + 1)]
    return controls


def null_field(field: str) -> str:
    """Return the name of the tick box that chooses null instead of the field's number."""
    return f"{field}-unknown"


def read_page(explorer: Explorer, form: Form) -> Page:
    """Return the page that the form describes.

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
    shifts = {}
    for block, directions in latents(explorer).items():
        shifts[block] = [read(named) for named in directions]
    if problems:
        raise InvalidForm(problems)
    group_by = explorer.bundle.preprocessing.signal.group_by
    if group_by is not None:
        condition[group_by] = group
    setting = Setting(condition=condition, shifts=shifts, a=form.fields["a"], b=form.fields["b"])
    return Page(setting, form.references, form.shown)


def read_row(explorer: Explorer, text: str) -> int:
    """Return the number of a row of the table from a text.

    Raises:
        UserError: the table has no such row.
    """
    digits = text.strip()
    if digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) < explorer.rows:
        return int(digits)
    raise UserError(f"row of the table: must be a whole number from 0 to {explorer.rows - 1}, but got {quoted(digits)}")


def _direction(block: str, number: int) -> Named:
    control = Control(f"{block} {number}", 0.0, minimum=-FARTHEST, maximum=FARTHEST)
    return Named(f"{block}-{number}", control)
