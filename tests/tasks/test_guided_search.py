import pytest
import torch

from quanta.tasks.guided_search import N_CELLS, GuidedSearch


@pytest.mark.parametrize("n_edges", [0, 1, 7, 500, 50_000])
def test_is_a_search_on_the_right(n_edges):
    generator = torch.Generator().manual_seed(n_edges)
    edges = torch.rand(n_edges, dtype=torch.float64, generator=generator).sort().values
    borders = torch.arange(N_CELLS, dtype=torch.float64) / N_CELLS
    values = [torch.rand(5000, dtype=torch.float64, generator=generator), borders, edges]
    values += [torch.nextafter(x[x > 0], torch.zeros(())) for x in (borders, edges)]
    for value in values:
        assert torch.equal(GuidedSearch(edges)(value), torch.searchsorted(edges, value, right=True))


def test_edges_at_the_borders_of_cells_and_some_equal():
    edges = torch.tensor([0, 0, 0.25, 0.25, 0.5, 1 - 2**-53], dtype=torch.float64)
    values = torch.tensor([0, 0.25 - 2**-54, 0.25, 0.3, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert GuidedSearch(edges)(values).tolist() == [2, 2, 4, 4, 5, 6]
