"""`ld3_diffusers` in programs whose own folder `domains` comes first on the path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import diffusers_models as tiny

import ld3_diffusers

ROOT = Path(__file__).parents[2]

FITTED = """
import sys, warnings
warnings.simplefilter("ignore")
if sys.argv[2] == "imported first":
    import domains
from ld3_diffusers import LearnedScheduler, fit_pipeline
from diffusers import DDPMPipeline
from ld3.learn import FitConfig, Teacher
pipe = DDPMPipeline.from_pretrained(sys.argv[1])
quick = FitConfig(phases=("times",), steps=2)
for nfe in (2, 3):
    fit = fit_pipeline(pipe, nfe=nfe, learn=quick, pairs=4, teacher=Teacher(nfe=4))
    pipe.scheduler = fit.scheduler(pipe)
    assert isinstance(pipe.scheduler, LearnedScheduler)
images = pipe(num_inference_steps=3, batch_size=2, output_type="np").images
import domains, domains.mine
print(images.shape, domains.WHOSE, domains.mine.VALUE, fit.nfe)
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", ["imported first", "imported afterwards"])
def test_a_fit_beside_a_folder_of_that_name(tmp_path: Path, order: str) -> None:
    """Both packages work, whichever is imported first; twice, for the second call finds ours loaded."""
    tiny.save_unconditional(tmp_path / "pipe")
    own = tmp_path / "project" / "domains"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("WHOSE = 'theirs'\n")
    (own / "mine.py").write_text("VALUE = 7\n")
    (tmp_path / "project" / "program.py").write_text(FITTED)
    command = [sys.executable, "program.py", str(tmp_path / "pipe"), order]
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": ""}
    ran = subprocess.run(
        command, cwd=tmp_path / "project", env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "(2, 8, 8, 3) theirs 7 3"


def test_ours_is_found_where_nothing_shadows_it() -> None:
    import domains.images.diffusers.pipeline_fit as own

    assert ld3_diffusers.fit_pipeline.__doc__ == own.fit_pipeline.__doc__
    with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
        ld3_diffusers.unknown  # noqa: B018
