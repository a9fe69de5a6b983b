"""What a result was made with: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def versions(packages: Sequence[str], optional: Sequence[str] = ()) -> dict[str, str]:
    """Of Python, of the packages that figures depend on, and of the optional ones that are there."""
    found = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    for name in optional:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Commit of the checkout that this file is in, "-dirty" where it has been changed; None without git or checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def machine(device: torch.device) -> dict[str, str | int]:
    """Where timings were taken."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": str(device), "name": name, "threads": torch.get_num_threads()}
