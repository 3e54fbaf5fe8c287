"""What is changed in Ray is restored, and private names of libraries are used in `tune.internals` alone."""

import logging
import os
import re
from pathlib import Path

import pytest
import ray.tune.execution.class_cache
import ray.tune.execution.tune_controller

from hcvae.errors import UserError
from tune.internals import ray_internals, require

ROOT = Path(__file__).resolve().parents[3]
PRIVATE = re.compile(
    r"ray\._private|ray\.\S+\._internal|\bray\.core\.generated|\b(study|trial|frozen|storage|other)\._[a-z]"
)


def state() -> tuple[object, ...]:
    return (
        {name: os.environ.get(name) for name in ray_internals.TUNE_SETTINGS},
        logging.getLogger("ray.tune").level,
        set(ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE),
        ray.tune.execution.tune_controller.RayActorManager,
    )


def fail_inside(before: tuple[object, ...]) -> None:
    with ray_internals.adapted_tune():
        assert os.environ["TUNE_GLOBAL_CHECKPOINT_S"] == "600"
        assert not ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE & set(ray_internals.AWS_KEYS)
        assert all(changed != same for changed, same in zip(state(), before, strict=True))
        raise RuntimeError


def test_ray_is_as_before_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "7")
    monkeypatch.delenv("RAY_AIR_NEW_OUTPUT", raising=False)
    before = state()
    with pytest.raises(RuntimeError):
        fail_inside(before)
    assert state() == before
    assert set(ray_internals.AWS_KEYS) & ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE


def test_another_version_is_refused() -> None:
    require("ray", "2.60")
    with pytest.raises(UserError, match=r"ray: must be version 2\.6, .* got 2\.60\.0"):
        require("ray", "2.6")


def test_no_other_file_uses_private_names() -> None:
    files = [path for folder in ("tune", "jobs") for path in (ROOT / folder).rglob("*.py")]
    found = [path.relative_to(ROOT) for path in files if PRIVATE.search(path.read_text())]
    assert {path.parent for path in found} == {Path("tune/internals")}, found


def test_environment_variables_are_as_before_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCVAE_KEPT", "of the user")
    monkeypatch.delenv("HCVAE_ABSENT", raising=False)
    seen = {}

    def fail() -> None:
        with ray_internals.environment_defaults({"HCVAE_KEPT": "ours", "HCVAE_ABSENT": "ours"}):
            seen.update(os.environ)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (seen["HCVAE_KEPT"], seen["HCVAE_ABSENT"]) == ("of the user", "ours")
    assert os.environ["HCVAE_KEPT"] == "of the user"
    assert "HCVAE_ABSENT" not in os.environ
