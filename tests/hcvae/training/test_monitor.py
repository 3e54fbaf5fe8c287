"""Real trainings of a small model on simulated responses, and the warnings that they log."""

import logging
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.training import TrainingDiverged, fit
from hcvae.training.monitor import Monitor

SMALL = {
    "model": {"width": 0.1, "global_latent_dim": 4, "local_latent_dim": 8},
    "data": {"simulator": {"rows": 1500}},
    "training": {"epochs": 12, "batch_size": 64, "early_stopping_patience": None},
}


def config(**training: Any) -> Config:
    return Config.model_validate(SMALL | {"training": SMALL["training"] | training})


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(config())


def trained(of: Config, data: Dataset, folder: Path) -> tuple[list[dict[str, float]], TrainingDiverged | None]:
    """The history of a training, and why it ended before its end."""
    history: list[dict[str, float]] = []
    try:
        fit(of, data, folder, lambda metrics: not history.append(metrics))
    except TrainingDiverged as error:
        return history, error
    return history, None


@pytest.fixture(scope="module")
def collapsed(data, tmp_path_factory) -> list[dict[str, float]]:
    return trained(collapsing(), data, tmp_path_factory.mktemp("collapsed"))[0]


def collapsing() -> Config:
    return config(loss_weights={"global_kl": 1.0, "local_kl": 1.0, "swap": 0.0})


def watch(folder: Path, of: Config, history, first: int = 0, end: TrainingDiverged | None = None) -> EventAccumulator:
    """What the monitor writes from epoch `first` on, of a training that ended with `end`."""
    with suppress(TrainingDiverged), Monitor(folder, of, history[:first]) as monitor:
        for metrics in history[first:]:
            monitor.epoch(metrics)
        if end:
            raise end
    return EventAccumulator(str(folder)).Reload()


def texts(events: EventAccumulator) -> dict[str, list[tuple[int, str]]]:
    return {
        tag.removesuffix("/text_summary"): [
            (event.step, event.tensor_proto.string_val[0].decode()) for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


def test_kl_weights_of_one_collapse_the_model_and_log_and_tensorboard_have_one_warning(collapsed, tmp_path, caplog):
    events = watch(tmp_path, collapsing(), collapsed)
    warnings = [record.getMessage() for record in caplog.records if ": collapse: " in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("epoch 10: collapse: z_global has 0 of 4 units active")  # the 5th epoch of phase 3
    assert "training.loss_weights.local_kl (now 1.0)" in warnings[0]
    assert {(record.name, record.levelno) for record in caplog.records} == {("hcvae.training", logging.WARNING)}
    ((step, text),) = texts(events)["Diagnosis/collapse"]
    assert step == 10
    assert "z_local has 0 of 8 units active" in text
    assert "balance the KL weights" in text


def test_a_training_warns_of_its_troubles(data, tmp_path, caplog):
    fit(collapsing(), data, tmp_path)
    assert "collapse: z_global has 0 of 4 units active" in caplog.text
    assert "Diagnosis/collapse" in texts(EventAccumulator(str(tmp_path / "tensorboard")).Reload())


def test_a_continued_training_does_not_warn_again(collapsed, tmp_path, caplog):
    watch(tmp_path, collapsing(), collapsed, first=11)
    assert not caplog.records


def test_a_learning_rate_far_too_high_is_reported_as_instability(data, tmp_path, caplog):
    of = config(learning_rate=1.0, gradient_clip_norm=None, epochs=4)
    history, end = trained(of, data, tmp_path / "training")
    watch(tmp_path / "again", of, history, end=end)
    assert "training instability: " in caplog.text
    assert "reduce --training.learning_rate (now 1.0)" in caplog.text


def test_a_good_learning_rate_is_never_called_unstable(data, tmp_path, caplog):
    of = config()
    history, _ = trained(of, data, tmp_path / "training")
    caplog.clear()
    watch(tmp_path / "again", of, history)
    assert "instability" not in caplog.text
    assert "collapse" not in caplog.text


def test_divergence_is_reported_after_the_last_epoch_before_it(collapsed, tmp_path, caplog):
    events = watch(tmp_path, config(), collapsed[:1], end=TrainingDiverged("loss nan"))
    assert "epoch 2: training instability: a loss or the gradient was not finite after epoch 1" in caplog.text
    ((step, _),) = texts(events)["Diagnosis/training instability"]
    assert step == 2


def test_tensorboard_has_the_balance_of_the_kl_divergences(collapsed, tmp_path):
    written = watch(tmp_path, collapsing(), collapsed).Scalars("Latent_Analysis/kl_balance")
    expected = [metrics["global_kl"] / (metrics["global_kl"] + metrics["local_kl"]) for metrics in collapsed]
    assert [event.value for event in written] == pytest.approx(expected)


def test_a_folder_deleted_during_the_training_is_reported_in_one_line(collapsed, tmp_path, caplog, monkeypatch):
    """TensorBoard's thread would print a traceback: it writes when its queue is full, or after two minutes."""
    in_thread: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: in_thread.append(hook.exc_value))
    folder = tmp_path / "tensorboard"
    with Monitor(folder, config(), []) as monitor:
        monitor.epoch(collapsed[0])
        shutil.rmtree(folder)
        for metrics in collapsed[1:4]:
            monitor.epoch(metrics)
    assert in_thread == []
    said = [record.getMessage() for record in caplog.records if "TensorBoard" in record.getMessage()]
    assert said == [f"{folder} was deleted while the training runs: TensorBoard lacks the epochs before 2"]
    written = EventAccumulator(str(folder)).Reload().Scalars("Objectives/reconstruction_nmse")
    assert [event.step for event in written] == [2, 3, 4]
