"""What is built, declared and shipped: the wheel, the dependencies, the pinned versions, a job's working directory."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

from tests.fixtures.bundles import VERSION_1

ROOT = Path(__file__).parents[1]
OUR_FOLDERS = ("hcvae", "tune", "jobs", "cluster")
CHECKED_FOLDERS = (*OUR_FOLDERS, "tests", "configs", "docs", "benchmarks", ".ci")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

REGISTRY = re.compile(r"pypi[.]org|[p]ythonhosted|registry[.]npmjs|download[.]pytorch|deb[.]debian")
HOME_FOLDER = re.compile(r"(?<![\w.])/(home|Users)/\w|[A-Z]:\\Users\\")
COMMON_FOLDERS = {"/", "/data", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var"}


def project_files() -> Iterator[Path]:
    """Yield the project's text files, without environments, results and caches."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")
    for folder in CHECKED_FOLDERS:
        yield from (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject.toml declares: the base, and these extras."""
    declared = list(PROJECT["dependencies"])
    for extra in extras:
        declared += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in declared]


def imported_packages(path: Path) -> set[str]:
    """First names of all absolute imports of a file, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            names.add(node.module.split(".")[0])
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in OUR_FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_holds_only_hcvae(wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())
    info = f"hcvae-{wheel.name.split('-')[1]}.dist-info"
    assert {name.split("/")[0] for name in files} == {"hcvae", info}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hcvae").rglob("*.py")}
    assert modules <= files
    page = {"assets/explore.css", "assets/explore.js", "templates/page.html"}
    assert {f"hcvae/explore/{name}" for name in page} <= files


@pytest.mark.services
@pytest.mark.timeout(900)
def test_a_bundle_opens_with_nothing_but_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, with the base dependencies: no Ray, no Optuna, no ONNX."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python, hcvae = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "hcvae"
    options = ["--quiet", "--no-compile", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *options, str(wheel)], check=True)
    shutil.copytree(VERSION_1, tmp_path / "model")

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    generated = run(hcvae, "generate", "model", "--condition", "sex=F", "--samples", "3", "--out", "generated.csv")
    assert generated.returncode == 0, generated.stderr
    assert len((tmp_path / "generated.csv").read_text().splitlines()) == 1 + 3
    program = (
        "import hcvae, sys; m = hcvae.HierarchicalCVAE.from_pretrained('model'); print(hcvae.__file__, *sys.modules)"
    )
    loaded = run(python, "-c", program)
    assert loaded.stdout.startswith(str(tmp_path / "venv")), loaded.stderr
    assert not {"ray", "optuna", "onnx", "mne"} & {*loaded.stdout.split()}
    exported = run(hcvae, "export", "model", "--onnx", "model.onnx")
    assert exported.returncode == 2
    assert exported.stderr.endswith("not installed; run `pip install --editable '.[onnx]'` in the checkout of hcvae\n")


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("hcvae", ("explore", "formats", "onnx")),
        ("tune", ("search",)),
        ("jobs", ("search",)),
        ("cluster", ("search",)),
        ("benchmarks", ("bench", "formats", "search", "dev")),
        ("tests", tuple(PROJECT["optional-dependencies"])),
    ],
)
def test_every_import_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    known = sys.stdlib_module_names | {*OUR_FOLDERS, "benchmarks", "tests"}
    declared = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
    distributions = packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in imported_packages(path) - known
        if declared.isdisjoint(canonicalize_name(owner) for owner in distributions.get(name, []))
    }
    assert undeclared == set()


def test_constraints_pin_the_whole_environment() -> None:
    """Every dependency of a dependency is pinned; torch itself pins its CUDA libraries, which not all machines have."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(Requirement(line).name) for line in lines if not line.startswith("#")}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines if not line.startswith("#"))

    todo, seen, missing = requirements(*PROJECT["optional-dependencies"]), set(), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((name, *sorted(requirement.extras)))
        if name not in pinned:
            missing.add(name)
            continue
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            pinned_by_owner = name == "torch" and "==" in str(needed.specifier)
            if not pinned_by_owner and applies(needed, requirement.extras):
                todo.append(needed)
    assert missing == set()


def applies(needed: Requirement, extras: set[str]) -> bool:
    """Whether a dependency is needed in this environment with these extras of its owner."""
    return needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras})


def package_sources() -> set[str]:
    """Return the folders and hosts in which pip looks for packages on this machine."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    settings = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sources = set()
    for value in re.findall(r"(?:index-url|find-links)='(.*)'", settings):
        for place in map(urlsplit, value.split()):
            sources.add(place.hostname or place.path)
    return sources


@pytest.fixture(scope="module")
def private() -> list[re.Pattern[str]]:
    """Matches what only one machine has: folders of people, of this checkout, of its Python, sources of packages."""
    checkout = ROOT if str(ROOT.parent) in COMMON_FOLDERS else ROOT.parent
    places = {str(checkout), sys.prefix, str(Path.home()), *package_sources()} - COMMON_FOLDERS
    return [re.compile(rf"(?<![\w.]){re.escape(place)}\b") for place in places] + [HOME_FOLDER, REGISTRY]


def matches(line: str, patterns: list[re.Pattern[str]]) -> bool:
    return any(pattern.search(line) for pattern in patterns)


@pytest.mark.parametrize(
    "line", [f"cd {ROOT}", f"cd {sys.prefix}/bin", "cd /home" + "/ann/hcvae", "https://py" + "pi.org"]
)
def test_machines_and_registries_are_recognised(line: str, private: list[re.Pattern[str]]) -> None:
    assert matches(line, private)
    assert not matches("cd ~/hcvae && .venv/bin/python /mnt/studies", private)


def test_no_file_names_a_machine_or_a_registry(private: list[re.Pattern[str]]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if matches(line, private)
    ]
    assert found == []


@pytest.mark.parametrize("module", ["hcvae", "hcvae.config", "hcvae.errors", "hcvae.cli", "tune.config"])
def test_launchers_start_without_torch(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({{'torch', 'ray', 'optuna'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


def test_a_job_ships_the_code_and_nothing_else(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shipped = ["hcvae/data/table.py", "tune/search/run.py", "jobs/search.py", "configs/search.json", "pyproject.toml"]
    kept = [
        "data/recordings.parquet",
        "results/study/study.json",
        "results/model/config.json",
        "results/generated.parquet",
        "tests/test_packaging.py",
        "docs/training.md",
        ".venv/bin/python",
        ".git/config",
        "hcvae/__pycache__/config.cpython-311.pyc",
    ]
    for name in [*shipped, *kept]:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("content")
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, checkout)

    package = tmp_path / "package.zip"
    create_package(str(checkout), package, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    files = {name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    assert files == {*shipped, ".gitignore", ".rayignore"}
