"""A tiny random ESM-2 as Hugging Face stores it, and a release of DiffDock with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from diffdock_reference import parameters, state
from torch import nn
from transformers import EsmConfig, EsmModel, EsmTokenizer

from domains.docking.networks.diffdock import ConfidenceModel, DiffDockConfig, DiffDockScoreModel
from domains.docking.networks.diffdock.confidence import ConfidenceConfig
from domains.docking.networks.diffdock.language_model import NAME
from domains.docking.networks.diffdock.release import CONFIDENCE_WEIGHTS, SCORE_WEIGHTS

_TOKENS = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
CONFIDENCE: dict[str, Any] = {
    "all_atoms": True,
    "ns": 4,
    "nv": 2,
    "num_conv_layers": 3,
    "sigma_embed_dim": 8,
    "distance_embed_dim": 8,
    "cross_distance_embed_dim": 8,
    "dynamic_max_cross": True,
    "rmsd_classification_cutoff": [2.0],
    "esm_embeddings_path": "somewhere",
}


def write_language_model(folder: Path, width: int = 1280) -> Path:
    """The folder FOLDER/esm2_t33_650M_UR50D with one layer of random weights."""
    place = folder / NAME
    place.mkdir(parents=True)
    (place / "vocab.txt").write_text("\n".join(_TOKENS.split()))
    torch.manual_seed(3)
    config = EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=16,
        max_position_embeddings=1026,
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
    )
    EsmModel(config, add_pooling_layer=False).save_pretrained(place)
    EsmTokenizer(str(place / "vocab.txt")).save_pretrained(place)
    return place


def write_release(folder: Path, *, confidence: bool = True, **options: object) -> Path:
    """A folder such as workdir/v1.1 with small networks of random weights; an option of None is left out."""
    score = folder / "v1.1" / "score_model"
    score.mkdir(parents=True)
    (score / "model_parameters.yml").write_text(yaml.safe_dump({**parameters("small"), **options}))
    torch.save(state("small_ode"), score / "best_ema_inference_epoch_model.pt")
    if confidence:
        place = folder / "v1.1" / "confidence_model"
        place.mkdir()
        (place / "model_parameters.yml").write_text(yaml.safe_dump(CONFIDENCE))
        torch.manual_seed(4)
        model = ConfidenceModel(ConfidenceConfig.from_parameters(CONFIDENCE))
        torch.save(model.state_dict(), place / "best_model_epoch75.pt")
    return folder / "v1.1"


def write_release_of_published_size(folder: Path) -> Path:
    """A folder such as workdir/v1.1 with DiffDock-L and its confidence model at their sizes, of random weights."""
    score = {
        **parameters("small"),
        "ns": 48,
        "nv": 10,
        "num_conv_layers": 11,
        "num_prot_emb_layers": 3,
        "sh_lmax": 2,
        "reduce_pseudoscalars": True,
        "sigma_embed_dim": 64,
        "distance_embed_dim": 64,
        "cross_distance_embed_dim": 64,
    }
    sizes = {"ns": 24, "nv": 6, "num_conv_layers": 5}
    embeddings = dict.fromkeys(("sigma_embed_dim", "distance_embed_dim", "cross_distance_embed_dim"), 32)
    confidence = {**CONFIDENCE, **sizes, **embeddings, "embedding_scale": 10000}
    torch.manual_seed(5)
    networks: dict[str, tuple[dict[str, Any], nn.Module, str]] = {
        "score_model": (score, DiffDockScoreModel(DiffDockConfig.from_parameters(score)), SCORE_WEIGHTS[0]),
        "confidence_model": (
            confidence,
            ConfidenceModel(ConfidenceConfig.from_parameters(confidence)),
            CONFIDENCE_WEIGHTS[0],
        ),
    }
    for name, (values, network, file) in networks.items():
        place = folder / "v1.1" / name
        place.mkdir(parents=True)
        (place / "model_parameters.yml").write_text(yaml.safe_dump(values))
        torch.save(network.state_dict(), place / file)
    return folder / "v1.1"
