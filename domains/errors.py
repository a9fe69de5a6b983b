"""What is wrong with a user's file, said in one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InputProblem:
    """One record of one file that cannot be used.

    ``record`` names the part of the file ("2 (aspirin)", "row 3"), and is empty when the whole file is meant.
    ``remedy`` tells the user what to do about ``message``.
    """

    file: str
    record: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}, {self.record}" if self.record else self.file
        return " ".join(f"{where}: {self.message}; {self.remedy}".split())


class InputError(Exception):
    """Raised where a single object was asked for and the user's input does not give one; carries the problem."""

    def __init__(self, problem: InputProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem
