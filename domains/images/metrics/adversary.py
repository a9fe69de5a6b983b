"""An adversarial term beside the distance to the teacher, as GAS has it on top of GS (arXiv 2510.17699).

A small network tells the student's images from the teacher's while the student is fitted, and what it can tell is added
to the distance. The loss changes under the fit: Adam can follow it, the other optimisers cannot.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from domains.images.metrics.distances import Distance

_WIDTH = 128
_PENALTY = 1.0  # on the slope of the network at the teacher's images


class Adversary:
    """Which of two images is the teacher's, by the relativistic loss (Jolicoeur-Martineau, arXiv 1807.00734), with a
    penalty on its slope (Mescheder et al., arXiv 1801.04406).

    Args:
        numbers: in an image.
        seed: of the network.
        rate: of its Adam.
    """

    def __init__(self, numbers: int, seed: int, rate: float = 1e-3) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(
                nn.Flatten(),
                nn.Linear(numbers, _WIDTH),
                nn.SiLU(),
                nn.Linear(_WIDTH, _WIDTH),
                nn.SiLU(),
                nn.Linear(_WIDTH, 1),
            )
        self._adam = torch.optim.Adam(self.network.parameters(), lr=rate, betas=(0.0, 0.9))

    def fooled(self, student: Tensor, teacher: Tensor) -> Tensor:
        """(B,): log 2 where the two look alike, more where the student's gives itself away; differentiable in it."""
        return nn.functional.softplus(self._score(teacher) - self._score(student))

    def learn(self, student: Tensor, teacher: Tensor) -> float:
        """One step of the network; its loss before."""
        student, teacher = student.detach(), teacher.detach().requires_grad_()
        score = self._score(teacher)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(score.sum(), teacher, create_graph=True)
            told = nn.functional.softplus(self._score(student) - score).mean()
            loss = told + _PENALTY / 2 * slope.square().flatten(1).sum(1).mean()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return float(told.detach())

    def _score(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(images.float())
        return found[:, 0]


def adversarial(distance: Distance, weight: float, chosen_by: Distance, numbers: int, seed: int) -> Distance:
    """`distance` and `weight` times what an adversary can tell, which takes a step of its own each time. Where no
    gradient is asked for, on the pairs that choose a student, it is `chosen_by`: adversaries of two moments cannot be
    compared.

    Of one fit: the adversary begins with the distance and goes on with it. A fit that is interrupted begins another.
    """
    adversary = Adversary(numbers, seed)

    def measure(a: Tensor, b: Tensor) -> Tensor:
        if not a.requires_grad:
            return chosen_by.measure(a, b)
        plain = distance.measure(a, b)
        adversary.learn(a, b)
        return plain + weight * adversary.fooled(a, b).to(plain)

    return Distance(f"{distance.name} + {weight:g} adversary of seed {seed}, chosen by {chosen_by.name}", measure)
