"""The score network of DiffDock v1.0 against its published code, on 6o5u with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import data
from diffdock_reference import FACTORS, case, complex_6o5u, largest_difference
from torch import Tensor

from domains.docking.networks.diffdock import ComplexGraph, DiffDock, DiffDockScoreModel, ReceptorGraph
from domains.docking.networks.diffdock.config import DiffDockConfig
from domains.docking.networks.diffdock.network import RawScores
from domains.docking.networks.diffdock.release import load_release, load_state
from domains.docking.networks.weights import convert_release
from domains.errors import InputError

ANSWERS = np.load(data("diffdock_v1_score_model.npz"))
# The yaml of workdir/paper_score_model, but for the sizes; scale_by_sigma is tested with the other network.
PARAMETERS: dict[str, Any] = {
    "all_atoms": False,
    "c_alpha_max_neighbors": 24,
    "cross_distance_embed_dim": 16,
    "cross_max_distance": 80,
    "distance_embed_dim": 16,
    "dropout": 0.1,
    "dynamic_max_cross": True,
    "embedding_scale": 10000,
    "embedding_type": "sinusoidal",
    "esm_embeddings_path": "data/esm2_3billion_embeddings.pt",
    "max_radius": 5.0,
    "no_batch_norm": False,
    "no_torsion": False,
    "norm_by_sigma": False,
    "ns": 8,
    "num_conv_layers": 5,
    "nv": 4,
    "odd_parity": False,
    "receptor_radius": 15.0,
    "rot_sigma_max": 1.55,
    "rot_sigma_min": 0.03,
    "scale_by_sigma": False,
    "sigma_embed_dim": 16,
    "tor_sigma_max": 3.14,
    "tor_sigma_min": 0.0314,
    "tr_sigma_max": 19.0,
    "tr_sigma_min": 0.1,
    "use_second_order_repr": False,
}


def weights(kind: str) -> dict[str, Tensor]:
    """Those of the answers: of the published names and shapes, from a generator whose numbers never change."""
    shapes = json.loads(str(ANSWERS[f"{kind}/shapes"]))
    random, found = np.random.RandomState(0), {}
    for name in sorted(shapes):
        z = random.standard_normal(shapes[name])
        if name.endswith("running_var"):
            z = np.exp(0.3 * z)
        elif name.endswith("batch_norm.weight"):
            z = 0.1 * (1 + 0.1 * z)
        elif z.ndim == 2:
            z = 0.3 * z if "embedding_list" in name else z / np.sqrt(z.shape[1])
        else:
            z = 0.1 * z
        found[name] = torch.tensor(z, dtype=torch.float32)
    return found


def network(kind: str = "esm", dtype: torch.dtype = torch.float32, **options: object) -> DiffDockScoreModel:
    more: dict[str, object] = {"not_fixed_center_conv": False, **options}
    if kind == "bare":
        more["esm_embeddings_path"] = None
    model = DiffDockScoreModel(DiffDockConfig.from_parameters(PARAMETERS | more))
    load_state(model, with_buffers(model, weights(kind)), Path("answers"))
    return model.eval().requires_grad_(False).to(dtype)


def with_buffers(model: DiffDockScoreModel, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the centres of the distance embeddings, which are no random numbers."""
    return state | {name: value for name, value in model.state_dict().items() if name.endswith("offset")}


def scores(model: DiffDockScoreModel, complex_: ComplexGraph, i: int, dtype: torch.dtype, poses: int = 3) -> RawScores:
    x, t, sigma = case(i, dtype)
    return model(model.encode([complex_]), torch.zeros(poses, dtype=torch.long), x[:poses], t, sigma)


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_published_answers(i: int, dtype: torch.dtype, tolerance: float) -> None:
    found = scores(network(dtype=dtype), complex_6o5u(dtype), i, dtype)
    end = "_f64" if dtype == torch.float64 else ""
    for factor in FACTORS:
        wanted = torch.tensor(ANSWERS[f"esm/case{i}/{factor}{end}"])
        assert largest_difference(getattr(found, factor), wanted) < tolerance


@pytest.mark.parametrize("i", range(3))
def test_the_paper_s_weights_read_the_first_atom_as_the_published_code_does_alone(i: int) -> None:
    """Their yaml does not name the option."""
    model = network(dtype=torch.float64, not_fixed_center_conv=True)
    assert not DiffDockConfig.from_parameters(PARAMETERS).fixed_center_conv
    found = scores(model, complex_6o5u(torch.float64), i, torch.float64, poses=1)
    for factor in ("tr", "rot"):
        wanted = torch.tensor(ANSWERS[f"esm/case{i}/unfixed_{factor}_f64"])
        assert largest_difference(getattr(found, factor), wanted) < 1e-12


def test_without_a_language_model() -> None:
    graph = complex_6o5u(torch.float64)
    receptor = ReceptorGraph(graph.receptor.residue_type, None, graph.receptor.positions, graph.receptor.edges)
    found = scores(network("bare", torch.float64), ComplexGraph(receptor, graph.ligand), 0, torch.float64)
    for factor in FACTORS:
        wanted = torch.tensor(ANSWERS[f"bare/case0/{factor}_f64"])
        assert largest_difference(getattr(found, factor), wanted) < 1e-12


def test_batches_of_several_times_equal_the_answers_alone() -> None:
    model, graph = network(dtype=torch.float64), complex_6o5u(torch.float64)
    poses, _, _ = case(1, torch.float64)
    t = torch.tensor([0.9, 0.3, 0.9], dtype=torch.float64)
    sigma = {f: low * (high / low) ** t for f, (low, high) in vars(model.config.noise).items()}
    encoding, row = model.encode([graph]), torch.zeros(3, dtype=torch.long)
    together = model(encoding, row, poses, t, sigma)
    for b in range(3):
        alone = model(encoding, row[:1], poses[b : b + 1], t[b], {f: value[b] for f, value in sigma.items()})
        for factor in FACTORS:
            assert largest_difference(getattr(together, factor)[b], getattr(alone, factor)[0]) < 1e-11


def test_the_paper_s_size_has_its_number_of_weights() -> None:
    """20.24 million, as the paper has it."""
    sizes = {"ns": 48, "nv": 10, "num_conv_layers": 6}
    embeddings = dict.fromkeys(("sigma_embed_dim", "distance_embed_dim", "cross_distance_embed_dim"), 64)
    model = DiffDockScoreModel(DiffDockConfig.from_parameters({**PARAMETERS, **sizes, **embeddings}))
    assert sum(w.numel() for w in model.parameters()) == int(ANSWERS["paper_size/weights"]) == 20_248_214


def release(folder: Path) -> Path:
    """A folder as v1.0 has it."""
    place = folder / "workdir" / "paper_score_model"
    place.mkdir(parents=True)
    (place / "model_parameters.yml").write_text(yaml.safe_dump(PARAMETERS))
    torch.save(with_buffers(network(), weights("esm")), place / "best_ema_inference_epoch_model.pt")
    return folder / "workdir"


def test_release_folder_loads_and_converts_with_its_own_sampler(tmp_path: Path) -> None:
    """The plain SDE: T = 1 and ψ = 0 in every factor, from the largest noise, 18 of 20 steps."""
    folder = release(tmp_path)
    found = load_release(folder)
    poses, t, sigma = case(1)
    graph, row = complex_6o5u(), torch.zeros(3, dtype=torch.long)
    own = found.score(found.score.encode([graph]), row, poses, t, sigma)
    assert found.score.config.first_version and not found.score.config.fixed_center_conv
    plain = (found.sampler.steps, found.sampler.run, {(v.sampling, v.psi) for v in found.sampler.temperatures.values()})
    assert plain == (20, 18, {(1.0, 0.0)}) and found.start_proportion is None
    converted = convert_release(folder, tmp_path / "v1.safetensors")
    assert isinstance(converted.network, DiffDock)
    again = converted.network.model(converted.network.model.encode([graph]), row, poses, t, sigma)
    assert torch.equal(again.tor, own.tor) and torch.equal(again.rot, own.rot)
    assert (converted.low_temperature, converted.start_proportion) == (found.sampler, None)


def test_arguments_of_the_other_version_are_left_alone(tmp_path: Path) -> None:
    """The file in the repository is DiffDock-L's, whichever weights lie below it."""
    folder = release(tmp_path)
    file = tmp_path / "default_inference_args.yaml"
    values = {"old_score_model": False, "inference_steps": 20, "actual_steps": 19, "temp_sampling_tr": 1.17}
    file.write_text(yaml.safe_dump(values))
    assert load_release(folder).sampler.run == 18
    file.write_text(yaml.safe_dump({"old_score_model": True, "inference_steps": 20, "actual_steps": 10}))
    assert load_release(folder).sampler.run == 10


def test_yaml_between_the_versions_is_refused(tmp_path: Path) -> None:
    folder = release(tmp_path)
    yml = folder / "paper_score_model" / "model_parameters.yml"
    yml.write_text(yaml.safe_dump({**PARAMETERS, "sh_lmax": 2}))
    with pytest.raises(InputError, match="lacks num_prot_emb_layers"):
        load_release(folder)
    yml.write_text(yaml.safe_dump({**PARAMETERS, "separate_noise_schedule": True}))
    with pytest.raises(InputError, match="separate_noise_schedule = True"):
        load_release(folder)
