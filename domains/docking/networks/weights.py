"""Weights on disk: one safetensors file that says which network it is for.

Its metadata hold ``format``, ``model`` (JSON: architecture and sizes of the network, noise range, score scale) and,
once a score scale has been chosen, ``score_scale_choice`` (JSON: the table that it was chosen from).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from domains.docking.networks.diffdock import ConfidenceModel, DiffDock
from domains.docking.networks.diffdock.confidence import ConfidenceConfig
from domains.docking.networks.diffdock.language_model import LanguageModel
from domains.docking.networks.diffdock.ranker import ConfidenceRanker
from domains.docking.networks.diffdock.release import PARAMETERS, load_release
from domains.docking.networks.registry import NetworkConfig, build, config_of, describe, noise_of
from domains.docking.networks.score import ScoreNetwork
from domains.docking.networks.shipped import GENERAL, find_weights
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.low_temperature_sde import LowTemperature
from domains.docking.ranking.ranker import Ranker
from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.complexes import Complex
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY
from domains.errors import InputError, InputProblem
from domains.weight_files import check_tensors, problem, read_weights, write_tensors, write_weights

_FORMAT: Final = "ld3-docking-1"
_OURS: Final = "give a .safetensors file written by domains.docking.train or .convert, or a DiffDock release"
_ROOT_3: Final = 1.73  # as the published code has it
_RANKER: Final = "ranker."


@final
@dataclass(frozen=True)
class DockingModel:
    """A trained network and what goes with it.

    Attributes:
        network: in evaluation mode.
        noise_range: that it was trained on.
        score_scale: c, the factor on its score that was chosen on the validation split.
        path: of its weights, where its general grids lie; None for a network that comes from no file.
        low_temperature: DiffDock's sampler as it was set for these weights; None where nobody has.
        start_proportion: p, by which starts spread over a receptor: their translations have the standard deviation
            p · sqrt(mean |r|²) / 1.73 Å in each coordinate, r from the mean of the alpha carbons, as in DiffDock-L;
            None = the largest noise.
        ranker: that came with the weights.
        precision: of the network's matrix products (autocast), such as torch.bfloat16; None = that of the weights.
            Geometry, sums over edges and the solver keep float32.
    """

    network: ScoreNetwork[Any]
    noise_range: NoiseRange
    score_scale: float
    path: Path | None = None
    low_temperature: LowTemperature | None = None
    start_proportion: float | None = None
    ranker: Ranker | None = None
    precision: torch.dtype | None = None

    def arithmetic(self) -> AbstractContextManager[object]:
        """In which the network is asked."""
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def prepare(self, complexes: Iterable[Complex]) -> tuple[list[Complex], list[InputProblem]]:
        """The complexes as the network docks them, and those that it cannot dock."""
        found, problems = [], []
        for complex_ in complexes:
            try:
                found.append(self.network.prepare(complex_))
            except InputError as error:
                problems.append(error.problem)
        return found, problems

    def start_spread(self, batch: ComplexBatch) -> Tensor:
        """(K,) Å, on the CPU: standard deviation of each coordinate of starts around the pocket's origin."""
        if self.start_proportion is None:
            return torch.full((len(batch),), self.noise_range.tr[1], dtype=torch.float64)
        alpha = batch.pocket_mask & (batch.pocket_atom_name == ATOM_NAME_VOCABULARY.index("CA"))
        square = batch.pocket_positions.square().sum(-1)
        mean = ((square * alpha).sum(1) / alpha.sum(1)).double().cpu()
        return self.start_proportion * mean.sqrt() / _ROOT_3

    @torch.no_grad()
    def encode(self, batch: ComplexBatch) -> EncodedBatch:
        """The complexes as the network sees them, on its device; done once, whatever the score scale or the method."""
        batch = batch.to(self.device)
        return EncodedBatch(self, batch, self.network.encode(batch))


@final
@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Complexes with what a model's network makes of them before it sees a pose."""

    model: DockingModel
    batch: ComplexBatch
    encoding: Any


def save_weights(
    path: Path, state: Mapping[str, Tensor], config: NetworkConfig, noise: NoiseRange, score_scale: float
) -> None:
    """Write the tensors of `state` with everything needed to rebuild the model; replaces `path` atomically."""
    model = {**describe(config), "noise": asdict(noise), "score_scale": score_scale}
    write_weights(path, state, {"format": _FORMAT, "model": json.dumps(model)})


def convert_release(folder: Path, out: Path) -> DockingModel:
    """Write the DiffDock release in `folder` as one file, to the last bit, and read it back.

    Raises:
        InputError: as :func:`load_weights`.
    """
    release = load_release(folder)
    network, config = DiffDock(release.score), release.score.config
    model = {
        **describe(config),
        "noise": asdict(config.noise),
        "score_scale": 1.0,
        "low_temperature": release.sampler.plain(),
        "start_proportion": release.start_proportion,
        "ranker": release.confidence and asdict(release.confidence.config),
    }
    tensors = dict(network.state_dict())
    if release.confidence is not None:
        tensors |= {_RANKER + name: value for name, value in release.confidence.state_dict().items()}
    parameters = json.dumps(release.parameters, default=str)
    kept = {name: value.contiguous() for name, value in tensors.items() if value.numel()}
    write_tensors(out, kept, {"format": _FORMAT, "model": json.dumps(model), "parameters": parameters})
    return load_weights(out)


def store_score_scale(path: Path, score_scale: float, choice: Mapping[str, object]) -> None:
    """Set the score scale of the model at `path`, with a record of how it was chosen; replaces the file atomically.

    Raises:
        InputError: as :func:`load_weights`.
    """
    _store(path, {"score_scale": score_scale}, {"score_scale_choice": json.dumps(choice)})


def store_low_temperature(path: Path, settings: LowTemperature, choice: Mapping[str, object]) -> None:
    """Set the model's low-temperature SDE, as :func:`store_score_scale` does its score scale."""
    _store(path, {"low_temperature": settings.plain()}, {"low_temperature_choice": json.dumps(choice)})


def _store(path: Path, change: Mapping[str, object], record: Mapping[str, str]) -> None:
    path = find_weights(path)
    load_weights(path)
    if path.is_dir() or path.suffix == ".pt":
        raise problem(path, "nothing is written into a release", "convert it with domains.docking.convert first")
    tensors, metadata = read_weights(path, _FORMAT, _OURS)
    model = json.loads(metadata["model"]) | change
    write_tensors(path, tensors, {**metadata, "model": json.dumps(model), **record})


def load_weights(path: Path, language_model: Path | None = None) -> DockingModel:
    """Rebuild the model stored at `path`, in evaluation mode, on the CPU.

    Args:
        path: of a weights file, or of a DiffDock release: its folder, or the .pt file in it; or the name of weights
            that come with the toolkit, general or demo.
        language_model: folder of ESM-2, which some weights need; else the folder esm2_t33_650M_UR50D beside or in
            `path`, or Hugging Face's cache.

    Raises:
        InputError: if there is no such file or name, or the file is no safetensors file (a pickle is never opened),
            belongs to another model, lacks tensors, has others, or some of other shapes or with values that are not
            finite.
    """
    path = find_weights(path)
    beside = [path, path.parent] if path.is_dir() else [path.parent]
    places = beside if language_model is None else [language_model]
    embedder = LanguageModel(places)
    if path.is_dir() or (path.suffix == ".pt" and (path.parent / PARAMETERS).is_file()):
        return _of_release(path, embedder)
    tensors, metadata = read_weights(path, _FORMAT, _OURS)
    try:
        model = json.loads(metadata["model"])
        network = build(config_of(model))
        noise = noise_of(model)
        score_scale = float(model["score_scale"])
        sampler = model.get("low_temperature") and LowTemperature.of_plain(model["low_temperature"])
        proportion = model.get("start_proportion")
        confidence = model.get("ranker") and ConfidenceModel(ConfidenceConfig(**model["ranker"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = f"its description of the model cannot be used ({type(error).__name__}: {error})"
        raise problem(path, message, "train, convert or download the weights again") from error
    whole: dict[str, nn.Module] = {"": network}
    if confidence:
        whole[_RANKER] = confidence
    wanted = {prefix + name: value for prefix, part in whole.items() for name, value in part.state_dict().items()}
    check_tensors(path, tensors, {name: value for name, value in wanted.items() if value.numel()}, _OURS)
    for prefix, part in whole.items():  # copies into the networks' own float32
        own = {name: tensors.get(prefix + name, value) for name, value in part.state_dict().items()}
        part.load_state_dict(own)
        part.eval().requires_grad_(False)
    if isinstance(network, DiffDock):
        network.language_model = embedder
    ranker = _ranker(network, confidence) if isinstance(network, DiffDock) and confidence else None
    return DockingModel(network, noise, score_scale, path, sampler or None, proportion, ranker)


def _of_release(path: Path, embedder: LanguageModel) -> DockingModel:
    release = load_release(path)
    network = DiffDock(release.score, embedder)
    ranker = release.confidence and _ranker(network, release.confidence)
    noise, start = release.score.config.noise, release.start_proportion
    network.eval().requires_grad_(False)
    return DockingModel(network, noise, 1.0, path, release.sampler, start, ranker)


def _ranker(network: DiffDock, confidence: ConfidenceModel) -> ConfidenceRanker:
    return ConfidenceRanker(confidence, network.language_model, knn_only_graph=network.config.knn_only_graph)


PRECISIONS: Final[Mapping[str, torch.dtype | None]] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""What command lines call :attr:`DockingModel.precision`."""


def load_model(
    weights: Path | str = GENERAL,
    device: str = "cpu",
    *,
    language_model: Path | str | None = None,
    precision: str = "float32",
) -> DockingModel:
    """The model of that name, in a file or a DiffDock release, with its network on `device` (as torch writes it).

    Args:
        weights: general or demo, which come with the toolkit; a weights file; or the folder of a DiffDock release, such
            as workdir/v1.1.
        device: cpu, cuda, cuda:1.
        language_model: folder of ESM-2, where it does not lie as :func:`load_weights` looks for it.
        precision: of the network's matrix products: float32, bfloat16 or float16.

    Raises:
        InputError: as :func:`load_weights`.
        ValueError: if there is no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    model = load_weights(Path(weights), None if language_model is None else Path(language_model))
    model.network.to(device)
    if isinstance(model.network, DiffDock):
        model.network.language_model.device = device
    if isinstance(model.ranker, ConfidenceRanker):
        model.ranker.model.to(device)
    return replace(model, precision=PRECISIONS[precision])
