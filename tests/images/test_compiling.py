"""Networks through torch.compile: the same images and the same gradients; a machine without a compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch._inductor.config
from image_models import small_denoiser, write_small

from benchmarks.images import __main__ as images
from domains.errors import InputError
from domains.images.conditioned import Conditioned
from domains.images.flow import DenoiserFlow
from domains.images.models.load import check_compiler
from domains.images.models.unet import UNetConfig
from ld3 import HAND_MADE, get_solver, integrate
from ld3.learn import LearnedGrid, soft_loss

CPU = torch.device("cpu")
TINY = UNetConfig(channels=8, multipliers=(1,), blocks=1, heads=2, embedding=16)


@pytest.fixture
def without_compiler() -> Iterator[None]:
    with torch._inductor.config.patch({"cpp.cxx": (None, "/no/compiler")}):
        yield


@pytest.fixture
def compiler() -> None:
    try:
        check_compiler(CPU)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_small(tmp_path / "small.safetensors")
    assert images.main(["--model", str(model), "--compile", "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("error: --compile: torch.compile does not work here (")
    assert "/no/compiler" in line
    assert line.endswith("; leave it out, or install a C++ compiler, and Triton where there is a GPU")


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_networks_give_the_same_images_and_gradients() -> None:
    """For two sizes of batches, as the last chunk has another; and caches are found again under either."""
    plain, compiled = (DenoiserFlow(small_denoiser(0, TINY).double(), (1, 3), 2.0) for _ in range(2))
    compiled.denoiser.network.compile()
    assert plain.fingerprint() == compiled.fingerprint()
    solver = get_solver("unipc_bh1_3")
    grid = HAND_MADE["edm"](plain.clock, 4)
    for n in (4, 3):
        start = plain.prior(n, torch.Generator().manual_seed(n))
        with torch.no_grad():
            ends = [integrate(flow, start, grid, solver).x for flow in (plain, compiled)]
        torch.testing.assert_close(ends[1], ends[0], rtol=1e-5, atol=1e-5)
    end = Conditioned(torch.zeros_like(start.x), start.condition)
    gradients = []
    for flow in (plain, compiled):
        learned = LearnedGrid(grid)
        torch.autograd.backward(soft_loss(flow, start, None, end, learned(), solver).sum())
        gradients.append(torch.cat([p.grad.flatten() for p in learned.parameters() if p.grad is not None]))
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-5)
