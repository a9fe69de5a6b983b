"""A diffusers scheduler that carries all that a fit can learn: times, separate levels of the network, coefficients."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, final

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
from torch import Tensor

from ld3.fingerprint import fingerprint
from ld3.grids import Grid
from ld3.learn.result import FitResult
from ld3.path_points import FactorPath
from ld3.schedules import Schedule
from ld3.single_path import CLOSE, STRAIGHT, single_path
from ld3.solvers import Coefficients, get_solver, solve
from ld3.state import Levels, Tangent
from ld3_diffusers.config_options import Component
from ld3_diffusers.schedule import FLOWS, NOISE_FROM, STEPS, own_scheduler, read_path

_SAME: Final = 1e-5  # of α: rounding, where a fit was written on another machine


@final
class LearnedScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Samples a diffusers pipeline with a learned grid, exactly as `ld3.integrate` does.

    A pipeline asks for one step after each evaluation, `ld3.solve` for one evaluation after the other: every solver of
    the registry works here as it stands. Latents between two steps are the scheduler's own; a pipeline that
    changes them (inpainting) cannot be sampled with it.

    Every pipeline begins with noise z of unit scale, σ̂_0 z is where the solver begins, and the network is to see
    α σ̂_0 z, α that of its own first level. Pipelines that ask `scale_model_input` are given that. The others show the
    network z itself: right to a thousandth where the levels are the solver's own, far off where the network's run
    ahead of them. There the answer to z is thrown away, and what the pipeline takes to be the first step leads to
    α σ̂_0 z: one more evaluation than was learned.

    Args:
        solver: name in the registry.
        levels: λ at the nodes, N+1.
        network_levels: λ that the network is given, N.
        timesteps: what stands for these, and for the last node, in the pipeline: N+1.
        alphas: α there, N+1.
        sigmas: σ there, N+1.
        prediction_type: what the network answers with, a key of `NOISE_FROM`.
        coefficients: of the solver, as `Coefficients.to_dict` writes them.
        clean_end: whether the last step goes on to no noise.
        use_flow_sigmas: tells pipelines for straight paths that the times are the scheduler's.
        scales_input: whether the pipeline asks `scale_model_input`: those of Stable Diffusion 1, 2 and XL and
            LDMPipeline do; those of Stable Diffusion 3 and Flux and DDPMPipeline do not.
        original_scheduler: class of the scheduler that the pipeline came with. Its config is kept beside these options,
            so that another one can be made from it.
    """

    # Whose options are kept beside our own.
    _compatibles: ClassVar[list[str]] = [*STEPS, *FLOWS]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        solver: str,
        levels: list[float],
        network_levels: list[float],
        timesteps: list[float],
        alphas: list[float],
        sigmas: list[float],
        prediction_type: str,
        coefficients: dict[str, Any] | None = None,
        clean_end: bool = False,
        use_flow_sigmas: bool = False,
        scales_input: bool = True,
        original_scheduler: str | None = None,
    ) -> None:
        if prediction_type not in NOISE_FROM:
            raise ValueError(f"prediction_type must be one of {', '.join(NOISE_FROM)}, got {prediction_type!r}")
        learned = None if coefficients is None else Coefficients.from_dict(coefficients)
        self.solver = replace(get_solver(solver), coefficients=learned)
        nodes, network = (torch.tensor(values, dtype=torch.float64) for values in (levels, network_levels))
        self.grid = Grid({"x": nodes}, {"x": network}, "learned", clean_end=clean_end)
        self.order = self.solver.nfe_per_step
        self.init_noise_sigma = 1.0
        self._first_level = float(torch.exp(-nodes[0]))
        self._first_scale = alphas[0] * self._first_level
        self._unit_is_close = abs(self._first_scale - 1.0) <= CLOSE
        # Heun asks twice at each node but the first.
        self._nodes = [(k + self.order - 1) // self.order for k in range(self.order * self.grid.n_steps)]
        self._repeats_first = not (scales_input or self._unit_is_close)
        asked = [0, *self._nodes] if self._repeats_first else self._nodes
        self.timesteps = torch.tensor([timesteps[i] for i in asked])
        self._steps: Generator[tuple[Tensor, Levels], Tangent, Tensor] | None = None
        self._scaled = False
        self._pipeline: weakref.ref[Component] | None = None
        self._about: Mapping[str, object] = {}

    @classmethod
    def from_fit(
        cls, fit: FitResult | Path | str, pipeline: Component, scales_input: bool | None = None
    ) -> LearnedScheduler:
        """The scheduler of a fit, or of a file that holds one, for a pipeline.

        Args:
            pipeline: that is to be sampled, whose own scheduler knows what its network was trained on: noise levels,
                the unit of time, what the network answers with. Or that scheduler alone.
            scales_input: as above; None = as the class of the pipeline does; of a scheduler alone, as the pipelines
                with prompts do, all but those for straight paths.

        Raises:
            ValueError: if the file holds no fit, one that a pipeline cannot follow, or one for other noise levels.

        Warns (UserWarning) where the pipeline is of another name and other weights than the fit was learned on. The
        scheduler warns when the pipeline is called at another guidance, or for images of another size.
        """
        fit = fit if isinstance(fit, FitResult) else FitResult.load(Path(fit))
        scheduler: Component = getattr(pipeline, "scheduler", pipeline)
        path = single_path(fit, "diffusers")
        straight = path.schedule in STRAIGHT
        kind, config = own_scheduler(scheduler)
        trained = read_path(kind, config)
        _check_same_levels(path, trained.schedule, kind)
        points = [[*getattr(path.network, name), getattr(path.solver, name)[-1]] for name in ("t", "alpha", "sigma")]
        if fit.grid.clean_end:
            points[1][-1], points[2][-1] = 1.0, 0.0
        learned = cls(
            solver=fit.solver,
            levels=fit.grid.solver["x"].tolist(),
            network_levels=fit.grid.network["x"].tolist(),
            timesteps=[trained.time_scale * t for t in points[0]],
            alphas=points[1],
            sigmas=points[2],
            prediction_type=trained.prediction,
            coefficients=None if fit.coefficients is None else fit.coefficients.to_dict(),
            clean_end=fit.grid.clean_end,
            use_flow_sigmas=straight,
            scales_input=_scales_input(pipeline, straight) if scales_input is None else scales_input,
            original_scheduler=kind,
        )
        learned.keep(scheduler.config)
        if scheduler is not pipeline:
            _check_same_model(fit.about, pipeline)
            learned.watch(pipeline, fit.about)
        return learned

    def watch(self, pipeline: Component, about: Mapping[str, object]) -> None:
        """Warn when the pipeline is called in another way than `about` says."""
        self._pipeline, self._about = weakref.ref(pipeline), about

    def _check_call(self, noise: Tensor) -> None:
        """UserWarning for every option of the pipeline's call that is not the fit's."""
        pipeline = None if self._pipeline is None else self._pipeline()
        if pipeline is None:
            return
        factor = getattr(pipeline, "vae_scale_factor", 1)
        found = {"guidance": getattr(pipeline, "_guidance_scale", None), "resolution": factor * noise.shape[-1]}
        if noise.ndim != 4:  # Flux packs its latents
            found["resolution"] = None
        for option, value in found.items():
            learned = self._about.get(option)
            if learned is not None and value is not None and value != learned:
                warnings.warn(
                    f"this grid was learned at {option} {learned:g}, the pipeline is called at {value:g}: the images "
                    "are made as asked, on levels that need not be the best ones",
                    stacklevel=2,
                )

    def keep(self, config: Mapping[str, Any]) -> None:
        """Hold another scheduler's options beside our own, as schedulers of diffusers do among each other: what is made
        `from_config` of this one is what it would have been from that one's."""
        own = set(inspect.signature(type(self).__init__).parameters)
        kept = {name: value for name, value in config.items() if name not in own and not name.startswith("_")}
        by_default = [name for name in config.get("_use_default_values", ()) if name not in own]
        self.register_to_config(**kept, _use_default_values=by_default)

    def set_timesteps(
        self, num_inference_steps: int, device: str | torch.device | None = None, mu: float | None = None
    ) -> None:
        """Begin a run.

        Args:
            num_inference_steps: must be the number of steps that were learned.
            device: where the pipeline's timesteps are to be.
            mu: the shift that pipelines for straight paths work out; learned times are not shifted.

        Raises:
            ValueError: if another number of steps is asked for.
        """
        if num_inference_steps != self.grid.n_steps:
            raise ValueError(f"num_inference_steps must be {self.grid.n_steps}, as learned, got {num_inference_steps}")
        self.timesteps = self.timesteps.to(device)
        self._steps, self._scaled = None, False

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Pipelines say where in the times they begin.

        Raises:
            ValueError: unless that is the first: a learned grid is one for the whole way.
        """
        if begin_index != 0:
            raise ValueError(f"begin_index must be 0, a learned grid starts from noise, got {begin_index}")

    def scale_model_input(self, sample: Tensor, timestep: Tensor | None = None) -> Tensor:
        """x_t at the time that the network is given: the sample itself, but for the pipeline's noise."""
        if self._steps is not None or not self.config.scales_input:
            return sample
        self._scaled = True
        return self._first_scale * sample

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor,
        sample: Tensor,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> SchedulerOutput | tuple[Tensor]:
        """Take the network's answer at `sample` and give the next x_t, at last the result.

        Args:
            model_output: (B, C, H, W), or twice the channels where the network also answers with a variance.
            generator: not used; the solver is deterministic.

        Raises:
            ValueError: if the pipeline has shown the network its noise at a scale that is far from right, or asks for
                more steps than there are.
        """
        wide = torch.float32 if sample.device.type == "mps" else torch.float64
        x_t, answer = sample.to(wide), model_output[:, : sample.shape[1]].to(wide)
        if self._steps is None:
            self._begin(x_t)
            x_t = self._first_scale * x_t
            if self._repeats_first:
                return self._output(x_t.to(sample.dtype), return_dict)
        if self._evaluated == len(self._nodes):
            raise ValueError(f"the run of {self.grid.n_steps} steps is over; set_timesteps begins another")
        node = self._nodes[self._evaluated]
        alpha, sigma = (torch.tensor(v[node], dtype=torch.float64) for v in (self.config.alphas, self.config.sigmas))
        noise = NOISE_FROM[self.config.prediction_type](x_t, answer, alpha, sigma)
        return self._output(self._go_on(noise).to(sample.dtype), return_dict)

    def _begin(self, noise: Tensor) -> None:
        """Take the pipeline's noise; the solver asks its first question."""
        if self.config.scales_input and not (self._scaled or self._unit_is_close):
            raise ValueError(
                "scales_input must be False for this pipeline, got True: it gives its noise to the network as it is, "
                f"where this fit needs {self._first_scale:.3g} times that"
            )
        self._check_call(noise)
        self._steps = solve(self._first_level * noise, self.grid, self.solver, lambda x, v: x + v["x"])
        _, self._levels = next(self._steps)
        self._evaluated = 0

    def _go_on(self, noise: Tensor) -> Tensor:
        """x_t of the solver's next question, once the present one is answered; or the result."""
        assert self._steps is not None
        self._evaluated += 1
        try:
            x, self._levels = self._steps.send({"x": -torch.exp(-self._levels["x"]) * noise})
        except StopIteration as end:
            return self.config.alphas[-1] * end.value
        return self.config.alphas[self._nodes[self._evaluated]] * x

    @staticmethod
    def _output(x_t: Tensor, return_dict: bool) -> SchedulerOutput | tuple[Tensor]:
        return SchedulerOutput(prev_sample=x_t) if return_dict else (x_t,)


def _scales_input(pipeline: Component, straight: bool) -> bool:
    unprompted = type(getattr(pipeline, "unet", None)).__name__ == "UNet2DModel"
    return hasattr(pipeline, "vqvae") if unprompted else not straight


def _check_same_levels(path: FactorPath, schedule: Schedule, scheduler: str) -> None:
    """ValueError unless α at the times of a fit is that of the pipeline's own noise path."""
    if path.schedule != type(schedule).__name__:
        raise ValueError(
            f"the fit is for a noise path of kind {path.schedule}, the pipeline's {scheduler} is one of "
            f"{type(schedule).__name__}"
        )
    for points in (path.solver, path.network):
        own = schedule.alpha(torch.tensor(points.t, dtype=torch.float64))
        apart = (own - torch.tensor(points.alpha, dtype=torch.float64)).abs().max().item()
        if apart > _SAME:
            raise ValueError(
                f"the fit was learned for other noise levels than those of the pipeline's {scheduler}: α is off by up "
                f"to {apart:.2g}; fit a grid for this model"
            )


def _check_same_model(about: Mapping[str, object], pipeline: Component) -> None:
    """UserWarning if the pipeline has neither the name nor the weights of what a fit was learned on. Weights are hashed
    only where names differ; those in another floating type are others."""
    name = str(getattr(pipeline, "config", {}).get("_name_or_path"))
    if about.get("model") in (None, name):
        return
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if network is None or fingerprint(network.state_dict()) == about.get("network"):
        return
    warnings.warn(
        f"this grid was learned on {about['model']} ({about.get('network')}), and the pipeline is {name} with other "
        "weights: on another model its levels need not be the best ones",
        stacklevel=3,
    )
