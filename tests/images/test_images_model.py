"""The digits model: EDM's preconditioning in closed form, guidance, the flow's laws, Fréchet distances, the data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from image_models import SMALL, small_denoiser, write_small
from safetensors.torch import load_file, save_file
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits

from domains.errors import InputError
from domains.images.conditioned import guided
from domains.images.flow import DenoiserFlow
from domains.images.metrics.frechet import Gaussian, frechet_distance, gaussian
from domains.images.metrics.quality import DigitsQuality
from domains.images.models import digits
from domains.images.models.classifier import Classifier, accuracy, load_classifier
from domains.images.models.denoiser import Denoiser
from domains.images.models.digits import Digits
from domains.images.models.load import load
from domains.images.models.options import ModelOptions
from domains.images.models.preconditioning import NoiseDistribution, c_in, c_noise, c_out, c_skip, loss_weight
from domains.images.models.unet import UNet, UNetConfig
from domains.images.models.weights import DIGITS_WEIGHTS, load_weights
from domains.images.training.run import denoising_loss
from ld3 import HAND_MADE, get_solver, integrate
from ld3.testing import check_flow

CPU = torch.device("cpu")
SIGMA = torch.tensor([0.002, 0.1, 0.75, 3.0, 80.0], dtype=torch.float64)


def test_preconditioning_is_the_published_one() -> None:
    """Table 1 of arXiv 2206.00364, by hand."""
    for sigma in SIGMA.tolist():
        s, d = torch.tensor(sigma, dtype=torch.float64), 0.75
        total = sigma**2 + d**2
        assert c_skip(s, d).item() == pytest.approx(d**2 / total)
        assert c_out(s, d).item() == pytest.approx(sigma * d / math.sqrt(total))
        assert c_in(s, d).item() == pytest.approx(1 / math.sqrt(total))
        assert c_noise(s).item() == pytest.approx(math.log(sigma) / 4)
        assert loss_weight(s, d).item() == pytest.approx(1 / c_out(s, d).item() ** 2)


def test_preconditioning_gives_unit_variance_to_inputs_and_targets() -> None:
    """Its purpose (appendix B.6): Var[c_in x] = 1, and Var[(x_0 - c_skip x)/c_out] = 1."""
    generator = torch.Generator().manual_seed(0)
    clean = 0.75 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    for sigma in SIGMA:
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        assert (c_in(sigma, 0.75) * noisy).var().item() == pytest.approx(1, abs=0.02)
        target = (clean - c_skip(sigma, 0.75) * noisy) / c_out(sigma, 0.75)
        assert target.var().item() == pytest.approx(1, abs=0.02)


def test_a_network_that_answers_zero_is_the_best_linear_denoiser() -> None:
    """Untrained, the last layer is zero: D = c_skip x, and the loss of Gaussian data is 1 at every level."""
    denoiser = Denoiser(UNet(SMALL), 0.75).eval()
    generator = torch.Generator().manual_seed(0)
    clean = 0.75 * torch.randn(4000, 1, 8, 8, generator=generator)
    label = torch.zeros(4000, dtype=torch.int64)
    x = torch.randn(3, 1, 8, 8, generator=generator)
    torch.testing.assert_close(denoiser(x, torch.tensor(0.5), label[:3]), 0.75**2 / (0.25 + 0.75**2) * x)
    with torch.no_grad():
        loss = denoising_loss(denoiser, clean, label, NoiseDistribution(), generator)
    assert loss.item() == pytest.approx(1, abs=0.02)


def test_noise_levels_of_training_are_log_normal() -> None:
    drawn = NoiseDistribution(-1.0, 0.5).draw(100_000, torch.Generator().manual_seed(0)).log()
    assert drawn.mean().item() == pytest.approx(-1, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.01)


def test_denoiser_takes_one_level_or_one_an_image() -> None:
    denoiser = small_denoiser()
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 3, 9, denoiser.network.classes])
    sigma = torch.tensor([0.1, 0.5, 2.0, 10.0])
    together = denoiser(x, sigma, label)
    for k in range(4):
        alone = denoiser(x[k : k + 1], sigma[k], label[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone)


def test_every_level_and_label_reaches_the_network() -> None:
    network = small_denoiser().network
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(11, -1, -1, -1)
    by_label = network(x, torch.zeros(11), torch.arange(11)).flatten(1)
    by_level = network(x, torch.linspace(-1.5, 1, 11), torch.zeros(11, dtype=torch.int64)).flatten(1)
    for answers in (by_label, by_level):
        assert torch.pdist(answers).min() > 1e-4


def test_unet_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="resolution 6 cannot be halved 2 times"):
        UNet(UNetConfig(resolution=6, multipliers=(1, 1, 1)))
    with pytest.raises(ValueError, match="heads must divide 32 channels, got 3"):
        UNet(UNetConfig(channels=16, heads=3))
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        UNet(UNetConfig(channels=0))
    assert UNet(UNetConfig(resolution=12, image_channels=3, classes=0, channels=8))(
        torch.zeros(2, 3, 12, 12), torch.zeros(2), None
    ).shape == (2, 3, 12, 12)


def test_guidance_extrapolates() -> None:
    c, u = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])
    assert guided(c, u, 1.0).tolist() == c.tolist()
    assert guided(c, u, 0.0).tolist() == u.tolist()
    assert guided(c, u, 3.0).tolist() == [3.0, -2.0]  # u + 3 (c - u)


def test_guided_flow_is_built_from_two_plain_ones() -> None:
    """ε is affine in D, so that ε_w = ε_u + w (ε_c - ε_u)."""
    denoiser = small_denoiser()
    conditional, unconditional = DenoiserFlow(denoiser, (3,)), DenoiserFlow(denoiser, (None,))
    x = conditional.prior(5, torch.Generator().manual_seed(0))
    for level in (-3.0, 0.0, 2.0):
        levels = {"x": torch.tensor(level, dtype=torch.float64)}
        c, u = (flow.displacement(x, levels)["x"] for flow in (conditional, unconditional))
        found = DenoiserFlow(denoiser, (3,), guidance=2.5).displacement(x, levels)["x"]
        torch.testing.assert_close(found, u + 2.5 * (c - u), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(c, u)


def test_displacement_leads_to_the_denoised_image() -> None:
    denoiser = small_denoiser()
    flow = DenoiserFlow(denoiser, (7, None))
    x = flow.prior(4, torch.Generator().manual_seed(0))
    assert x.condition.tolist() == [0, 1, 0, 1]
    sigma = 1.5
    arrived = flow.retract(x, flow.displacement(x, {"x": -torch.tensor(sigma, dtype=torch.float64).log()}))
    label = torch.tensor([7, denoiser.network.classes, 7, denoiser.network.classes])
    torch.testing.assert_close(arrived.x, denoiser(x.x, torch.tensor(sigma), label), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_flow_keeps_the_laws(guidance: float) -> None:
    flow = DenoiserFlow(small_denoiser().double(), (0, 4), guidance)
    check_flow(flow, torch.Generator().manual_seed(0), trained=False)


def test_fingerprints_differ_by_all_that_changes_a_sample() -> None:
    flows = [
        DenoiserFlow(small_denoiser(0)),
        DenoiserFlow(small_denoiser(1)),
        DenoiserFlow(small_denoiser(0), (1,)),
        DenoiserFlow(small_denoiser(0), (2,)),
        DenoiserFlow(small_denoiser(0), (2,), 2.0),
        DenoiserFlow(small_denoiser(0), (2,), 2.0, precision=torch.bfloat16),
    ]
    assert len({flow.fingerprint() for flow in flows}) == len(flows)
    assert DenoiserFlow(small_denoiser(0)).fingerprint() == flows[0].fingerprint()


def test_autocast_changes_the_arithmetic_and_not_the_type() -> None:
    plain, fast = (DenoiserFlow(small_denoiser(), (1,), precision=p) for p in (None, torch.bfloat16))
    x = plain.prior(3, torch.Generator().manual_seed(0))
    levels = {"x": torch.tensor(0.3, dtype=torch.float64)}
    exact, rounded = (flow.displacement(x, levels)["x"] for flow in (plain, fast))
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.05, atol=0.05)


def test_labels_and_guidance_that_cannot_be_are_refused() -> None:
    denoiser = small_denoiser()
    with pytest.raises(ValueError, match="labels must be None or from 0 to 9, got 10"):
        DenoiserFlow(denoiser, (10,))
    with pytest.raises(ValueError, match="labels must name at least one class"):
        DenoiserFlow(denoiser, ())
    with pytest.raises(ValueError, match=r"where no class is asked for, got 2\.0"):
        DenoiserFlow(denoiser, (None,), 2.0)


def test_weights_come_back_in_half_precision(tmp_path: Path) -> None:
    path = write_small(tmp_path / "small.safetensors")
    read, wrote = load_weights(path).state_dict(), small_denoiser().state_dict()
    for name, value in wrote.items():
        torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-6)
    tensors = load_file(path)
    save_file({name: value for name, value in tensors.items() if "last" not in name}, path, {"format": "ld3-digits-1"})
    with pytest.raises(InputError, match="its description of the model cannot be used"):
        load_weights(path)


def test_a_file_that_is_no_model_gets_one_line(tmp_path: Path) -> None:
    options = ModelOptions()
    with pytest.raises(InputError, match="there is no such weights file"):
        load(str(tmp_path / "missing.safetensors"), options)
    torch.save({}, tmp_path / "pickle.safetensors")
    with pytest.raises(InputError, match="a pickle"):
        load(str(tmp_path / "pickle.safetensors"), options)
    small = str(write_small(tmp_path / "small.safetensors"))
    with pytest.raises(InputError, match="it takes class labels, not prompts"):
        load(small, ModelOptions(prompts=("a cat",)))
    with pytest.raises(InputError, match="from 0 to 9, got 12"):
        load(small, ModelOptions(labels=(12,)))
    with pytest.raises(InputError, match="guidance must be 1 where no class is asked for"):
        load(small, ModelOptions(labels=(None,), guidance=2.0))


def test_frechet_distance_of_commuting_covariances() -> None:
    """For diagonal ones the root is elementwise: |Δμ|² + Σ (√a - √b)²."""
    a = Gaussian(torch.tensor([1.0, 0.0]).double(), torch.diag(torch.tensor([4.0, 9.0])).double())
    b = Gaussian(torch.tensor([0.0, 2.0]).double(), torch.diag(torch.tensor([1.0, 0.0])).double())
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 0) ** 2)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6) for _ in range(2))
    a, b = (gaussian(torch.from_numpy(x)) for x in (first, second))
    np.testing.assert_allclose(a.covariance.numpy(), np.cov(first.T))
    cross = np.trace(sqrtm(np.cov(first.T) @ np.cov(second.T)).real)
    expected = ((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(np.cov(first.T) + np.cov(second.T)) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least two"):
        gaussian(torch.zeros(1, 3))


def test_digits_are_those_of_scikit_learn() -> None:
    train, valid = digits.load()
    assert (len(train), len(valid)) == (1437, 360)
    ours = torch.cat([train.grey, valid.grey]).flatten(1).numpy()
    theirs = load_digits().data
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs))
    again = digits.load()[1]
    assert torch.equal(again.grey, valid.grey)
    assert torch.equal(again.label, valid.label)


def test_dequantisation_can_be_undone() -> None:
    """Noise of one step of grey, uniform; scaled so that 0 is -1 and 16 is 1."""
    data = Digits(torch.arange(17.0).repeat(500).reshape(-1, 1, 1, 1), torch.zeros(8500, dtype=torch.int64))
    pixels = data.pixels(torch.Generator().manual_seed(0))
    steps = 8 * (pixels + 1)
    assert torch.equal(steps.round(), data.grey)
    noise = steps - data.grey
    assert noise.var().item() == pytest.approx(1 / 12, rel=0.05)
    rows = torch.tensor([3, 16])
    assert data.pixels(torch.Generator(), rows).shape == (2, 1, 1, 1)


def test_shipped_classifier_knows_the_validation_digits() -> None:
    _, valid = digits.load()
    assert accuracy(load_classifier(), valid) > 0.97
    assert accuracy(Classifier().eval(), valid) < 0.5


def test_quality_of_real_digits_is_better_than_of_anything_else() -> None:
    """Real ones against all; one class against itself and against another; noise."""
    _, valid = digits.load()
    generator = torch.Generator().manual_seed(1)
    quality = DigitsQuality(())
    real = quality.measure(valid.pixels(generator))
    noise = quality.measure(0.75 * torch.randn(360, 1, 8, 8, generator=generator))
    threes = valid.pixels(generator, (valid.label == 3).nonzero().flatten())
    for good, bad, wrong in zip(real, noise, quality.measure(threes), strict=True):
        assert good < bad / 3
        assert good < wrong / 3
    for own, other in zip(DigitsQuality((3,)).measure(threes), DigitsQuality((4,)).measure(threes), strict=True):
        assert own < other / 3


def test_shipped_model_draws_the_digits_that_it_is_asked_for() -> None:
    """By the classifier, which has seen no generated image; guidance sharpens the classes."""
    denoiser = load_weights(DIGITS_WEIGHTS)
    classifier, solver = load_classifier(), get_solver("dpmpp_2m")
    for guidance, least in ((1.0, 0.9), (2.0, 0.95)):
        flow = DenoiserFlow(denoiser, tuple(range(10)), guidance)
        start = flow.prior(100, torch.Generator().manual_seed(0))
        with torch.no_grad():
            end = integrate(flow, start, HAND_MADE["edm"](flow.clock, 20), solver)
        guess = classifier(flow.decode(end)).argmax(1)
        assert (guess == start.condition).double().mean() >= least
