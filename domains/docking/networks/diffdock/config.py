"""What a release's `model_parameters.yml` says about the network: sizes, cutoffs, noise range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from e3nn import o3

from domains.docking.poses.diffusion import NoiseRange

LANGUAGE_MODEL_WIDTH: Final = 1280  # of ESM-2 650M


@final
@dataclass(frozen=True)
class DiffDockConfig:
    """Sizes of a DiffDock score network, under the names that its yaml file gives them.

    Attributes:
        ns, nv: scalar and vector channels.
        num_conv_layers: layers of ligand and receptor together.
        num_prot_emb_layers: layers of the ligand alone and of the receptor alone, before; none in v1.0.
        sh_lmax: highest degree of the spherical harmonics, 1 or 2.
        reduce_pseudoscalars: nv instead of ns pseudoscalars.
        sigma_embed_dim, distance_embed_dim, cross_distance_embed_dim: columns of the embeddings of time and distances.
        embedding_scale: what t is multiplied by before it is embedded.
        max_radius: Å, ligand atoms closer than this exchange messages.
        cross_max_distance: Å, end of the distance embedding of ligand and residues, and with `dynamic_max_cross` false
            their cutoff, which is 3 σ_tr + 20 Å otherwise.
        crop_beyond: Å; residues farther than 3 σ_tr + this from all ligand atoms are left out. None keeps all.
        c_alpha_max_neighbors: residues that each residue sends messages to.
        receptor_radius: Å, cutoff of that graph with `knn_only_graph` false, as in yaml files that do not name it.
        differentiate_convolutions: one weight network for each kind of edge instead of one for all.
        fixed_center_conv: the head for translation and rotation reads each atom's scalars. False in old checkpoints,
            which read those of atom number b of the batch for pose b; here they read the pose's own first atom, which
            is what the published code computes for a batch of one.
        language_model: residues carry embeddings of ESM-2.
        first_version: the network of DiffDock v1.0, whose layers are all joint ones: a convolution of its own for each
            kind of edges, and the time in the embedding of residues and of the edges among them.
        noise: range of σ per factor.
    """

    ns: int
    nv: int
    num_conv_layers: int
    num_prot_emb_layers: int
    sh_lmax: int
    sigma_embed_dim: int
    distance_embed_dim: int
    cross_distance_embed_dim: int
    reduce_pseudoscalars: bool = False
    embedding_scale: float = 1000.0
    max_radius: float = 5.0
    cross_max_distance: float = 80.0
    dynamic_max_cross: bool = False
    crop_beyond: float | None = None
    c_alpha_max_neighbors: int = 24
    receptor_radius: float = 15.0
    knn_only_graph: bool = True
    differentiate_convolutions: bool = True
    tp_weights_layers: int = 2
    fixed_center_conv: bool = True
    no_torsion: bool = False
    scale_by_sigma: bool = True
    dropout: float = 0.0
    language_model: bool = True
    first_version: bool = False
    noise: NoiseRange = field(default_factory=NoiseRange)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> DiffDockConfig:
        """From the contents of `model_parameters.yml`.

        Raises:
            ValueError: naming what is missing, of another type, or not supported.
        """
        unsupported(parameters, _ONLY)
        first_version = not any(name in parameters for name in _SINCE_1_1)
        integers = [name for name in _INTEGERS if not (first_version and name in _SINCE_1_1)]
        missing = [name for name in (*integers, *_SIGMAS) if name not in parameters]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        get = parameters.get
        crop = get("crop_beyond")
        return cls(
            **{**_FIRST_VERSION, **{name: whole(parameters, name) for name in integers}},
            first_version=first_version,
            reduce_pseudoscalars=bool(get("reduce_pseudoscalars", False)),
            embedding_scale=number(parameters, "embedding_scale", 1000.0),
            max_radius=number(parameters, "max_radius", 5.0),
            cross_max_distance=number(parameters, "cross_max_distance", 80.0),
            dynamic_max_cross=bool(get("dynamic_max_cross", False)),
            crop_beyond=None if crop is None else number(parameters, "crop_beyond", 0.0),
            c_alpha_max_neighbors=int(number(parameters, "c_alpha_max_neighbors", 24)),
            receptor_radius=number(parameters, "receptor_radius", 15.0),
            knn_only_graph=not get("not_knn_only_graph", True),
            differentiate_convolutions=not get("no_differentiate_convolutions", False),
            tp_weights_layers=int(number(parameters, "tp_weights_layers", 2)),
            fixed_center_conv=not get("not_fixed_center_conv", True),
            no_torsion=bool(get("no_torsion", False)),
            scale_by_sigma=bool(get("scale_by_sigma", True)),
            dropout=number(parameters, "dropout", 0.0),
            language_model=any("esm_embeddings" in name and value for name, value in parameters.items()),
            noise=NoiseRange(
                **{
                    factor: (
                        number(parameters, f"{factor}_sigma_min", 0.0),
                        number(parameters, f"{factor}_sigma_max", 0.0),
                    )
                    for factor in ("tr", "rot", "tor")
                }
            ),
        )

    @property
    def harmonics(self) -> o3.Irreps:
        """Irreps of the spherical harmonics of an edge's direction."""
        return o3.Irreps.spherical_harmonics(self.sh_lmax)

    def nodes(self, layer: int) -> o3.Irreps:
        """Irreps of the nodes before layer number `layer` (of the embedding and the joint ones in a row)."""
        pseudoscalars = self.nv if self.reduce_pseudoscalars else self.ns
        kinds = [(self.ns, "0e"), (self.nv, "1o"), (self.nv, "1e"), (pseudoscalars, "0o")]
        return o3.Irreps(kinds[: min(layer, 3) + 1])


_INTEGERS: Final = (
    "ns",
    "nv",
    "num_conv_layers",
    "num_prot_emb_layers",
    "sh_lmax",
    "sigma_embed_dim",
    "distance_embed_dim",
    "cross_distance_embed_dim",
)
_SINCE_1_1: Final = ("num_prot_emb_layers", "sh_lmax")
_FIRST_VERSION: Final = {"num_prot_emb_layers": 0, "sh_lmax": 2}
_SIGMAS: Final = tuple(f"{factor}_sigma_{end}" for factor in ("tr", "rot", "tor") for end in ("min", "max"))
_ONLY: Final[Mapping[str, tuple[object, ...]]] = {
    "all_atoms": (False, None),
    "use_second_order_repr": (False, None),
    "smooth_edges": (False, None),
    "odd_parity": (False, None),
    "depthwise_convolution": (False, None),
    "no_batch_norm": (False, None),
    "include_miscellaneous_atoms": (False, None),
    "no_aminoacid_identities": (False, None),
    "separate_noise_schedule": (False, None),
    "asyncronous_noise_schedule": (False, None),
    "embed_also_ligand": (True,),
    "embedding_type": ("sinusoidal",),
    "sidechain_loss_weight": (0, None),
    "backbone_loss_weight": (0, None),
    "sh_lmax": (1, 2),
}


def unsupported(parameters: Mapping[str, Any], only: Mapping[str, tuple[object, ...]]) -> None:
    """Raise ValueError where a parameter has another value than those that `only` allows."""
    found = [
        f"{name} = {parameters[name]!r}"
        for name, values in only.items()
        if parameters.get(name, values[0]) not in values
    ]
    if found:
        raise ValueError(f"options that are not supported: {', '.join(found)}")


def whole(parameters: Mapping[str, Any], name: str) -> int:
    """A whole number of at least 1; ValueError if it is none."""
    value = parameters[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def number(parameters: Mapping[str, Any], name: str, default: float) -> float:
    """A number, `default` where there is none; ValueError if it is something else."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)
