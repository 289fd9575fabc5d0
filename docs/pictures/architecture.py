"""Draws `architecture.svg`: the frozen backbone, and two kits with their specialists and heads.

python docs/pictures/architecture.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path

WIDTH, HEIGHT = 960, 330
BLOCK, GAP, LEFT = 50, 10, 96
TRUNK_Y, ROWS = 130, {"industrial kit": 36, "medical kit": 224}
OWN = {"industrial kit": (7, 8, 9), "medical kit": (7, 8, 9, 10)}
COLOURS = {
    "industrial kit": ("#e8833a", "defective 0.93"),
    "medical kit": ("#2f8f6b", "nodule 0.04"),
}
INK, FROZEN, LINE = "#1c2430", "#c9d8ec", "#7d8ea6"
BOX = 60


def block_x(number: int) -> int:
    """Where a block begins, in pixels."""
    return LEFT + number * (BLOCK + GAP)


def text(x: float, y: float, words: str, *, size: int = 13, anchor: str = "middle") -> str:
    """A line of text."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A rounded box."""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" '
        f'stroke="{LINE}"/>'
    )


def trunk() -> list[str]:
    """The image, the twelve frozen blocks and their experts."""
    drawn = [box(16, TRUNK_Y, BOX, BOX, "#f3f5f8"), text(46, TRUNK_Y + 35, "image")]
    for number in range(12):
        x = block_x(number)
        drawn.append(box(x, TRUNK_Y, BLOCK, BOX, FROZEN))
        drawn.append(text(x + BLOCK / 2, TRUNK_Y + 20, str(number + 1), size=12))
        drawn += [
            f'<circle cx="{x + 10 + 10 * (dot % 4)}" cy="{TRUNK_Y + 34 + 9 * (dot // 4)}" r="3" '
            f'fill="{LINE}"/>'
            for dot in range(8)
        ]
    for line, note in enumerate(
        ("frozen, with 16 experts and a router each;", "kits share a pass")
    ):
        drawn.append(text(block_x(0), TRUNK_Y + BOX + 22 + 18 * line, note, anchor="start"))
    return drawn


def kit(name: str) -> list[str]:
    """A kit's specialists in the later blocks, and its head."""
    y, (colour, answer) = ROWS[name], COLOURS[name]
    above = y < TRUNK_Y
    ends = (y + BOX, TRUNK_Y) if above else (TRUNK_Y + BOX, y)
    drawn = []
    for number in OWN[name]:
        x = block_x(number)
        middle = x + BLOCK / 2
        drawn.append(
            f'<line x1="{middle}" y1="{ends[0]}" x2="{middle}" y2="{ends[1]}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        drawn.append(box(x, y, BLOCK, BOX, colour))
    first, last = block_x(OWN[name][0]), block_x(OWN[name][-1])
    drawn.append(text(first, y - 8 if above else y + BOX + 18, "specialists", anchor="start"))
    drawn.append(text(first - 12, y + 35, name, anchor="end", size=15))
    head = last + BLOCK + GAP
    drawn += [box(head, y, BLOCK, BOX, "#f3f5f8"), text(head + BLOCK / 2, y + 35, "head")]
    drawn.append(text(head + BLOCK + 10, y + 35, answer, anchor="start"))
    return drawn


def main() -> None:
    """Writes the drawing next to this file."""
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" role="img" '
        'aria-label="Two kits add specialists to the later blocks of one frozen backbone">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>',
        *trunk(),
        *(part for name in ROWS for part in kit(name)),
        "</svg>",
    ]
    Path(__file__).with_suffix(".svg").write_text("\n".join(drawn) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
