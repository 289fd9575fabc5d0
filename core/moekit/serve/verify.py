"""Computes a served answer again, and says whether it is the same."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from moekit.backbone.model import MoEBackbone
from moekit.bench.timing import threads
from moekit.errors import MoekitError, UsageError
from moekit.json_text import parse_json, to_json
from moekit.plugins.faults import names_owner
from moekit.serve.extras import NOTHING, Extras
from moekit.serve.opening import TORCH, open_runs, open_service
from moekit.serve.options import ServeOptions
from moekit.serve.reading import content_of
from moekit.serve.receipts import Served
from moekit.serve.schema import Receipt
from moekit.serve.service import Service

TOLERANCE = 1e-4
"""Of numbers, as a share of the larger one or of 1: what shares a pass changes rounding."""
_MOST_PIXELS = 10**9
_MOST_TOLD = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verified:
    """A served answer that came out again.

    Attributes:
        name: What its kit was called where it was served.
        run: The folder of its run.
        bitwise: Whether it is the same to the bit.
        largest_difference: Of two numbers, as a share of the larger one or of 1.
        images: Images of the pass in which it was served; None if the receipt does not say.
        others: What differs between there and here, both by its name: device, threads, versions.
    """

    name: str
    run: str
    bitwise: bool
    largest_difference: float
    images: int | None
    others: Mapping[str, tuple[str, str]]


@names_owner
def verify_answers(
    served: Sequence[Served],
    image: bytes,
    runs: Sequence[Path],
    *,
    kit: str | None = None,
    tolerance: float = TOLERANCE,
    backend: str = TORCH,
    device: str = "auto",
    weights: str = "auto",
    form: str = "auto",
    backbone: MoEBackbone | None = None,
) -> tuple[list[Verified], list[str]]:
    """Computes the answers to an image again.

    An answer whose pass held no other image must come out to the bit if device, threads and
    versions are the same. Otherwise numbers may differ within the tolerance, and nothing else may.

    Args:
        served: Answers, to this image and to others.
        image: The bytes of the image file.
        runs: Run folders; each answer is computed by that with its weights.
        kit: The one whose answer is looked at, as it was called there; None for all.
        tolerance: As a share of the larger number or of 1.
        backend: torch, or an export of each run; see `moekit.export.record.open_export`.
        device: auto, cpu, cuda or cuda:N.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        backbone: What the runs were trained on, for torch; opened if None.

    Returns:
        The answers that came out again, and the kits whose run is not among the given ones.

    Raises:
        DataError: A run is not finished, or the image cannot be read.
        MoekitError: No answer is to this image or by these runs; or backbone, settings or what
            comes out is another one.
        UsageError: No answer is of the named kit.
    """
    chosen = _of_image(_of_kit(served, kit), content_of(image))
    named = {str(folder): folder for folder in runs}
    most = max(1, *(_batch_size(one.answer.receipt) for one in chosen))
    options = ServeOptions(batch_size=most, most_pixels=_MOST_PIXELS)
    with (
        _as_there(chosen[0].answer.receipt),  # the threads of an export are those at its opening
        contextlib.closing(
            open_service(named, options=options, backbone=backbone)
            if backbone is not None
            else open_runs(
                named,
                options=options,
                backend=backend,
                device=device,
                weights=weights,
                form=form,
            )
        ) as service,
    ):
        found, left = [], []
        for one in chosen:
            run = _run_of(one.answer.receipt, service)
            if run is None:
                left.append(one.name)
            else:
                found.append(_again(one, image, run, service, tolerance=tolerance))
    if not found:
        raise _other(
            "kit_sha256: the answer is by other weights than those of the run",
            whose=", ".join(named),
            fix="name the run that was served with --run",
            code="error/other-kit",
        )
    return found, left


def _of_kit(served: Sequence[Served], kit: str | None) -> list[Served]:
    found = [one for one in served if kit is None or one.name == kit]
    if not found:
        known = sorted({one.name for one in served})
        raise UsageError(
            f"there is no answer of the kit {kit}",
            whose="--kit",
            fix=f"name one of {', '.join(known)}",
            code="usage/unknown-name",
        )
    return found


def _of_image(served: Sequence[Served], content: str) -> list[Served]:
    found = [one for one in served if one.answer.receipt.image_sha256 == content]
    if not found:
        raise _other(
            "image_sha256: no answer is to this image, whose hash is " + content,
            whose=served[0].answer.receipt.image_sha256,
            fix="give the bytes that were sent, not a copy that was written again",
            code="error/other-image",
        )
    return found


def _run_of(receipt: Receipt, service: Service) -> str | None:
    """The run that has the weights of an answer; of several the one with its settings."""
    found = [
        name for name, facts in service.facts.items() if facts.kit_sha256 == receipt.kit_sha256
    ]
    same = [
        name for name in found if service.facts[name].settings_sha256 == receipt.settings_sha256
    ]
    return next(iter(same or found), None)


def _again(one: Served, image: bytes, run: str, service: Service, *, tolerance: float) -> Verified:
    """Computes an answer by a run, and compares it."""
    receipt, facts = one.answer.receipt, service.facts[run]
    extras = NOTHING
    if receipt.asked_level is not None:
        facts = facts.at(receipt.asked_level)
        extras = Extras(levels=((run, receipt.asked_level),))
    if receipt.backbone_sha256 != facts.backbone_sha256:
        raise _other(
            "backbone_sha256: the answer is by another backbone",
            whose=run,
            fix="pass the weights that were served with --weights",
            code="error/other-backbone",
        )
    if receipt.export_sha256 != facts.export_sha256:
        raise _other(
            f"export_sha256: the answer is by {_graph(receipt.export_sha256)}, and this run by "
            f"{_graph(facts.export_sha256)}",
            whose=run,
            fix="name what was served with --backend",
            code="error/other-export",
        )
    if receipt.settings_sha256 != facts.settings_sha256:
        raise _other(
            "settings_sha256: the answer is by other settings of the kit",
            whose=run,
            fix="compare /v1/kits there with that of a server of this run: operating point, "
            "arithmetic and sparse form are among them",
            code="error/other-settings",
        )
    made = receipt.computed
    with _as_there(receipt):
        (outcome,) = service([run], [image], extras)
    if run in outcome.failed:
        raise outcome.failed[run]
    others = _others(receipt, outcome.computed[run])
    there = {"verdict": one.answer.verdict, "values": one.answer.values}
    row = outcome.rows[run]
    here = parse_json(to_json({"verdict": row["verdict"], "values": row}))
    same = _text(there) == _text(here)
    differing = list(differences(there, here))
    largest = max((size for _, size in differing), default=0.0)
    exact = made is not None and made.images == 1 and not others
    beyond = [name for name, size in differing if size > (0.0 if exact else tolerance)]
    if beyond or (exact and not same):
        raise _other(
            f"another answer comes out: {', '.join(beyond[:_MOST_TOLD]) or 'a sign of 0'} "
            + (f"by {largest:.2g} " if math.isfinite(largest) else "")
            + ("where each bit must be the same" if exact else f"(tolerance {tolerance:g})"),
            whose=one.name or run,
            fix="do not rely on the served answer; keep it with the image, and report both",
            code="error/other-answer",
        )
    return Verified(
        name=one.name,
        run=run,
        bitwise=same,
        largest_difference=largest,
        images=None if made is None else made.images,
        others=others,
    )


def differences(there: Any, here: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """What differs between two JSON values.

    Yields:
        Where, and by how much: of numbers as a share of the larger one or of 1; of anything else
        infinity.
    """
    if isinstance(there, dict) and isinstance(here, dict):
        for key in there | here:
            place = f"{name}.{key}" if name else key
            if key in there and key in here:
                yield from differences(there[key], here[key], place)
            else:
                yield place, math.inf
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for number, pair in enumerate(zip(there, here, strict=True)):
            yield from differences(*pair, f"{name}.{number}")
    elif _is_number(there) and _is_number(here):
        if there != here:
            yield name, abs(there - here) / max(1.0, abs(there), abs(here))
    elif type(there) is not type(here) or there != here:
        yield name, math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return to_json(value, sort_keys=True)


def _graph(hashed: str | None) -> str:
    return "torch" if hashed is None else f"the graph {hashed[:12]}"


def _batch_size(receipt: Receipt) -> int:
    return 1 if receipt.computed is None else receipt.computed.batch_size


@contextlib.contextmanager
def _as_there(receipt: Receipt) -> Iterator[None]:
    """With as many threads as there, and no more than this machine can run at once."""
    most = max(os.cpu_count() or 1, torch.get_num_threads())
    wanted = torch.get_num_threads() if receipt.computed is None else receipt.computed.threads
    with threads(min(wanted, most)):
        yield


def _others(receipt: Receipt, here: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Device, threads and versions that are others here."""
    if receipt.computed is None:
        return {"computed": ("unknown", "known")}
    one, other = (
        {**made, **made["versions"]} for made in (receipt.computed.model_dump(), dict(here))
    )
    return {
        name: (str(one.get(name, "none")), str(other.get(name, "none")))
        for name in one | other
        if name not in ("versions", "images") and one.get(name) != other.get(name)
    }


def _other(what: str, *, whose: str, fix: str, code: str) -> MoekitError:
    return MoekitError(what, whose=whose, fix=fix, code=code)
