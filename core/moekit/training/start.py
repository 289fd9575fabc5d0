"""What an adaptation begins with: a finished run, or specialists that were pretrained."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from moekit.contract.kits import KitSpec
from moekit.data.content import Contents
from moekit.data.many_classes import gap_notes
from moekit.data.samples import SPLITS, Dataset
from moekit.data.scan import notes_on
from moekit.errors import UsageError
from moekit.files import atomic_path
from moekit.plugins.resolve import FIRST_TASK
from moekit.runs.pretrained import COPIED, IMAGES, Pretrained, images_before, slots_of
from moekit.runs.run import Run
from moekit.runs.seen import count_seen, read_images
from moekit.runtime.kit import KitModules

Start = Run | Pretrained
_ALIKE = (
    *("kit", "task", "changes", "frames", "negatives_only"),
    *("backbone_sha256", "computes", "top_k"),
)
"""What a run must share with the one that it begins with."""
_ALIKE_PRETRAINED = ("kit", "changes", "frames", "backbone_sha256", "computes", "top_k")
"""What a run must share with the pretraining that it begins with, besides its slots."""
_KIT = "kit"


def started_from(
    start: Start | None, request: Mapping[str, Any], *, kit: KitSpec, depth: int
) -> dict[str, dict[str, str]]:
    """What a request says of the weights that a new run begins with: their hashes.

    Args:
        start: A finished run of the same kind, or a pretraining; None for none.
        request: What is asked of the new run.
        kit: The new run's kit.
        depth: Blocks of the backbone.

    Raises:
        UsageError: They are of another kit, task or backbone, or read pictures in another way.
    """
    if start is None:
        return {}
    record = start.read_finished()
    known = {"task": FIRST_TASK, **record["request"]}
    if isinstance(start, Run):
        other = [name for name in _ALIKE if known.get(name) != request[name]]
        if start.bits() != request["recipe"]["bits"]:
            other.append("number of bits (--bits)")
        if start.recipe().head_members != request["recipe"]["head_members"]:
            other.append("number of head members")
        weights: dict[str, str] = record["weights"]
    else:
        wanted = {**request, "slots": slots_of(kit.slots, depth)}
        names = (*_ALIKE_PRETRAINED, "slots")
        other = [name for name in names if known.get(name) != wanted[name]]
        hashes = ("weights_sha256", "images_sha256")
        weights = {f"pretrained_{name}": record[name] for name in hashes}
    if other:
        raise UsageError(
            f"{'the run' if isinstance(start, Run) else 'the pretraining'} was made with another "
            f"{', '.join(other)}",
            whose=str(start.folder),
            fix="begin with one of the same kit on the same backbone, or leave out --from",
            code="usage/other-run",
        )
    return {"started_from": weights}


def load_beginning(start: Start | None, part: str, kit: KitModules) -> None:
    """Loads what a part of a new run begins with: of a run its own, of a pretraining specialists.

    Args:
        start: As of `started_from`.
        part: `kit` or `baseline`.
        kit: Its modules.

    Raises:
        WeightsError: The weights are missing, changed or do not fit.
    """
    if isinstance(start, Run):
        known = start.read_finished()["weights"][f"{part}_sha256"]
        start.load_weights(part, kit, expected=known)
    elif start is not None and part == _KIT:
        start.load(kit.sets)


def keep_lineage(start: Start | None, run: Run) -> dict[str, Any]:
    """Copies into a run which images its pretraining saw; returns what its record says of it.

    A run that begins with a run hands on what that one kept.

    Raises:
        DataError: The pretraining's record or its list of images is damaged.
    """
    if isinstance(start, Pretrained):
        record, request = start.read_finished(), start.read()["request"]
        facts = {
            "dataset": request["dataset"],
            "objective": request["recipe"]["objective"],
            "seed": request["seed"],
            "images": record["images"],
            "images_sha256": record["images_sha256"],
            "weights_sha256": record["weights_sha256"],
        }
        source = start.folder / IMAGES
    elif start is not None and start.read().get("pretraining"):
        facts, source = dict(start.read()["pretraining"]), start.folder / COPIED
    else:
        return {}
    read_images(source, facts["images_sha256"])
    with atomic_path(run.folder / COPIED) as temporary:
        shutil.copyfile(source, temporary)
    return {"pretraining": facts}


def notes_at_start(
    start: Start | None, dataset: Dataset, contents: Contents, *, bits: int | None
) -> tuple[str, ...]:
    """What a scan finds in the data, which classes splits lack, and what a pretraining has seen.

    Args:
        start: As of `started_from`.
        dataset: Split data.
        contents: Hashes of the files.
        bits: As of `Preprocess`.
    """
    notes = [*notes_on(dataset, bits=bits), *gap_notes(dataset, SPLITS[1:])]
    seen = start.images() if isinstance(start, Pretrained) else frozenset[str]()
    if isinstance(start, Run):
        seen = images_before(start)
    if start is not None:
        notes += start.unsealed()
    for split in dataset.split_names():
        count = 0 if split == "train" else count_seen(dataset.split(split), seen, contents)
        if count:
            notes.append(
                f"{count} images of the split {split} were seen in the pretraining that this run "
                "begins with: figures on them are too good"
            )
    return tuple(notes)
