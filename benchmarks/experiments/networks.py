"""Train each docking network for equal CPU time: ``python -m benchmarks.experiments.networks --data DIR``.

One after the other, from scratch, on the same complexes in the same order, with the same seed. Reported are what an
evaluation costs, the denoising losses of validation complexes, and how often the validation ligands are docked. Writes
to --out: results.json, and the runs with their weights; an interrupted comparison goes on. With --page, the table is
put into a Markdown page.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.options import mistake, prepare_folder
from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page, difference, percent, percent_range
from benchmarks.experiments import study
from domains.bootstrap import Interval, bootstrap_difference
from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import dock
from domains.docking.networks.diffdock_net import DiffDockNetConfig
from domains.docking.networks.pocket_net import PocketNetConfig
from domains.docking.networks.registry import NetworkName
from domains.docking.networks.score import ScoreNetwork
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import NoiseRange, perturb
from domains.docking.poses.metrics import success
from domains.docking.samplers import hand_made_sampler
from domains.docking.score_scale import Row, best_of, summarise
from domains.docking.settings import TEACHER
from domains.docking.structures.complexes import Complex
from domains.docking.train import ValidationSet, load_data, validation_losses, validation_sets
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import SPLITS, BatchSampler, Split
from domains.docking.training.run import Run, new_run, train_step
from domains.long_runs import append_row, forget_after, stop_on_signals
from domains.progress import WorkProgress
from domains.training import prepare_output
from ld3.fingerprint import fingerprint

BLOCK: Final = "networks"

_CHECKS: Final = 4  # measurements of the validation losses, evenly spread over the budget
_UNKNOWN: Final = 10**9  # steps, while no step has been timed
_REPEATS: Final = 3  # of a timing; the fastest counts
_SIDE_BY_SIDE: Final = 2  # poses of each complex of a batch in a timing, which makes 16
_PACKAGES: Final = ("torch", "torch-geometric", "e3nn", "rdkit", "gemmi", "numpy", "scipy")


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    data: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf"""
    out: Path
    """folder for the results; a comparison that was interrupted there goes on"""
    minutes: float
    """of training, for each network; CPU time of one core"""
    networks: tuple[NetworkName, ...]
    warm_up: int
    """steps over which the learning rate rises"""
    step_complexes: int
    """complexes a step"""
    step_poses: int
    """noisy poses per complex and step"""
    score_scale: tuple[float, ...]
    """values to choose from, for each network"""
    chosen_on: int
    """validation ligands, drawn with --seed, on which they are compared; the others are reported"""
    poses: int
    """poses a ligand"""
    nfe: int
    """network evaluations a pose, by the teacher's solver on its grid"""
    seed: int
    """of training and of docking"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_targets.txt"
    pocket: PocketNetConfig = field(default_factory=PocketNetConfig)
    diffdock: DiffDockNetConfig = field(default_factory=DiffDockNetConfig)
    page: Path | None = None
    """Markdown page with the markers of the table"""


@dataclass(frozen=True)
class NetworkRow:
    """One network after its training; rates are fractions of poses, times are of one CPU core."""

    network: str
    parameters: int
    steps: int
    training_seconds: float
    ms_per_evaluation: float  # of one pose, 16 side by side
    ms_per_encoding: float  # of one complex, once
    losses: Mapping[str, float]  # "split/factor", 1 = predicting zero
    chosen: float  # score scale
    choice: Sequence[Row]  # that it was chosen from, on complexes of its own
    best: Row  # at the chosen score scale
    plain: Row  # at score scale 1
    hits_per_cpu_hour: float  # poses within 2 Å, at the chosen score scale


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    return study.run_study("networks", Options, partial(compare, stop=stop_on_signals()), __doc__, arguments)


def compare(options: Options, log: Console, stop: Callable[[], bool] = lambda: False) -> int:
    """Train, measure and write; the exit status.

    Raises:
        InputError: for what the user can mend.
        KeyboardInterrupt: if `stop` says so after a step.
    """
    _check(options)
    torch.set_num_threads(1)
    parts, embedded = load_data(config_of(options, options.networks[0]), log)
    chosen_on, reported = halves(parts.ligands, options)
    validation, trained, budget = validation_sets(parts), [], 60 * options.minutes
    with WorkProgress(log, dict.fromkeys(options.networks, budget), unit="CPU s") as bar:
        for name in options.networks:
            config = config_of(options, name)
            with bar.stage(name):
                try:
                    run = train_for(budget, config, sampler_of(parts, embedded, config), validation, stop, log, bar)
                except FloatingPointError as error:
                    log.print(f"error: {name}: {error}", markup=False)
                    return 1
            trained.append((config, run))
    poses = options.poses * (len(options.score_scale) * len(chosen_on) + 2 * len(reported))
    rows: list[NetworkRow] = []
    docked: list[DockedPoses] = []
    with WorkProgress(log, {name: float(options.nfe * poses) for name in options.networks}) as bar:
        for config, run in trained:
            with bar.stage(config.network):
                row, own = measure(run, config, chosen_on, reported, validation["ligands"], options, bar, stop)
            log.print(f"{row.network}: {row.best.success_2A:.0%} within 2 Å at score scale {row.chosen:g}")
            rows, docked = [*rows, row], [*docked, own]
    paired = [
        {"first": rows[0].network, "second": row.network, "points": gap.estimate, "interval": gap[1:]}
        for row, own in zip(rows[1:], docked[1:], strict=True)
        for gap in [difference_of(docked[0].rmsd(), own.rmsd(), options.seed)]
    ]
    results = study.write_results(
        options.out,
        "ld3.docking.networks",
        options,
        _PACKAGES,
        networks={config.network: asdict(config.sizes) for config, _ in trained},
        rows=[asdict(row) for row in rows],
        differences=paired,
        curves={config.network: curve(config) for config, _ in trained},
        chosen_on=[c.name for c in chosen_on],
        reported=[c.name for c in reported],
    )
    study.publish(options.page, BLOCK, block(options, results))
    return 0


def _check(options: Options) -> None:
    names = ("minutes", "warm_up", "step_complexes", "step_poses", "poses", "nfe", "chosen_on")
    for name in names:
        if getattr(options, name) <= 0:
            raise mistake(name, f"got {getattr(options, name)}", "give a positive number")
    study.check_each_once(networks=options.networks, score_scale=options.score_scale)
    study.check_numbers(seed=(options.seed, 0))
    if min(options.score_scale) <= 0:
        raise mistake("score_scale", f"got {options.score_scale}", "give positive numbers")
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def config_of(options: Options, name: NetworkName) -> TrainConfig:
    """How a network is trained; its folder is named by all that the training depends on."""
    config = TrainConfig(
        options.data,
        options.out,
        network=name,
        warm_up=options.warm_up,
        complexes=options.step_complexes,
        poses=options.step_poses,
        seed=options.seed,
        threads=1,
        validation_ligands=options.validation_ligands,
        validation_targets=options.validation_targets,
        pocket=options.pocket,
        diffdock=options.diffdock,
    )
    described = {key: str(value) if isinstance(value, Path) else value for key, value in vars(config).items()}
    return replace(config, out=options.out / f"{name}-{fingerprint(described, options.minutes)}")


def sampler_of(parts: Split, embedded: Sequence[Complex], config: TrainConfig) -> BatchSampler:
    """What :mod:`domains.docking.train` trains on."""
    weights = [1.0] * len(parts.train) + [config.embedded_weight] * len(embedded)
    return BatchSampler([*parts.train, *embedded], weights, config.complexes, config.pocket_radii, config.shake)


def halves(ligands: Sequence[Complex], options: Options) -> tuple[list[Complex], list[Complex]]:
    """The validation ligands that score scale is chosen on, and the others.

    Raises:
        InputError: if there are too few.
    """
    if len(ligands) <= options.chosen_on:
        message = f"got {options.chosen_on}, and {len(ligands)} ligands are held out"
        raise mistake("chosen_on", message, "leave some to report on")
    order = np.random.default_rng(options.seed).permutation(len(ligands))
    first = set(order[: options.chosen_on].tolist())
    parts: tuple[list[Complex], list[Complex]] = ([], [])
    for i, ligand in enumerate(ligands):
        parts[i not in first].append(ligand)
    return parts


def train_for(
    budget: float,
    config: TrainConfig,
    sampler: BatchSampler,
    validation: Mapping[str, ValidationSet],
    stop: Callable[[], bool],
    log: Console,
    bar: WorkProgress,
    clock: Callable[[], float] = time.process_time,
) -> Run:
    """Train until `budget` CPU seconds are used; a run found in `config.out` is continued.

    Counted are the steps with the drawing of their batches, by the process' own clock, so that what else the machine
    does costs nothing; losses of the validation complexes and saving are not. The learning rate falls by the share of
    the budget that is left, as it does in :mod:`domains.docking.train` by the share of the steps. `run.seconds` are CPU
    seconds here.

    Raises:
        KeyboardInterrupt: if `stop` says so after a step; the run is saved.
    """
    run, log_file = new_run(config), config.out / "log.jsonl"
    if (config.out / "state.pt").exists():
        run.restore(config.out / "state.pt")
        forget_after(log_file, run.step)
    prepare_output(config.out, config)
    bar.advance(run.seconds)
    saved = time.monotonic()
    while run.seconds < budget and not stop():
        before, began = run.seconds, clock()
        plan = replace(config, steps=planned_steps(run, budget))
        losses = train_step(run, sampler.draw(run.generator), plan)
        run.seconds += clock() - began
        bar.evaluated(run.seconds - before)
        if run.seconds >= budget or int(_CHECKS * run.seconds / budget) > int(_CHECKS * before / budget):
            found = validation_losses(run, validation, config)
            append_row(log_file, {"step": run.step, "cpu_seconds": run.seconds, "train": losses, **found})
            said = " ".join(f"{name} {value:.3f}" for name, value in found.items())
            log.print(f"{config.network}: step {run.step}, {run.seconds:.0f} of {budget:.0f} CPU s; {said}")
        if time.monotonic() - saved > 60 * config.save_minutes:
            run.save(config)
            saved = time.monotonic()
    run.save(config)
    if run.seconds < budget:
        raise KeyboardInterrupt
    return run


def planned_steps(run: Run, budget: float) -> int:
    """How many steps the run will have made when its budget is used, at the speed so far; more than now."""
    return max(run.step + 1, round(run.step * budget / run.seconds)) if run.seconds else _UNKNOWN


def curve(config: TrainConfig) -> list[dict[str, Any]]:
    """Validation losses by CPU seconds, as :func:`train_for` has logged them."""
    return [json.loads(row) for row in (config.out / "log.jsonl").read_text().splitlines()]


def measure(
    run: Run,
    config: TrainConfig,
    chosen_on: Sequence[Complex],
    reported: Sequence[Complex],
    validation: ValidationSet,
    options: Options,
    bar: WorkProgress,
    stop: Callable[[], bool],
) -> tuple[NetworkRow, DockedPoses]:
    """Everything that is reported of a network, and its poses at the chosen score scale.

    Raises:
        KeyboardInterrupt: if `stop` says so between two steps.
    """
    model, store = DockingModel(run.average, config.noise, 1.0), Store(options.out / "cache")

    def docked(complexes: Sequence[Complex], c: float) -> DockedPoses:
        sampler, count = hand_made_sampler(TEACHER.grid, TEACHER.solver, options.nfe, c), bar.counter()

        def on_progress(done: int, total: int) -> None:
            count(done, total)
            if stop():
                raise KeyboardInterrupt

        draw = {"samples": options.poses, "seed": options.seed}
        return dock(model, complexes, sampler, **draw, cache=store, on_progress=on_progress)

    def row_of(found: DockedPoses) -> Row:
        return summarise(f"{config.network}, {TEACHER.solver} {TEACHER.grid}", found, options.seed)

    choice = [row_of(docked(chosen_on, c)) for c in options.score_scale]
    chosen = best_of(choice).score_scale
    result = docked(reported, chosen)
    best = row_of(result)
    score_ms, encode_ms = milliseconds(run.average, validation, config.noise, options.seed)
    row = NetworkRow(
        network=config.network,
        parameters=sum(p.numel() for p in run.average.parameters()),
        steps=run.step,
        training_seconds=run.seconds,
        ms_per_evaluation=score_ms,
        ms_per_encoding=encode_ms,
        losses={name: float(value) for name, value in curve(config)[-1].items() if "/" in name},
        chosen=chosen,
        choice=choice,
        best=best,
        plain=row_of(docked(reported, 1.0)),
        hits_per_cpu_hour=best.success_2A * 3.6e6 / (options.nfe * score_ms),
    )
    return row, result


@torch.no_grad()
def milliseconds(
    network: ScoreNetwork[Any],
    validation: ValidationSet,
    noise: NoiseRange,
    seed: int,
    clock: Callable[[], float] = time.process_time,
) -> tuple[float, float]:
    """CPU time of an evaluation, per pose, and of an encoding, per complex: mean over the validation complexes.

    Poses are bound ones with noise of all levels.
    """
    generator = torch.Generator().manual_seed(seed)
    encoding = scoring = 0.0
    poses = 0
    for batch in validation.batches:
        row = torch.arange(len(batch)).repeat(_SIDE_BY_SIDE)
        noisy = perturb(batch, row, noise, generator)
        encodings, scorings = [], []
        for _ in range(_REPEATS):
            began = clock()
            encoded = network.encode(batch)
            between = clock()
            network.score(encoded, row, noisy.poses.positions, noisy.sigma)
            encodings.append(between - began)
            scorings.append(clock() - between)
        encoding += min(encodings)
        scoring += min(scorings)
        poses += len(row)
    return 1000 * scoring / poses, 1000 * encoding / len(validation.complexes)


def difference_of(
    first: Mapping[str, NDArray[np.float64]], second: Mapping[str, NDArray[np.float64]], seed: int
) -> Interval:
    """Success at 2 Å of the first minus that of the second, paired bootstrap, given complex -> RMSD (S,) of both."""
    near, others = ([success(result[name], 2.0) for name in first] for result in (first, second))
    return bootstrap_difference(near, others, "mean", seed)


def block(options: Options, results: Mapping[str, Any]) -> str:
    """How the figures were made, the table with a column for each network, and the paired differences, in Markdown."""
    values = " ".join(f"{c:g}" for c in options.score_scale)
    origin = (
        f"{study.made_by('networks', options)} (seed {options.seed}). {len(results['reported'])} validation "
        f"ligands x {options.poses} poses, {options.nfe} evaluations a pose, without ranking; score scale chosen from "
        f"{values} on {len(results['chosen_on'])} other validation ligands. Intervals: 95%, bootstrap over ligands, "
        "then poses. Times are CPU times of one core."
    )
    rows = results["rows"]
    whose = {"ligands": "validation ligands", "targets": "unseen targets"}

    def rate(which: str, name: str) -> list[str]:
        found = [row[which] for row in rows]
        return [f"{percent(row[name])} ({percent_range(row[f'{name}_interval'])})" for row in found]

    figures = {
        "parameters": [f"{row['parameters']:,}" for row in rows],
        "training, CPU seconds": [f"{row['training_seconds']:.0f}" for row in rows],
        "training steps": [f"{row['steps']:,}" for row in rows],
        "ms per evaluation and pose": [f"{row['ms_per_evaluation']:.1f}" for row in rows],
        "ms per complex, once": [f"{row['ms_per_encoding']:.1f}" for row in rows],
    }
    for key in rows[0]["losses"]:
        split, factor = key.split("/")
        figures[f"denoising loss, {whose[split]}: {factor}"] = [f"{row['losses'][key]:.3f}" for row in rows]
    figures |= {
        "score scale chosen": [f"{row['chosen']:g}" for row in rows],
        "within 2 Å": rate("best", "success_2A"),
        f"best of {options.poses} within 2 Å": rate("best", "best_2A"),
        f"distinct poses of {options.poses} (1 Å)": [f"{row['best']['distinct']:.1f}" for row in rows],
        "within 5 Å": rate("best", "success_5A"),
        "within 2 Å at score scale 1": rate("plain", "success_2A"),
        "within 5 Å at score scale 1": rate("plain", "success_5A"),
        "poses within 2 Å per CPU hour of docking": [f"{row['hits_per_cpu_hour']:,.0f}" for row in rows],
    }
    table = Table(["", *(row["network"] for row in rows)], [[name, *cells] for name, cells in figures.items()])
    paired = [
        f"Within 2 Å, {pair['first']} minus {pair['second']}, paired, points: "
        f"{difference(pair['points'], pair['interval'], 100, '.1f')}."
        for pair in results["differences"]
    ]
    return "\n\n".join([origin, table.markdown(), *paired])


if __name__ == "__main__":
    sys.exit(main())
