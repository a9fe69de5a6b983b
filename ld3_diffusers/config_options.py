"""What becomes of every option in the configs of diffusers: honoured, or refused unless it changes nothing.

Only the options that a class takes are looked at: whatever else a config holds was saved for other classes, and
diffusers does not look at it either. An option that is not listed here is refused, as one that nobody has thought of.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

Component: TypeAlias = Any
"""A part of a diffusers pipeline; its attributes come from a config, of which mypy knows nothing."""


@final
@dataclass(frozen=True)
class Honoured:
    """What the option says is done.

    Attributes:
        where: by the network or VAE itself, or by what of ours.
    """

    where: str


@final
@dataclass(frozen=True)
class Sampling:
    """How its authors step and where: a learned grid and its solver take its place, and nothing else depends on it."""


@final
@dataclass(frozen=True)
class Only:
    """Refused unless it has one of these values.

    Attributes:
        values: that leave things as they are supported.
        why: what the others would ask for.
    """

    values: tuple[object, ...]
    why: str


Role = Honoured | Sampling | Only

_ITSELF: Final = Honoured("the module itself")
_SHAPE: Final = Honoured("the size of what is noised")
_TIME: Final = Only(("positional", None), "times that are not numbers of steps")
_SAMPLING: Final = Sampling()
_PATH: Final = Honoured("the noise path")


def _itself(*names: str) -> dict[str, Role]:
    return dict.fromkeys(names, _ITSELF)


def _sampling(*names: str) -> dict[str, Role]:
    return dict.fromkeys(names, _SAMPLING)


_UNETS: Final[Mapping[str, Role]] = {
    **_itself("center_input_sample", "down_block_types", "up_block_types", "mid_block_type", "layers_per_block"),
    **_itself("mid_block_scale_factor", "downsample_padding", "dropout", "act_fn", "attention_head_dim", "norm_eps"),
    **_itself("norm_num_groups", "resnet_time_scale_shift", "flip_sin_to_cos", "freq_shift", "time_embedding_dim"),
    **dict.fromkeys(("sample_size", "in_channels", "out_channels", "block_out_channels"), _SHAPE),
    "time_embedding_type": _TIME,
}

_VAES: Final[Mapping[str, Role]] = {
    **_itself("in_channels", "down_block_types", "up_block_types", "layers_per_block", "act_fn", "norm_num_groups"),
    **_itself("sample_size", "mid_block_add_attention"),
    **dict.fromkeys(("out_channels", "latent_channels", "block_out_channels"), _SHAPE),
    "scaling_factor": Honoured("decoding"),
    "force_upcast": Honoured("decoding"),
}

_SCHEDULERS: Final[Mapping[str, Role]] = {
    **dict.fromkeys(("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type"), _PATH),
    **dict.fromkeys(("rescale_betas_zero_snr", "use_flow_sigmas"), _PATH),
    **dict.fromkeys(("set_alpha_to_one", "final_sigmas_type"), Honoured("where grids end")),
    "variance_type": Honoured("answers of twice as many channels"),
    "trained_betas": Only((None,), "a list of betas of its own"),
    "thresholding": Only((False,), "clean predictions cut by their own quantiles"),
    "invert_sigmas": Only((False,), "times that run the other way"),
    "timestep_type": Only(("discrete",), "times that are not numbers of steps"),
    "interpolation_type": Only(("linear",), "noise levels between the steps of another kind"),
    **_sampling("clip_sample", "clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value"),
    **_sampling("timestep_spacing", "steps_offset", "skip_prk_steps", "sigma_min", "sigma_max", "lambda_min_clipped"),
    **_sampling("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"),
    **_sampling("solver_order", "solver_type", "algorithm_type", "lower_order_final", "euler_at_final", "predict_x0"),
    **_sampling("disable_corrector", "solver_p", "stochastic_sampling"),
    **_sampling("shift", "flow_shift", "use_dynamic_shifting", "time_shift_type", "base_shift", "max_shift"),
    **_sampling("base_image_seq_len", "max_image_seq_len", "shift_terminal"),
}

STEPS: Final = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers of networks that were trained on numbered steps."""

FLOWS: Final = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""Schedulers of networks that were trained on straight paths."""

OPTIONS: Final[Mapping[str, Mapping[str, Role]]] = {
    "UNet2DModel": {
        **_UNETS,
        **_itself("downsample_type", "upsample_type", "attn_norm_num_groups", "add_attention", "num_train_timesteps"),
        "class_embed_type": Only((None,), "classes that are given as times or vectors"),
        "num_class_embeds": Honoured("labels"),
    },
    "UNet2DConditionModel": {
        **_UNETS,
        **_itself("only_cross_attention", "cross_attention_dim", "transformer_layers_per_block", "upcast_attention"),
        **_itself("reverse_transformer_layers_per_block", "encoder_hid_dim", "num_attention_heads", "conv_in_kernel"),
        **_itself("use_linear_projection", "resnet_skip_time_act", "resnet_out_scale_factor", "conv_out_kernel"),
        **_itself(
            "time_embedding_act_fn", "timestep_post_act", "mid_block_only_cross_attention", "cross_attention_norm"
        ),
        **_itself("addition_time_embed_dim", "addition_embed_type_num_heads", "class_embeddings_concat"),
        "addition_embed_type": Only((None, "text_time"), "more to be told to the network"),
        "encoder_hid_dim_type": Only((None, "text_proj"), "images as prompts"),
        "class_embed_type": Only((None,), "a class beside the prompt"),
        "num_class_embeds": Only((None,), "a class, or a noise level, beside the prompt"),
        "dual_cross_attention": Only((False,), "two prompts at once"),
        "attention_type": Only(("default",), "boxes beside the prompt"),
        "time_cond_proj_dim": Honoured("the guidance that the network is given"),
        "projection_class_embeddings_input_dim": Honoured("six numbers for the image's sizes"),
    },
    "SD3Transformer2DModel": {
        **_itself("num_layers", "attention_head_dim", "num_attention_heads", "joint_attention_dim", "qk_norm"),
        **_itself("caption_projection_dim", "pooled_projection_dim", "dual_attention_layers"),
        **dict.fromkeys(("sample_size", "patch_size", "in_channels", "out_channels", "pos_embed_max_size"), _SHAPE),
    },
    "FluxTransformer2DModel": {
        **_itself("num_layers", "num_single_layers", "attention_head_dim", "num_attention_heads", "axes_dims_rope"),
        **_itself("joint_attention_dim", "pooled_projection_dim"),
        **dict.fromkeys(("in_channels", "out_channels"), _SHAPE),
        "patch_size": Only((1,), "patches of another size"),
        "guidance_embeds": Honoured("the guidance that the network is given"),
    },
    "AutoencoderKL": {
        **_VAES,
        **_itself("use_quant_conv", "use_post_quant_conv"),
        **dict.fromkeys(("shift_factor", "latents_mean", "latents_std"), Honoured("decoding")),
    },
    "VQModel": {
        **_VAES,
        **_itself("num_vq_embeddings", "vq_embed_dim", "norm_type", "lookup_from_codebook"),
    },
    "AutoencoderTiny": {
        **_itself("encoder_block_out_channels", "decoder_block_out_channels", "upsample_fn", "num_encoder_blocks"),
        **_itself("num_decoder_blocks", "latent_magnitude", "latent_shift", "in_channels", "act_fn"),
        **dict.fromkeys(("out_channels", "latent_channels"), _SHAPE),
        **dict.fromkeys(("scaling_factor", "force_upcast"), Honoured("decoding")),
        "upsampling_scaling_factor": Only((2,), "images that do not double in size from block to block"),
        "shift_factor": Honoured("decoding"),
    },
    **dict.fromkeys(
        (*STEPS, *FLOWS),
        _SCHEDULERS,
    ),
    "pipeline": {
        "force_zeros_for_empty_prompt": Honoured("the negative prompt"),
        "requires_aesthetics_score": Only((False, None), "refining images of another model, from part of the noise"),
        "requires_safety_checker": _SAMPLING,
    },
}
"""Class, or "pipeline" for what a pipeline's own config holds beside its parts -> option -> what becomes of it."""


def own_options(component: object) -> dict[str, Any]:
    """The config of a part of a pipeline, as far as its class takes it."""
    config: Mapping[str, Any] = getattr(component, "config", {})
    taken = inspect.signature(type(component).__init__).parameters
    return {name: config[name] for name in taken if name in config}


def check_options(kind: str, config: Mapping[str, Any]) -> None:
    """Do nothing if all of these options are honoured.

    Args:
        kind: a key of `OPTIONS`.
        config: option -> value.

    Raises:
        ValueError: naming the option that is not supported, or that is not known here.
    """
    for option, value in config.items():
        role = OPTIONS[kind].get(option)
        if role is None:
            raise ValueError(f"{kind} has an option that is not known here: {option} = {value!r}")
        if isinstance(role, Only) and value not in role.values:
            supported = " or ".join(map(repr, role.values))
            raise ValueError(f"{kind} with {option} = {value!r} is not supported ({role.why}), only {supported}")
