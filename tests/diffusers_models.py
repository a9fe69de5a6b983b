"""Tiny pipelines with random weights, made by the real libraries and saved as their users save them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LDMPipeline,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from domains.images.diffusers.flow import DiffusersFlow
from domains.images.models.load import load
from domains.images.models.options import ModelOptions

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def load_diffusers(model: Path | str, options: ModelOptions | None = None) -> DiffusersFlow:
    """The model, and that it is one of diffusers."""
    flow = load(model, options)
    assert isinstance(flow, DiffusersFlow)
    return flow


def save_unconditional(folder: Path, **scheduler: object) -> Path:
    """A DDPM U-Net on 8x8 colour images."""
    torch.manual_seed(0)
    DDPMPipeline(_unet(3), DDPMScheduler(**scheduler)).save_pretrained(folder)
    return folder


def save_latent(folder: Path) -> Path:
    """A U-Net on the 4x4 latents of a VQ-VAE."""
    torch.manual_seed(0)
    vqvae = VQModel(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=2,
        num_vq_embeddings=16,
    )
    LDMPipeline(vqvae, _unet(3, size=4), DDPMScheduler(**STABLE_DIFFUSION)).save_pretrained(folder)
    return folder


def save_stable_diffusion(folder: Path, channels: int = 4, width: int = 16, **scheduler: object) -> Path:
    """A text-conditional U-Net on 8x8 latents of 16x16 images; `channels` are those of its input, `width` that of its
    prompts."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(_clip(width)),
        tokenizer=_clip_tokenizer(folder),
        unet=unet,
        scheduler=DDIMScheduler(**(STABLE_DIFFUSION | {"clip_sample": False, "steps_offset": 1} | scheduler)),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_sdxl(folder: Path) -> Path:
    """An SDXL U-Net on 8x8 latents of 16x16 images."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    tokenizer = _clip_tokenizer(folder)
    StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(_clip()),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(_clip()),
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**(STABLE_DIFFUSION | {"clip_sample": False, "prediction_type": "v_prediction"})),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def save_sd3(folder: Path) -> Path:
    """An SD3 transformer on 8x8 latents."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
    )
    # It answers with nothing before it is trained.
    torch.nn.init.normal_(transformer.norm_out.linear.weight, std=0.1)
    torch.nn.init.normal_(transformer.proj_out.weight, std=0.3)
    tokenizer = _clip_tokenizer(folder)
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(4, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=CLIPTextModelWithProjection(_clip()),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(_clip()),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(32),
        tokenizer_3=_t5_tokenizer(),
    ).save_pretrained(folder)
    return folder


def save_flux(folder: Path) -> Path:
    """A Flux transformer, distilled with guidance, on patches of latents of 4 channels."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(2, 2, 4),
    )
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        vae=_vae(4, scaling_factor=0.36, shift_factor=0.1),
        text_encoder=CLIPTextModel(_clip()),
        tokenizer=_clip_tokenizer(folder),
        text_encoder_2=_t5(16),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)
    return folder


def _unet(channels: int, size: int = 8) -> UNet2DModel:
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _vae(latents: int, **settings: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latents,
        norm_num_groups=2,
        **settings,
    )


def _clip(width: int = 16) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=100,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _clip_tokenizer(folder: Path) -> CLIPTokenizer:
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    files = folder.with_name(folder.name + "-words")
    files.mkdir(parents=True)
    (files / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (files / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(files / "vocab.json"), str(files / "merges.txt"), model_max_length=16)


def _t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=40, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def _t5_tokenizer() -> T5TokenizerFast:
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -1.0) for letter in LETTERS)]
    return T5TokenizerFast(tokenizer_object=Tokenizer(Unigram(words, unk_id=2)), extra_ids=0)
