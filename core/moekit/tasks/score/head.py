"""A task head that suits many kits: from tokens of several depths to a score and a map.

Shapes: B images or stacks, T frames of a stack (1 for images), N tokens of a frame (prefix tokens
first, then the patch grid row by row), P patches of a frame, D width, L blocks that the head reads,
S summaries of a block, F = S * D * L pooled features, M members, H hidden width of a member.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit.contract.outputs import HeadSite, Outputs
from moekit.moe.specialists import Grid
from moekit.tasks.parts.summaries import SUMMARIES, SummaryName, View
from moekit.tasks.score.learn import MEMBERS


class PooledHead(nn.Module):
    """Scores pooled tokens by a small network, and says which patches the score rests on.

    Of each block the class token and the patches' mean and maximum are taken: a mean alone hides
    what fills two patches of 256. A stack is pooled as one: the class tokens of its frames are
    averaged, the summaries are those over the patches of all frames, and the evidence is that of
    the middle frame. A kit passes `moekit.PooledHead` as its `build_head`, or a function that calls
    it with other summaries.

    Args:
        site: Where it sits: D and L. Kits of API 1.x give D and L one after the other.
        blocks: L if `site` is D; None otherwise.
        summaries: What is taken of each block: `class` (the class token), `mean`, `maximum` and
            `deviation` (standard) of the patches, `centre` (their mean weighted by a Gaussian
            around the middle, an eighth of the side wide, for what is cut out around its object).
        hidden: H.
        dropout: Share of the pooled and of the hidden features left out in training.
        members: M, small networks that begin differently and learn each from its own loss; their
            log-odds are averaged, as in deep ensembles (Lakshminarayanan et al. 2017,
            arXiv:1612.01474). As the site says if None.
    """

    def __init__(
        self,
        site: HeadSite | int,
        blocks: int | None = None,
        *,
        summaries: Sequence[SummaryName] = ("class", "mean", "maximum"),
        hidden: int = 64,
        dropout: float = 0.5,
        members: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(site, HeadSite):
            site = HeadSite(width=site, blocks=1 if blocks is None else blocks)
        self.summaries = tuple(summaries)
        pooled = len(self.summaries) * site.width * site.blocks
        self.norm = nn.BatchNorm1d(pooled, affine=False, momentum=0.05)
        self.members = members = members or site.members
        self.hidden = nn.Linear(pooled, members * hidden)
        self.score = nn.Linear(hidden, members)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """One (B * T, N, D) tensor a block to (B,) logits and, in eval mode, (B, h, w) evidence."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            views = [View.of(x_BND, grid) for x_BND in tokens]
            hidden_BH = self.hidden(self.dropout(self.norm(self._pool(views))))
            active_BH = self.dropout(nn.functional.gelu(hidden_BH))
            logit_B = self._logit(active_BH)
            if self.training:
                return {"logit_B": logit_B, **self._of_members(active_BH)}
            gradient_BF = self._gradient(hidden_BH)
            evidence_BHW = self._evidence(views, gradient_BF, grid)
            return {
                "logit_B": logit_B,
                "map_BHW": evidence_BHW * logit_B.sigmoid()[:, None, None],
            }

    def _logit(self, active_BH: Tensor) -> Tensor:
        """(B,) the mean log-odds of all members, whose features lie side by side."""
        if self.members == 1:
            one_B: Tensor = self.score(active_BH)[:, 0]
            return one_B
        return nn.functional.linear(active_BH, self._weight, self.score.bias.mean()[None])[:, 0]

    @property
    def _weight(self) -> Tensor:
        """(1, M * H) what the features of all members weigh in the mean."""
        weight: Tensor = self.score.weight
        return weight if self.members == 1 else weight.reshape(1, -1) / self.members

    def _of_members(self, active_BH: Tensor) -> Outputs:
        """(B, M) log-odds of each member, for its own loss; nothing if there is one."""
        if self.members == 1:
            return {}
        parts_BMH = torch.unflatten(active_BH, 1, (self.members, -1))
        return {MEMBERS: (parts_BMH * self.score.weight).sum(2) + self.score.bias}

    def _gradient(self, hidden_BH: Tensor) -> Tensor:
        """(B, F) gradient of the logit, of (B, M * H), with respect to the pooled features."""
        density_BH = torch.exp(-hidden_BH.square() / 2) / math.sqrt(2 * math.pi)
        slope_BH = torch.special.ndtr(hidden_BH) + hidden_BH * density_BH
        gradient_BF = (slope_BH * self._weight) @ self.hidden.weight
        variance: Tensor = self.norm.running_var  # type: ignore[assignment]
        return torch.div(gradient_BF, torch.sqrt(variance + self.norm.eps))

    def _pool(self, views: Sequence[View]) -> Tensor:
        """(B, F) the summaries of each block, one after the other."""
        return torch.cat(
            [SUMMARIES[name].value(view) for view in views for name in self.summaries], dim=1
        )

    def _evidence(self, views: Sequence[View], gradient_BF: Tensor, grid: Grid) -> Tensor:
        """(B, h, w) in [0, 1]: each patch's part in raising the score, the greatest being 1.

        Of a stack it is the middle frame's, and the greatest is that of all frames: what rests on
        the neighbours leaves the middle dark.

        The first-order part of a patch in each summary; what lowers the score counts as nothing (as
        in Grad-CAM, Selvaraju et al. 2017, arXiv:1610.02391), neighbours are averaged.
        """
        pairs = [(view, SUMMARIES[name]) for view in views for name in self.summaries]
        parts_BP = torch.stack(
            [
                summary.part(view, of_BD)
                for (view, summary), of_BD in zip(
                    pairs, gradient_BF.chunk(len(pairs), dim=1), strict=True
                )
            ]
        ).sum(0)
        plane = parts_BP.clamp_min(0).reshape(-1, 1, grid.rows, grid.columns)
        smooth_BHW = nn.functional.avg_pool2d(plane, 3, stride=1, padding=1)[:, 0]
        if grid.frames == 1:
            return smooth_BHW / smooth_BHW.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        smooth_BTHW = smooth_BHW.reshape(-1, grid.frames, grid.rows, grid.columns)
        greatest_B11 = smooth_BTHW.amax(dim=(1, 2, 3))[:, None, None].clamp_min(1e-12)
        middle_BHW: Tensor = smooth_BTHW[:, grid.frames // 2] / greatest_B11
        return middle_BHW
