"""What weights were trained on, by the settings that lie beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from domains.docking.networks.shipped import SHIPPED
from domains.docking.structures.text_files import read_names
from domains.docking.training.data import SPLITS
from domains.docking.training.trained_on import trained_on
from domains.errors import InputError

LIGANDS, TARGETS, CLUSTERS = (
    frozenset(read_names(SPLITS / f"validation_{name}.txt")) for name in ("ligands", "targets", "clusters")
)


def test_the_shipped_weights_say_what_they_have_seen() -> None:
    demo, general = trained_on(SHIPPED["demo"]), trained_on(SHIPPED["general"])
    assert demo is not None and general is not None
    assert (demo.embedded, demo.held_out_ligands, demo.unseen_targets) == (True, LIGANDS, TARGETS)
    assert (general.embedded, general.held_out_ligands, general.unseen_targets) == (False, LIGANDS, CLUSTERS)


def test_a_training_says_it_in_its_folder_and_nobody_else_does(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("embedded_weight: 1.0\n")
    found = trained_on(tmp_path / "weights.safetensors")
    assert found is not None and found.embedded
    assert trained_on(tmp_path / "other.safetensors") is None
    assert trained_on(tmp_path) is None


def test_what_weights_start_from_counts(tmp_path: Path) -> None:
    """A target is unseen if neither training has seen it; of a start that nobody knows, nothing is known."""
    (tmp_path / "targets.txt").write_text("waterset__urokinase\nmine\n")
    own = f"validation_targets: {tmp_path / 'targets.txt'}\n"
    for start, seen in (("demo", True), ("general", False)):
        (tmp_path / "mine.yaml").write_text(f"start: {start}\n{own}")
        found = trained_on(tmp_path / "mine.safetensors")
        assert found is not None and found.embedded == seen
        assert found.unseen_targets == {"waterset__urokinase"}
    (tmp_path / "mine.yaml").write_text(f"start: {tmp_path / 'unknown.safetensors'}\n{own}")
    assert trained_on(tmp_path / "mine.safetensors") is None


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n", "it holds no settings"), ("validation_ligands: no.txt\n", "no")]
)
def test_settings_that_cannot_be_used_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        trained_on(tmp_path / "mine.safetensors")
