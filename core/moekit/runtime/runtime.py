"""The runtime: one backbone, any number of kits attached to it.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

import torch
from PIL import Image
from torch import Tensor

from moekit.backbone.features import Features
from moekit.backbone.model import MoEBackbone
from moekit.contract.answers import Answer
from moekit.contract.kits import KitSpec
from moekit.contract.outputs import Outputs
from moekit.data.views import view_numbers
from moekit.errors import MoekitError
from moekit.moe.stats import RoutingTrace
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run
from moekit.runs.run import Run
from moekit.runtime import refusals
from moekit.runtime.cache import KitCache
from moekit.runtime.kit import KitModules
from moekit.runtime.load import load_answerer
from moekit.runtime.pictures import Picture, pictures_of
from moekit.runtime.plan import RequestPlan, plan_of
from moekit.runtime.predictor import Predictor
from moekit.runtime.select.answer import Selected, select
from moekit.runtime.select.domain import Domain
from moekit.runtime.shown import Draft, RoutedPicture, Shown, draft_of, routed_picture, shown
from moekit.runtime.together import Answers, Trained, answer_together

Kits = Sequence[str | Path | Run]
"""Names of attached kits, and runs."""


class Runtime:
    """Runs the backbone with any of the attached kits, or with several at once.

    Attaching, training or detaching a kit never changes what the bare backbone or another kit
    computes, since each call names its kit and the backbone holds none. Two runs may differ in
    `top_k`, views and image size: these belong to the run, not to the backbone.

    Args:
        backbone: The shared backbone.
        registry: The installed plugins; looked for if None.
        most_kits: Most kits of runs that lie in memory, at least 2; None for all. Those used
            least recently leave it, and are loaded again when they are named.

    Raises:
        UsageError: `most_kits` is less than 2.
    """

    def __init__(
        self,
        backbone: MoEBackbone,
        *,
        registry: Registry | None = None,
        most_kits: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.registry = registry or Registry()
        self._kits: dict[str, Predictor | Path] = {}  # of runs the folder
        self._trained = KitCache(most_kits)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.backbone.parameters()).device

    @property
    def kits(self) -> tuple[str, ...]:
        """Names of the attached kits."""
        return tuple(self._kits)

    def attach(self, kit: str | KitSpec, *, classes: int = 2, frames: int = 1) -> KitModules:
        """Builds a kit's specialists and head, in eval mode.

        No feature changes before they are trained or loaded.

        Args:
            kit: Name of an installed kit, or a record.
            classes: How many classes the head distinguishes.
            frames: Frames of a sample; 1 for images.

        Raises:
            UsageError: A kit of that name is attached already, or does not fit the backbone.
        """
        spec = self.registry.kit(kit) if isinstance(kit, str) else kit
        self._check_free(spec.name)
        modules = KitModules(
            spec=spec,
            registry=self.registry,
            backbone=self.backbone,
            classes=classes,
            frames=frames,
            members=spec.recipe.head_members,
        )
        modules.to(next(self.backbone.parameters()).device).eval()
        predictor = Predictor(
            backbone=self.backbone,
            kit=modules,
            baseline=None,
            task=self.registry.task(spec.task),
            arithmetic="fp32",
            views=view_numbers(spec.recipe.scoring_views, spec.recipe.scoring_order),
        )
        self._kits[spec.name] = predictor
        return modules

    def load(self, run: Path | Run, *, name: str | None = None) -> str:
        """Attaches the trained kit of a run, which then answers as `moekit predict` does.

        Args:
            run: The run folder.
            name: What it is called here; the kit's name if None.

        Returns:
            The name.

        Raises:
            DataError: The run is not finished.
            UsageError: A kit of that name is attached already.
            WeightsError: The run was trained on another backbone, or its weights are damaged.
        """
        opened = Run(run) if isinstance(run, Path) else run
        record = opened.read_finished()
        made_by = record["request"]["kit"]
        spec = kit_of_run(self.registry, made_by, record)
        chosen = name or spec.name
        self._check_free(chosen)

        def loaded() -> Trained:
            made = load_answerer(opened, spec, backbone=self.backbone, registry=self.registry)
            return Trained(predictor=made[0], answerer=made[1], domain=Domain.of_run(opened))

        self._trained.add(chosen, loaded)
        self._kits[chosen] = opened.folder.resolve()
        return chosen

    def preload(self, kits: Kits) -> None:
        """Begins to load kits that have left memory, and does not wait for them.

        Args:
            kits: As of `answer`.

        Raises:
            UsageError: A kit is not attached, or has no trained run.
        """
        self._trained.fetch(self._names(kits))

    def detach(self, kit: str) -> None:
        """Forgets a kit.

        Raises:
            UsageError: It is not attached.
        """
        if isinstance(self._attached(kit), Path):
            self._trained.forget(kit)
        del self._kits[kit]

    @torch.inference_mode()
    def features(
        self, images: Tensor, *, kit: str | None = None, trace: RoutingTrace | None = None
    ) -> Features:
        """The backbone's features, with the specialists of `kit` or, if None, bare.

        Specialists that act in the side stream are added to what the last block gives.

        Args:
            images: (B, 3, H, W) normalised, or (B, T, 3, H, W).
            kit: Name of an attached kit.
            trace: Collects the routing if one is given.
        """
        if kit is None:
            bare: Features = self.backbone(images, trace=trace)
            return bare
        return self._predictor(kit).features(images, trace=trace)

    def predict(self, images: Tensor, *, kit: str, trace: RoutingTrace | None = None) -> Outputs:
        """A kit's outputs for normalised images (B, 3, H, W), or stacks (B, T, 3, H, W).

        They are on the CPU, merged over the views that the kit's recipe asks for.

        Raises:
            UsageError: The kit is not attached, or the images have another shape.
            PluginError: The kit's head does not give one row an image or stack.
        """
        return self._predictor(kit)(images, trace=trace).kit

    @overload
    def answer(
        self, pictures: Sequence[Picture], *, kit: str, batch_size: int = 16
    ) -> list[Answer]: ...

    @overload
    def answer(
        self,
        pictures: Sequence[Picture],
        *,
        kits: Kits,
        batch_size: int = 16,
        levels: Mapping[str, float] | None = None,
    ) -> Answers: ...

    def answer(
        self,
        pictures: Sequence[Picture],
        *,
        kit: str | None = None,
        kits: Kits | None = None,
        batch_size: int = 16,
        levels: Mapping[str, float] | None = None,
    ) -> list[Answer] | Answers:
        """The answers of a run, or of several at once, the same as `moekit predict` gives.

        Several kits share what they have in common: pictures are read once, and the blocks before
        a kit's own are run once for all kits of the same input, view, `top_k` and arithmetic. Each
        answers bitwise as it does by itself; `plan` says what that costs.

        Args:
            pictures: Files, or pictures of any size in memory.
            kit: Name of a kit that `load` attached.
            kits: In its place, names of such kits, and runs. A run that is not attached yet is
                attached under the name of its folder, and stays so.
            batch_size: Pictures a forward pass.
            levels: With `kits`, by name the number in [0, 1] that takes the place of what was
                chosen on validation data, for kits whose task has such a number
                (`Answering.level`).

        Returns:
            The answers in the order of the pictures; with `kits`, those of each kit by its name. A
            kit that fails takes no other with it: see `Answers`.

        Raises:
            ImageError: A file cannot be read.
            UsageError: A kit is not attached, or has no trained run; a picture is something else.
            MoekitError: With `kits`, all of them fail; the error is the first kit's.
        """
        if (kit is None) == (kits is None):
            raise refusals.both_or_neither()
        read = functools.cache(functools.partial(pictures_of, tuple(pictures)))
        if kit is not None:
            (name,) = self._names([kit])
            answerer = self._trained.get(name).answerer
            stacks = read(answerer.preprocess.frames, answerer.preprocess.bits)
            return answerer.answer(stacks, batch_size=batch_size)
        names = self._names(kits or ())
        answers = Answers()
        for part in self._trained.parts(names):
            loaded = self._loaded(part, answers.failed, levels or {})
            found = answer_together(loaded, read, batch_size=batch_size)
            answers.update(found)
            answers.failed.update(found.failed)
        if not answers:
            raise answers.failed[names[0]]
        return answers

    def select(
        self,
        pictures: Sequence[Picture],
        *,
        kits: Kits | None = None,
        batch_size: int = 16,
        answers: bool = True,
        levels: Mapping[str, float] | None = None,
    ) -> list[Selected]:
        """Sends each picture to the kit that it belongs to, or to none, and answers it by that kit.

        Args:
            pictures: As of `answer`.
            kits: As of `answer`; all kits of runs if None.
            batch_size: Pictures a forward pass.
            answers: Whether the pictures are answered, not only sorted.
            levels: As of `answer`.

        Raises:
            ImageError: A file cannot be read.
            UsageError: As of `answer`, or a run does not say what its pictures look like.
        """
        failed: dict[str, MoekitError] = {}
        runs = [name for name, one in self._kits.items() if isinstance(one, Path)]
        chosen = self._loaded(self._names(runs if kits is None else kits), failed, levels or {})
        for error in failed.values():
            raise error
        read = functools.cache(functools.partial(pictures_of, tuple(pictures)))
        return select(chosen, read, batch_size=batch_size, answers=answers) if pictures else []

    def shown(self, picture: Image.Image, answer: Answer, *, kit: str) -> Shown:
        """An answer of `answer` as `moekit predict` shows it: an overlay and a line.

        Args:
            picture: The RGB picture that was answered.
            answer: The kit's answer to it.
            kit: Name of a kit that `load` attached.

        Raises:
            UsageError: The kit is not attached, or has no trained run.
            PluginError: The task cannot draw the answer.
        """
        (name,) = self._names([kit])
        return shown(self._trained.get(name).answerer, picture, answer, kit=name)

    def draft(self, picture: Image.Image, answer: Answer, *, kit: str) -> Draft:
        """An answer of `answer` in the form of a correction; see `Correcting`.

        Args:
            picture: The RGB picture that was answered.
            answer: The kit's answer to it.
            kit: Name of a kit that `load` attached.

        Raises:
            UsageError: The kit is not attached, or has no trained run.
            PluginError: The task cannot make it.
        """
        (name,) = self._names([kit])
        return draft_of(self._trained.get(name).answerer, picture, answer, kit=name)

    def routing(self, picture: Image.Image, *, kit: str) -> RoutedPicture:
        """Which experts compute which part of a picture, in one more forward pass.

        Args:
            picture: RGB, of any size.
            kit: Name of a kit that `load` attached.

        Raises:
            UsageError: The kit is not attached, has no trained run, or cuts this picture.
            PluginError: A part of a plugin fails.
        """
        (name,) = self._names([kit])
        return routed_picture(self._trained.get(name), picture)

    def plan(self, kits: Kits) -> RequestPlan:
        """What `answer` costs with these kits, by arithmetic; print it for a table.

        It is the plan of kits that all lie in memory: with more than `most_kits` a request is made
        in parts, each with a trunk of its own.

        Args:
            kits: As of `answer`.

        Raises:
            UsageError: A kit is not attached, or has no trained run.
        """
        return plan_of({name: self._trained.get(name) for name in self._names(kits)})

    def _names(self, kits: Kits) -> list[str]:
        """The names of kits of runs, each once; runs that are not attached are attached."""
        names = [one if isinstance(one, str) else self._name_of(one) for one in kits]
        for name in names:
            if not isinstance(self._attached(name), Path):
                raise refusals.without_run(name)
        if not names:
            raise refusals.none_named(self._kits)
        return list(dict.fromkeys(names))

    def _name_of(self, run: Path | Run) -> str:
        """The name of a run's kit, which is attached if it is not."""
        folder = (run.folder if isinstance(run, Run) else run).resolve()
        for name, known in self._kits.items():
            if known == folder:
                return name
        return self.load(run, name=folder.name)

    def _loaded(
        self, names: Sequence[str], failed: dict[str, MoekitError], levels: Mapping[str, float]
    ) -> dict[str, Trained]:
        """The kits; the errors of those that cannot be loaded again are put into `failed`."""
        found: dict[str, Trained] = {}
        for name in names:
            try:
                one = self._trained.get(name)
                if name in levels:
                    one = dataclasses.replace(one, answerer=one.answerer.at(levels[name]))
                found[name] = one
            except MoekitError as error:
                failed[name] = error
        return found

    def _check_free(self, name: str) -> None:
        if name in self._kits:
            raise refusals.taken(name)

    def _attached(self, kit: str) -> Predictor | Path:
        if kit not in self._kits:
            raise refusals.not_attached(kit, self._kits)
        return self._kits[kit]

    def _predictor(self, kit: str) -> Predictor:
        known = self._attached(kit)
        return self._trained.get(kit).predictor if isinstance(known, Path) else known
