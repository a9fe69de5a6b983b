"""A tiny random ESM-2 as Hugging Face stores it, and a release of DiffDock with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from diffdock_reference import parameters, state
from transformers import EsmConfig, EsmModel, EsmTokenizer

from domains.docking.networks.diffdock import ConfidenceModel
from domains.docking.networks.diffdock.confidence import ConfidenceConfig
from domains.docking.networks.diffdock.language_model import NAME

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
