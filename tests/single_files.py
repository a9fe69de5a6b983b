"""A Stable Diffusion pipeline in one file, under the names of its authors' code, as the hub and ComfyUI have it."""

from __future__ import annotations

import re
from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def save_single_file(folder: Path, path: Path) -> Path:
    """The weights of a saved pipeline whose U-Net has a resnet a block, in one file."""
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    tensors = {f"model.diffusion_model.{_unet(name)}": value for name, value in pipe.unet.state_dict().items()}
    for name, value in pipe.vae.state_dict().items():
        own = _vae(name, len(pipe.vae.config.block_out_channels))
        tensors[f"first_stage_model.{own}"] = _as_convolution(own, value)
    for name, value in pipe.text_encoder.state_dict().items():
        own = name if name.startswith("text_model.") else f"text_model.{name}"
        tensors[f"cond_stage_model.transformer.{own}"] = value
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def _unet(name: str) -> str:
    for ours, theirs in _UNET.items():
        if name.startswith(ours + "."):
            return name.replace(ours, theirs, 1)
    block, rest = re.fullmatch(r"(mid_block|(?:down|up)_blocks\.\d+)\.(.*)", name).groups()  # type: ignore[union-attr]
    part, number, inner = re.fullmatch(r"([a-z]+)\.(\d+)\.(.*)", rest).groups()  # type: ignore[union-attr]
    if part == "resnets":
        head, tail = inner.split(".")
        inner = f"{_RESNET[head]}.{tail}"
    n = int(number)
    if block == "mid_block":
        return f"middle_block.{2 * n if part == 'resnets' else 1}.{inner}"
    which = int(block.rpartition(".")[2])
    if block.startswith("down"):
        if part == "downsamplers":
            return f"input_blocks.{2 * which + 2}.0.op.{inner.rpartition('.')[2]}"
        return f"input_blocks.{2 * which + 1 + n}.{0 if part == 'resnets' else 1}.{inner}"
    if part == "upsamplers":
        return f"output_blocks.{2 * which + 1}.{2 if which == 0 else 1}.{inner}"
    return f"output_blocks.{2 * which + n}.{0 if part == 'resnets' else 1}.{inner}"


def _vae(name: str, blocks: int) -> str:
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{blocks - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for ours, theirs in _ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    return name


def _as_convolution(name: str, value: Tensor) -> Tensor:
    """The attention of their VAE is written as convolutions of one pixel."""
    return value[..., None, None] if ".attn_1." in name and name.endswith("weight") and value.ndim == 2 else value
