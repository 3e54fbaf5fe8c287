"""The cluster definitions, offline: Ray's own validation, and KubeRay's schemas with unknown keys refused."""

import copy
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cluster.package import requirements

ROOT = Path(__file__).resolve().parents[2]
RAY_UP, KUBERAY = ROOT / "cluster" / "ray-up", ROOT / "cluster" / "kuberay"


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def schemas() -> Path:
    """The operator's schemas as JSON."""
    folder = Path(os.environ.get("HCVAE_KUBERAY_SCHEMAS", ROOT.parent / "shared" / "kuberay"))
    if not folder.is_dir():
        pytest.skip(f"no schemas in {folder}; name their folder in the environment variable HCVAE_KUBERAY_SCHEMAS")
    return folder


def closed(schema: Any) -> Any:
    """The schema with unknown keys refused wherever it lists the known ones."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        parts.setdefault("additionalProperties", False)
    return parts


def check(definition: dict[str, Any], schemas: Path) -> None:
    schema = json.loads((schemas / f"ray.io_{definition['kind'].lower()}s.v1.schema.json").read_text())
    jsonschema.validate(definition, closed(schema))


@pytest.mark.parametrize("name", ["aws.yaml", "on-premise.yaml"])
def test_ray_itself_accepts_the_definitions_for_ray_up(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    definition = load(RAY_UP / name)
    validate_config(prepare_config(copy.deepcopy(definition)))
    with pytest.raises(jsonschema.ValidationError, match="max_wrkers"):
        validate_config(prepare_config(definition | {"max_wrkers": 3}))


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_the_definitions_for_kuberay_fit_its_schemas(name: str, schemas: Path) -> None:
    definition = load(KUBERAY / name)
    check(definition, schemas)
    spec = definition["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePullPolice"):
        check(definition, schemas)


def test_job_and_cluster_have_one_definition_of_the_cluster() -> None:
    job, cluster = load(KUBERAY / "rayjob.yaml")["spec"], load(KUBERAY / "raycluster.yaml")["spec"]
    assert job["rayClusterSpec"] == cluster
    assert cluster["authOptions"] == {"mode": "token"}


def test_every_image_and_installation_is_of_our_ray() -> None:
    ray = version("ray")
    texts = {path.name: path.read_text() for folder in (RAY_UP, KUBERAY) for path in folder.glob("*.yaml")}
    images = [word for text in texts.values() for word in text.split() if word.startswith("rayproject/")]
    assert len(images) == 5
    assert all(image.startswith(f"rayproject/ray:{ray}-py311") for image in images)
    assert f'"ray[default,train,tune]=={ray}"' in texts["on-premise.yaml"]
    assert load(KUBERAY / "raycluster.yaml")["spec"]["rayVersion"] == ray


def test_every_node_asks_for_the_token() -> None:
    for name in ("aws.yaml", "on-premise.yaml"):
        definition = load(RAY_UP / name)
        starts = [definition[f"{kind}_start_ray_commands"][-1] for kind in ("head", "worker")]
        assert all("RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token" in start for start in starts)
        assert "~/.ray/auth_token" in definition["file_mounts"]


def test_the_job_installs_what_a_submitted_one_does() -> None:
    environment = yaml.safe_load(load(KUBERAY / "rayjob.yaml")["spec"]["runtimeEnvYAML"])
    assert environment["pip"] == requirements()
