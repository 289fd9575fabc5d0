"""The folder of a pretraining: specialists learned from unlabelled images, and what they saw.

```
FOLDER/
  pretrain.json           what was asked for, curves, licences, hashes
  specialists.safetensors the specialists with their router rows
  images.txt              the SHA-256 of each image that was seen
  checkpoints/            the state of an unfinished training
```
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pydantic
from torch import nn

from moekit.data.fingerprint import refuse_changes
from moekit.errors import DataError, UsageError
from moekit.files import sha256, to_json
from moekit.files import write_tensors as write
from moekit.licences import Licences
from moekit.outputs import PRETRAINING, check_vacant
from moekit.runs.run import Run, refuse_other
from moekit.runs.schema import damaged, first_fault
from moekit.runs.seen import read_images, write_images
from moekit.runs.weights import read_weights, refuse_lost
from moekit.sealed import is_sealed, read_sealed, unsealed_note, write_sealed

RECORD, WEIGHTS, IMAGES = "pretrain.json", "specialists.safetensors", "images.txt"
COPIED = "pretrained_images.txt"
"""The same file in a run that began with a pretraining."""
_SCHEMA = 1


class _Known(pydantic.BaseModel):
    """What pretrain.json must say."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)

    done: bool
    request: dict[str, Any]
    weights_sha256: str = ""
    images_sha256: str = ""
    licences: Licences | None = None


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """The folder of a pretraining.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @property
    def record(self) -> Path:
        """pretrain.json."""
        return self.folder / RECORD

    def unsealed(self) -> tuple[str, ...]:
        """A sentence if pretrain.json holds no hash of its content; none if it has one."""
        return unsealed_note(self.read(), RECORD)

    @property
    def checkpoints(self) -> Path:
        """The folder of an unfinished training."""
        return self.folder / "checkpoints"

    @property
    def is_there(self) -> bool:
        """Whether the folder is that of a pretraining."""
        return self.record.is_file()

    def begin(self, request: Mapping[str, Any], *, resume: bool) -> None:
        """Opens the folder.

        Args:
            request: What decides the result; one that is gone on with must ask for the same.
            resume: Whether to go on with what is there.

        Raises:
            DataError: The data have changed since.
            UsageError: The folder is taken and `resume` is off, it holds other things, or the
                request differs.
        """
        if not self.is_there:
            check_vacant(self.folder, PRETRAINING)
            write_sealed(self.record, {"schema": _SCHEMA, "request": dict(request), "done": False})
            return
        if not resume:
            raise UsageError(
                "the folder holds a pretraining already",
                whose=str(self.folder),
                fix="choose another --out, or pass --resume to go on with it",
                code="usage/exists",
            )
        known = dict(self.read()["request"])
        wanted = json.loads(to_json(dict(request)))
        now, was = wanted.pop("data", {}), known.pop("data", {})
        refuse_other(known, wanted, what="pretraining", folder=self.folder)
        fix = "restore the data that it was begun with, or choose another --out"
        refuse_changes(was, now, whose=str(self.folder), fix=fix)

    def read(self) -> dict[str, Any]:
        """The record.

        Raises:
            DataError: It is missing, damaged, edited or of another version.
        """
        content = read_sealed(self.record)
        if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
            raise DataError(
                f"the pretraining is not of schema {_SCHEMA}",
                whose=str(self.record),
                fix="make it again with this version of moekit",
                code="data/other-version",
            )
        try:
            _Known.model_validate(content)
        except pydantic.ValidationError as error:
            raise damaged(self.record, first_fault(error)) from error
        return content

    def read_finished(self) -> dict[str, Any]:
        """The record of a finished pretraining.

        Raises:
            DataError: It is not finished, or as of `read`.
        """
        record = self.read()
        if not record["done"]:
            raise DataError(
                "the pretraining is not finished",
                whose=str(self.folder),
                fix="finish it: the same `moekit pretrain` command with --resume",
                code="data/unfinished-run",
            )
        return record

    def finish(
        self, sets: nn.Module | None, images: Iterable[str], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Writes weights and hashes of images, and then the record, which names both.

        Args:
            sets: The specialists; None if the weights lie elsewhere.
            images: The hash of each image that was seen.
            facts: What else the record says.

        Raises:
            WeightsError: A number in the weights is not finite.
        """
        seen = set(images)
        hashes = {"images_sha256": write_images(self.folder / IMAGES, seen)}
        if sets is not None:
            path = self.folder / WEIGHTS
            refuse_lost(sets, path)
            write(path, {name: value.contiguous() for name, value in sets.state_dict().items()})
            hashes["weights_sha256"] = sha256(path)
        begun = self.read()
        record = {**begun, **facts, **hashes, "images": len(seen), "done": True}
        return write_sealed(self.record, record, sealed=is_sealed(begun))

    def load(self, sets: nn.Module) -> None:
        """Reads the specialists into those of a kit.

        Args:
            sets: The specialist sets by block, as `KitModules.sets`.

        Raises:
            DataError: The pretraining is not finished.
            WeightsError: As of `read_weights`.
        """
        read_weights(
            self.folder / WEIGHTS,
            sets,
            expected=self.read_finished()["weights_sha256"],
            record=RECORD,
            what="the pretrained specialists",
            fix="pretrain them again with the installed version of the kit",
        )

    def images(self) -> frozenset[str]:
        """The hash of each image that was seen.

        Raises:
            DataError: They are gone or changed.
        """
        return read_images(self.folder / IMAGES, self.read_finished()["images_sha256"])


def images_before(run: Run) -> frozenset[str]:
    """The hash of each image that a run's pretraining saw; none without one.

    Raises:
        DataError: They are gone or changed.
    """
    known = run.read().get("pretraining")
    return read_images(run.folder / COPIED, known["images_sha256"]) if known else frozenset()


def slots_of(slots: Iterable[Any], depth: int) -> list[dict[str, Any]]:
    """Where specialists lie and what they are, for records: what must agree to begin from them.

    Args:
        slots: `SpecialistSlot` records.
        depth: Blocks of the backbone.
    """
    found = [
        {
            "block": slot.block + depth if slot.block < 0 else slot.block,
            "experts": list(slot.experts),
            "gate": slot.gate,
            "top_k": slot.top_k,
        }
        for slot in slots
    ]
    return sorted(found, key=lambda slot: cast(int, slot["block"]))
