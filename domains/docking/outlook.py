"""What can be expected of a ligand's poses: whether the protein is new to the weights, and how often that went well."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

from domains.docking.networks.weights import DockingModel
from domains.docking.ranking.stored_weights import StoredWeights, stored_weights
from domains.docking.ranking.track_record import record_at
from domains.docking.structures.protein import Protein
from domains.docking.training.known_proteins import KnownProteins, Nearest, read_known

KNOWN: Final = "known"
UNSEEN: Final = "unseen"

_SOME: Final = 0.01

_MEANS: Final = {
    KNOWN: "targets that these weights were trained on, with other ligands",
    UNSEEN: "targets unlike all that these weights were trained on",
}


class Made(NamedTuple):
    """What of the poses of a ligand is compared with those that records were counted on.

    agreeing  of the other poses, how many ended within 2 Å of the first.
    poses     how many there are.
    failed    that were docked beside them, and failed.
    ranked_by what their scores are made of.
    refined   whether they were.
    whole     whether the pocket is the whole protein.
    """

    agreeing: int
    poses: int
    failed: int
    ranked_by: Collection[str]
    refined: bool
    whole: bool


@final
@dataclass(frozen=True, eq=False)
class Outlook:
    """Knows what a model was trained on, and how often its first poses were right.

    Attributes:
        known: proteins of its training; None where nobody has written them down.
        stored: what was chosen and counted for its weights.
    """

    known: KnownProteins | None
    stored: StoredWeights
    _nearest: dict[str, Nearest | None] = field(default_factory=dict)

    def familiarity(self, protein: Protein) -> tuple[str | None, str]:
        """ "known", "unseen" or None for not known here, and that in words."""
        if self.known is None:
            return None, "Which proteins these weights were trained on is not written down beside them."
        key = str(protein.path)
        if key not in self._nearest:
            self._nearest[key] = self.known.nearest(protein)
        nearest = self._nearest[key]
        if nearest is None:
            return None, "The protein is too short to say whether these weights were trained on one like it."
        share = f"{100 * nearest.share:.0f}% of its six-residue words"
        if nearest.is_known:
            return (
                KNOWN,
                f"Known target: these weights were trained on this protein or one alike ({nearest.name}, {share}).",
            )
        none = "none shares 1% of its six-residue words"
        near = f"the nearest, {nearest.name}, has {share}" if nearest.share >= _SOME else none
        return UNSEEN, f"Unseen target: these weights were trained on no protein like this one ({near})."

    def sentences(self, protein: Protein, made: Made) -> tuple[str, ...]:
        """What a person should know about the first pose of a ligand."""
        kind, familiar = self.familiarity(protein)
        others = made.poses - 1
        found = [familiar]
        if others:
            found.append(f"{made.agreeing} of the {others} other poses ended within 2 Å of the first one.")
        records = self.stored.records if self.stored.own else {}
        differs = self._differs(made)
        if records and differs:
            found.append(
                f"How often first poses are right was counted on others ({self.stored.setting}), and says nothing "
                f"about these: {', '.join(differs)}."
            )
        for one in () if differs else (kind,) if kind else (KNOWN, UNSEEN):
            record = record_at(records.get(one, ()), made.agreeing / max(1, others))
            if record is not None and record.ligands:
                found.append(
                    f"With such agreement the first pose was within 2 Å of the known one for {record} ligands of "
                    f"{_MEANS[one]} ({self.stored.setting})."
                )
        if kind == UNSEEN:
            found.append(
                "Take the pose for a proposal: look at the other clusters too, dock more poses (--samples 100), or "
                "fine-tune on known poses of this protein (python -m domains.docking.train --from general)."
            )
        return tuple(found)

    def _differs(self, made: Made) -> list[str]:
        """Why the records say nothing about such poses; more of them are no reason. Evaluations, kind of pocket,
        conformers, restraint and steps of refinement are not compared."""
        docked = made.poses + made.failed
        reasons = {
            f"{docked} pose{'s' * (docked > 1)} instead of {self.stored.poses}": docked < self.stored.poses,
            "not refined": not made.refined,
            f"ranked by {' + '.join(made.ranked_by)}": set(made.ranked_by) != set(self.stored.weights),
            "docked to the whole protein": made.whole,
        }
        return [reason for reason, holds in reasons.items() if holds]


def outlook_of(model: DockingModel) -> Outlook:
    """What lies beside a model's weights.

    Raises:
        InputError: if one of these files cannot be used.
    """
    return Outlook(read_known(model.path), stored_weights(model.path))
