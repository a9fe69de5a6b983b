"""`check_flow` on the flows that are here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from domains import docking, images
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import bound_poses
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from ld3.denoising_check import ALLOWED, check_denoising
from ld3.testing import FlowCheckError, check_flow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def complexes() -> Sequence[Complex]:
    return docking.read(None)[0][:6]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_demo_weights_pass(complexes: Sequence[Complex]) -> None:
    """They denoise bound poses, each tried with noise of its own eight times."""
    model = docking.load_model("demo")
    prepared, problems = model.prepare(complexes)
    assert not problems
    flow = DockingFlow(model.encode(collate(prepared)))
    bound = bound_poses(flow.batch, torch.arange(8 * len(prepared)) % len(prepared))
    laws = check_flow(flow, generator(), n_steps=2, data=bound).laws
    for factor in ("tr", "rot", "tor"):
        assert laws[f"displacement[{factor!r}] denoises"][0] <= ALLOWED


def test_poses_of_the_plain_flow_are_no_data_of_the_demo_weights(complexes: Sequence[Complex]) -> None:
    """Which the check says where nothing else explains what it finds: from these the network leads away."""
    model = docking.load_model("demo")
    flow = DockingFlow(model.encode(collate(model.prepare(complexes)[0])))
    bound = bound_poses(flow.batch, torch.arange(32) % len(flow.batch))
    away = flow.retract(
        bound, {"tr": torch.full((32, 3), 0.6), "rot": torch.full((32, 3), 0.3), "tor": flow.zero_tangent(bound)["tor"]}
    )
    found = check_denoising(flow, generator(), away)
    assert found.quotients["rot"][-1] < 0.5
    assert found.quotients["tr"][-1] < 0.5


@pytest.mark.parametrize("label", [3, None])
def test_the_digits_pass(label: int | None) -> None:
    laws = check_flow(images.load("digits", images.ModelOptions(labels=(label,))), generator()).laws
    assert laws["displacement['x'] denoises"][0] <= ALLOWED


def test_digits_of_the_wrong_sign_fail() -> None:
    flow = images.load("digits")
    right = flow.noise
    flow.noise = lambda x_t, t, condition: -right(x_t, t, condition)  # type: ignore[method-assign]
    with pytest.raises(FlowCheckError, match="denoises: the noise has the wrong sign"):
        check_flow(flow, generator())
