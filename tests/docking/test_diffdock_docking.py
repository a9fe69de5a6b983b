"""DiffDock's weights from a release's folder to poses: language model, prepared complexes, starts, ranking, files."""

from __future__ import annotations

import math
import os
import shutil
import warnings
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import data
from docking_models import complexes
from docking_models import diffdock as small_network
from language_models import write_language_model, write_release

from domains import docking
from domains.docking.convert import cli as convert
from domains.docking.engine import make_groups
from domains.docking.networks.diffdock import DiffDock, language_model
from domains.docking.networks.diffdock.language_model import LanguageModel, chains, windows
from domains.docking.networks.weights import DockingModel, load_weights, store_low_temperature
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.low_temperature_sde import PUBLISHED, LowTemperature, Temperature
from domains.docking.samplers import diffdock_low_temperature_sde, hand_made_sampler
from domains.docking.settings import TEACHER, fit_config
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY
from domains.errors import InputError


@pytest.fixture(scope="module")
def esm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("esm"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def release(tmp_path: Path, esm: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the language model in it, and a cache of its own."""
    folder = write_release(tmp_path)
    (folder / esm.name).symlink_to(esm)
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    return folder


@pytest.fixture
def complex_6o5u(tmp_path: Path) -> Complex:
    place = tmp_path / "targets" / "6o5u"
    place.mkdir(parents=True)
    shutil.copy(data("6o5u_protein.pdb"), place / "protein.pdb")
    shutil.copy(data("6o5u_ligand.sdf"), place / "ligands.sdf")
    found, problems = docking.read(tmp_path / "targets")
    assert not problems
    return found[0]


def test_windows_cover_a_long_chain_with_overlap() -> None:
    assert windows(1022) == [(0, slice(0, 1022))]
    for length in (1023, 1500, 1789, 5000):
        found = windows(length)
        rows = [row for _, kept in found for row in range(kept.start, kept.stop)]
        assert rows == list(range(length))
        for (first, kept), (following, _) in pairwise(found):
            assert first + 1022 - following >= 256
            assert first <= kept.start < kept.stop <= first + 1022
        assert found[-1][0] + 1022 == length


def test_embeddings_are_those_of_the_language_model_alone(esm: Path, tmp_path: Path) -> None:
    """One chain through transformers by hand; what is kept is found again; a damaged file is made again."""
    from transformers import EsmModel, EsmTokenizer

    sequence = "MKVLAAGIVGLCAKAY"
    embedder = LanguageModel([esm.parent], tmp_path)
    found = embedder.embed_sequence(sequence)
    tokens = EsmTokenizer.from_pretrained(esm)(sequence, return_tensors="pt")
    with torch.no_grad():
        wanted = EsmModel.from_pretrained(esm, add_pooling_layer=False).eval()(**tokens).last_hidden_state[0]
    torch.testing.assert_close(found, wanted[1 : len(sequence) + 1])
    (file,) = tmp_path.glob("*.safetensors")
    again = LanguageModel([esm], tmp_path)
    assert torch.equal(again.embed_sequence(sequence), found)
    assert "_model" not in vars(again)  # it was not even loaded
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(LanguageModel([esm], tmp_path).embed_sequence(sequence), found)
    assert file.stat().st_size > 4 * found.numel()


def test_long_chains_are_seen_in_windows(esm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "WINDOW", 12)
    monkeypatch.setattr(language_model, "OVERLAP", 4)
    embedder, sequence = LanguageModel([esm], tmp_path), "MKVLAAGIVGLCAKAYWWHP"
    found = embedder.embed_sequence(sequence)
    for first, rows in windows(20):
        alone = embedder.embed_sequence(sequence[first : first + 12])
        torch.testing.assert_close(found[rows], alone[rows.start - first : rows.stop - first])


def test_chains_are_told_apart_whatever_their_order() -> None:
    """Residues of two chains stored one after the other, the second first in the alphabet; unknown ones are G."""
    protein = read_protein(data("6o5u_protein.pdb"))
    ((rows, sequence),) = chains(protein)
    assert len(rows) == len(sequence) == 268
    ids = tuple(f"{'BA'[i % 2]}:{i}" for i in range(len(protein.residue_ids)))
    mixed = replace(protein, residue_ids=ids)
    (first, of_first), (second, of_second) = chains(mixed)
    assert (of_first, of_second) == (sequence[::2], sequence[1::2])
    assert np.array_equal(np.sort(np.concatenate([first, second])), np.arange(268))


def test_without_the_language_model_one_line_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(InputError) as caught:
        LanguageModel([tmp_path / "v1.1"], tmp_path).embed_sequence("MK")
    line = str(caught.value)
    assert "\n" not in line
    assert f"into {tmp_path}/v1.1/esm2_t33_650M_UR50D" in line
    assert "hf download facebook/esm2_t33_650M_UR50D" in line


def test_another_language_model_is_refused(tmp_path: Path) -> None:
    narrow = write_language_model(tmp_path, width=32)
    with pytest.raises(InputError, match="its embeddings have 32 columns, DiffDock needs 1280"):
        LanguageModel([narrow], tmp_path / "kept").embed_sequence("MK")
    (narrow / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read as ESM-2"):
        LanguageModel([narrow], tmp_path / "kept").embed_sequence("MK")


def test_from_a_folder_to_ranked_poses(release: Path, complex_6o5u: Complex, tmp_path: Path) -> None:
    """Blind, to the whole protein with DiffDock's torsions; a converted file docks to the same poses, to the bit."""
    model = docking.load_model(release)
    assert (model.low_temperature, model.start_proportion) == (PUBLISHED, 1.4601642460337794)
    sampler = diffdock_low_temperature_sde(model)
    docked = docking.dock(model, [complex_6o5u], sampler, samples=2, seed=1)
    (found,) = docked.complexes
    assert found.pocket.spec.startswith("whole protein")
    assert any("whole protein" in remark for remark in found.remarks)
    assert found.ligand.n_torsions == 6
    assert not docked.failed
    docked.write(tmp_path / "out")
    assert (tmp_path / "out" / "6o5u").is_dir()

    out = tmp_path / "elsewhere" / "converted.safetensors"
    convert([str(release), str(out)])
    again = docking.load_model(out, language_model=release / "esm2_t33_650M_UR50D")
    assert (again.low_temperature, again.start_proportion) == (model.low_temperature, model.start_proportion)
    assert (again.noise_range, again.network.config) == (model.noise_range, model.network.config)
    poses = docking.dock(again, [complex_6o5u], diffdock_low_temperature_sde(again), samples=2, seed=1)
    assert np.array_equal(poses.positions[found.name], docked.positions[found.name])

    assert model.ranker is not None and again.ranker is not None
    scores = model.ranker.rank(found, docked.positions[found.name])
    assert np.array_equal(again.ranker.rank(found, docked.positions[found.name]).score, scores.score)
    one = model.ranker.rank(found, docked.positions[found.name][1:])
    np.testing.assert_allclose(one.score, scores.score[1:], rtol=1e-4)


def test_a_grid_is_learned_through_the_network(release: Path, complex_6o5u: Complex) -> None:
    """Gradients by the times, from the teacher to a grid that docks; embeddings and all."""
    model = docking.load_model(release)
    config = replace(fit_config(2), steps=2, validate_every=1, batch=2)
    teacher = replace(TEACHER, nfe=4, checked=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # four steps are no teacher
        fit = docking.learn_grid(model, [complex_6o5u], nfe=2, poses=8, config=config, teacher=teacher)
    assert fit.nfe == 2
    docked = docking.dock(model, [complex_6o5u], fit, samples=2, seed=0)
    assert not docked.failed


def test_what_is_prepared_twice_is_the_same(release: Path, complex_6o5u: Complex) -> None:
    network = docking.load_model(release).network
    once = network.prepare(complex_6o5u)
    twice = network.prepare(once)
    assert twice.remarks == once.remarks
    assert once.embedding is not None and twice.embedding is not None
    assert np.array_equal(once.embedding, twice.embedding)
    assert np.array_equal(once.pocket.positions, twice.pocket.positions)


def test_a_chosen_point_crops_and_rows_follow_their_residues(release: Path, complex_6o5u: Complex) -> None:
    model = docking.load_model(release)
    network = model.network
    whole = network.prepare(complex_6o5u)
    centre = ",".join(f"{c:.2f}" for c in complex_6o5u.ligand.positions.mean(0))
    near, _ = docking.read(complex_6o5u.protein.path.parents[1], pocket=f"point:{centre},9")
    part = network.prepare(near[0])
    assert part.embedding is not None and whole.embedding is not None
    assert 2 < len(part.embedding) < len(whole.embedding)
    ids = [whole.protein.residue_ids[i] for i in whole.protein.residue_index[whole.protein.is_ca]]
    for row, name in zip(part.embedding, part.pocket.residue_ids, strict=True):
        assert np.array_equal(row, whole.embedding[ids.index(name)])
    spreads = [float(model.start_spread(collate([c]))[0]) for c in (part, whole)]
    alpha = whole.protein.positions[whole.protein.is_ca]
    expected = 1.4601642460337794 * math.sqrt(((alpha - alpha.mean(0)) ** 2).sum(1).mean()) / 1.73
    assert spreads[1] == pytest.approx(expected, rel=1e-5)
    assert spreads[0] < spreads[1]


def test_starts_have_the_published_spread(release: Path, complex_6o5u: Complex) -> None:
    model = docking.load_model(release)
    found, problems = model.prepare([complex_6o5u])
    assert not problems
    encoded = model.encode(collate(found))
    from domains.docking.poses.flow import DockingFlow

    flow = DockingFlow(encoded)
    poses = flow.prior(3000, torch.Generator().manual_seed(0)).positions
    expected = float(model.start_spread(encoded.batch)[0])
    assert poses.mean(1).std(0).numpy() == pytest.approx([expected] * 3, rel=0.05)
    assert flow.prior_scale["tr"] == pytest.approx(expected)


def test_bonds_without_a_place_are_named_and_the_others_go_on(complex_6o5u: Complex) -> None:
    from rdkit import Chem

    mol = Chem.RWMol(complex_6o5u.ligand.mol)
    mol.GetBondWithIdx(0).SetBondType(Chem.BondType.DATIVE)
    odd = replace(complex_6o5u, name="odd", ligand=replace(complex_6o5u.ligand, mol=mol.GetMol()))
    model = DockingModel(small_network(), NoiseRange(), 1.0)
    found, problems = model.prepare([odd, complex_6o5u])
    assert [c.name for c in found] == [complex_6o5u.name]
    assert "dative bonds, which DiffDock's features have no place for" in str(problems[0])
    with pytest.raises(InputError, match="odd"):
        docking.dock(model, [odd], hand_made_sampler("edm", "dpmpp_2m", 2))


def test_a_batch_holds_its_torsions_whatever_is_asked_of_it() -> None:
    """Poses of the complexes with few torsions alone, in a batch with more."""
    network = small_network()
    assert isinstance(network, DiffDock)
    members = [network.prepare(c) for c in complexes()]
    batch = collate(members)
    fewest = min(range(4), key=lambda k: members[k].ligand.n_torsions)
    double = replace(batch, pocket_positions=batch.pocket_positions.double())
    sigma = {f: torch.tensor(0.5, dtype=torch.float64) for f in ("tr", "rot", "tor")}
    row = torch.tensor([fewest])
    scores = network.score(network.encode(double), row, batch.conformer[row].double(), sigma)
    assert scores.tor.shape == (1, batch.torsion_bonds.shape[1])
    assert (scores.tor[0, members[fewest].ligand.n_torsions :] == 0).all()


def test_temperatures_are_read_from_the_release_and_stored_in_files(release: Path, tmp_path: Path) -> None:
    yml = release.parent / "default_inference_args.yaml"
    yml.write_text("inference_steps: 12\nactual_steps: 10\ntemp_sampling_tr: 2.5\ninitial_noise_std_proportion: -1\n")
    model = load_weights(release)
    assert model.low_temperature is not None
    assert (model.low_temperature.steps, model.low_temperature.run, model.start_proportion) == (12, 10, None)
    assert model.low_temperature.temperatures["tr"] == Temperature(2.5, 0.0, 0.5)
    yml.write_text("ode: true\n")
    with pytest.raises(InputError, match=r"default_inference_args.yaml: options that are not supported: ode = True"):
        load_weights(release)
    yml.unlink()
    with pytest.raises(InputError, match="nothing is written into a release"):
        store_low_temperature(release, PUBLISHED, {})
    out = tmp_path / "a.safetensors"
    convert([str(release), str(out)])
    chosen = LowTemperature({f: Temperature(3.0, 0.1, 0.2) for f in ("tr", "rot", "tor")}, 10, 10)
    store_low_temperature(out, chosen, {"split": "ligands"})
    assert load_weights(out).low_temperature == chosen


@pytest.mark.parametrize("arguments", [["nothing", "a.safetensors"], [".", "a.safetensors"], ["{release}", "a.pt"]])
def test_convert_says_in_one_line_what_is_wrong(
    release: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(SystemExit) as caught:
        convert([word.format(release=release) for word in arguments])
    assert caught.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and "\n" not in said
    assert not list(empty.iterdir())


def test_a_protein_too_long_for_memory_is_named_and_the_others_go_on() -> None:
    """Before anything is computed; the one line says how to crop it."""
    small = replace(complexes()[0], name="small")
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    residues = pages // (3072 * small.ligand.n_atoms) + 1
    pocket = small.pocket
    alpha = np.flatnonzero(pocket.atom_name == ATOM_NAME_VOCABULARY.index("CA"))[:1].repeat(residues)
    huge_pocket = replace(pocket, spec="point:0,0,0,900")
    for f in fields(pocket):
        x = getattr(pocket, f.name)
        if isinstance(x, np.ndarray) and len(x) == len(pocket.positions):
            object.__setattr__(huge_pocket, f.name, x[alpha])
    model = DockingModel(small_network(), NoiseRange(), 1.0)
    usable, problems = model.prepare([replace(small, name="huge", pocket=huge_pocket), small])
    assert [c.name for c in usable] == ["small"]
    (problem,) = problems
    assert problem.record == "" and problem.file == "huge"
    assert f"a pose in {residues:,} residues takes about" in problem.message
    assert "--pocket point:X,Y,Z,RADIUS" in problem.remedy


@pytest.mark.parametrize(("precision", "least", "most"), [("bfloat16", 1e-5, 0.1)])
def test_half_precision_changes_a_step_by_little(
    release: Path, complex_6o5u: Complex, precision: str, least: float, most: float
) -> None:
    """The outputs are float32, away from the full ones by rounding of half precision, and kept apart in caches."""
    full, half = docking.load_model(release), docking.load_model(release, precision=precision)
    found = []
    for model in (full, half):
        (group,) = make_groups(model, [complex_6o5u], 2, seed=0)
        flow = group.flow()
        levels = flow.clock.levels(torch.tensor(0.5, dtype=torch.float64))
        with torch.no_grad():
            found.append((flow.displacement(group.start, levels), group.key()))
    (exact, key), (rounded, other) = found
    assert key != other
    for factor, d in exact.items():
        assert rounded[factor].dtype == torch.float32
        away = float((rounded[factor] - d).abs().max() / d.abs().max())
        assert least < away < most
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, float16"):
        docking.load_model(release, precision="half")


def test_embeddings_of_another_length_are_named(release: Path, complex_6o5u: Complex) -> None:
    model = docking.load_model(release)
    (prepared,), _ = model.prepare([complex_6o5u])
    assert prepared.embedding is not None
    for embedding in (prepared.embedding[:-1], prepared.embedding[:, :-1], None):
        other = replace(prepared, embedding=embedding)
        with pytest.raises(ValueError, match="must have a row of 1280 numbers for each of its 268 residues"):
            model.encode(collate([other]))
