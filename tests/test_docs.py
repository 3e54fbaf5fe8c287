"""The documentation: links lead somewhere, and the API reference is built without warnings."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from hcvae.config import ModelConfig, TrainingConfig

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "cluster").rglob("README.md")))
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FIRST_SCREEN_LINES = 40
FIRST_STEPS = ("install", "main job", "your own data", "cluster", "generate")


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings: lower case, punctuation dropped, blanks to hyphens."""
    headings = HEADING.findall(CODE_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_checkout_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE_BLOCK.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_first_screen_of_the_readme_links_the_first_steps() -> None:
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:FIRST_SCREEN_LINES])
    links = re.findall(r"\[([^\]]+)\]\(", screen)
    for step in FIRST_STEPS:
        assert any(step in link for link in links), step


def test_the_configuration_page_lists_every_option_as_it_is() -> None:
    """Written by `make configuration`; every leaf of the configuration stands on it with its own default."""
    spec = importlib.util.spec_from_file_location("configuration_reference", ROOT / "docs/configuration_reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == reference.page(), "run `make configuration`"
    for section, model in (("training", TrainingConfig), ("model", ModelConfig)):
        rows = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
        for name, field in model.model_fields.items():
            if not isinstance(field.default, BaseModel):
                assert f"| `{name}` |" in rows
                assert f"| `{json.dumps(field.default)}` |" in next(r for r in rows.splitlines() if f"`{name}`" in r)


@pytest.mark.services
def test_api_reference_is_built_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "docs/api_reference.py", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "warn" not in built.stderr.lower(), built.stderr
    for module in ("metrics/swap_routing", "generation/drawing", "bundle"):
        assert (tmp_path / "hcvae" / f"{module}.html").exists(), module
