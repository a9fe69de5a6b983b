"""ComfyUI as far as a node sees it: `comfy_api.latest` and `comfy.samplers`, from their documentation.

https://docs.comfy.org/custom-nodes/v3_migration: nodes are classes with `define_schema` and `execute`; inputs and
outputs are objects; what `execute` takes is named like the inputs; `comfy_entrypoint` gives the extension.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

SAMPLER_NAMES = ["euler", "euler_ancestral", "heun", "dpm_2", "lms", "dpmpp_2m", "ipndm", "uni_pc"]
TYPES = ("String", "Float", "Int", "Boolean", "Model", "Sigmas", "Sampler")


@dataclass(frozen=True)
class Input:
    """Of a node; ids are names of arguments."""

    kind: str
    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    default: object = None


@dataclass(frozen=True)
class Output:
    """Of a node, in the order of what it returns."""

    kind: str
    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None


@dataclass(frozen=True)
class Schema:
    """What a node says of itself."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    description: str = ""


class NodeOutput:
    """One value an output."""

    def __init__(self, *values: object) -> None:
        self.result = values


class ComfyNode:
    """Base of nodes."""


class ComfyExtension:
    """Base of what a file adds."""


def install(patch: pytest.MonkeyPatch) -> None:
    """Put the modules where `import` finds them."""

    def kind(name: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            Input=lambda id_, **more: Input(name, id_, **more), Output=lambda *id_, **more: Output(name, *id_, **more)
        )

    api, latest, comfy, samplers = (
        types.ModuleType(name) for name in ("comfy_api", "comfy_api.latest", "comfy", "comfy.samplers")
    )
    io: dict[str, Any] = {name: kind(name) for name in TYPES}
    io |= {"Schema": Schema, "NodeOutput": NodeOutput, "ComfyNode": ComfyNode}
    latest.io = types.SimpleNamespace(**io)  # type: ignore[attr-defined]
    latest.ComfyExtension = ComfyExtension  # type: ignore[attr-defined]
    samplers.SAMPLER_NAMES = SAMPLER_NAMES  # type: ignore[attr-defined]
    samplers.sampler_object = _sampler_object  # type: ignore[attr-defined]
    comfy.samplers = samplers  # type: ignore[attr-defined]
    api.latest = latest  # type: ignore[attr-defined]
    for module in (api, latest, comfy, samplers):
        patch.setitem(sys.modules, module.__name__, module)


def _sampler_object(name: str) -> tuple[str, str]:
    if name not in SAMPLER_NAMES:
        raise KeyError(name)
    return ("sampler", name)


def nodes(module: types.ModuleType) -> dict[str, Any]:
    """Node id -> class, as ComfyUI finds them when it starts."""

    async def found() -> Sequence[Any]:
        extension = await module.comfy_entrypoint()
        assert isinstance(extension, ComfyExtension)
        return await extension.get_node_list()  # type: ignore[attr-defined]

    return {node.define_schema().node_id: node for node in asyncio.run(found())}


def run(node: Any, **given: object) -> tuple[object, ...]:  # noqa: ANN401
    """Call a node as ComfyUI does: its arguments are the inputs' ids, and it returns one value an output."""
    schema = node.define_schema()
    assert isinstance(schema, Schema)
    ids = [entry.id for entry in schema.inputs]
    parameters = inspect.signature(node.execute).parameters
    assert list(parameters) == ids
    for entry in schema.inputs:
        assert entry.optional == (parameters[entry.id].default is not inspect.Parameter.empty)
    assert given.keys() >= {entry.id for entry in schema.inputs if not entry.optional}
    if hasattr(node, "fingerprint_inputs"):
        node.fingerprint_inputs(**given)
    out = node.execute(**given)
    assert isinstance(out, NodeOutput)
    assert len(out.result) == len(schema.outputs)
    return out.result
