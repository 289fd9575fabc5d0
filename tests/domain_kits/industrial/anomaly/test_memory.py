"""The routed memory: what it finds, and that a state comes back."""

from __future__ import annotations

import pytest
import torch

from moekit_industrial.anomaly.cells import cluster, nearest
from moekit_industrial.anomaly.memory import MEMBERS_PER_CELL, Members, RoutedMemory


@pytest.fixture
def bank_MC() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(12, 16, generator=draw)
    which = torch.randint(12, (12 * MEMBERS_PER_CELL,), generator=draw)
    return centres[which] + torch.randn(len(which), 16, generator=draw)


def filled(*banks: torch.Tensor, asked: int, cells: int = 12) -> RoutedMemory:
    memory = RoutedMemory(16, asked=asked)
    draw = torch.Generator().manual_seed(1)
    memory.fill([Members.of(bank, cells=cells, generator=draw) for bank in banks])
    return memory


def answers(memory: RoutedMemory, query: torch.Tensor, *, kind: int = 0) -> torch.Tensor:
    number = torch.full((len(query),), kind)
    found: torch.Tensor = memory(query, number, torch.ones(len(query), dtype=torch.bool))
    return found


def test_clusters_are_where_the_features_are(bank_MC: torch.Tensor) -> None:
    centres = cluster(bank_MC, 12, generator=torch.Generator().manual_seed(0))
    spread = (bank_MC - centres[nearest(bank_MC, centres)]).square().sum(1).mean()
    alone = (bank_MC - bank_MC.mean(0)).square().sum(1).mean()
    assert spread < alone / 4
    assert len(nearest(bank_MC, centres).unique()) == 12


def test_asking_all_cells_is_the_nearest_neighbour(bank_MC: torch.Tensor) -> None:
    memory = filled(bank_MC, asked=12)
    query = bank_MC[:50] + 0.3 * torch.randn(50, 16, generator=torch.Generator().manual_seed(2))
    found = answers(memory, query)
    expected = torch.cdist(query, bank_MC.half().float()).amin(1)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_asking_few_cells_finds_nearly_the_same_and_never_less(bank_MC: torch.Tensor) -> None:
    query = bank_MC[:400] + 0.5 * torch.randn(400, 16, generator=torch.Generator().manual_seed(2))
    all_cells, few = (answers(filled(bank_MC, asked=asked), query) for asked in (12, 3))
    assert (few >= all_cells - 1e-3).all()
    assert (few - all_cells < 1e-3).float().mean() > 0.95
    assert len(filled(bank_MC, asked=3).counts_K) == 12


def test_kinds_are_kept_apart(bank_MC: torch.Tensor) -> None:
    other = bank_MC[:2000] + 30
    memory = filled(bank_MC, other, asked=12)
    query = bank_MC[:20]
    near = answers(memory, query)
    far = answers(memory, query, kind=1)
    assert near.max() < 0.1
    expected = torch.cdist(query, other.half().float()).amin(1)
    torch.testing.assert_close(far, expected, atol=0.05, rtol=1e-3)
    torch.testing.assert_close(
        memory.members(1).sum(0), other.half().float().sum(0), rtol=1e-4, atol=1
    )


def test_no_query_is_no_answer(bank_MC: torch.Tensor) -> None:
    memory = filled(bank_MC, asked=3)
    assert answers(memory, bank_MC[:0]).shape == (0,)


def test_a_state_comes_back_whatever_its_size(bank_MC: torch.Tensor) -> None:
    memory = filled(bank_MC, asked=3)
    state = memory.state_dict()
    assert state["bank_MC"].dtype == torch.float16
    again = RoutedMemory(16, asked=3)
    again.load_state_dict(state)
    query = bank_MC[:9] + 0.1
    assert torch.equal(answers(memory, query), answers(again, query))


def test_a_state_of_another_width_is_refused(bank_MC: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        RoutedMemory(8, asked=3).load_state_dict(filled(bank_MC, asked=3).state_dict())


def test_queries_that_are_not_wanted_get_nothing_and_change_nothing(bank_MC: torch.Tensor) -> None:
    memory = filled(bank_MC, asked=3)
    query = bank_MC[:40] + 0.2
    wanted = torch.arange(40) % 3 == 0
    found = memory(query, torch.zeros(40, dtype=torch.int64), wanted)
    assert (found[~wanted] == 0).all()
    torch.testing.assert_close(found[wanted], answers(memory, query)[wanted], atol=1e-3, rtol=0)
