"""Train the digits model: ``python -m domains.images.train --config domains/images/weights/digits.yaml --out DIR``.

Options override what the file of --config says; without it they have their defaults.

Denoising with EDM's preconditioning and loss, class labels dropped now and then. Writes to --out: ``state.pt``, every
few minutes and when stopped (everything needed to go on: run the same command again), ``weights.safetensors`` (of the
moving averages of the weights, the one with the lowest validation loss), ``log.jsonl`` (losses by step, with the CPU
seconds so far), ``config.yaml``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from rich.console import Console

from domains.errors import InputError
from domains.images.models import digits
from domains.images.models.digits import Digits
from domains.images.training.config import TrainConfig
from domains.images.training.run import Run, denoising_loss, new_run, train_step
from domains.long_runs import append_row, forget_after, stop_on_signals
from domains.progress import WorkProgress
from domains.training import prepare_output, read_settings

_VALIDATION_SEED = 12345  # the same noise at every validation, so that its losses can be compared
_VALIDATION_DRAWS = 4  # noise levels an image


@torch.no_grad()
def validation_losses(run: Run, data: Digits, config: TrainConfig) -> dict[str, float]:
    """Denoising losses of the averaged weights on the validation images: with their labels, and without."""
    out = {}
    for name in ("conditional", "unconditional"):
        generator = torch.Generator().manual_seed(_VALIDATION_SEED)
        label = data.label if name == "conditional" else torch.full_like(data.label, run.average.network.classes)
        losses = [
            denoising_loss(run.average, data.pixels(generator), label, config.noise, generator)
            for _ in range(_VALIDATION_DRAWS)
        ]
        out[name] = float(torch.stack(losses).mean())
    return out


def train(
    run: Run, data: Digits, valid: Digits, config: TrainConfig, progress: WorkProgress, stop: Callable[[], bool]
) -> None:
    """Step until `config.steps`, or until `stop` says so after a step; validate and save on the way and at the end."""
    saved = time.monotonic()
    started, before = time.process_time(), run.seconds
    smooth: float | None = None
    while run.step < config.steps and not stop():
        loss = train_step(run, data, config)
        smooth = loss if smooth is None else 0.99 * smooth + 0.01 * loss
        run.seconds = before + time.process_time() - started
        progress.note(f"step {run.step}, loss {smooth:.4f}")
        progress.evaluated(1)
        if run.step % config.validate_every == 0 or run.step == config.steps:
            losses = validation_losses(run, valid, config)
            run.keep_if_best(losses["conditional"], config)
            row = {"step": run.step, "seconds": run.seconds, "train": smooth, **losses}
            append_row(config.out / "log.jsonl", row)
        if time.monotonic() - saved > 60 * config.save_minutes:
            run.save(config)
            saved = time.monotonic()
    run.save(config)


def main(config: TrainConfig, stop: Callable[[], bool]) -> None:
    """Train, or go on training, until the end or until `stop` says so after a step; then save.

    Raises:
        InputError, ValueError: for what the user can mend.
    """
    console = Console(stderr=True)
    torch.set_num_threads(config.threads)
    data, valid = digits.load()
    pixels = data.pixels(torch.Generator().manual_seed(config.seed))
    run = new_run(config, sigma_data=round(float(pixels.std()), 4))
    if (config.out / "state.pt").exists():
        run.restore(config.out / "state.pt")
        forget_after(config.out / "log.jsonl", run.step)
        console.print(f"going on at step {run.step}")
    prepare_output(config.out, config)
    console.print(f"training on {len(data)} digits; {len(valid)} are kept for validation")
    plan = {"train": config.steps - run.step}
    with WorkProgress(console, plan, unit="steps") as progress, progress.stage("train"):
        train(run, data, valid, config, progress, stop)
    if run.step < config.steps:
        console.print(f"stopped at step {run.step}; the same command goes on from here")


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user, with 1 if training diverges."""
    try:
        main(read_settings(TrainConfig, "domains.images.train", __doc__, arguments), stop_on_signals())
    except (InputError, ValueError, FloatingPointError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1 if isinstance(error, FloatingPointError) else 2) from None


if __name__ == "__main__":
    cli()
