"""Exports of a kit in int8, whole and split, each kit with files of its own; weights are drawn.

Time does not depend on weights. Kits are copies of one export, so that no two sessions share memory
but by the prefix.
"""

import shutil

import torch

from moekit import Registry
from moekit.bench.kits import seeded_kits
from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.export.graphs import WholeGraph
from moekit.export.predictor import ExportedPredictor
from moekit.export.sessions import openvino_session
from moekit.export.split.graphs import SplitGraphs
from moekit.export.split.predictor import SplitPredictor, by_session
from moekit.jobs.session import open_backbone

WHOLE, SPLIT = "whole", "split"


class Exports:
    """What `write` made.

    Args:
        home: The folder that holds a folder for each way.
        spec: The kit.
        side: Of the input, in pixels.
        images: By how many drawn images int8 is calibrated.
        ways: `whole`, `split` or both.
    """

    def __init__(self, home, spec, *, side, images, ways=(WHOLE, SPLIT)):
        self.home = home
        registry, backbone = Registry(), open_backbone(device="cpu", weights="auto")
        made = {"backbone": backbone, "registry": registry, "arithmetic": "fp32"}
        (predictor,) = seeded_kits(spec, 1, **made).values()
        self.task = predictor.task
        frame = Frame(height=side, width=side)
        preprocess = Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)
        drawn = torch.randn(images, *preprocess.shape, generator=torch.Generator().manual_seed(0))
        given = {"format_": "openvino", "kit": spec.name, "out": home}
        for way in ways:
            graphs = (
                WholeGraph(predictor, preprocess, **given)
                if way == WHOLE
                else SplitGraphs(predictor, preprocess, int8=True, computes="-", **given)
            )
            (home / way).mkdir(parents=True)
            graphs.write(home / way)
            graphs.quantise([one[None].numpy() for one in drawn], on_progress=lambda *_: None)
            facts = graphs.save("of a benchmark")
            if way == SPLIT:
                self.split = facts["split"]

    def opened(self, way, count):
        """That many kits by their names, on one prefix if they are split."""
        threads = torch.get_num_threads()
        found = {}
        if way == SPLIT:
            prefix = by_session(openvino_session(self.home / way / "prefix.xml", threads=threads))
        for number in range(count):
            folder = self.home / f"{way}-{number}"
            folder.mkdir()
            for path in (self.home / way).glob("model.*"):
                shutil.copy(path, folder)
            session = openvino_session(folder / "model.xml", threads=threads)
            how = {"task": self.task, "precision": "int8"}
            if way == WHOLE:
                found[str(number)] = ExportedPredictor(session, **how)
            else:
                how |= {"inputs": self.split["inputs"], "views": self.split["views"]}
                found[str(number)] = SplitPredictor(prefix, session, **how)
        return found
