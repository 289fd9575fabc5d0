"""Kits in int8 that share one prefix, next to as many whole int8 graphs: processor time and memory.

The graphs are of the industrial kit with random weights, on which time does not depend. Each kit
has files of its own, copies of one export, so that no two sessions share memory but by the prefix.
Both ways run in turn; a figure is the median of ratios within a round, of the process's time. Run
it with `OMP_NUM_THREADS=1`.
"""

import gc
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from moekit import Registry
from moekit.bench.kits import seeded_kits
from moekit.bench.timing import compare
from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.export.graphs import WholeGraph
from moekit.export.predictor import ExportedPredictor
from moekit.export.sessions import openvino_session
from moekit.export.split.graphs import SplitGraphs
from moekit.export.split.predictor import SplitPredictor, by_session
from moekit.export.together import compute_exports
from moekit.jobs.session import open_backbone
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COUNTS = (1, 2, 4, 8)
SIDE, SECONDS, CALIBRATION = (56, 1.0, 2) if TINY else (224, 30.0, 8)
MOST = 0.5
"""Time of eight kits on one prefix, as a share of that of eight whole graphs."""
COMMAND = "OMP_NUM_THREADS=1 python -m pytest -m bench -s tests/benchmarks/test_split_export.py"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folders of a whole int8 export and of a split one; what the second's graph takes."""
    registry, backbone = Registry(), open_backbone(device="cpu", weights="auto")
    spec = registry.kit("industrial")
    made = {"backbone": backbone, "registry": registry, "arithmetic": "fp32"}
    (predictor,) = seeded_kits(spec, 1, **made).values()
    frame = Frame(height=SIDE, width=SIDE)
    preprocess = Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(CALIBRATION, *preprocess.shape, generator=generator)
    home = tmp_path_factory.mktemp("exports")
    given = {"format_": "openvino", "kit": spec.name, "out": home}
    ways = {
        "whole": WholeGraph(predictor, preprocess, **given),
        "split": SplitGraphs(predictor, preprocess, int8=True, computes="-", **given),
    }
    facts = {}
    for name, graphs in ways.items():
        (home / name).mkdir()
        graphs.write(home / name)
        graphs.quantise([image[None].numpy() for image in images], on_progress=lambda *_: None)
        facts[name] = graphs.save("of a benchmark")
    return home, predictor.task, facts["split"]["split"]


def opened(exported, way):
    """Eight kits, each by files of its own."""
    home, task, split = exported
    threads = torch.get_num_threads()
    found = {}
    if way == "split":
        first = openvino_session(home / way / "prefix.xml", threads=threads)
        prefix = by_session(first)
    for number in range(max(COUNTS)):
        folder = home / f"{way}-{number}"
        folder.mkdir()
        for path in (home / way).glob("model.*"):
            shutil.copy(path, folder)
        session = openvino_session(folder / "model.xml", threads=threads)
        if way == "whole":
            found[str(number)] = ExportedPredictor(session, task=task, precision="int8")
        else:
            how = {"inputs": split["inputs"], "views": split["views"]}
            found[str(number)] = SplitPredictor(prefix, session, task=task, precision="int8", **how)
    return found


def resident():
    """Bytes that the process holds; None if the system does not say."""
    gc.collect()
    path = Path("/proc/self/status")
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")]
    return found[0] if found else None


def test_eight_int8_kits_share_a_prefix(exported, record, record_figure):
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    kits, memory = {}, {}
    for way in ("split", "whole"):
        before = resident()
        kits[way] = opened(exported, way)
        assert len(compute_exports(kits[way], images, {})) == max(COUNTS)
        after = resident()
        memory[way] = None if before is None else after - before
    counts = {}

    def call(some):
        return lambda _: compute_exports(some, images, {})

    for count in COUNTS:
        calls = {way: call(dict(list(some.items())[:count])) for way, some in kits.items()}
        timings = compare(
            calls, baseline="whole", seconds=SECONDS, least_rounds=9, clock=time.process_time
        )
        one = timings["split"]
        counts[str(count)] = {
            "ratio": one.ratio,
            "quartiles": [one.ratio_q25, one.ratio_q75],
            "split_ms": one.milliseconds,
            "whole_ms": timings["whole"].milliseconds,
            "rounds": one.rounds,
        }
    eight, alone = counts["8"], counts["1"]["whole_ms"]
    about = {
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "memory_of_eight_mib": {
            way: None if value is None else round(value / 2**20) for way, value in memory.items()
        },
        "shared_blocks": exported[2]["prefix"]["blocks"],
    }
    record("split_export", {"images": 1, "input": SIDE, "kits": counts, **about})
    record_figure(
        "serve.split_export_8",
        round(eight["ratio"], 3),
        command=COMMAND,
        quartiles=[round(value, 3) for value in eight["quartiles"]],
        times_one_whole=round(eight["split_ms"] / alone, 2),
        **about,
    )
    assert TINY or eight["ratio"] <= MOST
