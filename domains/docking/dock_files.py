"""Docks what files hold in one call, `dock("protein.pdb", "ligand.sdf")`, or complexes that were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, overload

from rdkit import Chem

from domains.docking import engine
from domains.docking.dock_options import AROUND_LIGAND, WHOLE_PROTEIN, DockOptions, Ranking
from domains.docking.docked_ligands import Docked
from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import Cache, OnProgress
from domains.docking.networks.weights import DockingModel, load_model
from domains.docking.outlook import outlook_of
from domains.docking.ranked_docking import DockPlan, dock_ranked
from domains.docking.ranked_poses import RankedPoses
from domains.docking.ranking.combination import Combination
from domains.docking.ranking.consensus import Consensus
from domains.docking.ranking.ranker import Ranker
from domains.docking.ranking.residual import Residual
from domains.docking.ranking.stored_weights import stored_weights
from domains.docking.ranking.vina_score import VinaScore
from domains.docking.refine.local import Refinement
from domains.docking.samplers import HAND_MADE_GRID, Method, Sampler, sampler_of, usual_sampler
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.isomers import Stereo
from domains.docking.structures.pairs import Pair
from domains.docking.structures.pocket import is_whole
from domains.errors import InputError, InputProblem
from domains.options import check_numbers, find_device, mistake
from ld3.fingerprint import fingerprint
from ld3.learn import FitResult

NOT_BLIND: Final = (
    "WARNING: these weights were trained on pockets, not on whole proteins: the poses are likely to be wrong; give a "
    "--pocket, or the weights of DiffDock"
)
_LARGEST_SEED: Final = 2**31 - 1  # RDKit's
_USUAL: Final[Ranking] = "combination"  # docs/dock.md has the comparison


@overload
def dock(
    model: DockingModel,
    complexes: Sequence[Complex],
    method: Method,
    /,
    *,
    samples: int = 10,
    seed: int = 0,
    at_once: int | None = None,
    cache: Cache | None = None,
    on_progress: OnProgress | None = None,
) -> DockedPoses: ...


@overload
def dock(
    protein: Path | str,
    ligand: Path | str | Chem.Mol | Sequence[Chem.Mol | None],
    /,
    *,
    pocket: str | None = None,
    nfe: int = 10,
    samples: int = 10,
    weights: Path | str | None = None,
    grid: Path | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    template: Sequence[str] = (),
    stereo: Stereo = "one",
    conformers: int = 1,
    known_poses: bool = False,
    refine: bool = True,
    ranking: Ranking | None = None,
    check: bool = True,
    on_progress: OnProgress | None = None,
) -> Docked: ...


def dock(
    first: DockingModel | Path | str, second: object, method: Method | None = None, /, **options: object
) -> object:
    """Dock a protein's file and ligands, or complexes that were read.

    With files, `dock("protein.pdb", "ligand.sdf")` or `dock("protein.cif", "CC(=O)Nc1ccc(O)cc1", pocket="point:1,2,3")`
    returns ranked poses. The ligand may be an RDKit molecule as well, or several: one with a 3-D conformer is taken as
    it lies, another as its SMILES; `_Name` is its name. The options are those of
    :class:`domains.docking.dock_options.DockOptions`, as `ld3 dock` has
    them. With a model, complexes and a method, see :func:`domains.docking.engine.dock`.

    Raises:
        InputError: if nothing can be docked, or a file or option cannot be used.
        ValueError: see :func:`domains.docking.engine.dock`.
    """
    if isinstance(first, DockingModel):
        if method is None:
            raise TypeError("method is missing; give a fit, a grid or a number of network evaluations")
        return engine.dock(first, second, method, **options)  # type: ignore[arg-type]
    if method is not None:
        raise TypeError(f"with files there is no third argument, got {method!r}; give a grid as grid=FILE")
    return _dock_pair(first, second, **options)  # type: ignore[arg-type]


def _dock_pair(
    protein: Path | str,
    ligand: Path | str | Chem.Mol | Sequence[Chem.Mol | None],
    on_progress: OnProgress | None = None,
    **given: object,
) -> Docked:
    paths = {name: Path(str(given[name])) for name in ("weights", "grid") if given.get(name) is not None}
    options = DockOptions(**{**given, **paths})  # type: ignore[arg-type]
    plan, remarks = plan_of(options)
    complexes, problems = read_inputs(Pair(Path(protein), ligand), options, plan.model)
    if not complexes:
        raise InputError(problems[0])
    found = list(dock_ranked(plan, complexes, on_progress))
    order = {own.name: place for place, own in enumerate(complexes)}
    ranked = (own for own in found if isinstance(own, RankedPoses))
    ligands = tuple(sorted(ranked, key=lambda own: order[own.complex.name]))
    problems += [own for own in found if isinstance(own, InputProblem)]
    if not ligands:
        raise InputError(problems[0])
    return Docked(ligands, tuple(problems), tuple(remarks), options)


def read_inputs(
    source: Path | Pair, options: DockOptions, model: DockingModel
) -> tuple[list[Complex], list[InputProblem]]:
    """The complexes of a table or of a pair of files, as the model docks them, and what could not be used.

    Raises:
        InputError: naming the option that cannot be used.
    """
    try:
        complexes, problems = read(
            source,
            pocket=pocket_of(options.pocket, model),
            known_poses=options.known_poses or None,
            seed=options.seed,
            drop=options.drop,
            keep=options.keep,
            template=options.template,
            stereo=options.stereo,
        )
    except ValueError as error:
        raise mistake("pocket, --template, --drop or --keep", str(error), "choose one of these") from error
    usable, refused = model.prepare(complexes)
    return [_with_warning(found, model) for found in usable], [*problems, *refused]


def _with_warning(complex_: Complex, model: DockingModel) -> Complex:
    """With a remark where the weights are asked for what they were not trained for."""
    if model.network.docks_to_whole_protein or not is_whole(complex_.pocket):
        return complex_
    return replace(complex_, remarks=(*complex_.remarks, NOT_BLIND))


def pocket_of(pocket: str | None, model: DockingModel) -> str:
    """Where to dock if nobody says so: around the ligand's own pose, or where the weights were trained to dock."""
    if pocket is not None:
        return pocket
    return WHOLE_PROTEIN if model.network.docks_to_whole_protein else AROUND_LIGAND


def plan_of(options: DockOptions) -> tuple[DockPlan, list[str]]:
    """How to dock, and remarks about it.

    Raises:
        InputError: naming the option, or the file, that cannot be used.
    """
    check_numbers(options, {"nfe": 1, "samples": 1, "conformers": 1})
    if not 0 <= options.seed <= _LARGEST_SEED:
        raise mistake("seed", f"got {options.seed}", f"give a number from 0 to {_LARGEST_SEED}")
    find_device(options.device)
    model = load_model(options.weights, options.device, precision=options.precision)
    sampler, name, remarks = _sampler(model, options)
    ranker = ranker_of(options, model)
    remarks += _ranking_remarks(ranker, model)
    weights = f"{model.path.name if model.path else 'no file'} {fingerprint(model.network)[:12]}"
    tags = {"nfe": str(sampler.nfe), "seed": str(options.seed), "grid": name, "weights": weights}
    plan = DockPlan(
        model=model,
        sampler=sampler,
        ranker=ranker,
        samples=options.samples,
        seed=options.seed,
        conformers=options.conformers,
        refinement=Refinement() if options.refine else None,
        check=options.check,
        processes=2,
        tags=tags,
        outlook=outlook_of(model),
    )
    return plan, remarks


def ranker_of(options: DockOptions, model: DockingModel) -> Ranker:
    """What orders the poses.

    Raises:
        InputError: if it is a confidence model, and the weights bring none.
    """
    if options.ranking == "confidence" and model.ranker is None:
        remedy = "give a DiffDock release with its confidence model, or rank in another way"
        raise mistake("ranking", "there is no confidence model with these weights", remedy)
    if model.ranker is not None and options.ranking in (None, "confidence"):
        return model.ranker
    rankers: dict[str, Ranker] = {
        "consensus": Consensus(),
        "residual": Residual(model),
        "vina": VinaScore(None if options.refine else Refinement()),
    }
    chosen = options.ranking or _USUAL
    if chosen in rankers:
        return rankers[chosen]
    weights = stored_weights(model.path).weights
    return Combination([rankers[name] for name in weights], weights)


def _ranking_remarks(ranker: Ranker, model: DockingModel) -> list[str]:
    """Which combination it is."""
    if not isinstance(ranker, Combination):
        return []
    stored = stored_weights(model.path)
    whose = "for these weights" if stored.own else "for other weights, since none was for these"
    return [f"ranking: {' + '.join(stored.weights)}, chosen {whose} ({stored.path.name})"]


def _sampler(model: DockingModel, options: DockOptions) -> tuple[Sampler, str, list[str]]:
    """The sampler, the name of its grid, and remarks.

    Raises:
        InputError: if the grid's file is no fit, or does not go with the weights.
    """
    if options.grid is not None:
        try:
            return sampler_of(model, FitResult.load(options.grid)), options.grid.name, [f"grid: {options.grid}"]
        except ValueError as error:
            raise mistake(
                "grid", str(error), "give a grid that was learned for these weights, or leave it out"
            ) from error
    try:
        sampler, path = usual_sampler(model, options.nfe)
    except ValueError as error:
        raise mistake("nfe", str(error), "give another number") from error
    if path is not None:
        return sampler, path.name, [f"grid: {path.name}, learned for these weights; their model card says on what"]
    why = f"no learned one of {options.nfe} evaluations is known to be better for these weights"
    return sampler, f"{HAND_MADE_GRID}, hand-made", [f"grid: '{HAND_MADE_GRID}', made by hand, since {why}"]
