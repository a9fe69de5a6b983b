"""Trials of trainings, and a learning curve: ``python -m benchmarks.experiments.training_trials --data DIR DIR``.

Every trial of training_trials.yaml trains a network for the same CPU seconds, from scratch, with one thing changed: how
many clusters there are to train on, pseudo-ligands, sizes, the learning rate. Shown are denoising losses by factor and
success of docking, on clusters and on ligands that were kept aside. The runs are short, so that they tell what learns
fast; what is best after days may be another. Writes to --out: a run a trial, which goes on when the same command is
given again, and results.json. With --page, the table is put into a Markdown page.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import write_text
from benchmarks.common.tables import Table, check_page, share
from benchmarks.experiments import study
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.engine import dock
from domains.docking.learn_grids import one_of_each
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import FACTORS
from domains.docking.poses.metrics import success
from domains.docking.samplers import hand_made_sampler
from domains.docking.settings import SOLVER
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.docking.structures.remarks import print_reading
from domains.docking.train import train
from domains.docking.training.clusters import Clusters
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import SPLITS, BatchSampler, Split, cluster_weights, read_split
from domains.docking.training.examples import noisy_example
from domains.docking.training.run import Run, losses_of, new_run
from domains.long_runs import stop_on_signals
from domains.options import mistake, prepare_folder
from domains.progress import WorkProgress
from domains.seeds import seed_of

BLOCK: Final = "training trials"
UNSEEN: Final = "unseen clusters"
LIGANDS: Final = "held-out ligands"

_NEVER: Final = 10**9
_STEP_SECONDS: Final = 0.5  # that a step takes, about
_SPENT: Final = "cpu_seconds.json"
_LOSS_POSES: Final = 16  # of a complex
_DOCKING_STEPS: Final = 20
_PACKAGES: Final = ("torch", "e3nn", "rdkit", "numpy")


@dataclass(frozen=True)
class Trial:
    """A training.

    Attributes:
        name: of the row.
        asks: what the row is there to show.
        change: options of domains.docking.train that differ, as "pocket.layers".
        clusters: to train on, drawn with the seed: the fewer are among the more; None = all.
    """

    name: str
    asks: str
    change: Mapping[str, Any] = field(default_factory=dict)
    clusters: int | None = None


@dataclass(frozen=True)
class Options:
    """Options of the trials."""

    data: tuple[Path, ...]
    """folders with NAME/protein.pdb and NAME/ligands.sdf"""
    base: Annotated[Mapping[str, Any], tyro.conf.Suppress]
    trials: Annotated[tuple[Trial, ...], tyro.conf.Suppress]
    cpu_seconds: float
    """of training, of every trial"""
    seed: int
    """of initial weights, draws, and of which clusters are trained on"""
    validation: int
    """complexes of unseen clusters, and held-out ligands, at most"""
    poses: int
    """that each of them is docked to"""
    score_scale: float
    """of docking"""
    out: Path
    """folder of the runs; trials that were interrupted there go on"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_clusters.txt"
    """kept out of training, see domains.docking.train"""
    only: tuple[str, ...] = ()
    """names of the trials; all of them without it"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


@dataclass(frozen=True)
class Row:
    """What became of a trial.

    Attributes:
        name, asks: of the trial.
        clusters, complexes: that it trained on.
        weights: numbers of the network, millions.
        steps, cpu_seconds: of training.
        losses: set -> factor -> denoising loss of the average, 1 = predicting zero.
        minus_first: set -> sum of the losses over the factors minus that of the first trial, paired by complex; None
            for the first itself.
        success_2A: set -> poses within 2 Å.

    All with 95% intervals over clusters.
    """

    name: str
    asks: str
    clusters: int
    complexes: int
    weights: float
    steps: int
    cpu_seconds: float
    losses: Mapping[str, Mapping[str, Interval]]
    minus_first: Mapping[str, Interval] | None
    success_2A: Mapping[str, Interval]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials with the command line's arguments; the exit status."""
    return study.run_study("training_trials", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Train, measure, write and print, trial by trial.

    Raises:
        InputError: for what the user can mend.
    """
    trials = _check(options)
    configs = {trial.name: config_of(options, trial) for trial in trials}
    lists = options.validation_ligands, options.validation_targets, options.clusters
    parts, problems = read_split(options.data, *lists)
    print_reading(parts.all, problems, log)
    if not parts.train:
        raise mistake("data", "nothing in it is left to train on", "give more")
    held = {
        LIGANDS: _drawn(parts.ligands, parts.clusters, options),
        UNSEEN: _drawn(parts.targets, parts.clusters, options),
    }
    stop = stop_on_signals()
    rows: list[Row] = []
    content = ""
    first: dict[str, dict[str, dict[str, float]]] = {}
    steps = options.cpu_seconds / _STEP_SECONDS
    with WorkProgress(log, {trial.name: steps for trial in trials}, unit="steps") as bar:
        for trial in trials:
            with bar.stage(trial.name):
                run = _trained(trial, configs[trial.name], parts, options, bar, stop)
                if run is None:
                    log.print("stopped; the same command goes on from here")
                    return 130
                losses = {name: complex_losses(run, part, configs[trial.name]) for name, part in held.items() if part}
                first = first or losses
                rows.append(_row(trial, run, configs[trial.name], parts, held, losses, first, options))
            study.write_results(
                options.out, "ld3.training_trials", options, _PACKAGES, rows=[asdict(row) for row in rows]
            )
            content = block(options, rows, {name: len(part) for name, part in held.items()})
    study.publish(options.page, BLOCK, content)
    return 0


def _check(options: Options) -> list[Trial]:
    names = [trial.name for trial in options.trials]
    if unknown := [name for name in options.only if name not in names]:
        raise mistake("only", f"there is no trial {unknown[0]!r}", f"choose from {', '.join(names)}")
    study.check_numbers(
        cpu_seconds=(options.cpu_seconds, 1e-9),
        validation=(options.validation, 1),
        poses=(options.poses, 1),
        score_scale=(options.score_scale, 1e-9),
        seed=(options.seed, 0),
    )
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)
    return [trial for trial in options.trials if not options.only or trial.name in options.only]


def config_of(options: Options, trial: Trial) -> TrainConfig:
    """The settings of a trial.

    Raises:
        InputError: naming an option that domains.docking.train does not have, or a value that it refuses.
    """
    usual = TrainConfig(
        options.data,
        options.out / trial.name.replace(" ", "_").replace(",", ""),
        steps=_NEVER,
        validate_every=_NEVER,
        dock_every=_NEVER,
        clusters=options.clusters,
        validation_ligands=options.validation_ligands,
        validation_targets=options.validation_targets,
        seed=options.seed,
        threads=1,
    )
    try:
        return changed(changed(usual, options.base), trial.change)
    except (TypeError, ValueError) as error:
        raise mistake("trials", f"{trial.name}: {error}", "correct training_trials.yaml") from error


def changed(config: Any, change: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """A dataclass with other values, by names as "pocket.layers".

    Raises:
        TypeError: if there is no such name.
        ValueError: if a value is refused.
    """
    for name, value in change.items():
        outer, dot, inner = name.partition(".")
        if dot:
            value = changed(getattr(config, outer), {inner: value})
        config = replace(config, **{outer: tuple(value) if isinstance(value, list) else value})
    return config


def train_part(parts: Split, clusters: int | None, seed: int) -> list[Complex]:
    """The training complexes of so many clusters."""
    names = sorted({parts.clusters.of(c.name) for c in parts.train})
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    chosen = {names[i] for i in order[:clusters]}
    return [c for c in parts.train if parts.clusters.of(c.name) in chosen]


def _drawn(part: Sequence[Complex], clusters: Clusters, options: Options) -> list[Complex]:
    order = np.random.default_rng(options.seed).permutation(len(part)).tolist()
    return one_of_each([part[i] for i in order], clusters)[: options.validation]


def _trained(
    trial: Trial,
    config: TrainConfig,
    parts: Split,
    options: Options,
    bar: WorkProgress,
    stop: Callable[[], bool],
) -> Run | None:
    """The run at its end; None if it was stopped on the way."""
    own = train_part(parts, trial.clusters, options.seed)
    run, state = new_run(config), config.out / "state.pt"
    config.out.mkdir(parents=True, exist_ok=True)
    before = spent_seconds(config)
    if state.exists():
        run.restore(state)
    if before < options.cpu_seconds:
        weights = cluster_weights(own, parts.clusters, config.balance)
        sampler = BatchSampler(own, weights, config.complexes, config.pockets, pseudo_share=config.pseudo_share)
        began = time.process_time()
        left = options.cpu_seconds - before
        train(run, sampler, {}, config, bar, lambda: stop() or time.process_time() - began >= left)
        before += time.process_time() - began
        write_text(config.out / _SPENT, json.dumps(before))
    else:
        bar.advance(run.step)
    return run if before >= options.cpu_seconds else None


def spent_seconds(config: TrainConfig) -> float:
    """CPU seconds that a trial has trained for so far."""
    path = config.out / _SPENT
    return float(json.loads(path.read_text())) if path.exists() else 0.0


@torch.no_grad()
def complex_losses(run: Run, complexes: Sequence[Complex], config: TrainConfig) -> dict[str, dict[str, float]]:
    """Complex -> factor -> denoising loss of the averaged weights; the same noise whatever the run."""
    found = {}
    for own in complexes:
        generator = torch.Generator().manual_seed(seed_of(config.seed, "loss", own.name))
        losses = losses_of(run.average, noisy_example(collate([own]), _LOSS_POSES, config.noise, generator))
        found[own.name] = {factor: loss.item() for factor, loss in losses.items()}
    return found


def _row(
    trial: Trial,
    run: Run,
    config: TrainConfig,
    parts: Split,
    held: Mapping[str, Sequence[Complex]],
    losses: Mapping[str, Mapping[str, Mapping[str, float]]],
    first: Mapping[str, Mapping[str, Mapping[str, float]]],
    options: Options,
) -> Row:
    own = train_part(parts, trial.clusters, options.seed)

    def grouped(values: Mapping[str, float]) -> list[NDArray[np.float64]]:
        groups: dict[str, list[float]] = {}
        for name, value in values.items():
            groups.setdefault(parts.clusters.of(name), []).append(value)
        return [np.array(group) for group in groups.values()]

    def total(table: Mapping[str, Mapping[str, float]]) -> list[NDArray[np.float64]]:
        return grouped({name: sum(by_factor.values()) for name, by_factor in table.items()})

    return Row(
        name=trial.name,
        asks=trial.asks,
        clusters=len({parts.clusters.of(c.name) for c in own}),
        complexes=len(own),
        weights=sum(p.numel() for p in run.average.parameters()) / 1e6,
        steps=run.step,
        cpu_seconds=spent_seconds(config),
        losses={
            of: {
                factor: bootstrap_interval(grouped({n: row[factor] for n, row in table.items()}), "mean", seed=0)
                for factor in FACTORS
            }
            for of, table in losses.items()
        },
        minus_first=None
        if losses is first
        else {of: bootstrap_difference(total(table), total(first[of]), "mean", seed=0) for of, table in losses.items()},
        success_2A={name: _success(run, part, parts.clusters, config, options) for name, part in held.items() if part},
    )


def _success(
    run: Run, complexes: Sequence[Complex], clusters: Clusters, config: TrainConfig, options: Options
) -> Interval:
    model = DockingModel(run.average, config.noise, options.score_scale)
    sampler = hand_made_sampler("edm", SOLVER, _DOCKING_STEPS)
    groups: dict[str, list[float]] = {}
    for name, rmsd in dock(model, complexes, sampler, samples=options.poses, seed=options.seed).rmsd().items():
        groups.setdefault(clusters.of(name), []).extend(success(rmsd, 2.0).astype(float).tolist())
    return bootstrap_interval([np.array(own) for own in groups.values()], "mean", seed=0)


def block(options: Options, rows: Sequence[Row], sizes: Mapping[str, int]) -> str:
    """Origin and one table a set, in Markdown."""
    about = (
        f"{study.made_by('training_trials', options)}. {options.cpu_seconds:g} CPU seconds of training each, from "
        f"scratch, one core, at a constant rate. Losses: of the average of the weights, 1 = predicting zero, "
        f"{_LOSS_POSES} noisy poses of each complex, pocket around the ligand, input conformers; their sum minus that "
        f"of '{rows[0].name}', paired; within 2 Å: {options.poses} poses of each, {_DOCKING_STEPS} evaluations, c = "
        f"{options.score_scale:g}, in %. All with 95% intervals over clusters."
    )
    headings = (
        *("trial", "clusters", "complexes", "million weights", "steps", "CPU s"),
        *(*FACTORS, "sum, minus first", "< 2 Å", "what it asks"),
    )
    tables = []
    for of in (UNSEEN, LIGANDS):
        cells = [
            (
                row.name,
                str(row.clusters),
                str(row.complexes),
                f"{row.weights:.1f}",
                str(row.steps),
                f"{row.cpu_seconds:.0f}",
                *(_figure(row.losses[of][factor]) for factor in FACTORS),
                "" if row.minus_first is None else _figure(row.minus_first[of], "+.2f"),
                share(row.success_2A[of]),
                row.asks,
            )
            for row in rows
            if of in row.losses
        ]
        tables += [f"On {sizes[of]} complexes, {of}:", Table(headings, cells).markdown()]
    return "\n\n".join([about, *tables])


def _figure(found: Interval, form: str = ".2f") -> str:
    return f"{found.estimate:{form}} [{found.low:{form}}, {found.high:{form}}]"


if __name__ == "__main__":
    sys.exit(main())
