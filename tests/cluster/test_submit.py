"""Jobs on a real cluster of 3 nodes on this machine."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from conftest import run_with
from optuna.trial import FrozenTrial, TrialState

import hcvae

pytestmark = pytest.mark.services
Run = Callable[..., Any]


def trials_of(results: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{results / 'tiny' / 'study.db'}").trials
