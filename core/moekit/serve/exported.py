"""Exports of runs that answer side by side; split exports of one prefix share its pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from moekit.contract.answers import Answer
from moekit.errors import MoekitError, UsageError
from moekit.export.together import compute_exports
from moekit.plugins.registry import Registry
from moekit.runtime.answerer import Answerer
from moekit.runtime.predictor import Computed
from moekit.runtime.select.answer import Selected
from moekit.runtime.shown import Draft, RoutedPicture, Shown, draft_of, shown
from moekit.runtime.together import Answers, answer_by


class ExportedKits:
    """Answers pictures by exports, as `Runtime` does by runs.

    Args:
        answerers: By the names of the kits.
        registry: The installed plugins.
    """

    device = torch.device("cpu")

    def __init__(self, answerers: Mapping[str, Answerer], registry: Registry) -> None:
        self.registry = registry
        self._answerers = dict(answerers)

    def answer(
        self,
        pictures: Sequence[Image.Image],
        *,
        kits: Sequence[str],
        batch_size: int,
        levels: Mapping[str, float] | None = None,
    ) -> Answers:
        """The answers of several kits; one that fails takes no other with it.

        Args:
            pictures: RGB pictures of any size.
            kits: Names of kits.
            batch_size: Pictures a pass.
            levels: As of `Runtime.answer`.

        Raises:
            MoekitError: All of them fail; the error is the first kit's.
        """
        asked: dict[str, Answerer] = {}
        failed: dict[str, MoekitError] = {}
        moved = levels or {}
        for name in kits:
            one = self._answerers[name]
            try:
                asked[name] = one.at(moved[name]) if name in moved else one
            except MoekitError as error:
                failed[name] = error
        stacks = [(picture,) for picture in pictures]
        answers = answer_by(asked, self._compute, lambda *_: stacks, batch_size=batch_size)
        answers.failed.update(failed)
        if not answers:
            raise answers.failed[kits[0]]
        return answers

    def select(
        self,
        pictures: Sequence[Image.Image],
        *,
        kits: Sequence[str],
        batch_size: int,
        levels: Mapping[str, float] | None = None,
    ) -> list[Selected]:
        """Refuses, since graphs have no trunk in common.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "exports have no trunk in common by which a kit could be chosen",
            whose=", ".join(kits),
            fix="name the kits of the request, or serve the runs by torch",
            code="usage/no-domain",
        )

    def _compute(
        self, names: Sequence[str], images: Tensor, failed: dict[str, MoekitError]
    ) -> Mapping[str, Computed]:
        computes = {name: self._answerers[name].compute for name in names}
        return compute_exports(computes, images, failed)

    def shown(self, picture: Image.Image, answer: Answer, *, kit: str) -> Shown:
        """An answer as its task shows it; see `Runtime.shown`."""
        return shown(self._answerers[kit], picture, answer, kit=kit)

    def draft(self, picture: Image.Image, answer: Answer, *, kit: str) -> Draft:
        """An answer in the form of a correction; see `Runtime.draft`."""
        return draft_of(self._answerers[kit], picture, answer, kit=kit)

    def routing(self, picture: Image.Image, *, kit: str) -> RoutedPicture:
        """Refuses, since a graph tells of no routing.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "a graph does not say which experts computed what",
            whose=f"the export of {kit}",
            fix="serve the run by torch to see its routing",
            code="usage/option-conflict",
        )
