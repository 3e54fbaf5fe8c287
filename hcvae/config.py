"""The configuration of one training: model, data, normalisation, training. No torch, so that launchers start fast.

Every section is frozen and refuses unknown keys. JSON goes in and out:
`Config.model_validate_json(text)` and `config.model_dump_json(indent=2)`.
"""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hcvae.described import one_line, small_table
from hcvae.locations import absolute
from hcvae.validation import HIDDEN_INPUT, SECRET_ADVICE, shows_secret

MAX_DIMENSIONS = 2**14
"""Largest number of samples or latent dimensions: the model has a square matrix of each, at this size of 1 GiB."""


def _absolute(path: str) -> str:
    if shows_secret(path):
        raise PydanticCustomError(HIDDEN_INPUT, "{advice}", {"advice": SECRET_ADVICE})
    return absolute(path)


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A URI, or a path made absolute, so that a bundle or study is valid from any folder."""

Precision = Literal["fp32", "tf32", "bf16"]
"""Precision of matrix products: float32, TF32 (float32 with factors rounded to 10 bits, on a GPU), or bfloat16."""


class Section(BaseModel):
    """A section of the configuration: immutable, no unknown keys, each field documented by the line below it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    def facts(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, those of inner sections by dotted path."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if not field.is_required() and value == field.get_default(call_default_factory=True):
                continue
            inner: dict[str, Any] = {}
            if isinstance(value, Section):
                inner = value.facts()
            if not inner:
                found[name] = value
            for key, inner_value in inner.items():
                found[f"{name}.{key}"] = inner_value
        return found

    def __repr__(self) -> str:
        return one_line(self, self.facts())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return small_table(self, self.facts())


class ModelConfig(Section):
    """Architecture of the network. The defaults give the specification's model of 10.5 million parameters."""

    model_type: Literal["hierarchical", "standard"] = "hierarchical"
    """`hierarchical`: z_global and z_local; `standard`: one latent with the dimensions of both."""
    signal_length: int = Field(200, ge=32, le=MAX_DIMENSIONS)
    """Samples per waveform."""
    static_dim: int | None = Field(None, ge=1, le=MAX_DIMENSIONS)
    """Number of encoded static parameters (7 in the specification). null: as many as `data.static` encodes to."""
    global_latent_dim: int = Field(32, ge=1, le=MAX_DIMENSIONS)
    """Dimensions of z_global."""
    local_latent_dim: int = Field(32, ge=1, le=MAX_DIMENSIONS)
    """Dimensions of z_local; at least those of z_global."""
    predict_peaks: bool = True
    """Predict the latency and amplitude of waves I, III and V."""
    peak_window_ms: float | None = Field(None, gt=0)
    """Time of the last sample in ms, an upper bound of predicted latencies. null: from the data; in a bundle: a peak
    head of an earlier hcvae, which can predict any latency."""
    use_film: bool = True
    """z_global modulates the decoder by FiLM; false: it is concatenated to the decoder's input."""
    early_signal_ratio: float = Field(0.3, gt=0, le=1)
    """Fraction of the waveform, from its start, that the local encoder gets as a second input."""
    width: float = Field(1.0, gt=0, le=4)
    """Factor on all hidden widths; 1.0 is the specification's model."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout rate of the encoders' hidden layers."""
    batch_norm: bool = True
    """Use batch normalisation. Without it, data-parallel gradients do not depend on the number of workers."""
    static_from_latents: bool = False
    """Add a head that predicts the static parameters from the latents alone; the usual head also gets them as input."""
    intermediate_levels: int = Field(0, ge=0, le=2)
    """Number of latent levels between z_global and z_local; coarser levels modulate earlier layers of the decoder."""
    intermediate_latent_dim: int = Field(16, ge=1, le=MAX_DIMENSIONS)
    """Dimensions of each intermediate level."""
    attention: bool = False
    """Cross-attention between the last features of the global and the local encoder."""
    local_segments: int = Field(1, ge=1, le=16)
    """Number of overlapping time segments that z_local is divided among; each part changes only its segment."""

    @model_validator(mode="after")
    def _local_is_not_below_global(self) -> Self:
        if self.local_latent_dim < self.global_latent_dim:
            raise ValueError(
                "local_latent_dim >= global_latent_dim must hold, but got "
                f"(local_latent_dim={self.local_latent_dim}, global_latent_dim={self.global_latent_dim})"
            )
        return self

    @model_validator(mode="after")
    def _segments_share_the_local_latent_equally(self) -> Self:
        segments = self.local_segments
        dim = self.local_latent_dim
        if dim % segments:
            multiple = math.ceil(dim / segments) * segments
            raise ValueError(
                "local_latent_dim must be a multiple of local_segments, but got "
                f"(local_latent_dim={dim}, local_segments={segments}); local_latent_dim={multiple} would be right"
            )
        return self

    @model_validator(mode="after")
    def _the_standard_model_has_one_plain_latent(self) -> Self:
        plain = {"intermediate_levels": 0, "attention": False, "local_segments": 1}
        for name, value in plain.items():
            if self.model_type == "standard" and getattr(self, name) != value:
                raise ValueError(
                    f"{name} is for hierarchical models: with model_type='standard' it must be {value}, "
                    f"but got {getattr(self, name)}"
                )
        return self


class SimulatorConfig(Section):
    """Simulated data, used if `data.tables` is empty."""

    rows: int = Field(4000, ge=1)
    """Number of simulated waveforms."""
    seed: int = Field(0, ge=0)
    """Seed of the simulator."""


class SplitConfig(Section):
    """Training, validation and test parts. No subject (or recording) is in two of them."""

    unit: Literal["auto", "subject", "recording"] = "auto"
    """What is never divided between two parts. `auto`: the subject if there are at least 5, else the recording."""
    validation: float = Field(0.15, gt=0, lt=1)
    """Fraction of the units for validation; the search measures its objectives on them."""
    test: float = Field(0.15, gt=0, lt=1)
    """Fraction of the units for testing; the model card reports metrics on them."""
    seed: int = Field(0, ge=0)
    """Seed of the random split."""
    folds: int | None = Field(None, ge=2)
    """For cross-validation: divide the units of the training and the validation part into this many folds, of which
    number `fold` is the validation part and the others are the training part. null: keep the parts."""
    fold: int = Field(1, ge=1)
    """Number of the fold that is the validation part, from 1."""

    @model_validator(mode="after")
    def _there_is_such_a_fold(self) -> Self:
        if self.fold > (self.folds or 1):
            raise ValueError(f"fold <= folds must hold, but got (fold={self.fold}, folds={self.folds})")
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test < 1 must hold, but got (validation={self.validation}, test={self.test})"
            )
        return self


class DataConfig(Section):
    """The waveforms and the columns that describe them."""

    tables: tuple[AbsolutePath, ...] = ()
    """Parquet waveform tables, concatenated; empty: simulated data. Paths in a configuration file are relative to that
    file."""
    memory_budget_gb: float | None = Field(None, gt=0)
    """Memory for the waveforms of `tables` in GB. Searches and `jobs.train` read larger tables from disk in each epoch
    (see docs/clusters.md). null: no limit."""
    simulator: SimulatorConfig = SimulatorConfig()
    """Settings of the simulator."""
    static: tuple[str, ...] = Field(
        (
            "stimulus_level_db",
            "stimulus_rate_hz",
            "age_years",
            "hearing_loss_db",
            "n_averages",
            "sex",
        ),
        min_length=1,
    )
    """Columns that condition the model: numbers are standardised, text is one-hot encoded, nulls get a mask column."""
    subject_column: str = "subject_id"
    """Column with the subject's identifier."""
    recording_columns: tuple[str, ...] = Field(("subject_id", "stimulus_level_db", "recording_index"), min_length=1)
    """Columns that together identify a recording, the smallest unit of the split."""
    average_columns: tuple[str, ...] | None = Field(None, min_length=1)
    """Columns that are equal in independent averages of one response. null: those of recording and condition, and those
    that the tables have of ear, age, stimulus and filter."""
    sampling_rate_hz: float | None = Field(None, gt=0)
    """Sampling rate in Hz. null: `sampling_rate_hz` from the table's metadata."""
    licence: str | None = None
    """Licence of the recordings, for the model card. null: `licence` and `attribution` from the tables' metadata."""
    split: SplitConfig = SplitConfig()
    """How the rows are divided into parts."""


class NormalizationConfig(Section):
    """Scaling of the waveforms, fitted on the training part: one mean and one standard deviation per group."""

    group_by: str | None = None
    """A static column of text; each of its values is a group. null: one group."""


class LossWeights(Section):
    """Weights of the loss components. KL divergences are in nats per waveform (see docs/training.md)."""

    reconstruction: float = Field(1.0, ge=0)
    """Mean squared error of the waveform."""
    static: float = Field(1.0, ge=0)
    """Mean squared error of the reconstructed static parameters."""
    global_kl: float = Field(0.003, ge=0)
    """KL divergence of z_global from its prior; the specification's value is 0.01 (see docs/science.md)."""
    local_kl: float = Field(0.003, ge=0)
    """KL divergence of z_local from its prior; the specification's value is 0.01."""
    intermediate_kl: float = Field(0.003, ge=0)
    """KL divergence of z_intermediate from its prior, where the model has intermediate levels."""
    kl: float = Field(0.003, ge=0)
    """KL divergence of `standard` models, and of all models if `use_hierarchical_loss` is false."""
    peak: float = Field(1.0, ge=0)
    """Mean absolute error over the labelled peaks."""
    alignment: float = Field(0.1, ge=0)
    """Smallest mean squared error of the waveform over shifts of up to 10 samples."""
    swap: float = Field(2.0, ge=0)
    """Swap consistency: exchanging z_global must keep the shape, exchanging z_local the coarse attributes. 0: as in the
    specification. Unused by `standard` models."""
    swap_coarse_factor: float = Field(1.0, ge=0)
    """Factor on `swap` where z_local is exchanged: a weight of its own for the coarse attributes. 1: equal weights."""
    total_correlation: float = Field(0.0, ge=0)
    """Total correlation of the latents in nats (Chen et al. 2018), an alternative to swap consistency."""


class PhaseConfig(Section):
    """The three phases of training: reconstruction, KL warm-up, and the final weights."""

    reconstruction: float = Field(0.15, ge=0, lt=1)
    """Fraction of the epochs in phase 1: a higher reconstruction weight, KL weights 0."""
    warmup: float = Field(0.35, ge=0, lt=1)
    """Fraction of the epochs in phase 2: KL weights rise from 0 to their values."""
    reconstruction_boost: float = Field(2.0, ge=1)
    """Factor on the reconstruction weight in phase 1."""
    kl_schedule: Literal["linear", "cosine", "cyclical"] = "linear"
    """How KL weights rise in phase 2. `cyclical`: in four cycles, each from 0 (Fu et al. 2019)."""

    @model_validator(mode="after")
    def _something_is_left_for_the_last_phase(self) -> Self:
        if self.reconstruction + self.warmup >= 1:
            raise ValueError(
                "reconstruction + warmup < 1 must hold, but got "
                f"(reconstruction={self.reconstruction}, warmup={self.warmup})"
            )
        return self

    def lengths(self, epochs: int) -> tuple[int, int, int]:
        """Return the number of epochs of each phase; the last one has at least one."""
        first = int(epochs * self.reconstruction)
        second = int(epochs * self.warmup)
        return first, second, epochs - first - second


class TrainingConfig(Section):
    """The optimisation."""

    epochs: int = Field(60, ge=1, le=9999)
    """Passes over the training part."""
    batch_size: int = Field(256, ge=1)
    """Waveforms per step, summed over all workers."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Learning rate of AdamW; in the last phase it decays to 0 along half a cosine."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay of AdamW."""
    use_hierarchical_loss: bool = True
    """Separate KL weights for the latents; false: `loss_weights.kl` for all."""
    loss_weights: LossWeights = LossWeights()
    """Weights of the loss components in the last phase."""
    learned_scales: Literal["none", "reconstruction", "all"] = "none"
    """`reconstruction`: the mean squared error becomes a Gaussian likelihood with a learned scale, so that a KL weight
    is the beta of a beta-VAE (1: a plain VAE) on any data (Rybkin et al. 2021). `all`: also for the static parameters
    and the peaks, which learns their weights (Kendall et al. 2018). `none`: as in the specification."""
    target: Literal["same_average", "other_average"] = "same_average"
    """Target of the decoder. `other_average`: another average of the same response, so that the model learns to denoise
    (Lehtinen et al. 2018, "Noise2Noise"); a row without one is its own target."""
    swap_targets: Literal["recorded", "denoised"] = "recorded"
    """Targets of swap consistency. `recorded`: attributes of recorded averages; `denoised`: estimates that their noise
    does not bias, in other units: see docs/training.md."""
    free_bits: float = Field(0.0, ge=0)
    """KL divergence in nats per latent dimension that is not penalised, against collapse (Kingma et al. 2016)."""
    phases: PhaseConfig = PhaseConfig()
    """The three phases of training."""
    gradient_clip_norm: float | None = Field(1.0, gt=0)
    """Maximum gradient norm. null: no clipping."""
    early_stopping_patience: int | None = Field(10, ge=1)
    """Stop after this many epochs of the last phase without a lower validation loss. null: never."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """`auto`: the precision that is clearly faster on this device, measured at the start, else fp32. `bf16`: autocast
    for forward pass, loss and evaluation; weights and optimiser in fp32. `tf32`: fp32 matrix products in TF32 on a GPU;
    on a CPU the same as fp32."""
    compile: bool = False
    """Compile the training step with `torch.compile`, on a GPU with CUDA graphs. It needs a C++ compiler and takes
    about a minute at the start."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU if there is one."""
    start_from: AbsolutePath | None = None
    """Fine-tuning: a model bundle (folder or URI) to take the initial weights from. It must have the same `model`,
    static columns and sampling rate; the scaling is fitted to the new data. null: random weights."""
    seed: int = Field(0, ge=0)
    """Seed of the initial weights, the shuffling and the latent noise."""
    checkpoint_every_epochs: int = Field(5, ge=1)
    """Epochs between checkpoints; an interrupted training continues from the last one."""


class Config(Section):
    """Everything that defines one training."""

    model: ModelConfig = ModelConfig()
    """Architecture of the network."""
    data: DataConfig = DataConfig()
    """The waveforms."""
    normalization: NormalizationConfig = NormalizationConfig()
    """Scaling of the waveforms."""
    training: TrainingConfig = TrainingConfig()
    """The optimisation."""

    @model_validator(mode="after")
    def _groups_are_known_at_generation(self) -> Self:
        group_by = self.normalization.group_by
        if group_by is not None and group_by not in self.data.static:
            raise ValueError(
                f"normalization.group_by must be one of data.static {list(self.data.static)}, but got {group_by!r}: "
                "a generated waveform is scaled back by the group that its condition names"
            )
        return self
