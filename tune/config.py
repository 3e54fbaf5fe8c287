"""The configuration of a search: that of a training, and the study with its space, its place and its budgets."""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hcvae.config import Config, DataConfig, Section
from hcvae.counting import counted, repeated
from hcvae.locations import absolute
from hcvae.validation import HIDDEN_INPUT, SECRET_ADVICE, shows_secret
from tune.constraints import Constraint, Constraints
from tune.objectives import SPECIFIED, Objective, Objectives, names_of

PASSWORD_ADVICE = (
    "write postgresql://USER@HOST/DATABASE and keep the password in ~/.pgpass or the file that PGPASSFILE names, or "
    "name where the whole URL is kept: env:NAME for an environment variable, file:PATH for a file"
)


AnyConfig = TypeVar("AnyConfig", bound=Config)


class _Range(Section):
    low: float
    """Lower bound, included."""
    high: float
    """Upper bound, included."""
    log: bool = False
    """Sample on a logarithmic scale."""

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low <= high must hold, but got (low={self.low}, high={self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low > 0 must hold on a logarithmic scale, but got (low={self.low})")
        return self


class FloatRange(_Range):
    """A real number between two bounds."""

    type: Literal["float"] = "float"


class IntRange(_Range):
    """A whole number between two bounds."""

    type: Literal["int"] = "int"
    low: int
    high: int


class Choice(Section):
    """One of several values."""

    type: Literal["choice"] = "choice"
    choices: tuple[bool | int | float | str, ...] = Field(min_length=1)
    """The values, all different: 1 and 1.0 are equal."""


Unconditional = FloatRange | IntRange | Choice
"""An entry that is the same in every trial."""


class Conditional(Section):
    """A parameter whose entry depends on the value of another parameter in the same trial."""

    type: Literal["conditional"] = "conditional"
    on: str
    """Path of the other parameter: a choice or a range of whole numbers, without a condition of its own."""
    cases: dict[str, Annotated[Unconditional, Field(discriminator="type")]] = Field(min_length=1)
    """Entries of the other types, by the value of `on` as JSON writes it. Where a value has none, the field keeps the
    configuration's."""


Parameter = Annotated[FloatRange | IntRange | Choice | Conditional, Field(discriminator="type")]

KL_WEIGHTS = Conditional(
    on="training.learned_scales",
    cases={
        "none": FloatRange(low=1e-4, high=1e-1, log=True),
        "reconstruction": FloatRange(low=0.1, high=10, log=True),
    },
)
"""With the squared error, and with the likelihood, where 1 is a plain VAE."""

BEST_PRACTICE_SPACE: dict[str, Parameter] = {
    "model.global_latent_dim": IntRange(low=16, high=64),
    "model.local_latent_dim": IntRange(low=32, high=128),
    "model.local_segments": Choice(choices=(1, 2, 4)),
    "model.early_signal_ratio": FloatRange(low=0.1, high=0.6),
    "training.learning_rate": FloatRange(low=3e-4, high=3e-3, log=True),
    "training.target": Choice(choices=("same_average", "other_average")),
    "training.learned_scales": Choice(choices=("none", "reconstruction")),
    "training.loss_weights.global_kl": KL_WEIGHTS,
    "training.loss_weights.local_kl": KL_WEIGHTS,
    "training.swap_targets": Choice(choices=("recorded", "denoised")),
    "training.loss_weights.swap": FloatRange(low=1e-2, high=10, log=True),
    "training.loss_weights.swap_coarse_factor": FloatRange(low=0.1, high=10, log=True),
}
"""What is searched where `search.space` is not given; see `tune.space.default_space`."""


class EarlyStopping(Section):
    """Multi-objective asynchronous successive halving, see `tune.early_stopping.moasha`."""

    eta: int = Field(3, ge=2)
    """Of the trials that reach a rung, the best 1/eta continue; each rung has eta times the epochs of the last one."""
    min_epochs: int | None = Field(None, ge=1)
    """The first rung, in epochs; null: the first epoch of a training's last phase, when the weights are final."""
    tie_break: Literal["epsilon_net", "crowding"] = "epsilon_net"
    """Which trials continue where the front alone has too many: those that cover it best, or the least crowded ones."""


class Confirmation(Section):
    """Further trainings of the most promising configurations, see `tune.study.confirmation`."""

    members: int = Field(3, ge=1)
    """Confirmed configurations: the compromise of the front, and those that enlarge its hypervolume most."""
    repeats: int = Field(3, ge=2)
    """Trainings of each: with further seeds, or one for each fold."""
    by: Literal["seeds", "folds"] = "seeds"
    """In what the trainings of a configuration differ. `seeds`: their training seeds, `training.seed` + 1, + 2, and so
    on. `folds`: also their validation parts, which the subjects of the training and the validation part take in turn;
    for tables of few subjects."""
    epochs: int | None = Field(None, ge=1, le=9999)
    """Epochs of each training; null: as in the search."""
    width: float | None = Field(None, gt=0, le=4)
    """`model.width` of each training; null: as in the search."""

    def __str__(self) -> str:
        how = f"{self.repeats} further seeds"
        if self.by == "folds":
            how = f"{self.repeats} folds of the subjects"
        values = {"training.epochs": self.epochs, "model.width": self.width}
        other = [f"{path} {value:g}" for path, value in values.items() if value is not None]
        return ", ".join([f"the {counted(self.members, 'most promising trial')}", f"each with {how}", *other])


class SearchSettings(Section):
    """The study: its name and place, its budgets, its space, and the resources of a trial."""

    study: str = Field("quickstart", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the study and of its folder: letters, digits, '.', '_' and '-', at most 64. If it is not given and
    `data.tables` is, the name of the first table."""
    storage: str = "results"
    """Folder that holds the study's folder: a path, or a URI of a file system of pyarrow, such as s3://bucket/studies."""
    database: str | None = None
    """Where trials are recorded. null: sqlite in the study's folder, for one searching process. PostgreSQL, for several
    at once: postgresql://USER@HOST/DATABASE without a password, or env:NAME or file:PATH that holds the URL."""
    objectives: tuple[Objective, ...] | None = Field(None, min_length=2)
    """What trials are compared by, two or more: names of metrics that a training records, or for others than the known
    ones name, direction, reference and ideal, see docs/objectives.md. null: denoised_nmse where the validation part has
    independent averages, otherwise reconstruction_nmse; and disentanglement. A study keeps its objectives."""
    constraints: tuple[Constraint, ...] = ()
    """Bounds on metrics of the validation part at the best epoch: trials beyond them are not on the front, and the
    sampler avoids their like."""
    trials: int = Field(8, ge=1)
    """Finished trials (complete, pruned or failed) that end the search."""
    trial_seconds: float | None = Field(None, gt=0)
    """Training time of a trial in seconds; a longer one is stopped after an epoch and counts as pruned."""
    search_seconds: float | None = Field(None, gt=0)
    """Time of one start of the search in seconds; no trial starts after it, and running ones are suspended after an
    epoch. The same command again continues them, for as long again."""
    stall_trials: int | None = Field(None, ge=1)
    """Finished trials in a row without a larger hypervolume that end the search; running trials are finished."""
    early_stopping: EarlyStopping | None = None
    """Stop trials early that fall behind in all objectives; null trains each trial to its end."""
    confirm: Confirmation | None = None
    """After the budget is spent, train the most promising configurations again; the front, the compromise and
    `jobs.pull` then use the means of these trainings. null: the one training of each trial."""
    sampler: Literal["auto", "tpe", "gp", "nsga2", "random"] = "tpe"
    """`tpe`: multivariate, grouped tree-structured Parzen estimator; `gp`: Gaussian processes and hypervolume
    improvement; `nsga2`: genetic algorithm; `random`: independent sampling; `auto`: `gp` where it suits (at most 8
    parameters, all numbers, no early stopping, up to 100 complete trials), otherwise `tpe`."""
    seed: int = Field(0, ge=0)
    """Seed of the sampler; a trial's training seed is `training.seed`."""
    start_from_defaults: bool = True
    """Try the configuration's own values first, then the KL weights of the specification and its best practices."""
    first_trials: tuple[dict[str, bool | int | float | str], ...] = ()
    """Trials to start from, before those of `start_from_defaults`: values by path; the sampler chooses the others."""
    warm_start: str | None = None
    """Folder of an earlier study of the same data and epochs; the sampler learns from its finished trials."""
    workers: int = Field(1, ge=1)
    """Data-parallel workers of a trial; 1 trains inside the Tune actor, 2 or more through Ray Train."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPUs, and so threads, of each worker."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs of each worker; a fraction shares one GPU, and limits a trial to that part of its memory."""
    share_gpus: bool = False
    """Run as many trials on a GPU as its memory holds, by the measured size of the largest trial of the space; sets
    `gpus_per_worker`."""
    max_concurrent: int | None = Field(None, ge=1)
    """Trials that run at once; null: as many as the cluster holds."""
    space: dict[str, Parameter] = BEST_PRACTICE_SPACE
    """The parameters to search, by dotted path of this configuration. A study keeps its space where none is given."""

    @model_validator(mode="after")
    def _a_gpu_is_shared_in_one_way(self) -> Self:
        if self.share_gpus and (self.gpus_per_worker or self.workers > 1):
            raise ValueError(
                "share_gpus chooses gpus_per_worker, for trials of one worker: it needs gpus_per_worker 0 and workers "
                f"1, but got {self.gpus_per_worker:g} and {self.workers}"
            )
        return self

    @field_validator("objectives")
    @classmethod
    def _objectives_differ(cls, objectives: Objectives | None) -> Objectives | None:
        names = names_of(objectives or ())
        twice = sorted(repeated(names))
        if twice:
            raise ValueError(f"each objective must be named once, but got {', '.join(twice)} again")
        return objectives

    @field_validator("constraints")
    @classmethod
    def _constraints_differ(cls, constraints: Constraints) -> Constraints:
        names = [constraint.name for constraint in constraints]
        if len(set(names)) < len(names):
            raise ValueError(
                f"each metric must be named once, but got {', '.join(names)}; give both of its bounds at once"
            )
        return constraints

    @property
    def compared_by(self) -> Objectives:
        """The objectives; those of the specification in studies of earlier versions, which name none."""
        return self.objectives or SPECIFIED

    @field_validator("storage", "warm_start")
    @classmethod
    def _names_a_folder_without_its_keys(cls, place: str | None) -> str | None:
        if place is not None and shows_secret(place):
            raise PydanticCustomError(HIDDEN_INPUT, "{advice}", {"advice": SECRET_ADVICE})
        return place

    @field_validator("database")
    @classmethod
    def _names_a_database_without_its_password(cls, place: str | None) -> str | None:
        if place is not None and shows_secret(place):
            advice = f"holds a password, which would be seen in process lists, logs and study.json; {PASSWORD_ADVICE}"
            raise PydanticCustomError(HIDDEN_INPUT, "{advice}", {"advice": advice})
        if place is not None and not place.startswith(("postgresql://", "env:", "file:")):
            raise PydanticCustomError(HIDDEN_INPUT, "{advice}", {"advice": f"must name a database; {PASSWORD_ADVICE}"})
        return place


class SearchConfig(Config):
    """A complete search: the configuration that all trials start from, and the settings of the study."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may hold a password where none is allowed

    search: SearchSettings = SearchSettings()
    """The study."""

    @model_validator(mode="before")
    @classmethod
    def _a_study_of_own_tables_is_named_after_them(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        settings = content.get("search", {})
        tables = _tables(content.get("data", {}))
        if not isinstance(settings, dict) or "study" in settings or not tables:
            return content
        return content | {"search": settings | {"study": study_name(tables)}}

    def with_settings(self, **settings: object) -> Self:
        """Return this search with other values of `search`, which are not validated again."""
        return self.model_copy(update={"search": self.search.model_copy(update=settings)})

    @property
    def of_a_trial(self) -> Config:
        """The configuration that all trials start from."""
        return narrowed(self, Config)

    def with_absolute_places(self, resolve: Callable[[str], str] = absolute) -> Self:
        """Return this search with the places that `search` names as absolute ones: trials run in other folders, and on
        other nodes.

        Args:
            resolve: makes a folder absolute.
        """
        settings = self.search
        warm_start = settings.warm_start and resolve(settings.warm_start)
        database = settings.database
        if database is not None and database.startswith("file:"):
            database = f"file:{absolute(database.removeprefix('file:'))}"
        return self.with_settings(storage=resolve(settings.storage), warm_start=warm_start, database=database)


def study_name(tables: Sequence[str]) -> str:
    """Return the name of a study of these tables: that of the first file, with the number of the others."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(tables[0].partition("?")[0]).stem)[:48].lstrip("._-")
    name = stem or "recordings"
    if len(tables) > 1:
        name += f"-and-{len(tables) - 1}-more"
    return name


def _tables(data: Any) -> Sequence[str]:
    """Return `data.tables` before its validation; nothing if it is invalid."""
    tables = data.tables if isinstance(data, DataConfig) else None
    if isinstance(data, dict):
        tables = data.get("tables")
    if isinstance(tables, str):
        return [tables]
    if isinstance(tables, list | tuple) and all(isinstance(table, str) for table in tables):
        return tables
    return []


def narrowed(config: Config, kind: type[AnyConfig]) -> AnyConfig:
    """Return the part of `config` that `kind`, which it extends, declares: of a command line or a search."""
    return kind.model_validate({name: getattr(config, name) for name in kind.model_fields})
