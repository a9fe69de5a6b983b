from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ld3.state import cat, rebuild, size, take, tensors


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


@pytest.fixture
def pair() -> Pair:
    return Pair(torch.arange(6.0).reshape(3, 2), torch.tensor([True, False, True]))


def test_take_picks_samples_from_every_field(pair: Pair) -> None:
    picked = take(pair, [2, 0])
    assert torch.equal(picked.a, torch.tensor([[4.0, 5.0], [0.0, 1.0]]))
    assert torch.equal(picked.b, torch.tensor([True, True]))
    masked = take(pair, pair.b)
    assert torch.equal(masked.a, torch.tensor([[0.0, 1.0], [4.0, 5.0]]))
    assert torch.equal(take(pair, slice(1, None)).a, pair.a[1:])


def test_cat_undoes_take(pair: Pair) -> None:
    whole = cat([take(pair, [0]), take(pair, [1, 2])])
    assert isinstance(whole, Pair)
    assert all(torch.equal(x, y) for x, y in zip(whole, pair, strict=True))
    bare = torch.arange(4.0)
    assert torch.equal(cat([take(bare, [0]), take(bare, slice(1, 4))]), bare)


def test_rebuild_inverts_tensors(pair: Pair) -> None:
    assert rebuild(pair, tensors(pair)) is not pair
    assert rebuild(pair, tensors(pair)).b is pair.b
    assert rebuild(pair.a, tensors(pair.a)) is pair.a
    with pytest.raises(ValueError, match=r"\['a', 'b'\], got \['a'\]"):
        rebuild(pair, {"a": pair.a})


def test_size_is_the_leading_dimension(pair: Pair) -> None:
    assert size(pair) == 3
    with pytest.raises(ValueError, match=r"\{'a': 3, 'b': 2\}"):
        size(pair._replace(b=pair.b[:2]))


def test_states_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="got list"):
        tensors([torch.zeros(1)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got none"):
        cat([])
