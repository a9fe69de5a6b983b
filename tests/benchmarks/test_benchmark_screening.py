"""The screening benchmark: figures of rankings with known answers, decoys, and memory of a small library."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import shared
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from benchmarks.screening.enrichment import enrichment
from benchmarks.screening.memory import peak_mb, smiles
from benchmarks.screening.targets import SIMILAR, TARGETS, actives, decoys, properties

ROOT = Path(__file__).parents[2]


def test_figures_of_a_perfect_a_reversed_and_a_random_list() -> None:
    is_active = np.arange(200) < 20
    perfect, worst = (enrichment(sign * np.arange(200.0), is_active, 0) for sign in (-1, 1))
    assert [perfect[name].estimate for name in ("AUC", "EF1%")] == pytest.approx([1.0, 10.0])
    assert perfect["BEDROC"].estimate == pytest.approx(1.0)
    assert worst["AUC"].estimate == pytest.approx(0.0)
    assert worst["EF1%"].estimate == 0.0
    equal = enrichment(np.zeros(200), is_active, 0)  # says nothing, whatever order the list was in
    assert equal["AUC"].low < 0.5 < equal["AUC"].high
    assert equal["AUC"].estimate == pytest.approx(0.5, abs=0.03)


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    """The definition of Mann and Whitney; what has no score comes last."""
    rng = np.random.default_rng(0)
    score, is_active = rng.normal(size=60), rng.random(60) < 0.3
    score[5] = np.nan
    filled = np.where(np.isnan(score), -np.inf, score)
    pairs = [a > d for a, d in itertools.product(filled[is_active], filled[~is_active])]
    found = enrichment(score, is_active, 0)["AUC"]
    assert found.estimate == pytest.approx(np.mean(pairs))
    assert found.low < found.estimate < found.high
    with pytest.raises(ValueError, match="at least one active and one decoy"):
        enrichment(score, np.ones(60, dtype=np.bool_), 0)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_decoys_are_like_the_known_ligands_in_properties_and_not_in_structure(target: object) -> None:
    data = shared("data")
    (found,) = (t for t in TARGETS if t is target)
    known = actives(data, found)[:6]
    chosen = decoys(data, found, known, 3)
    assert len({Chem.MolToSmiles(mol) for mol in chosen}) == len(chosen) == 18
    bits = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = [bits.GetFingerprint(mol) for mol in known]
    assert all(max(DataStructs.BulkTanimotoSimilarity(bits.GetFingerprint(mol), prints)) < SIMILAR for mol in chosen)
    mass = [np.mean([properties(mol)[0] for mol in mols]) for mols in (known, chosen)]
    assert abs(mass[0] - mass[1]) < 60


def test_the_libraries_of_the_memory_figures_hold_different_molecules() -> None:
    found = {Chem.CanonSmiles(text) for text in itertools.islice(smiles(), 3000)}
    assert len(found) > 2500


def test_the_peak_is_that_of_this_process() -> None:
    """It grows with what is held, stays when that is let go, and does not begin with the parent's."""
    before = peak_mb()
    held = np.ones(200 << 17)  # 200 MB
    after = peak_mb()
    assert after > held.nbytes / (1 << 20)
    del held
    assert peak_mb() > after - 5  # the kernel counts in steps
    assert after > before - 5
    light = "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1))"
    alone = subprocess.run([sys.executable, "-c", light], check=True, capture_output=True, text=True).stdout
    assert int(alone) / 1024 < after / 2


@pytest.mark.slow
def test_memory_is_measured_on_a_whole_screen(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.screening.memory", "300", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment).stdout
    figures = json.loads(printed)
    assert figures["ligands"] == 300 == figures["docked"] + figures["duplicates"] + figures["failed"]
    assert figures["docked"] > 200
    assert figures["peak_mb"] > 50
