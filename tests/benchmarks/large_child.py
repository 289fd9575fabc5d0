"""Answers one large picture: `python -m tests.benchmarks.large_child ASKED.json FOLDER`.

It runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from moekit import Frame, Registry, build_backbone
from moekit.data.stream import Preprocess
from moekit.data.windows import Tiling
from moekit.plugins.resolve import resolve
from moekit.prediction.predict import predict
from moekit.runtime import KitModules, Predictor
from moekit.runtime.answerer import Answerer, remarks_in
from tests.benchmarks.task_child import peak_gib


def main(asked, folder):
    """Loads a kit that nobody trained, since its answers make no difference to its memory."""
    torch.set_num_threads(1)
    registry, backbone = Registry(), build_backbone()
    resolved = resolve(registry.kit(asked["kit"]), registry)
    side, classes = asked["input"], asked["classes"]
    frame = Frame(height=side, width=side)
    kit = KitModules(spec=resolved.kit, registry=registry, backbone=backbone, classes=len(classes))
    answerer = Answerer(
        compute=Predictor(
            backbone=backbone, kit=kit, baseline=None, task=resolved.task, arithmetic="fp32"
        ),
        preprocess=Preprocess(
            frame=frame,
            mean=backbone.mean,
            std=backbone.std,
            tiling=Tiling.of(frame, asked["tile"]),
        ),
        task=resolved.task,
        context=resolved.context(classes=classes, frame=frame),
        point=None,
    )
    before, began = peak_gib(), time.process_time()
    (row,) = predict(
        [("large", Path(asked["picture"]))],
        answerer=answerer,
        provenance={},
        out=folder / "out",
        batch_size=asked["batch"],
        on_progress=lambda *what: sys.stderr.write(f"{what}\n"),
    )
    facts = {
        "peak_gib": peak_gib(),
        "before_gib": before,
        "cpu_seconds": time.process_time() - began,
        "error": row["error"],
        "flat_windows": sum(one.value for one in remarks_in(row) if one.kind == "flat"),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
