"""Ridge regression from sums that grow batch by batch, and its best low-rank form.

Shapes: T tokens, I = D + 1 inputs (a constant one at the end), O outputs, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Regression:
    """Collects the normal equations of `outputs = [inputs, 1] @ weights`, in float64.

    Args:
        inputs: D.
        outputs: O.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self._gram_II = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self._cross_IO = torch.zeros(inputs + 1, outputs, dtype=torch.float64)
        self.count = 0

    def add(self, x_TD: Tensor, y_TO: Tensor) -> None:
        """Adds tokens (T, D) and their targets (T, O)."""
        x_TI = torch.cat([x_TD, x_TD.new_ones(len(x_TD), 1)], dim=1).float()
        self._gram_II += (x_TI.T @ x_TI).double().cpu()
        self._cross_IO += (x_TI.T @ y_TO.float()).double().cpu()
        self.count += len(x_TD)

    def solve(self, ridge: float) -> tuple[Tensor, Tensor]:
        """(O, D) weights and (O,) bias, float32.

        Args:
            ridge: Penalty as a share of the inputs' mean square; the bias is not penalised.
        """
        gram_II = self._gram_II.clone()
        size = gram_II.shape[0] - 1
        gram_II.diagonal()[:size] += ridge * gram_II.diagonal()[:size].mean()
        gram_II.diagonal()[:] += 1e-9 * gram_II.diagonal().mean()
        solved_IO = torch.linalg.solve(gram_II, self._cross_IO).float()
        return solved_IO[:-1].T.contiguous(), solved_IO[-1]

    def error(self, weights_OD: Tensor, bias_O: Tensor) -> float:
        """The squared error of a map on the tokens seen, less what no map can change."""
        map_IO = torch.cat([weights_OD.T, bias_O[None]]).double()
        explained = 2 * (map_IO * self._cross_IO).sum()
        return float((map_IO * (self._gram_II @ map_IO)).sum() - explained)

    def low_rank(self, weights_OD: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """The map of a lower rank whose outputs are nearest on the tokens seen.

        The singular values are those of the map after the inputs' second moments (reduced-rank
        regression, Izenman 1975, doi:10.1016/0047-259X(75)90042-1).

        Returns:
            (R, D) and (O, R) factors, `weights ~ second @ first`, float32.
        """
        moments_DD = self._gram_II[:-1, :-1] / max(self.count, 1)
        moments_DD.diagonal()[:] += 1e-6 * moments_DD.diagonal().mean()
        root_DD = torch.linalg.cholesky(moments_DD)
        left_OD, values_D, right_DD = torch.linalg.svd(
            weights_OD.double() @ root_DD, full_matrices=False
        )
        first_RD = torch.linalg.solve_triangular(root_DD, right_DD[:rank], upper=False, left=False)
        balance_R = values_D[:rank].clamp_min(1e-12).sqrt()
        return (
            (balance_R[:, None] * first_RD).float(),
            (left_OD[:, :rank] * balance_R).float(),
        )
