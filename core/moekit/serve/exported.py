"""Exports of runs that answer side by side; each has a graph of its own, and they share no pass."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from PIL import Image

from moekit.contract.answers import Answer
from moekit.errors import MoekitError
from moekit.moe.owned import owned
from moekit.plugins.registry import Registry
from moekit.runtime.answerer import Answerer
from moekit.runtime.together import Answers


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
        self, pictures: Sequence[Image.Image], *, kits: Sequence[str], batch_size: int
    ) -> Answers:
        """The answers of several kits; one that fails takes no other with it.

        Args:
            pictures: RGB pictures of any size.
            kits: Names of kits.
            batch_size: Pictures a pass.

        Raises:
            MoekitError: All of them fail; the error is the first kit's.
        """
        answers = Answers()
        for name in kits:
            call = functools.partial(
                self._answerers[name].answer, list(pictures), batch_size=batch_size
            )
            try:
                found: list[Answer] = owned(f"kit {name}", call)
            except MoekitError as error:
                answers.failed[name] = error
            else:
                answers[name] = found
        if not answers:
            raise answers.failed[kits[0]]
        return answers
