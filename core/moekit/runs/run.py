"""The run folder: everything that one adaptation or evaluation produced.

```
RUN/
  run.json            what was asked for and what it was made with
  kit.safetensors     the trained specialists, routers and head
  baseline.safetensors  the same head trained on the bare backbone
  domain.safetensors  what its pictures look like, which sets them apart from others
  token_gate.safetensors  what says which tokens are computed, if it is learned
  train_images.txt    the SHA-256 of each training image; val_images.txt likewise
  validation.csv      scores of the validation split, from which thresholds are chosen
  history.jsonl       one line an epoch
  checkpoints/        states of unfinished trainings
```
`moekit evaluate` and `moekit report` add result.json, predictions.csv, routing.json, overlays/,
tokens/ and report.html.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from moekit.contract.recipe import Recipe
from moekit.data.fingerprint import refuse_changes
from moekit.data.geometry import Frame
from moekit.data.windows import Tiling
from moekit.errors import DataError, UsageError
from moekit.files import atomic_text, finite, locked, sha256, to_json, write_tensors
from moekit.outputs import RUN, check_vacant
from moekit.runs.schema import SCHEMA, Record, read_record
from moekit.runs.weights import read_weights, refuse_lost
from moekit.sealed import is_sealed, unsealed_note, write_sealed

_logger = logging.getLogger(__name__)
VALIDATION, PREDICTIONS = "validation", "predictions"
"""How the names of the files begin that hold the tallies of the validation and another split."""
MEAN_VALIDATION = f"{VALIDATION}_mean"
"""Likewise of the mean of specialist and baseline, if it was found best."""
SELECTOR = "token_gate"
"""The part of a run that says which tokens are computed, if it is learned."""
_EARLIER = {"frames": 1, "negatives_only": False, "started_from": None, "tiling": None}
"""What a request that does not name it means: it was begun before there was a choice."""
_ADDED = ("task", "classes", "frame")
"""What requests did not name at first; a run that lacks them all is compared without them."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder, the names in it and its record.

    A command opens it once and hands it down. run.json is read when it is first asked for; from
    then on the record is known, and so is what the command itself writes into it.

    Attributes:
        folder: The folder.
    """

    folder: Path
    _known: list[Record] = dataclasses.field(
        default_factory=list, init=False, repr=False, compare=False
    )
    _told: list[str] = dataclasses.field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def record(self) -> Path:
        """run.json."""
        return self.folder / "run.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of unfinished trainings."""
        return self.folder / "checkpoints"

    def weights(self, part: str) -> Path:
        """The weights of `kit`, `baseline` or `token_gate`."""
        return self.folder / f"{part}.safetensors"

    def begin(self, request: Mapping[str, Any], *, resume: bool) -> None:
        """Opens the folder for an adaptation.

        Args:
            request: What decides the result; a resumed run must ask for the same.
            resume: Whether to go on with what is there.

        Raises:
            UsageError: The folder holds a run and `resume` is off, or the request differs; or the
                folder holds other things.
            DataError: There is nothing to resume, or the data have changed since.
        """
        exists = self.record.exists()
        if exists and not resume:
            raise UsageError(
                "the folder holds a run already",
                whose=str(self.folder),
                fix="choose another --out, or pass --resume to go on with it",
                code="usage/exists",
            )
        if exists:
            known = {**_EARLIER, **self.read()["request"]}
            wanted = {**_EARLIER, **request}
            # Fields that recipes got later mean what they mean if they are not named.
            if "recipe" in known:
                known["recipe"] = Recipe.model_validate(known["recipe"]).model_dump()
            if not any(name in known for name in _ADDED):
                wanted = {name: value for name, value in wanted.items() if name not in _ADDED}
            now, was = wanted.pop("data", {}), known.pop("data", None)
            refuse_other(known, wanted, what="run", folder=self.folder)
            if was is None:
                _logger.warning(
                    "%s does not say what its data were, since an earlier version began it: "
                    "whether they have changed is not known",
                    self.record,
                )
                return
            refuse_changes(
                was,
                now,
                whose=str(self.folder),
                fix="restore the data that it was begun with, or choose another --out",
            )
        else:
            check_vacant(self.folder, RUN)
            self._write({"schema": SCHEMA, "request": dict(request), "done": False})

    def read(self, *, again: bool = False) -> dict[str, Any]:
        """The record.

        Args:
            again: Whether to read the file although its content is known, since another process
                has written it.

        Raises:
            DataError: The folder holds no run or one of another schema, or run.json was edited or
                cut. A field that is asked for and missing raises it too.
        """
        if self._known and not again:
            return self._known[0]
        if not self.record.exists():
            raise DataError(
                "the folder holds no run",
                whose=str(self.folder),
                fix="make one: moekit adapt KIT --data D --out RUN",
                code="data/no-run",
            )
        self._known[:] = [read_record(self.record)]
        for note in self.unsealed():
            _logger.warning("%s: %s", self.folder, note)
        return self._known[0]

    def unsealed(self) -> tuple[str, ...]:
        """A sentence for results if run.json holds no hash of its content; none if it has one.

        Raises:
            DataError: The folder holds no run.
        """
        return unsealed_note(self.read(), self.record.name)

    def read_finished(self) -> dict[str, Any]:
        """The record of a finished adaptation.

        Raises:
            DataError: The adaptation is not finished.
        """
        record = self.read()
        if not record["done"]:
            raise DataError(
                "the adaptation is not finished",
                whose=str(self.folder),
                fix="finish it: the same `moekit adapt` command with --resume",
                code="data/unfinished-run",
            )
        return record

    def placement(self) -> str:
        """Where the kit's specialists act: trunk, side, or none if there are none."""
        changes = self.read()["request"].get("changes", {})
        return str(changes.get("placement", "trunk"))

    def frames(self) -> int:
        """How many frames the samples have that the adaptation saw; 1 for images.

        Raises:
            DataError: The folder holds no run.
        """
        return int({**_EARLIER, **self.read()["request"]}["frames"])

    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the data that the adaptation saw.

        A run that does not name them has two, whose names it did not record.

        Raises:
            DataError: The folder holds no run.
        """
        return tuple(self.read()["request"].get("classes", ("negative", "positive")))

    def recipe(self) -> Recipe:
        """How it was trained; fields that recipes got later have their defaults.

        Raises:
            DataError: The folder holds no run.
        """
        return Recipe.model_validate(self.read()["request"]["recipe"])

    def frame(self) -> Frame:
        """How pictures lie in the input.

        Raises:
            DataError: The folder holds no run.
        """
        request = self.read()["request"]
        if "frame" in request:
            return Frame(**request["frame"])
        side = request["recipe"]["image_size"]
        return Frame(height=side, width=side)

    def tiling(self) -> Tiling | None:
        """How pictures are cut that are larger than a window; None if none is.

        Raises:
            DataError: The folder holds no run.
        """
        cut = self.read()["request"].get("tiling")
        return None if cut is None else Tiling(**cut)

    def bits(self) -> int | None:
        """Bits of the numbers in files of more than 8 bits; None if they fill 16.

        Raises:
            DataError: The folder holds no run.
        """
        found = (self.read()["request"].get("recipe") or {}).get("bits")
        return None if found is None else int(found)

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Adds what was found out and marks the adaptation as done.

        A record without a hash of its content stays without one.
        """
        record = self.read()
        self._write({**record, **facts, "done": True}, sealed=is_sealed(record))

    def change(self, facts: Mapping[str, Any]) -> None:
        """Adds facts to a finished run as it is now, which others may have changed meanwhile."""
        with locked(self.record):
            self.read(again=True)
            self.finish(facts)

    def _write(self, record: Mapping[str, Any], *, sealed: bool = True) -> None:
        written = write_sealed(self.record, record, sealed=sealed)
        self._known[:] = [Record(written, self.record)]

    def write_history(self, epochs: Iterable[Mapping[str, float]]) -> None:
        """Writes history.jsonl; figures that are undefined are null."""
        with atomic_text(self.folder / "history.jsonl") as file:
            file.writelines(to_json(finite(dict(epoch))) + "\n" for epoch in epochs)

    def save_weights(self, part: str, module: nn.Module) -> str:
        """Writes the weights of a part; returns their SHA-256.

        Raises:
            WeightsError: A number in them is not finite.
        """
        path = self.weights(part)
        refuse_lost(module, path)
        tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
        write_tensors(path, tensors)
        return sha256(path)

    def load_weights(self, part: str, module: nn.Module, *, expected: str) -> None:
        """Reads the weights of a part.

        Args:
            part: Which.
            module: Takes them.
            expected: SHA-256 of the file, from the record; checked before the file is parsed.

        Raises:
            WeightsError: As of `read_weights`.
        """
        read_weights(
            self.weights(part),
            module,
            expected=expected,
            record=self.record.name,
            what="the trained weights",
            fix="make the run again with the installed version of the kit",
        )

    def check_files(self, stem: str) -> None:
        """Checks files that the adaptation wrote against their hashes in run.json.

        A run of an earlier version does not name them; a warning says so, once for each `Run`.

        Args:
            stem: The files' name without its suffix, such as `VALIDATION`.

        Raises:
            DataError: One is not what the run wrote.
        """
        hashes = self.read().get("files")
        if hashes is None:
            if self._told:
                return
            self._told.append(stem)
            _logger.warning(
                "%s does not hold the hash of %s, since an earlier version wrote it: whether the "
                "file has changed is not known",
                self.record,
                stem,
            )
            return
        check_hashes(self.folder, hashes, stem, record=self.record.name)


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of files in a folder, by name."""
    return {name: sha256(folder / name) for name in names}


def check_hashes(folder: Path, hashes: Mapping[str, str], stem: str, *, record: str) -> None:
    """Checks files against their hashes. What is not there is left to whoever reads it.

    Args:
        folder: Where they lie.
        hashes: SHA-256 by name.
        stem: The name, without its suffix, of those that are checked.
        record: The name of the file that the hashes are from.

    Raises:
        DataError: A file has another hash.
    """
    for name, expected in hashes.items():
        path = folder / Path(name).name
        if Path(name).stem == stem and path.is_file() and sha256(path) != expected:
            raise DataError(
                f"the file is not the one that was written with the run: its SHA-256 is not the "
                f"one in {record}",
                whose=str(path),
                fix="restore it, or make the run again; what is chosen from it decides answers",
                code="data/changed-file",
            )


def refuse_other(
    known: Mapping[str, Any], wanted: Mapping[str, Any], *, what: str, folder: Path
) -> None:
    """Refuses to go on with what was begun with another request.

    Args:
        known: The request that it was begun with, less the data.
        wanted: What is asked for now, less the data.
        what: What was begun, such as "run".
        folder: Its folder.

    Raises:
        UsageError: They differ; the message names the fields.
    """
    changed = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
    if changed:
        raise UsageError(
            f"the {what} was begun with other values of: {', '.join(changed)}",
            whose=str(folder),
            fix="give the data and options that it was begun with, or choose another --out",
            code="usage/other-run",
        )
