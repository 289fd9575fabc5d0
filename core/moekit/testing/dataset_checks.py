"""Checks of loaders."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

from moekit.contract.datasets import DatasetSpec
from moekit.data.images import read_image, read_mask
from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.errors import DataError, MoekitError
from moekit.plugins.contents import contents
from moekit.testing.check import check
from moekit.testing.examples import Loaded, private_folders
from moekit.testing.subject import Subject
from moekit.testing.verdicts import ConformanceError, NotApplicable, require

_READ = 4
_REMAINING_BYTES = 20


def _spec(subject: Subject, name: str) -> DatasetSpec:
    spec: DatasetSpec = subject.record("datasets", name)
    return spec


def _example(spec: DatasetSpec, folder: Path) -> Path | None:
    """A path that the loader reads: of its example, or None for a loader that takes no path."""
    if spec.takes_path == "refused":
        return None
    if spec.example is None:
        raise ConformanceError("a loader that takes a path needs an example")
    place = folder / "example"
    place.mkdir()
    return spec.example(place)


def _loaded(subject: Subject, name: str) -> AbstractContextManager[Loaded]:
    """The loader's example and the set that it gives, for checks that change neither."""
    spec = _spec(subject, name)

    def load(folder: Path) -> Loaded:
        path = _example(spec, folder)
        return path, _load(spec, path)

    return subject.examples.loaded(name, load)


def _load(spec: DatasetSpec, path: Path | None, seed: int = 0) -> Dataset:
    dataset = spec.load(path, seed)
    if not isinstance(dataset, Dataset):
        raise ConformanceError("load must return a moekit.Dataset")
    return dataset


@check("dataset")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary and a licence."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.licence.strip()), "summary or licence is empty")


@check("dataset")
def keeps_the_schema(subject: Subject, name: str) -> None:
    """Ids are unique, labels and targets in range, splits known, files there."""
    with _loaded(subject, name) as (_, dataset):
        require(bool(dataset.samples), "it holds no sample")
        require(len(set(dataset.classes)) == len(dataset.classes) > 1, "classes are not distinct")
        ids = [sample.id for sample in dataset.samples]
        require(len(set(ids)) == len(ids), "an id appears twice")
        for sample in dataset.samples:
            _check_sample(sample, dataset)


def _check_sample(sample: Sample, dataset: Dataset) -> None:
    for label in sample.all_labels:
        require(0 <= label < len(dataset.classes), f"{sample.id}: label {label}")
    target = 0 if sample.target is None else sample.target
    require(0 <= target <= 1, f"{sample.id}: target {sample.target}")
    require(sample.split in SPLITS, f"{sample.id}: split {sample.split!r}")
    require(sample.path.is_file(), f"{sample.id}: there is no such file")
    require(sample.mask is None or sample.mask.is_file(), f"{sample.id}: there is no such mask")


@check("dataset")
def has_splits_to_work_with(subject: Subject, name: str) -> None:
    """A kit can be trained and evaluated on it: train and val hold every class, test an image.

    If train holds negatives only, val may do so too, and a test split may be missing. Of a set with
    a mask table, or with truth next to the labels, any class is enough.
    """
    with _loaded(subject, name) as (_, dataset):
        if dataset.negatives_only:
            dataset.split("val")
            return
        beside = any(sample.mask_table or sample.truth for sample in dataset.samples)
        for split in ("train", "val"):
            labels = {label for sample in dataset.split(split) for label in sample.all_labels}
            least = 1 if beside else len(dataset.classes)
            require(len(labels) >= least, f"{split} lacks a class")
        require("test" in dataset.split_names(), "there is no test split")


@check("dataset")
def names_no_folder_of_the_machine(subject: Subject, name: str) -> None:
    """Ids are the same on every machine: relative, without the folder of the data."""
    with _loaded(subject, name) as (path, dataset):
        for sample in dataset.samples:
            require(not Path(sample.id).is_absolute(), f"{sample.id} is absolute")
            require(path is None or str(path) not in sample.id, f"{sample.id} holds the folder")


@check("dataset")
def repeats_itself(subject: Subject, name: str) -> None:
    """The same seed gives the same samples in the same order and splits."""
    with _loaded(subject, name) as (path, dataset):
        again = _load(_spec(subject, name), path)
        require(dataset.samples == again.samples, "two loads differ")


@check("dataset")
def repeats_itself_elsewhere(subject: Subject, name: str) -> None:
    """Another process, in which sets have another order, gets the same classes, labels, splits."""
    with _loaded(subject, name) as (path, dataset):
        here = json.loads(json.dumps(contents(dataset), allow_nan=False))
        there = subject.load_elsewhere(name, path)
    require(here[0] == there[0], f"the classes are {here[0]} here and {there[0]} there")
    require(here == there, "samples, labels or splits differ")


@check("dataset")
def keeps_its_samples_whatever_the_seed(subject: Subject, name: str) -> None:
    """The seed moves samples between splits, and neither adds nor drops any."""
    with _loaded(subject, name) as (path, dataset):
        other = _load(_spec(subject, name), path, seed=1)
        first, second = ({sample.id for sample in one.samples} for one in (dataset, other))
        require(first == second, f"{len(first ^ second)} samples come and go")


@check("dataset")
def keeps_groups_together(subject: Subject, name: str) -> None:
    """No group lies in two splits."""
    homes: dict[str, str | None] = {}
    with _loaded(subject, name) as (_, dataset):
        for sample in dataset.samples:
            if sample.group is not None:
                home = homes.setdefault(sample.group, sample.split)
                require(home == sample.split, f"the group {sample.group!r} is torn apart")


@check("dataset")
def can_be_read(subject: Subject, name: str) -> None:
    """Its first images can be read, and the first masks, which have the size of their images."""
    with _loaded(subject, name) as (_, dataset):
        for sample in dataset.samples[:_READ]:
            read_image(sample.path)
        for sample in [sample for sample in dataset.samples if sample.mask][:_READ]:
            assert sample.mask is not None
            width, height = read_image(sample.path).size
            read_mask(sample.mask, (height, width), image=sample.path)


@check("dataset")
def names_a_broken_file(subject: Subject, name: str) -> None:
    """A truncated file is refused, skipped or fails to read, and is named each time."""
    spec = _spec(subject, name)
    if spec.takes_path == "refused":
        raise NotApplicable("the data lie in a package")
    with private_folders() as folder:
        path = _example(spec, folder)
        broken = _load(spec, path).samples[0]
        broken.path.write_bytes(broken.path.read_bytes()[:_REMAINING_BYTES])
        try:
            dataset = _load(spec, path)
        except MoekitError as error:
            require(broken.path.name in str(error), f"refused without its name: {error}")
            return
        if any(skip.id == broken.id for skip in dataset.skipped):
            return
        require(any(s.id == broken.id for s in dataset.samples), "it disappeared without a word")
        try:
            read_image(broken.path)
        except MoekitError as error:
            require(broken.path.name in str(error), f"unreadable without its name: {error}")
            return
        raise ConformanceError("a truncated file was read as if it were whole")


@check("dataset")
def refuses_a_path_that_is_not_there(subject: Subject, name: str) -> None:
    """A missing path is a DataError that names it."""
    spec = _spec(subject, name)
    if spec.takes_path == "refused":
        raise NotApplicable("the loader takes no path")
    with private_folders() as folder:
        try:
            spec.load(folder / "not-there", 0)
        except DataError as error:
            require("not-there" in str(error), f"it does not name the path: {error}")
            return
        raise ConformanceError("it was accepted")
