"""What a user may get wrong on the command lines for images: one clear line each, status 2, and nothing lost."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from image_models import write_small
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchmarks.images import __main__ as images
from domains.exits import run_command

QUICK = ("--samples", "6", "--nfe", "4", "--teacher-nfe", "8", "--fit-pairs", "5", "--fit-steps", "3", "--batch", "5")
FULL = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
)


@dataclass(frozen=True)
class Said:
    """A command that has ended."""

    status: int
    stdout: str
    lines: list[str]

    @property
    def error(self) -> str:
        """The only line on standard error."""
        assert self.status == 2, self.lines
        (line,) = self.lines
        assert line.startswith("error: ")
        return line


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a main."""

    def run(main: Callable[[list[str]], int], *arguments: str | Path) -> Said:
        capsys.readouterr()
        status = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return Said(status, out, [line for line in err.splitlines() if line.strip() and "left" not in line])

    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good models, for others to be spoiled from."""
    tiny = pytest.importorskip("diffusers_models", reason="diffusers is not installed")
    folder: Path = tmp_path_factory.mktemp("models")
    tiny.save_unconditional(folder / "ddpm")
    tiny.save_stable_diffusion(folder / "sd")
    tiny.save_stable_diffusion(folder / "inpainting", channels=9)
    return folder


def edit(path: Path, **values: object) -> int:
    return path.write_text(json.dumps(json.loads(path.read_text()) | values))


def drop(path: Path) -> None:
    shutil.rmtree(path)


def fill(path: Path, value: float) -> None:
    """The first weight of a network."""
    (file,) = path.glob("*.safetensors")
    tensors = load_file(file)
    tensors["conv_in.weight"].fill_(value)
    save_file(tensors, file)


SCHEDULER = "scheduler/scheduler_config.json"
SPOILED: list[tuple[str, str, Callable[[Path], object], tuple[str, ...]]] = [
    ("no index", "ddpm", lambda p: (p / "model_index.json").unlink(), ("no folder of a diffusers pipeline",)),
    ("broken index", "ddpm", lambda p: (p / "model_index.json").write_text("{"), ("cannot be loaded",)),
    ("another index", "ddpm", lambda p: (p / "model_index.json").write_text("[]"), ("cannot be loaded",)),
    ("another pipeline", "ddpm", lambda p: edit(p / "model_index.json", _class_name="NoPipeline"), ("NoPipeline",)),
    ("no network", "ddpm", lambda p: drop(p / "unet"), ("cannot be loaded", "config.json")),
    ("no weights", "ddpm", lambda p: next((p / "unet").glob("*.safetensors")).unlink(), ("cannot be loaded",)),
    (
        "weights cut off",
        "ddpm",
        lambda p: next((p / "unet").glob("*.safetensors")).write_bytes(b"\x10\x00"),
        ("cannot be loaded", "safetensors"),
    ),
    (
        "other weights",
        "ddpm",
        lambda p: edit(p / "unet" / "config.json", in_channels=4),
        ("cannot be loaded", "conv_in.weight", "[8, 4, 3, 3]"),
    ),
    (
        "scheduler",
        "ddpm",
        lambda p: (
            edit(p / "model_index.json", scheduler=["diffusers", "ScoreSdeVeScheduler"]),
            edit(p / SCHEDULER, _class_name="ScoreSdeVeScheduler"),
        ),
        ("one of DDIMScheduler, ", "FlowMatchHeunDiscreteScheduler, got ScoreSdeVeScheduler"),
    ),
    ("prediction", "ddpm", lambda p: edit(p / SCHEDULER, prediction_type="taste"), ("prediction_type", "'taste'")),
    ("resolution", "ddpm", lambda p: edit(p / "unet" / "config.json", sample_size=7), ("multiple of 2, got 7",)),
    ("sides", "ddpm", lambda p: edit(p / "unet" / "config.json", sample_size=[8, 16]), ("[8, 16]", "resolution")),
    ("channels", "inpainting", lambda p: None, ("takes 9 channels and answers with 4",)),
    ("not a number", "ddpm", lambda p: fill(p / "unet", float("nan")), ("none of the teacher's images is finite",)),
]


@pytest.mark.parametrize(("like", "spoil", "words"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_folders_that_are_no_model(
    command: Command, models: Path, tmp_path: Path, like: str, spoil: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models / like, folder)
    spoil(folder)
    more = ("--prompts", "a") if like == "inpainting" else ()
    error = command(images.main, "--model", folder, "--out", tmp_path / "out", *QUICK, *more).error
    for word in ("--model", *words):
        assert word in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ddpm", "--guidance", "2"), ("unconditional", "guidance 2", "--guidance")),
        (("ddpm", "--prompts", "a cat"), ("unconditional", "'a cat'", "--prompts")),
        (("ddpm", "--label", "3"), ("takes no class labels", "--label")),
        (("ddpm", "--resolution", "0"), ("got 0", "--resolution")),
        (("sd",), ("at least one prompt", "got none", "--prompts")),
        (("sd", "--prompts", ""), ("--prompts", "empty")),
        (("sd", "--prompts", "a cat", " "), ("--prompts", "empty")),
        (("sd", "--prompts", "a cat", "--resolution", "15"), ("got 15", "--resolution")),
    ],
)
def test_options_that_do_not_fit_a_model(
    command: Command, models: Path, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    model, *more = arguments
    error = command(images.main, "--model", models / model, "--out", tmp_path / "out", *QUICK, *more).error
    for word in words:
        assert word in error


def test_grids_that_do_not_fit(command: Command, models: Path, tmp_path: Path) -> None:
    """Of another model, number of evaluations, or solver; and no fit is made instead."""
    small, out = write_small(tmp_path / "small.safetensors"), tmp_path / "out"
    assert command(images.main, "--model", small, "--out", out, *QUICK).status == 0
    (grid,) = (out / "grids").iterdir()
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    for model, arguments, words in (
        (models / "ddpm", (), ("its grid does not go with the model", "--model")),
        (small, ("--nfe", "5"), ("spends 4 NFE, and --nfe asks for 5",)),
        (small, ("--solver", "dpmpp_2m"), ("for unipc_bh1_3, not dpmpp_2m",)),
    ):
        said = command(images.main, "--model", model, "--grid", grid, "--out", out, *QUICK, *arguments)
        for word in (str(grid), *words):
            assert word in said.error
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_teacher_of_another_model_is_named_and_not_used(command: Command, tmp_path: Path) -> None:
    """In the folder of another model's run the results are those of a fresh folder; both models' teachers are kept."""
    one, two = write_small(tmp_path / "one.safetensors"), write_small(tmp_path / "two.safetensors", seed=1)

    def run(model: Path, out: str) -> tuple[Said, dict[str, Any]]:
        said = command(images.main, "--model", model, "--out", tmp_path / out, *QUICK)
        assert said.status == 0
        return said, json.loads((tmp_path / out / "results.json").read_text())

    first, old = run(one, "out")
    assert not any("another model" in line for line in first.lines)
    second, mixed = run(two, "out")
    (note,) = (line for line in second.lines if "another model" in line)
    assert note.startswith(f"note: {tmp_path / 'out' / 'cache' / 'teacher'} holds a teacher of another model")
    assert f"hash {old['model']['hash']}; this one's is {mixed['model']['hash']}" in note
    assert note.endswith("it is kept and not used")
    fresh, alone = run(two, "alone")
    assert not any("another model" in line for line in fresh.lines)
    for part in ("rows", "paired", "fit"):
        for own, its in zip(mixed[part], alone[part], strict=True):
            assert {k: v for k, v in own.items() if k not in ("ms_per_image", "seconds")} == {
                k: v for k, v in its.items() if k not in ("ms_per_image", "seconds")
            }
    again, unchanged = run(one, "out")
    assert unchanged["fit"] == old["fit"], "to the second: it was read"
    assert not any("another model" in line for line in again.lines)


@pytest.mark.parametrize("error", FULL, ids=("gpu", "cpu", "python"))
def test_full_memory_is_said_with_what_saves_some(tmp_path: Path, error: Exception) -> None:
    said = io.StringIO()

    def no_room() -> int:
        raise error

    log = Console(file=said, soft_wrap=True)
    assert run_command(no_room, log, "lower --batch", tmp_path) == 2
    assert said.getvalue() == f"error: memory ran out; lower --batch; what was computed so far is kept in {tmp_path}\n"
    assert run_command(no_room, log, "lower --batch", None) == 2
    assert said.getvalue().endswith("lower --batch; nothing was kept: give --out\n")


def test_ctrl_c_says_how_to_go_on_and_other_errors_are_not_hidden(tmp_path: Path) -> None:
    said = io.StringIO()
    log = Console(file=said, soft_wrap=True)

    def stop(error: BaseException) -> int:
        raise error

    assert run_command(partial(stop, KeyboardInterrupt()), log, "", tmp_path) == 130
    assert said.getvalue() == f"stopped; the same command goes on from here ({tmp_path})\n"
    assert run_command(partial(stop, ValueError("two\nlines")), log, "", tmp_path, (ValueError,)) == 2
    assert said.getvalue().endswith("error: two lines\n")
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run_command(partial(stop, RuntimeError("a mistake of ours")), log, "", tmp_path)
