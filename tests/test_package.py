"""The package as a whole: what it exports, which way imports go, what its wheel brings, and that the pins agree."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import FunctionType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]

# Import name -> the package that brings it, where they differ.
BROUGHT_BY = {"PIL": "pillow", "torch_geometric": "torch-geometric", "sklearn": "scikit-learn", "yaml": "pyyaml"}

MAY_IMPORT = {
    "ld3": {"ld3"},
    "ld3_diffusers": {"ld3", "ld3_diffusers", "domains"},  # for one function, loaded when it is asked for
    "domains": {"ld3", "ld3_diffusers", "domains"},
    "ld3_command": {"ld3_command", "domains"},
    "benchmarks": {"ld3", "ld3_diffusers", "domains", "benchmarks"},
}


def imports(path: Path) -> Iterator[str]:
    """Top-level names that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def third_party(folder: str) -> set[str]:
    """Packages that the files of a folder import."""
    names = {name for path in (ROOT / folder).rglob("*.py") for name in imports(path)}
    own = {*MAY_IMPORT, *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    return {canonicalize_name(BROUGHT_BY.get(name, name)) for name in names - set(sys.stdlib_module_names) - own}


def declared(*extras: str) -> set[str]:
    """Packages that pyproject.toml asks for."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.mark.parametrize("module", ["ld3", "ld3.learn", "ld3.solvers"])
def test_everything_exported_is_there_and_documented(module: str) -> None:
    package = importlib.import_module(module)
    exported = package.__all__
    assert len(exported) == len(set(exported))
    for name in exported:
        value = getattr(package, name)
        if isinstance(value, type | FunctionType):
            assert (value.__doc__ or "").strip(), name


def test_the_core_imports_no_domain_library() -> None:
    program = "import sys, ld3, ld3.learn, ld3.testing; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    foreign = {"rdkit", "e3nn", "torch_geometric", "gemmi", "posebusters", "spyrmsd", "rich", "domains", "benchmarks"}
    assert not foreign & set(loaded.stdout.split())


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_imports_go_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        own = set(imports(path)) & {*MAY_IMPORT, "tests"}
        assert own <= MAY_IMPORT[folder], path


def test_the_core_speaks_of_no_domain() -> None:
    words = re.compile(r"\b(ligand|protein|pocket|docking|molecule|atom|pixel)s?\b", re.IGNORECASE)
    for path in (ROOT / "ld3").rglob("*.py"):
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert not any(words.search(name.replace("_", " ")) for name in names), path


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    assert third_party("ld3") | {"tyro"} == declared()  # tyro for the command
    assert third_party("ld3_diffusers") <= declared("diffusers")
    assert third_party("domains") | third_party("benchmarks") <= declared(
        "docking", "images", "diffusers", "screening", "ray", "vina", "diffdock"
    )
    assert third_party("tests") <= declared(
        "docking", "images", "diffusers", "screening", "ray", "vina", "diffdock", "dev"
    )


def test_the_command_needs_no_extra() -> None:
    """Run where none of the packages of the extras can be imported."""
    extras = {Requirement(line).name for lines in PROJECT["optional-dependencies"].values() for line in lines}
    imported = {package: name for name, package in BROUGHT_BY.items()}
    # A bare install has whatever tyro asks for.
    blocked = {imported.get(name, name) for name in extras} - {"rich"}
    fit = ROOT / "domains" / "docking" / "weights" / "demo.grids" / "dpmpp_2m_5.json"
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(blocked)})); "
        f"from domains.command import main; sys.exit(main(['show', {str(fit)!r}]))"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "5 network evaluations" in shown.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that has the built wheel, and this environment's other packages."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True)
    (own,) = (folder / "env" / "lib").glob("*/site-packages")
    # A line in a .pth file adds a folder, without the .pth files in it: not the repository itself.
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def run_installed(installed: Path, folder: Path, *command: str) -> str:
    """What a command of the fresh environment prints, run in an empty folder."""
    environment = {"HOME": str(folder), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [installed / command[0], *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_the_wheel_brings_the_command_and_no_benchmarks(installed: Path, tmp_path: Path) -> None:
    assert "export" in run_installed(installed, tmp_path, "ld3", "--help")
    where = "import importlib.util as u, domains, ld3; print(domains.__file__, ld3.__file__, u.find_spec('benchmarks'))"
    *files, benchmarks = run_installed(installed, tmp_path, "python", "-c", where).split()
    assert benchmarks == "None"
    assert all(Path(file).is_relative_to(installed.parent) for file in files)


@pytest.mark.slow
def test_the_wheel_docks_with_its_own_weights_and_grid(installed: Path, tmp_path: Path) -> None:
    program = (
        "from domains import docking; complexes, _ = docking.read(None)\n"
        "for name in ('general', 'demo'):\n"
        "    docking.dock(docking.load_model(name), complexes[:1], 5, samples=1, seed=0).write(name)"
    )
    run_installed(installed, tmp_path, "python", "-c", program)
    for name in ("general", "demo"):
        (poses,) = (tmp_path / name).rglob("*.sdf")
        assert poses.read_text().count("$$$$") == 1
    shipped = json.loads((tmp_path / "demo" / "poses.json").read_text())["method"]["grid"]
    assert len(shipped["solver"]["tr"]) == 6, "the grid learned for the demo weights"


def test_the_lock_pins_all_that_is_declared() -> None:
    pins = {}
    for line in LOCK:
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line).groups()  # type: ignore[union-attr]
        pins[canonicalize_name(name)] = version
    assert len(pins) == len(LOCK)
    for line in chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        asked = Requirement(line)
        assert asked.specifier.contains(pins[canonicalize_name(asked.name)]), line


def test_the_citation_names_the_version() -> None:
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


def test_one_import_gives_the_parts_and_the_version() -> None:
    program = "import ld3; print(ld3.learn.fit.__name__, ld3.testing.check_flow.__name__, ld3.__version__)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    stated = PROJECT["version"]
    assert shown.stdout.split() == ["fit", "check_flow", stated]


def test_no_message_and_no_page_names_a_package_index_entry() -> None:
    """The project is in no index: what installs an extra is '.[EXTRA]' in a copy of the repository."""
    extras = set(PROJECT["optional-dependencies"])
    for path in (*ROOT.glob("*.md"), *(p for name in (*MAY_IMPORT, "docs") for p in (ROOT / name).rglob("*"))):
        if path.suffix in (".py", ".md"):
            text = path.read_text()
            assert "pip install ld3" not in text and "ld3[" not in text, path
            for named in re.findall(r"'\.\[([a-z,]+)\]'", text):
                assert set(named.split(",")) <= extras, path
