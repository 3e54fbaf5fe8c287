"""The configuration of one training: model, data, normalisation, training. No torch, so that launchers start fast.

Every section is frozen and refuses unknown keys. JSON goes in and out:
`Config.model_validate_json(text)` and `config.model_dump_json(indent=2)`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hcvae.described import one_line, small_table
from hcvae.locations import absolute
from hcvae.validation import HIDDEN_INPUT, SECRET_ADVICE, shows_secret

MAX_DIMENSIONS = 2**14
"""Samples of a waveform or dimensions of a latent: the model holds a square matrix of each, here of 1 GiB."""


def _absolute(path: str) -> str:
    if shows_secret(path):
        raise PydanticCustomError(HIDDEN_INPUT, "{advice}", {"advice": SECRET_ADVICE})
    return absolute(path)


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path, made absolute from the current folder so that a bundle or a study is valid from any other; or a URI."""

Precision = Literal["fp32", "tf32", "bf16"]
"""Of matrix products: single, its factors rounded to 10 bits on a GPU, or forward passes in bfloat16."""


class Section(BaseModel):
    """A part of the configuration: immutable, no unknown keys, each field documented by the line below it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    def facts(self) -> dict[str, Any]:
        """The fields that differ from their defaults, those of inner sections by dotted path."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.is_required() or value != field.get_default(call_default_factory=True):
                inner = value.facts() if isinstance(value, Section) else {}
                found |= {f"{name}.{key}": one for key, one in inner.items()} or {name: value}
        return found

    def __repr__(self) -> str:
        return one_line(self, self.facts())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return small_table(self, self.facts())


class ModelConfig(Section):
    """Shape of the network. The defaults are the 10.5M-parameter model of the specification."""

    model_type: Literal["hierarchical", "standard"] = "hierarchical"
    """`hierarchical`: z_global steers the decoder by FiLM; `standard`: one latent of the two dimensions together."""
    signal_length: int = Field(200, ge=32, le=MAX_DIMENSIONS)
    """Samples in a waveform."""
    static_dim: int | None = Field(None, ge=1, le=MAX_DIMENSIONS)
    """Encoded static parameters; null takes what `data.static` gives (the specification's configuration says 7)."""
    global_latent_dim: int = Field(32, ge=1, le=MAX_DIMENSIONS)
    """Dimensions of z_global."""
    local_latent_dim: int = Field(32, ge=1, le=MAX_DIMENSIONS)
    """Dimensions of z_local, never below those of z_global."""
    predict_peaks: bool = True
    """Predict latency and amplitude of waves I, III and V."""
    peak_window_ms: float | None = Field(None, gt=0)
    """Time of the last sample: predicted latencies lie before it, in the order of the waves. null takes it from the
    data; null in a bundle is the peak head of an earlier hcvae, which predicts any latency."""
    use_film: bool = True
    """Steer the decoder by FiLM; false concatenates z_global to the decoder's input."""
    early_signal_ratio: float = Field(0.3, gt=0, le=1)
    """Share of the waveform, from its start, that the local encoder sees a second time."""
    width: float = Field(1.0, gt=0, le=4)
    """Scales all hidden widths; 1.0 is the specification's model."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout of the encoders' hidden layers."""
    batch_norm: bool = True
    """Batch normalisation; false makes data-parallel gradients independent of the number of workers."""
    static_from_latents: bool = False
    """Adds a head that predicts the static parameters from the latents alone (the usual head also sees them)."""
    intermediate_levels: int = Field(0, ge=0, le=2)
    """Latent levels between z_global and z_local; coarser levels steer earlier layers of the decoder."""
    intermediate_latent_dim: int = Field(16, ge=1, le=MAX_DIMENSIONS)
    """Dimensions of each intermediate level."""
    attention: bool = False
    """The global and the local encoder exchange their last features by cross-attention."""
    local_segments: int = Field(1, ge=1, le=16)
    """Overlapping time segments that share z_local out among them; each part changes only its own segment."""

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
        n, dim = self.local_segments, self.local_latent_dim
        if dim % n:
            raise ValueError(
                "local_latent_dim must be a multiple of local_segments, but got "
                f"(local_latent_dim={dim}, local_segments={n}); local_latent_dim={-(-dim // n) * n} would be right"
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
    """The data made where no table is named."""

    rows: int = Field(4000, ge=1)
    """Simulated waveforms."""
    seed: int = Field(0, ge=0)
    """Seed of the simulator."""


class SplitConfig(Section):
    """Training, validation and test parts. No subject (or recording) is on two sides."""

    unit: Literal["auto", "subject", "recording"] = "auto"
    """What stays together; `auto` takes the subject where there are at least 5, otherwise the recording."""
    validation: float = Field(0.15, gt=0, lt=1)
    """Share of the units for validation: the search's objectives are measured on it."""
    test: float = Field(0.15, gt=0, lt=1)
    """Share of the units for the test: the model card's figures are measured on it."""
    seed: int = Field(0, ge=0)
    """Seed of the draw."""

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test < 1 must hold, but got (validation={self.validation}, test={self.test})"
            )
        return self


class DataConfig(Section):
    """Where the waveforms come from and which columns describe them."""

    tables: tuple[AbsolutePath, ...] = ()
    """Parquet waveform tables, read as one; none means the simulator. In a configuration file, paths are relative to
    that file."""
    memory_budget_gb: float | None = Field(None, gt=0)
    """GB that the waveforms of `tables` may take in memory; those of larger tables are read again in each epoch, by
    searches and `jobs.train` (see docs/clusters.md). null: all in memory."""
    simulator: SimulatorConfig = SimulatorConfig()
    """The simulator's settings, used where `tables` is empty."""
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
    """Columns that condition the model: numbers are standardised, strings one-hot, nulls imputed with a mask column."""
    subject_column: str = "subject_id"
    """Column that names the subject."""
    recording_columns: tuple[str, ...] = Field(("subject_id", "stimulus_level_db", "recording_index"), min_length=1)
    """Columns that together name a recording, the smallest unit of the split."""
    average_columns: tuple[str, ...] | None = Field(None, min_length=1)
    """Columns whose agreement makes two rows independent averages of one response; null: recording and condition."""
    sampling_rate_hz: float | None = Field(None, gt=0)
    """Sampling rate; null reads `sampling_rate_hz` from the table's metadata."""
    licence: str | None = None
    """Licence of the recordings, for the model card; null reads `licence` and `attribution` of the tables' metadata."""
    split: SplitConfig = SplitConfig()
    """How the rows are divided."""


class NormalizationConfig(Section):
    """Scaling of the waveforms, always fitted on the training part over the whole part."""

    group_by: str | None = None
    """A static column of strings; each of its values gets its own mean and scale (null: one for all)."""


class LossWeights(Section):
    """Weights of the loss components. KL weights multiply nats per waveform (see docs/training.md)."""

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
    """KL divergence where there is only one: `standard` models, and `use_hierarchical_loss` false."""
    peak: float = Field(1.0, ge=0)
    """Mean absolute error over the labelled peaks."""
    alignment: float = Field(0.1, ge=0)
    """Smallest mean squared error over shifts of up to 10 samples."""
    swap: float = Field(2.0, ge=0)
    """Swap consistency: shape stays when z_global is exchanged, coarse attributes stay when z_local is; 0: the
    specification's loss. It has no meaning for `standard` models."""
    total_correlation: float = Field(0.0, ge=0)
    """Total correlation of the latents in nats (Chen et al. 2018): a penalty to compare swap consistency with."""


class PhaseConfig(Section):
    """The specification's three phases: reconstruction first, then rising KL weights, then the balanced weights."""

    reconstruction: float = Field(0.15, ge=0, lt=1)
    """Share of the epochs in phase 1: higher reconstruction weight, KL weights 0."""
    warmup: float = Field(0.35, ge=0, lt=1)
    """Share of the epochs in phase 2: KL weights rise to their values."""
    reconstruction_boost: float = Field(2.0, ge=1)
    """Factor on the reconstruction weight in phase 1."""
    kl_schedule: Literal["linear", "cosine", "cyclical"] = "linear"
    """How KL weights rise in phase 2; `cyclical` rises and falls back in four cycles (Fu et al. 2019)."""

    @model_validator(mode="after")
    def _something_is_left_for_the_last_phase(self) -> Self:
        if self.reconstruction + self.warmup >= 1:
            raise ValueError(
                "reconstruction + warmup < 1 must hold, but got "
                f"(reconstruction={self.reconstruction}, warmup={self.warmup})"
            )
        return self

    def lengths(self, epochs: int) -> tuple[int, int, int]:
        """Epochs of each phase; the last has at least one."""
        first = int(epochs * self.reconstruction)
        second = int(epochs * self.warmup)
        return first, second, epochs - first - second


class TrainingConfig(Section):
    """How the model is trained."""

    epochs: int = Field(60, ge=1, le=9999)
    """Passes over the training part."""
    batch_size: int = Field(256, ge=1)
    """Waveforms in a step, over all workers together."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """AdamW's learning rate; in the last phase it falls to 0 along half a cosine."""
    weight_decay: float = Field(1e-4, ge=0)
    """AdamW's weight decay."""
    use_hierarchical_loss: bool = True
    """Separate KL weights for the two latents; false uses `loss_weights.kl` for both."""
    loss_weights: LossWeights = LossWeights()
    """Weights of the loss components, reached in the last phase."""
    learned_scales: Literal["none", "reconstruction", "all"] = "none"
    """`reconstruction`: its mean squared error becomes a Gaussian likelihood with a learned scale, so that a KL weight
    is the beta of a beta-VAE on every data set (1 is the plain VAE; Rybkin et al. 2021). `all`: likewise for the static
    parameters and the peaks, whose weights are thereby learned (Kendall et al. 2018). `none`: the specification's."""
    target: Literal["same_average", "other_average"] = "same_average"
    """What the decoder is to give back. `other_average`: another average of the same response, whose noise cannot be
    copied, so that the model learns to denoise (Lehtinen et al. 2018, "Noise2Noise"); a row without one is its own
    target."""
    free_bits: float = Field(0.0, ge=0)
    """Nats that every latent dimension may hold without cost, against collapse (Kingma et al. 2016)."""
    phases: PhaseConfig = PhaseConfig()
    """The three phases."""
    gradient_clip_norm: float | None = Field(1.0, gt=0)
    """Largest gradient norm of a step; null does not clip."""
    early_stopping_patience: int | None = Field(10, ge=1)
    """Epochs of the last phase without a lower validation loss before training ends; null trains to the end."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """`auto`: the one in which this device trains faster by a clear margin, measured when the training starts; else
    fp32. `bf16`: forward pass and loss under autocast, each epoch's evaluation too; weights and optimiser in fp32.
    `tf32`: a GPU multiplies matrices of fp32 in TF32; on the CPU the same as fp32."""
    compile: bool = False
    """Compile the steps with `torch.compile`, on a GPU into CUDA graphs. Meant for GPUs; it needs a C++ compiler and a
    minute at the start."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: the GPU where there is one."""
    start_from: AbsolutePath | None = None
    """Fine-tuning: the model bundle, a folder or a URI, whose weights the training starts from. It needs the same
    `model`, static columns and sampling rate; scales are the new data's. Null starts from random weights."""
    seed: int = Field(0, ge=0)
    """Seed of the weights, the order of the rows and the latent noise."""
    checkpoint_every_epochs: int = Field(5, ge=1)
    """Epochs between two checkpoints; an interrupted training goes on from the last one."""


class Config(Section):
    """One training, complete."""

    model: ModelConfig = ModelConfig()
    """The network."""
    data: DataConfig = DataConfig()
    """The waveforms."""
    normalization: NormalizationConfig = NormalizationConfig()
    """Their scaling."""
    training: TrainingConfig = TrainingConfig()
    """The training."""

    @model_validator(mode="after")
    def _groups_are_known_at_generation(self) -> Self:
        group_by = self.normalization.group_by
        if group_by is not None and group_by not in self.data.static:
            raise ValueError(
                f"normalization.group_by must be one of data.static {list(self.data.static)}, but got {group_by!r}: "
                "a generated waveform is scaled back by the group that its condition names"
            )
        return self
