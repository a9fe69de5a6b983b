"""Release folders: what loads, and one clear line for what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffdock_reference import case, complex_6o5u, network, parameters, state
from torch import Tensor

from domains.docking.networks.diffdock.release import load_release
from domains.errors import InputError


def release(folder: Path, tensors: dict[str, Tensor] | None = None, **options: object) -> Path:
    """A folder such as workdir/v1.1, with the small network in it; an option of None is left out."""
    place = folder / "v1.1" / "score_model"
    place.mkdir(parents=True)
    values: dict[str, Any] = {**parameters("small"), **options}
    (place / "model_parameters.yml").write_text(yaml.safe_dump(values))
    torch.save(state("small") if tensors is None else tensors, place / "best_ema_inference_epoch_model.pt")
    return folder / "v1.1"


def complaint(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_release(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("inner", [False, True])
def test_release_gives_the_same_network(tmp_path: Path, inner: bool) -> None:
    folder = release(tmp_path)
    model = load_release(folder / "score_model" if inner else folder).score
    for name, value in network("small").state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    poses, t, sigma = case(0)
    found, own = (
        one(one.encode([complex_6o5u()]), torch.tensor([0]), poses[:1], t, sigma).tr
        for one in (model, network("small"))
    )
    torch.testing.assert_close(found, own)


def test_state_inside_a_checkpoint_loads(tmp_path: Path) -> None:
    folder = release(tmp_path, {"epoch": 3, "model": {f"module.{k}": v for k, v in state("small").items()}})  # type: ignore[dict-item]
    model = load_release(folder).score
    assert torch.equal(model.final_conv.batch_norm.weight, state("small")["final_conv.batch_norm.weight"])


def test_what_is_no_release_is_named(tmp_path: Path) -> None:
    assert "no such folder" in complaint(tmp_path / "nothing")
    assert "no release of DiffDock" in complaint(tmp_path)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    folder = release(tmp_path)
    yml, weights = (folder / "score_model" / n for n in ("model_parameters.yml", "best_ema_inference_epoch_model.pt"))
    text = yml.read_text()
    yml.unlink()
    assert "model_parameters.yml: there is no such file" in complaint(folder)
    yml.write_text("- 1\n- 2\n")
    assert "no table of names and values" in complaint(folder)
    yml.write_text("a: [1")
    assert "cannot be read" in complaint(folder)
    yml.write_text(text)
    weights.write_bytes(b"not a checkpoint")
    assert "cannot be read as a state_dict" in complaint(folder)
    weights.unlink()
    assert "holds 0 .pt files" in complaint(folder)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    folder = release(tmp_path)
    torch.save({"x": Evil()}, folder / "score_model" / "best_ema_inference_epoch_model.pt")
    assert "cannot be read as a state_dict" in complaint(folder)
    assert not (tmp_path / "ran").exists()


def test_options_that_are_not_supported_are_named(tmp_path: Path) -> None:
    text = complaint(release(tmp_path, smooth_edges=True, use_second_order_repr=True))
    assert "smooth_edges = True" in text and "use_second_order_repr = True" in text


def test_values_of_another_kind_are_named(tmp_path: Path) -> None:
    assert "ns must be a whole number of at least 1, got 'many'" in complaint(release(tmp_path, ns="many"))


def test_missing_sizes_are_named(tmp_path: Path) -> None:
    folder = release(tmp_path)
    path = folder / "score_model" / "model_parameters.yml"
    values = yaml.safe_load(path.read_text())
    del values["ns"], values["tr_sigma_max"]
    path.write_text(yaml.safe_dump(values))
    assert "lacks ns, tr_sigma_max" in complaint(folder)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    tensors = state("small")
    tensors["tr_final_layer.0.bias"] = torch.zeros(9)
    tensors["invented.weight"] = torch.zeros(1)
    tensors["rot_final_layer.0.bias"][0] = float("nan")
    del tensors["lig_edge_embedding.0.weight"]
    text = complaint(release(tmp_path, tensors))
    assert "lacks 1 tensors (lig_edge_embedding.0.weight)" in text
    assert "has but the network has not 1 tensors (invented.weight)" in text
    assert "tr_final_layer.0.bias (9,), by the yaml (8,)" in text
    assert "NaN or infinity in 1 tensors (rot_final_layer.0.bias)" in text


def test_weights_of_another_size_name_the_first_few(tmp_path: Path) -> None:
    text = complaint(release(tmp_path, ns=12))
    assert "lig_node_embedding.atom_embedding_list.0.weight (119, 8), by the yaml (119, 12)" in text
    assert text.count("by the yaml") == 3 and "..." in text
