"""Tables in pages: blocks between markers, the command that made them, and the figures of docking runs side by side."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tyro

from benchmarks.common.comparison import Paired
from benchmarks.common.results import VERSION
from benchmarks.common.tables import Table, check_page, command_line, difference, markers, put_block, with_block
from benchmarks.docking import pages
from benchmarks.docking.inputs import IN_SAMPLE, KNOWN_TARGETS, UNSEEN_TARGETS
from benchmarks.docking.options import Options
from benchmarks.docking.report import SCHEMA
from benchmarks.docking.summary import MethodRow
from domains.docking.training.data import SPLITS
from domains.errors import InputError

BEGIN, END = markers("demo")


def row(method: str, nfe: int, success: float, **changes: Any) -> MethodRow:  # noqa: ANN401
    """A row of made-up figures."""
    plain = dict.fromkeys(MethodRow.__dataclass_fields__)
    figures = {
        "method": method,
        "solver": "dpmpp_2m",
        "nfe": nfe,
        "score_scale": 7.0,
        "n_complexes": 4,
        "n_poses": 96,
        "n_references": 4,
        "n_checked": 96,
        "success_2A": success,
        "success_2A_ci": (success - 0.0625, success + 0.0625),
        "best_2A": 1.0,
        "best_2A_ci": (0.5, 1.0),
        "distinct": 3.25,
        "success_5A": 0.875,
        "median_rmsd": 1.234,
        "rmsd_to_teacher": 0.456,
        "failed": 0,
        "ms_per_pose": 12.6,
    }
    return MethodRow(**{**plain, **figures, **changes})


def write_run(folder: Path, split: str, shift: float = 0.0, **changes: Any) -> Path:  # noqa: ANN401
    """results.json and picture of a run of made-up figures."""
    rows = [
        row("teacher", 48, 0.75 + shift),
        row("plain_sde", 20, 0.25 + shift, score_scale=1.0),
        row("plain_sde_c", 20, 0.5 + shift),
        row("shipped", 5, 0.625 + shift),
        row("edm", 5, 0.5 + shift),
        row("uniform_t", 5, 0.375 + shift),
        row("uniform_log_snr", 5, 0.375 + shift, same_as="uniform_t"),
    ]
    pair = Paired("success_2A", "shipped", 5, "edm", 5, (0.625, 0.5), 0.125, (0.05, 0.15))
    results = {
        "schema": SCHEMA,
        "version": VERSION,
        "complete": True,
        "split": split,
        "score_scale": 7.0,
        "config": Options(nfe=(4, 5), seed=7, out=Path("elsewhere"), teacher_nfe=8).plain(),
        "rows": [asdict(own) for own in rows],
        "paired": [asdict(pair)],
        **changes,
    }
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    (folder / pages.PICTURE).write_bytes(split.encode())
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with empty pages."""
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    blocks = [line for name in ("summary", *pages.BLOCKS.values()) for line in markers(name)]
    (root / "docs" / "docking_results.md").write_text("\n".join(["# docking", *blocks, ""]))
    return root


def test_full_tables_are_made_of_the_figures_of_the_run(root: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", UNSEEN_TARGETS)
    pages.main(pages.Options((run,), root=root))
    page = (root / "docs" / "docking_results.md").read_text()
    begin, end = markers("unseen-targets")
    text = page.split(begin)[1].split(end)[0]
    assert "| shipped | 5 | 7 | 62% | 56-69 | 100% | 50-100 | 3.2 | 88% | 1.23 | 0.46 | - | - | 0 | 13 |" in text
    assert "| uniform_log_snr (= uniform_t) | 5 |" in text
    assert "Unseen targets: training has seen no complex of these targets" in text
    assert "Made by `python -m benchmarks.docking --nfe 4 5 --seed 7 --teacher-nfe 8`" in text
    assert "5 NFE, shipped minus best hand-made (edm), success at 2 Å: +12.5 [+5.0, +15.0] points" in text
    assert "](unseen-targets_success_vs_nfe.png)" in text
    assert (root / "docs" / "unseen-targets_success_vs_nfe.png").read_bytes() == UNSEEN_TARGETS.encode()
    begin, end = markers("summary")
    assert not page.split(begin)[1].split(end)[0].strip(), "the summary needs all three"
    pages.main(pages.Options((run,), root=root))
    assert (root / "docs" / "docking_results.md").read_text() == page


def test_the_summary_has_all_splits_side_by_side(root: Path, tmp_path: Path) -> None:
    splits = {IN_SAMPLE: 0.0, KNOWN_TARGETS: -0.125, UNSEEN_TARGETS: -0.25}
    runs = [write_run(tmp_path / f"run{i}", split, shift) for i, (split, shift) in enumerate(splits.items())]
    pages.main(pages.Options(tuple(reversed(runs)), root=root))
    begin, end = markers("summary")
    text = (root / "docs" / "docking_results.md").read_text()
    lines = text.split(begin)[1].split(end)[0].splitlines()
    heading = next(line for line in lines if line.startswith("| method | NFE |"))
    assert [heading.index(split) for split in splits] == sorted(heading.index(split) for split in splits)
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in lines if line.startswith("| ")}
    assert cells["shipped"][1:] == [
        *("5", "62% (56-69)", "100%", "3.2"),
        *("50% (44-56)", "100%", "3.2"),
        *("38% (31-44)", "100%", "3.2"),
    ]
    assert cells["best hand-made"][2] == "50% (44-56), edm"
    assert "uniform_t" not in cells
    assert list(cells)[2:] == ["teacher", "plain_sde", "plain_sde_c", "shipped", "best hand-made"]
    for split in pages.BLOCKS:
        assert any(line.startswith(f"- {split[0].upper()}{split[1:]}: ") for line in lines)


def test_runs_that_cannot_be_shown_change_nothing(root: Path, tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", IN_SAMPLE)
    before = (root / "docs" / "docking_results.md").read_text()
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("user", {}, "its split is 'user'"),
        (IN_SAMPLE, {}, "at most one run each"),
        (KNOWN_TARGETS, {"complete": False}, "has not ended"),
        (UNSEEN_TARGETS, {"version": 1}, "written by this version"),
    ]
    for name, changes, complaint in refused:
        bad = write_run(tmp_path / name, name, **changes)
        with pytest.raises(ValueError, match=complaint):
            pages.main(pages.Options((good, bad), root=root))
    with pytest.raises(ValueError, match="must hold results"):
        pages.main(pages.Options((tmp_path / "nowhere",), root=root))
    assert (root / "docs" / "docking_results.md").read_text() == before
    assert not list((root / "docs").glob("*.png"))


@pytest.mark.parametrize("page", ["no markers", f"{END} {BEGIN}", f"{BEGIN}{END}{END}"])
def test_a_page_without_its_markers_is_refused(tmp_path: Path, page: str) -> None:
    with pytest.raises(ValueError, match="page must have one line"):
        with_block(page, "demo", "content")
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(ValueError, match="page must have one line"):
        put_block(path, "demo", "content")
    assert path.read_text() == page


def test_a_block_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        put_block(path, "demo", "new")
        assert path.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_a_table_in_markdown() -> None:
    table = Table(("method", "NFE"), [("a", "4"), ("b", "5")])
    assert table.markdown() == "| method | NFE |\n| --- | ---: |\n| a | 4 |\n| b | 5 |"
    assert [row.end_section for row in Table(("x",), [("a",), ("a",), ("b",)], ruled_by=(0,)).terminal().rows] == [
        False,
        True,
        False,
    ]


def test_differences_show_what_is_not_known() -> None:
    assert difference(0.125, (0.05, None), 100, ".1f") == "+12.5 [+5.0, -]"
    assert difference(-0.125, None) == "-0.12 [-, -]"


def test_the_command_of_a_page_is_what_a_shell_takes() -> None:
    given = ["--nfe", "4", "6", "--complexes", "my files/one", "--grid", "a.json", "it's.json", "--known-poses"]
    options = tyro.cli(Options, args=[*given, "--out", "elsewhere"])
    words = shlex.split(command_line("benchmarks.docking", Options, options.plain(), ("out",)))
    assert words[:3] == ["python", "-m", "benchmarks.docking"]
    assert tyro.cli(Options, args=[*words[3:], "--out", "elsewhere"]) == options


def test_results_name_no_folder_of_the_machine_they_were_made_on() -> None:
    """A default inside of the repository is the same one in another checkout."""
    assert Options(only=SPLITS / "validation_ligands.txt").plain()["only"] == (
        "domains/docking/splits/validation_ligands.txt"
    )
    assert command_line("benchmarks.docking", Options, Options().plain()) == "python -m benchmarks.docking --nfe 10"


def test_check_page_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--page: .*cannot take the table"):
        check_page("page", tmp_path / "missing.md", "demo")
