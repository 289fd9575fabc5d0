"""A picture of 8,192 x 8,192 pixels, outlined by windows from its file to its mask: peak memory.

The kit is `scenes`, not trained, with twelve classes. The picture is a photograph made larger, with
an empty border of a quarter, as scans have one.
"""

import pytest
from PIL import Image

from tests.benchmarks.task_runs import TINY, child

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_large_memory.py"
SIDE, MOST_GIB = (1024 if TINY else 8192), 4.0
ASKED = {
    "kit": "scenes",
    "input": 448,
    "tile": SIDE // 4,
    "batch": 4,
    "classes": [f"class {number}" for number in range(12)],
}


def test_a_large_picture_is_outlined_in_bounded_memory(shared, tmp_path, record, record_figure):
    source = next(iter(sorted((shared / "data" / "photos_1k").glob("*.jpg"))))
    inner = 3 * SIDE // 4
    with Image.open(source) as photo, Image.new("RGB", (SIDE, SIDE), (244, 244, 244)) as picture:
        picture.paste(photo.convert("RGB").resize((inner, inner)), (0, 0))
        picture.save(tmp_path / "large.png")
    asked = {**ASKED, "picture": str(tmp_path / "large.png")}
    facts = child("large_child", asked, tmp_path / "run")
    facts |= {"side": SIDE, "tile": ASKED["tile"], "input": ASKED["input"], "threads": 1}
    record("large_memory", facts)
    record_figure("hires.peak_gib", round(facts["peak_gib"], 3), command=COMMAND, **facts)
    assert facts["error"] == ""
    assert facts["flat_windows"] > 0
    assert facts["peak_gib"] < MOST_GIB
