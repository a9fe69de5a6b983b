"""Networks of the EDM paper: sizes, layers, and files that are read without being run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from published_edm import published_denoiser, randomised, their_module, tiny, write_pickle

from domains.errors import InputError
from domains.images.convert import main
from domains.images.edm.denoiser import DenoiserConfig, edm_denoiser
from domains.images.edm.layers import Block, Conv, PositionalEmbedding
from domains.images.edm.network import DDPMPP, NCSNPP, Network, NetworkConfig
from domains.images.edm.published import read_published
from domains.images.edm.weights import load_edm, published_names
from domains.images.flow import DenoiserFlow
from domains.images.models.load import load
from domains.images.models.options import ModelOptions
from domains.images.models.preconditioning import ve_coefficients, vp_coefficients
from ld3 import VPLinear
from ld3.testing import check_flow

F64 = torch.float64
TINY = [
    tiny(),
    tiny(classes=3),
    tiny(embedding="fourier", embedding_width=2, encoder="residual", taps=(1, 3, 3, 1)),
]


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        networks = {name: Network(config) for name, config in (("DDPM++", DDPMPP), ("NCSN++", NCSNPP))}
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts["DDPM++"] == 55_733_891  # "55.7 M" in the paper
    assert round(counts["NCSN++"] / 1e6, 1) == 56.4


def test_tensors_have_the_published_names_and_shapes() -> None:
    """Sizes as the authors' training prints them for a network of width 128."""
    with torch.device("meta"):
        network = Network(DDPMPP)
    layers = {"enc": network.enc, "dec": network.dec}
    parameters = {
        "enc.32x32_conv": 3_584,
        "enc.8x8_down": 1_378_304,
        "enc.8x8_block0": 1_312_512,
        "dec.8x8_in0": 1_576_192,
        "dec.8x8_in1": 1_312_512,
        "dec.8x8_block0": 2_034_176,
        "dec.16x16_up": 1_378_304,
        "dec.32x32_aux_norm": 512,
    }
    for name, count in parameters.items():
        part, layer = name.split(".")
        assert sum(p.numel() for p in layers[part][layer].parameters()) == count, name
    state = network.state_dict()
    assert state["map_augment.weight"].shape == (128, 9)
    assert state["map_layer0.weight"].shape == (512, 128)
    assert state["enc.16x16_block0.qkv.weight"].shape == (768, 256, 1, 1)
    assert state["enc.32x32_block0.affine.weight"].shape == (256, 512)
    assert state["enc.16x16_down.conv0.resample_filter"].shape == (1, 1, 2, 2)
    assert state["dec.32x32_aux_conv.weight"].shape == (3, 256, 3, 3)
    assert "map_noise.freqs" not in state
    assert not any("resample_filter" in name for name in state if "_up" not in name and "_down" not in name)


def test_short_filters_are_nearest_neighbours_and_averages() -> None:
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(Conv(3, 3, 0, up=True)(x), F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(Conv(3, 3, 0, down=True)(x), F.avg_pool2d(x, 2))


def test_long_filters_are_triangles() -> None:
    """(1, 3, 3, 1) is the average of two neighbours, averaged again with weights 1, 2, 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    x = torch.randn(1, 1, 16, 16)
    padded = F.pad(x, (1, 1, 1, 1))
    rows = torch.stack([taps[i] * padded[:, :, i : i + 15 : 2] for i in range(4)]).sum(0)
    both = torch.stack([taps[i] * rows[..., i : i + 15 : 2] for i in range(4)]).sum(0)
    torch.testing.assert_close(Conv(1, 1, 0, (1, 3, 3, 1), down=True)(x), both)
    flat = Conv(1, 1, 0, (1, 3, 3, 1), up=True)(torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], torch.ones(1, 1, 14, 14))


def test_filtering_last_sees_what_the_convolution_makes_of_the_border() -> None:
    conv = Conv(2, 3, 3, (1, 3, 3, 1), down=True, filter_last=True)
    torch.nn.init.normal_(conv.bias)  # type: ignore[arg-type]
    x = torch.randn(1, 2, 8, 8)
    wide = F.conv2d(F.pad(x, (2, 2, 2, 2)), conv.weight)  # type: ignore[arg-type]
    filtered = F.conv2d(wide.transpose(0, 1), conv.resample_filter, stride=2).transpose(0, 1)
    torch.testing.assert_close(conv(x), filtered + conv.bias[:, None, None])  # type: ignore[index]


def test_attention_is_scaled_dot_product_attention() -> None:
    block = Block(8, 8, 4, 0.0, (1, 1), attention=True)
    x = torch.randn(2, 8, 4, 4)
    q, k, v = block.qkv(block.norm2(x)).reshape(2, 8, 3, 16).permute(2, 0, 3, 1)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 8, 4, 4)
    torch.testing.assert_close(block._attended(x), expected)


def test_positions_run_from_the_noise_itself_to_a_ten_thousandth() -> None:
    embedded = PositionalEmbedding(8)(torch.tensor([2.0], dtype=F64))[0]
    torch.testing.assert_close(embedded[[0, 3]], torch.sin(torch.tensor([2.0, 2e-4], dtype=F64)))
    torch.testing.assert_close(embedded[[4, 7]], torch.cos(torch.tensor([2.0, 2e-4], dtype=F64)))


def test_vp_networks_are_told_the_step_at_which_their_path_has_that_noise() -> None:
    sigma = torch.tensor([0.01, 1.0, 50.0], dtype=F64)
    skip, out, scale, noise = vp_coefficients(sigma, 0.5)
    torch.testing.assert_close(noise, 999 * VPLinear(0.1, 20.0).time(-sigma.log()))
    torch.testing.assert_close(scale, VPLinear(0.1, 20.0).alpha(noise / 999))
    torch.testing.assert_close(skip - out, 1 + sigma)
    assert ve_coefficients(sigma, 0.5)[3][1].item() == pytest.approx(-0.6931471805599453)


@pytest.mark.parametrize("config", TINY, ids=["ddpm++", "classes", "ncsn++"])
@pytest.mark.parametrize("kind", ["EDMPrecond", "VPPrecond"])
def test_pickles_are_converted_without_being_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: NetworkConfig, kind: str
) -> None:
    denoiser = randomised(edm_denoiser(DenoiserConfig(config, kind, 0.7)))
    write_pickle(tmp_path / "net.pkl", denoiser, tmp_path / "sprung")
    assert main([str(tmp_path / "net.pkl"), str(tmp_path / "net.safetensors")]) == 0
    assert not (tmp_path / "sprung").exists()
    assert f"{kind}, 3 x 8 x 8" in capsys.readouterr().out

    loaded = load_edm(tmp_path / "net.safetensors")
    assert loaded.network.config == config
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor(1.3)
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        assert torch.equal(loaded(x, sigma, labels), denoiser(x, sigma, labels))


def test_the_trap_works(tmp_path: Path) -> None:
    """Read the usual way, the file of the test above does run."""
    write_pickle(tmp_path / "net.pkl", edm_denoiser(DenoiserConfig(tiny())), tmp_path / "sprung")
    with pytest.raises((SystemExit, ModuleNotFoundError)):
        pickle.loads((tmp_path / "net.pkl").read_bytes())
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(_trap(tmp_path / "sprung")))
    pickle.loads((tmp_path / "trap.pkl").read_bytes())
    assert (tmp_path / "sprung").exists()


def _trap(path: Path) -> object:
    from published_edm import Trap

    return Trap(path)


def test_files_that_cannot_be_converted_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "net.pkl", str(tmp_path / "net.safetensors")

    def refusal(target: str = out) -> str:
        assert main([str(source), target]) == 2
        (line,) = capsys.readouterr().err.strip().split("\n")
        return line

    assert "cannot be read: No such file" in refusal()
    source.write_bytes(b"no pickle")
    assert "is no pickle of a network" in refusal()
    source.write_bytes(pickle.dumps({"net": 3}))
    assert f"{source}: there is no network called 'ema'" in refusal()
    source.write_bytes(pickle.dumps([1]))
    assert "it holds a list" in refusal()
    denoiser = edm_denoiser(DenoiserConfig(tiny()))
    write_pickle(source, denoiser, tmp_path / "sprung", kind="iDDPMPrecond")
    assert "one of EDMPrecond, VPPrecond, VEPrecond, got iDDPMPrecond" in refusal()
    del denoiser.network.enc["8x8_conv"]
    write_pickle(source, denoiser, tmp_path / "sprung")
    assert "lacks 2 tensors, first of all model.enc.8x8_conv.bias" in refusal()
    assert "must end in .safetensors" in refusal(str(tmp_path / "net.pt"))
    assert not (tmp_path / "net.safetensors").exists()


Change = Callable[[Any], object]
INNER: list[tuple[str, Change, str]] = [
    ("sigma", lambda net: setattr(net, "sigma_data", None), "sigma_data must be a positive number, got None"),
    ("sigma 0", lambda net: setattr(net, "sigma_data", 0.0), "sigma_data must be a positive number, got 0.0"),
    ("modules", lambda net: net.__dict__.update(_modules=None), "_modules must be a dictionary"),
    ("model", lambda net: net.__dict__.update(_modules={"model": 3}), "got none"),
    ("parameters", lambda net: net.model.__dict__.update(_parameters=[1]), "model._parameters must be a dictionary"),
    ("keys", lambda net: net.model.__dict__.update(_buffers={1: torch.ones(1)}), "got other keys"),
    ("hidden", lambda net: net.__dict__.update(_non_persistent_buffers_set=None), "must be a set, got NoneType"),
    ("arguments", lambda net: net.model.__dict__.update(_init_kwargs=None), "_init_kwargs must be a dictionary"),
    ("itself", lambda net: net.model._modules.update(again=net.model), "holds itself"),
]
ARGUMENTS: list[tuple[str, object, str]] = [
    ("model_channels", 2, "width must be a whole number >= 4, got 2"),
    ("model_channels", 6, "multiple of their 4 groups, got 18"),
    ("model_channels", "128", "got '128'"),
    ("channel_mult", None, "multipliers must hold whole numbers"),
    ("channel_mult", [], "at least one"),
    ("resample_filter", [1, 2, 1], "even number"),
    ("embedding_type", "zzz", "embedding must be one of positional, fourier, got 'zzz'"),
    ("encoder_type", torch.ones(2), "encoder must be one of"),
    ("decoder_type", torch.ones(2), "decoder_type must be 'standard'"),
    ("dropout", None, "dropout must be a number"),
    ("img_resolution", 9, "cannot be halved"),
    ("label_dim", -1, "classes must be a whole number >= 0, got -1"),
]


def _replace_argument(name: str, value: object) -> Change:
    return lambda net: net.model._init_kwargs.update({name: value})


@pytest.mark.parametrize(
    ("change", "why"),
    [(change, why) for _, change, why in INNER]
    + [(_replace_argument(name, value), why) for name, value, why in ARGUMENTS],
    ids=[name for name, *_ in INNER] + [f"{name}-{i}" for i, (name, *_) in enumerate(ARGUMENTS)],
)
def test_pickles_of_broken_networks_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change, why: str
) -> None:
    source = tmp_path / "net.pkl"
    denoiser = edm_denoiser(DenoiserConfig(tiny()))
    with their_module():
        network = published_denoiser(denoiser)
        change(network)
        source.write_bytes(pickle.dumps({"ema": network}))
    assert main([str(source), str(tmp_path / "net.safetensors")]) == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert line.startswith(f"error: {source}: ")
    assert why in line


def test_pickles_are_not_weights(tmp_path: Path) -> None:
    write_pickle(tmp_path / "net.pkl", edm_denoiser(DenoiserConfig(tiny())), tmp_path / "sprung")
    with pytest.raises(InputError, match=r"a pickle.*python -m domains\.images\.convert"):
        load_edm(tmp_path / "net.pkl")


def test_tensors_are_read_in_float32_wherever_they_were_saved_from(tmp_path: Path) -> None:
    denoiser = edm_denoiser(DenoiserConfig(tiny())).half()
    write_pickle(tmp_path / "net.pkl", denoiser, tmp_path / "sprung")
    tensors = read_published(tmp_path / "net.pkl").tensors
    assert {value.dtype for value in tensors.values()} == {torch.float32}
    assert tensors.keys() == published_names(denoiser).keys()


@pytest.mark.parametrize("config", TINY[1:], ids=["classes", "ncsn++"])
def test_flow_keeps_the_laws(config: NetworkConfig) -> None:
    denoiser = randomised(edm_denoiser(DenoiserConfig(config)).double())
    flow = DenoiserFlow(denoiser, (2, 0) if config.classes else (None,))
    check_flow(flow, torch.Generator().manual_seed(0), trained=False)
    with torch.no_grad():
        x = flow.prior(2, torch.Generator().manual_seed(0))
        step = flow.displacement(x, {"x": torch.tensor(0.0, dtype=F64)})["x"]
        torch.testing.assert_close(x.x + step, denoiser(x.x, torch.tensor(1.0, dtype=F64), torch.tensor([2, 0])))


def test_converted_files_are_models_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "net.safetensors")
    denoiser = randomised(edm_denoiser(DenoiserConfig(tiny(classes=3))))
    write_pickle(tmp_path / "net.pkl", denoiser, tmp_path / "sprung")
    assert main([str(tmp_path / "net.pkl"), path]) == 0
    flow = load(path, ModelOptions())
    assert flow.fingerprint() == DenoiserFlow(denoiser, (0, 1, 2)).fingerprint()
    for options, why in (
        (ModelOptions(labels=(3,)), "from 0 to 2, got 3"),
        (ModelOptions(guidance=2.0), "no guidance"),
        (ModelOptions(prompts=("a cat",)), "not prompts"),
    ):
        with pytest.raises(InputError, match=why):
            load(path, options)
    with pytest.raises(InputError, match=r"python -m domains\.images\.convert"):
        load(str(tmp_path / "net.pkl"), ModelOptions())


def test_labels_that_do_not_fit_are_refused() -> None:
    with_classes, without = (edm_denoiser(DenoiserConfig(config)) for config in (tiny(classes=3), tiny()))
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        DenoiserFlow(with_classes, (3,))
    with pytest.raises(ValueError, match="at least one class"):
        DenoiserFlow(with_classes, ())
    with pytest.raises(ValueError, match="got 0"):
        DenoiserFlow(without, (0,))
    with pytest.raises(ValueError, match="from 0 to 2, got None"):
        DenoiserFlow(with_classes, (None,))
