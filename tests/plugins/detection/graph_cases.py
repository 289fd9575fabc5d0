"""A head between patches and merged views, as a kit's graph has it."""

import torch
from torch import nn

from moekit import Grid, HeadSite
from moekit.data.views import view

SIDE, PATCH = 56, 14


class TwoViews(nn.Module):
    """Patches as tokens, a head that is awake, and two views.

    Args:
        make: Makes the head of its site.
    """

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, PATCH, stride=PATCH)
        self.head = make(HeadSite(width=16, blocks=2, classes=3))
        for layer in getattr(self.head, "find", self.head).decode.layers:
            nn.init.normal_(layer.move[-1].weight, std=0.1)
            nn.init.normal_(layer.classify.weight, std=0.1)
        self.eval()

    def views(self, images):
        """Each view's number and outputs, not turned back."""
        for number in (0, 2):
            seen = view(images, number)
            tokens = self.patches(seen).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
            yield number, self.head([tokens, tokens], Grid(SIDE // PATCH, SIDE // PATCH), seen)


def pictures():
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
