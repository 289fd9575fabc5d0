"""Maps refined and enlarged in steps of two, for heads that answer at every place.

Shapes: B images, F width, h and w rows and columns of the map.
"""

from __future__ import annotations

from torch import Tensor, nn

from moekit.tasks.parts.fusion import PlaceNorm


class Refine(nn.Module):
    """A depthwise and a pointwise convolution, added to their input.

    Args:
        width: F.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            PlaceNorm(width),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to the same shape."""
        refined: Tensor = x + self.change(x)
        return refined


class Twice(nn.Module):
    """Twice the rows and columns, half the width: bilinear, plus a learned pixel shuffle.

    Sub-pixel convolution: Shi et al. 2016, arXiv:1609.05158. It starts at zero, so that the first
    result is smooth.

    Args:
        width: F, even.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(width, width // 2, 1)
        self.detail = nn.Conv2d(width, 2 * width, 1)
        nn.init.zeros_(self.detail.weight)
        nn.init.zeros_(self.detail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F / 2, 2 h, 2 w)."""
        smooth = nn.functional.interpolate(
            self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        enlarged: Tensor = smooth + nn.functional.pixel_shuffle(self.detail(x), 2)
        return enlarged
