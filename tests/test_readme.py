"""README and pages hold: their commands exist, their examples run as printed, what they link to is there."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import torch

from domains.docking.settings import fit_config
from domains.docking.structures.pocket import PocketChoice
from ld3 import HAND_MADE
from ld3.learn import FitResult

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]


def prose(page: Path) -> str:
    """A page without its tables, whose commands are those of the runs that made them."""
    return re.sub(r"<!-- table: (.*?) -->.*?<!-- end of table: \1 -->", "", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every command line of a page, split into words."""
    text = prose(page).replace("\\\n", " ")  # a line that goes on
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`((?:make|python -m) [^`]+)`", text)
    split = [shlex.split(line, comments=True) for line in [*"".join(blocks).splitlines(), *inline]]
    return [words for words in split if words and words[0] != "."]  # `. .venv/bin/activate` is no program


def module_commands() -> dict[tuple[str, ...], set[str]]:
    """Module, and its subcommand if it has some -> flags that pages give it."""
    found: dict[tuple[str, ...], set[str]] = {}
    for words in (words for page in PAGES for words in commands(page)):
        if words[0] == "ld3":
            words = ["python", "-m", "ld3_command", *words[1:]]
        if words[:2] == ["python", "-m"]:
            flags = {word for word in words[3:] if word.startswith("--") and word != "--help"}
            name: tuple[str, ...] = (words[2], words[3]) if words[2] == "ld3_command" else (words[2],)
            if name == ("ld3_command", "fit"):
                which = "flow" if "--flow" in words else "images"
                name = (*name, words[4] if words[4] == "docking" else which)
            if name == ("ld3_command", "grids"):
                name = (*name, words[4])
            found.setdefault(name, set()).update(flags)
    return found


def example(page: Path, name: str) -> str:
    """A program of a page, by the name in the comment before it."""
    (source,) = re.findall(rf"<!-- example: {name} -->\n```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return str(source)


def run(source: str, **names: object) -> str:
    """What a program prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "example.py", "exec"), {"__name__": "example", **names})
    return re.sub(r"[^\n]*\r", "", printed.getvalue())  # what progress wrote over


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("target", sorted({w[w.index("make") + 1] for p in PAGES for w in commands(p) if "make" in w}))
def test_make_targets_exist(target: str) -> None:
    dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


def test_ci_runs_what_the_readme_says() -> None:
    assert ["make", "test"] in commands(README)
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flags"), sorted(module_commands().items()), ids=map(" ".join, sorted(module_commands()))
)
def test_modules_and_their_flags_exist(name: tuple[str, ...], flags: set[str]) -> None:
    assert importlib.util.find_spec(name[0]) is not None
    asked = subprocess.run(
        [sys.executable, "-m", *name, "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert asked.returncode == 0, asked.stderr
    known = set(re.findall(r"--[a-z][a-z.-]*", asked.stdout))
    assert flags <= known


def test_pocket_syntax_of_the_page() -> None:
    page = DOCS / "docking.md"
    given = [words[words.index("--pocket") + 1] for words in commands(page) if "--pocket" in words]
    assert [PocketChoice.parse(text).kind for text in given] == ["point"]
    (forms,) = re.findall(r"`--pocket` takes (.*?), in Å", page.read_text())
    for form in re.findall(r"`([^`]+)`", forms):
        numbers = re.sub(r"[A-Z]+", "4", form)
        assert PocketChoice.parse(numbers).kind == form.split(":")[0]


def my_targets(folder: Path) -> None:
    """Two complexes of the posebusters package, as a user would have them."""
    datasets = Path(str(resources.files("posebusters"))) / "datasets" / "pdb"
    for name in ("1ia1", "1of6"):
        (folder / name).mkdir(parents=True)
        shutil.copyfile(datasets / name / f"{name}_protein_one_lig_removed.pdb", folder / name / "protein.pdb")
        shutil.copyfile(datasets / name / f"{name}_ligand.sdf", folder / name / "ligands.sdf")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the teacher is")  # its mean over ten poses is of one or two that go astray
def test_five_lines_dock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As printed, but for smaller numbers."""
    my_targets(tmp_path / "my_targets")
    monkeypatch.chdir(tmp_path)
    source = example(README, "docking")
    assert len([line for line in source.splitlines() if line and "import" not in line]) == 5
    for printed, smaller in (("nfe=10", "nfe=10, poses=10, config=few_steps"), ("samples=10", "samples=3")):
        assert source.count(printed) == 1
        source = source.replace(printed, smaller)
    names: dict[str, object] = {"few_steps": dataclasses.replace(fit_config(10), steps=4, batch=4)}
    exec(compile(source, "README.md", "exec"), names)
    assert names["problems"] == []
    fit = names["fit"]
    assert isinstance(fit, FitResult) and fit.grid.n_steps == 10
    files = sorted((tmp_path / "out").rglob("*.sdf"))
    assert len(files) == 2
    assert [file.read_text().count("$$$$") for file in files] == [3, 3]


@pytest.mark.slow
def test_the_flow_of_the_readme_runs_as_printed_and_the_learned_grid_is_nearest() -> None:
    source = example(README, "flow")
    assert len(source.splitlines()) <= 28
    state = torch.get_rng_state()
    printed = run(source)
    assert torch.equal(torch.get_rng_state(), state), "the example draws from the global generator"
    lines = printed.splitlines(keepends=True)
    the_learned_grid_is_nearest("".join(lines[-6:]))
    assert lines[2].startswith("final test on 128")


def the_learned_grid_is_nearest(printed: str) -> None:
    rows = [line.rsplit(maxsplit=1) for line in printed.splitlines()]
    learned, hand = float(rows[0][1]), [float(distance) for _, distance in rows[1:]]
    assert rows[0][0].startswith("learned")
    assert len(hand) == 5
    assert learned < 0.1 * min(hand)


@pytest.mark.slow
def test_example_of_a_domain_runs_as_printed() -> None:
    lines = run(example(DOCS / "new_domains.md", "domain")).splitlines(keepends=True)
    the_learned_grid_is_nearest("".join(lines[-6:]))
    assert all("(< " in law for law in lines[:-9])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torus", "frames"])
def test_flows_on_manifolds_run_as_printed(name: str) -> None:
    lines = run(example(DOCS / "flows_on_manifolds.md", name)).splitlines()
    assert any("denoises" in line for line in lines)
    (verdict,) = [line for line in lines if line.startswith("final test")]
    assert "the learned one is nearer to the teacher" in verdict
    learned, by_hand = (float(line.split()[-1]) for line in lines[-2:])
    assert learned < by_hand


def test_example_of_starts_runs_as_printed() -> None:
    figures, verdict = run(example(DOCS / "grids.md", "starts")).splitlines()
    start, before, after = figures.split()
    assert verdict.startswith("final test")
    assert start in {*HAND_MADE, "gits", "ays"}
    assert float(after) < 0.5 * float(before)


def test_example_of_a_warp_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grids, written as fits, are better than the hand-made ones at every number of evaluations."""
    monkeypatch.chdir(tmp_path)
    for line in run(example(DOCS / "warp.md", "warp")).splitlines():
        nfe, warp, hand = line.split()
        assert float(warp) < 0.1 * float(hand)
        assert FitResult.load(tmp_path / f"warp_nfe{nfe}.json").initial_grid == "warp"


def test_the_page_of_grids_has_all_of_the_registry() -> None:
    assert set(re.findall(r"`(\w+)`", (DOCS / "grids.md").read_text())) >= {*HAND_MADE, "gits", "ays"}


def test_the_site_is_built_and_asks_no_other_server(tmp_path: Path) -> None:
    """Strictly: a link, a heading or a documented name that is not there is an error."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert tmp_path / "index.html" in pages
    fetched = r"<(?:script|img|iframe|link)[^>]*? (?:src|href)=\"?(?:https?:)?//"
    assert [page.name for page in pages if re.search(fetched, page.read_text())] == []


@pytest.mark.parametrize("page", [README, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Those of the pages in docs are checked when the site is built."""
    for target, anchor in re.findall(r"\]\(([^)#]+)#?([^)]*)\)", page.read_text()):
        assert "://" not in target
        assert (page.parent / target).exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (page.parent / target).read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
