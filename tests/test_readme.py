"""The README holds: its commands exist, its links lead somewhere, its example runs, its figures come from a run."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.common import readme, tables
from benchmarks.docking.options import Options
from benchmarks.docking.summary import MethodRow, Paired
from ld3 import HAND_MADE
from ld3.learn import FitResult

ROOT = Path(__file__).parents[1]
BEGIN, END = tables.markers("demo")
PAGE = (ROOT / "README.md").read_text()
GRIDS = (ROOT / "docs" / "grids.md").read_text()
WARP = (ROOT / "docs" / "warp.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])

BLOCKS = [(kind, body) for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)]
INLINE = re.findall(r"`((?:make|python -m) [^`]+)`", PAGE)


def commands() -> list[list[str]]:
    """Every command line of the page, split into words."""
    lines = [line for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]
    split = [shlex.split(line, comments=True) for line in [*lines, *INLINE]]
    return [words for words in split if words and words[0] != "."]  # `. .venv/bin/activate` is no program


def module_commands() -> dict[tuple[str, ...], set[str]]:
    """Module, and its subcommand if it has some -> flags that the page gives it."""
    found: dict[tuple[str, ...], set[str]] = {}
    for words in commands():
        if words[:2] == ["python", "-m"]:
            flags = {word for word in words[3:] if word.startswith("--") and word != "--help"}
            name = (words[2], words[3]) if words[2] == "domains.command" else (words[2],)
            found.setdefault(name, set()).update(flags)
    return found


def test_the_page_names_the_two_commands_and_no_others_than_make_and_python() -> None:
    programs = {next(word for word in words if "=" not in word) for words in commands()}
    assert programs == {"make", "python"}
    assert ["make", "demo"] in commands()
    assert ["make", "test"] in commands()


@pytest.mark.parametrize("target", sorted({w[w.index("make") + 1] for w in commands() if "make" in w}))
def test_make_targets_exist(target: str) -> None:
    dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


def test_ci_runs_what_the_page_says() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[-1] == "exec make test"


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
    known = set(re.findall(r"--[a-z][a-z-]*", asked.stdout))
    assert flags <= known


def test_pocket_syntax_of_the_page() -> None:
    from domains.docking.structures.pocket import PocketChoice

    given = [words[words.index("--pocket") + 1] for words in commands() if "--pocket" in words]
    assert [PocketChoice.parse(text).kind for text in given] == ["point"]
    (forms,) = re.findall(r"`--pocket` takes (.*?), in Å", PAGE)
    for form in re.findall(r"`([^`]+)`", forms):
        numbers = re.sub(r"[A-Z]+", "4", form)
        assert PocketChoice.parse(numbers).kind == form.split(":")[0]


def test_example_runs_as_printed_and_the_learned_grid_is_nearest() -> None:
    (source,) = re.findall(r"<!-- example: flow -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(source.splitlines()) <= 25
    printed = io.StringIO()
    state = torch.get_rng_state()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {"__name__": "example"})
    assert torch.equal(torch.get_rng_state(), state), "the example draws from the global generator"
    rows = [line.rsplit(maxsplit=1) for line in printed.getvalue().splitlines()]
    learned, hand = float(rows[0][1]), [float(distance) for _, distance in rows[1:]]
    assert rows[0][0].startswith("learned")
    assert len(hand) == 5
    assert learned < 0.5 * min(hand)


def test_example_of_starts_runs_as_printed() -> None:
    (source,) = re.findall(r"<!-- example: starts -->\n```python\n(.*?)```", GRIDS, flags=re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "grids.md", "exec"), {"__name__": "example"})
    start, before, after = printed.getvalue().split()
    assert start in {*HAND_MADE, "gits", "ays"}
    assert float(after) < 0.5 * float(before)


def test_example_of_a_warp_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grids, written as fits, are better than the hand-made ones at every number of evaluations."""
    (source,) = re.findall(r"<!-- example: warp -->\n```python\n(.*?)```", WARP, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "warp.md", "exec"), {"__name__": "example"})
    for line in printed.getvalue().splitlines():
        nfe, warp, hand = line.split()
        assert float(warp) < 0.1 * float(hand)
        assert FitResult.load(tmp_path / f"warp_nfe{nfe}.json").initial_grid == "warp"


def test_the_page_of_grids_has_all_of_the_registry() -> None:
    assert set(re.findall(r"`(\w+)`", GRIDS)) >= {*HAND_MADE, "gits", "ays"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert "://" not in target
        assert (page.parent / target).exists(), target


def row(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A row of results.json, of made-up figures."""
    plain = dict.fromkeys(MethodRow.__dataclass_fields__)
    figures = {
        "method": "learned",
        "solver": "dpmpp_2m",
        "nfe": 5,
        "n_complexes": 4,
        "n_poses": 160,
        "success_2A": 0.625,
        "success_2A_ci": (0.5, 0.75),
        "success_5A": 0.875,
        "median_rmsd": 1.234,
        "rmsd_to_teacher": 0.456,
        "valid": None,
        "failed": 0,
        "ms_per_pose": 12.6,
    }
    return {**plain, **figures, **changes}


def results() -> dict[str, Any]:
    """What benchmarks.docking writes, as far as the page needs it, of made-up figures."""
    config = {name: str(v) if isinstance(v, Path) else v for name, v in vars(Options()).items()}
    return {
        "complete": True,
        "split": "in-sample",
        "score_scale": 3.0,
        "config": {**config, "nfe": [4, 5], "seed": 7, "out": "elsewhere", "teacher_nfe": 8},
        "rows": [row(), row(method="uniform_t"), row(method="uniform_log_snr", same_as="uniform_t")],
        "paired": [vars(Paired(5, "dpmpp_2m", "success_2A", "edm", 0.6, 0.5, 0.1, (0.05, 0.15)))],
    }


def test_block_is_made_of_the_figures_of_the_run() -> None:
    text = readme.block(results(), "docs/picture.png")
    assert "| learned | 5 | 62% | 50-75 | 88% | 1.23 | 0.46 | - | 13 |" in text.splitlines()
    assert "| uniform_t, uniform_log_snr | 5 |" in text
    assert text.count("\n| uniform") == 1
    assert "**In-sample**" in text
    assert "score scale 3" in text
    assert "`python -m benchmarks.docking --nfe 4 5 --seed 7 --teacher-nfe 8`" in text
    assert "5 NFE, learned minus best hand-made (edm), success at 2 Å: +10.0 points" in text
    assert "![Success at 2 Å by number of network evaluations](docs/picture.png)" in text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"complete": False}, "has not ended"),
        ({"split": "other"}, "what benchmarks.docking writes"),
        ({"rows": []}, "what benchmarks.docking writes"),
        ({"rows": [{"method": "learned"}]}, "same_as"),
    ],
)
def test_block_refuses_other_results(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        readme.block(results() | changes, "p.png")


def test_update_replaces_the_block_and_nothing_else(tmp_path: Path) -> None:
    run, root = tmp_path / "run", tmp_path / "root"
    run.mkdir()
    (root / "docs").mkdir(parents=True)
    (root / "README.md").write_text(PAGE)
    (run / "results.json").write_text(json.dumps(results()))
    (run / readme.PICTURE).write_bytes(b"picture")
    readme.main(readme.Options(run, root=root))
    first = (root / "README.md").read_text()
    readme.main(readme.Options(run, root=root))
    assert (root / "README.md").read_text() == first
    assert (root / "docs" / readme.PICTURE).read_bytes() == b"picture"
    before, after = PAGE.split(BEGIN)[0], PAGE.split(END)[1]
    middle = first.removeprefix(before + BEGIN).removesuffix(END + after)
    assert middle.strip() == readme.block(results(), f"docs/{readme.PICTURE}")


@pytest.mark.parametrize("page", ["no markers", f"{END} {BEGIN}", f"{BEGIN}{END}{END}"])
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="page must have one line"):
        tables.with_block(page, "demo", "content")
