"""What docking says of its poses: whether the protein is new to the weights, and how often that went well before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from benchmark_runs import write_complexes, write_weights
from docking_models import complexes

from domains.command import main
from domains.docking.outlook import Made, Outlook
from domains.docking.ranking.stored_weights import StoredWeights, weights_path
from domains.docking.ranking.track_record import SHARES, TrackRecord, agreement, record_at, track_records
from domains.docking.structures.protein import Protein
from domains.docking.training import known_proteins
from domains.docking.training.clusters import Clusters
from domains.docking.training.known_proteins import KnownProteins, known_of, proteins_path, read_known, words_of
from domains.errors import InputError


def of(letters: str, chains: Sequence[int] = ()) -> Protein:
    """A protein of which only the sequence is real."""
    names = {"A": "ALA", "C": "CYS", "D": "ASP", "G": "GLY", "M": "MET", "W": "TRP", "u": "MSE", "-": "HEM"}
    return replace(
        complexes()[0].protein,
        path=Path(letters),
        residue_names=tuple(names[letter] for letter in letters),
        is_amino_acid=np.array([letter != "-" for letter in letters]),
        chain_index=np.array(chains or [0] * len(letters)),
    )


def test_words_are_those_of_each_chain() -> None:
    """Selenomethionine is methionine, what is no amino acid is passed over, and no word goes on in the next chain."""
    assert len(words_of(of("ACDGMW"))) == 1
    assert words_of(of("ACDGuW")).tolist() == words_of(of("ACDGMW-")).tolist() == words_of(of("ACDGMW")).tolist()
    assert len(words_of(of("ACDGM"))) == 0
    assert len(words_of(of("ACDGMWACDGMW"))) == 6, "the word that comes twice counts once"
    assert len(words_of(of("ACDGMWACDGMW", [0] * 6 + [1] * 6))) == 1
    assert set(words_of(of("ACDGMWA")).tolist()) == {*words_of(of("ACDGMW")), *words_of(of("CDGMWA"))}


def test_a_protein_is_known_by_a_share_of_its_words(tmp_path: Path) -> None:
    named = [("a/1", of("ACDGMWAACC")), ("b/1", of("WWWWWWWW")), ("c/1", of("GGGGGGGCCC"))]
    known = known_of(named, Clusters([("a", "b")]))
    assert known.words.keys() == {"a", "c"}
    path = tmp_path / "mine.proteins.npz"
    known.save(path)
    assert proteins_path(tmp_path / "mine.safetensors") == path
    again = read_known(tmp_path / "mine.safetensors")
    assert again is not None and read_known(tmp_path / "other.safetensors") is None and read_known(None) is None
    for one in (known, again):
        assert one.nearest(of("ACDGMWA")) == ("a", 1.0)
        third = one.nearest(of("ACDGMWADAAAAAC"))  # 2 of 9 words
        assert third is not None and third.share == pytest.approx(2 / 9) and not third.is_known
        assert one.nearest(of("ACD")) is None
    both = known.and_others(known_of([("c/2", of("DDDDDDD")), ("d/1", of("MMMMMM"))], Clusters()))
    assert both.words.keys() == {"a", "c", "d"}
    assert both.nearest(of("DDDDDD")) == ("c", 1.0) == both.nearest(of("GGGGGG"))
    for damaged in (b"no archive", path.read_bytes()[:200]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"mine\.proteins\.npz: it holds no list of proteins"):
            read_known(tmp_path / "mine.safetensors")


def test_records_count_every_ligand_once_by_its_agreement() -> None:
    shares, right = [0.1, 0.2, 0.25, 0.4, 0.5, 1.0], [False, True, True, True, False, True]
    found = track_records(shares, right)
    assert [(own.ligands, own.right) for own in found] == [(2, 1), (2, 2), (2, 1)]
    assert [(own.least, own.most) for own in found] == list(pairwise(SHARES))
    assert [record_at(found, share) for share in (0.0, 0.25, 1.0)] == found
    assert record_at([], 0.5) is None
    # Clopper-Pearson's interval of 1 of 2 is (1 - sqrt(1 - α/2), sqrt(1 - α/2)).
    edge = 100 * (1 - 0.975**0.5)
    assert str(found[0]) == f"1 of 2 (50% [{edge:.0f}, {100 - edge:.0f}])"
    with pytest.raises(ValueError, match="right must be from 0 to 2, got 3"):
        TrackRecord(0.0, 0.5, 2, 3)


def test_agreement_counts_other_poses_within_two_angstroms_of_the_first() -> None:
    shift = np.array([0.0, 1.9, 2.1, -1.0], dtype=np.float32)
    positions = np.zeros((4, 3, 3), dtype=np.float32) + shift[:, None, None] * np.array([1, 0, 0], dtype=np.float32)
    one = np.arange(3)[None]
    assert [agreement(positions, first, one) for first in (0, 2)] == pytest.approx([2 / 3, 1 / 3])
    assert agreement(positions[:1], 0, one) == 0.0, "a pose does not agree with itself"


@pytest.fixture
def stored() -> StoredWeights:
    records = {"known": track_records([0.6], [True]), "unseen": track_records([0.6, 0.7, 0.1], [True, False, False])}
    return StoredWeights({"vina": 1.0}, Path("x.ranking.json"), True, records, "10 poses", 10)


def made(
    agreeing: int,
    poses: int = 10,
    *,
    failed: int = 0,
    ranked_by: tuple[str, ...] = ("vina",),
    refined: bool = True,
    whole: bool = False,
) -> Made:
    return Made(agreeing, poses, failed, ranked_by, refined, whole)


def test_what_is_said_depends_on_what_the_weights_have_seen(stored: StoredWeights) -> None:
    known = KnownProteins({"kinases": words_of(of("ACDGMWACDGMW"))})
    seen = Outlook(known, stored).sentences(of("ACDGMWA"), made(6))
    assert seen[0].startswith("Known target: ") and "(kinases, 100% of its six-residue words)" in seen[0]
    assert (
        "6 of the 9 other poses" in seen[1]
        and "1 of 1 (100% [3, 100]) ligands of targets that these weights" in seen[2]
    )
    assert len(seen) == 3
    new = Outlook(known, stored).sentences(of("WWWWWWW"), made(5))
    assert new[0].startswith("Unseen target: ") and "(none shares 1% of its six-residue words)" in new[0]
    some = Outlook(known, stored).sentences(of("ACDGMWGGGGGGGG"), made(5))[0]  # 1 of 7 words
    assert "Unseen" in some and "(the nearest, kinases, has 14% of its six-residue words)" in some
    assert "for 1 of 2 (50% [1, 99]) ligands of targets unlike all" in new[2] and "(10 poses)" in new[2]
    assert "--samples 100" in new[3] and "--from general" in new[3]


def test_where_it_is_not_known_both_records_are_said_and_those_of_other_weights_never(stored: StoredWeights) -> None:
    unsure = Outlook(None, stored).sentences(of("WWWWWWW"), made(6))
    assert "is not written down" in unsure[0]
    assert [("trained on, with" in line, "unlike all" in line) for line in unsure[2:]] == [(True, False), (False, True)]
    assert len(Outlook(None, stored._replace(own=False)).sentences(of("WWWWWWW"), made(6))) == 2
    assert len(Outlook(None, stored).sentences(of("WWWWWWW"), made(3))) == 2, "no ligand had such an agreement"


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (made(3, 5), "5 poses instead of 10"),
        (made(0, 1), "1 pose instead of 10"),
        (made(6, refined=False), "not refined"),
        (made(6, ranked_by=("consensus", "vina")), "ranked by consensus + vina"),
        (made(6, whole=True), "docked to the whole protein"),
    ],
)
def test_records_are_not_said_of_poses_that_were_made_otherwise(stored: StoredWeights, own: Made, reason: str) -> None:
    """Of four poses one agrees with itself, which is a quarter; of forty a quarter is ten."""
    said = " ".join(Outlook(None, stored).sentences(of("WWWWWWW"), own))
    assert "With such agreement" not in said
    assert f"counted on others (10 poses), and says nothing about these: {reason}." in said


def test_more_poses_and_some_that_failed_are_as_good_as_those_of_the_records(stored: StoredWeights) -> None:
    for own in (made(60, 100), made(5, 8, failed=2)):
        assert any("With such agreement" in line for line in Outlook(None, stored).sentences(of("WWWWWWW"), own))


@pytest.mark.slow
def test_the_command_line_and_the_page_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = write_weights(tmp_path / "mine.safetensors")
    folder = write_complexes(tmp_path / "complexes", "1uou") / "1uou"
    (tmp_path / "data" / "odd").mkdir(parents=True)
    (tmp_path / "data" / "odd" / "protein.pdb").write_bytes((folder / "protein.pdb").read_bytes())
    (tmp_path / "mine.yaml").write_text("embedded_weight: 0.0\n")
    assert known_proteins.main(["--data", str(tmp_path / "data"), "--weights", str(weights)]) == 0
    assert "1 clusters" in capsys.readouterr().out
    records = {"known": [own.plain() for own in track_records([0.1, 0.4, 0.6], [True, True, True])]}
    content = {"weights": {"consensus": 1.0}, "records": records, "setting": "by hand", "poses": 2}
    weights_path(weights).write_text(json.dumps(content))
    few = ["--weights", str(weights), "--nfe", "2", "--samples", "2", "--no-check"]
    out = tmp_path / "out"
    words = [str(folder / "protein.pdb"), str(folder / "ligands.sdf"), *few, "--out", str(out)]
    assert main(["dock", *words]) == 0
    printed = capsys.readouterr().out
    said = json.loads((out / "run.json").read_text())["expectation"]
    assert "Known target: these weights were trained on this protein or one alike (odd, 100%" in printed
    assert len(said) == 3 and all(sentence in printed for sentence in said)
    page = (out / "report.html").read_text()
    assert "How sure it is" in page and "1 of 1 (100% [3, 100]) ligands of targets" in page
    assert known_proteins.main(["--data", str(tmp_path / "data"), "--weights", str(tmp_path / "no.safetensors")]) == 2
