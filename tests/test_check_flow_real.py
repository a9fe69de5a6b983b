"""`check_flow` on the flows that are here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from domains import docking, images
from domains.docking.poses.flow import DockingFlow
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from ld3.denoising_check import ALLOWED
from ld3.testing import FlowCheckError, check_flow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def complexes() -> Sequence[Complex]:
    return docking.read(None)[0][:1]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_demo_weights_pass_the_laws_of_form(complexes: Sequence[Complex]) -> None:
    """All but that they denoise: their rotations do not, within what is allowed, on the flow's own samples."""
    model = docking.load_model("demo")
    prepared, problems = model.prepare(complexes)
    assert not problems
    assert check_flow(DockingFlow(model.encode(collate(prepared))), generator(), n_steps=2, trained=False).laws


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
