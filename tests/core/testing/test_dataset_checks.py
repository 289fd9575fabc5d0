"""Each check of loaders passes a good one and fails one that is broken in just that way."""

import dataclasses
import json
import subprocess
import sys

import pytest
from PIL import Image

from moekit import DataError, DatasetSpec, Registry, Skipped
from moekit.builtin.loaders.folder import FOLDER, load_folder, write_example
from moekit.plugins.contents import contents
from moekit.testing import ConformanceError, NotApplicable, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS


def changed(change):
    """A loader that changes what the folder loader reads."""

    def load(path, seed):
        return change(load_folder(path, seed), path, seed)

    return load


def with_samples(**fields):
    """Changes fields of each sample; a value is a function of the sample and its number."""

    def change(dataset, path, seed):
        return dataset.with_samples(
            dataclasses.replace(
                sample, **{name: make(sample, number, path) for name, make in fields.items()}
            )
            for number, sample in enumerate(dataset.samples)
        )

    return changed(change)


CALLS = []


def comes_and_goes(dataset, path, seed):
    CALLS.append(1)
    return dataset.with_samples(dataset.samples[:: 1 if len(CALLS) % 2 else -1])


def flips(dataset, path, seed):
    CALLS.append(1)
    flipped = dataset.classes[:: 1 if len(CALLS) % 2 else -1]
    return dataclasses.replace(dataset, classes=flipped)


def accepts_anything(path, seed):
    if not path.exists():
        path.mkdir()
        write_example(path)
    return load_folder(path, seed)


def reads_broken_files_as_nothing(dataset, path, seed):
    return dataset.with_samples(s for s in dataset.samples if s.path.stat().st_size > 100)


def writes_text_for_images(folder):
    write_example(folder)
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    return folder


BROKEN = {
    "is-described": {"licence": " "},
    "keeps-the-schema": {"load": with_samples(label=lambda s, n, p: 7)},
    "has-splits-to-work-with": {
        "load": changed(lambda d, p, s: d.with_samples(x for x in d.samples if x.label))
    },
    "names-no-folder-of-the-machine": {"load": with_samples(id=lambda s, n, p: f"{p}/{n}")},
    "repeats-itself": {"load": changed(comes_and_goes)},
    "repeats-itself-elsewhere": {"load": changed(flips)},
    "keeps-its-samples-whatever-the-seed": {
        "load": changed(lambda d, p, seed: d.with_samples(d.samples[seed:]))
    },
    "keeps-groups-together": {"load": with_samples(group=lambda s, n, p: "all one")},
    "can-be-read": {"example": writes_text_for_images},
    "names-a-broken-file": {
        "load": changed(
            lambda d, p, s: dataclasses.replace(reads_broken_files_as_nothing(d, p, s), skipped=())
        )
    },
    "refuses-a-path-that-is-not-there": {"load": accepts_anything},
}


@pytest.mark.parametrize("name", CHECKS["dataset"])
def test_a_good_loader_passes(name, run_check):
    run_check("dataset", name, FOLDER)


@pytest.mark.parametrize("name", CHECKS["dataset"])
def test_a_broken_loader_fails_the_check_that_it_breaks(name, run_check):
    with pytest.raises(ConformanceError):
        run_check("dataset", name, dataclasses.replace(FOLDER, **BROKEN[name]))


def test_a_loader_with_a_path_needs_an_example(run_check):
    with pytest.raises(ConformanceError, match="needs an example"):
        run_check("dataset", "keeps-the-schema", dataclasses.replace(FOLDER, example=None))


def test_a_loader_may_refuse_a_broken_file_or_skip_it(run_check):
    def refuse(path, seed):
        for image in sorted(path.rglob("*.png")):
            if image.stat().st_size < 100:
                raise DataError("truncated", whose=image.name, fix="restore it")
        return load_folder(path, seed)

    run_check("dataset", "names-a-broken-file", dataclasses.replace(FOLDER, load=refuse))

    def skip(dataset, path, seed):
        small = [s for s in dataset.samples if s.path.stat().st_size <= 100]
        kept = reads_broken_files_as_nothing(dataset, path, seed)
        skipped = tuple(Skipped(id=s.id, reason="truncated") for s in small)
        return dataclasses.replace(kept, skipped=(*dataset.skipped, *skipped))

    run_check("dataset", "names-a-broken-file", dataclasses.replace(FOLDER, load=changed(skip)))


def only_good(folder):
    write_example(folder)
    for path in (folder / "odd").iterdir():
        path.unlink()
    return folder


@pytest.mark.parametrize("name", CHECKS["dataset"])
def test_a_loader_of_negatives_alone_passes_without_a_test_split(name, run_check):
    run_check("dataset", name, dataclasses.replace(FOLDER, example=only_good))


def test_a_loader_of_negatives_alone_needs_a_val_split(run_check):
    spec = dataclasses.replace(
        FOLDER, example=only_good, load=with_samples(split=lambda s, n, p: "train")
    )
    with pytest.raises(ConformanceError, match="'val'"):
        run_check("dataset", "has-splits-to-work-with", spec)


@pytest.mark.parametrize(
    ("name", "mask"),
    [("keeps-the-schema", "none.png"), ("can-be-read", "small.png")],
)
def test_masks_are_there_and_have_the_size_of_their_images(name, mask, run_check):
    def example(folder):
        Image.new("L", (8, 8)).save(write_example(folder) / "small.png")
        return folder

    with_masks = with_samples(mask=lambda s, n, p: p / mask if s.label else None)
    with pytest.raises(ConformanceError, match=r"no such mask|the mask has 8 x 8 pixels"):
        run_check("dataset", name, dataclasses.replace(FOLDER, load=with_masks, example=example))


def test_a_loader_without_a_path_is_not_asked_about_paths(run_check):
    spec = DatasetSpec(
        name="specimen",
        load=lambda path, seed: None,
        summary="-",
        takes_path="refused",
        licence="-",
    )
    for name in ("names-a-broken-file", "refuses-a-path-that-is-not-there"):
        with pytest.raises(NotApplicable):
            run_check("dataset", name, spec)


def test_another_process_that_loads_imports_none_of_the_slow_libraries(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_example(data)
    code = (
        "import sys; from moekit.plugins.contents import main; main(); "
        "print({'lightning', 'scipy.stats', 'timm'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(["moekit/folder", str(data), ""]) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "set()\n"
    loaded = Registry().dataset("moekit/folder").load(data, 0)
    assert json.loads(done.stdout) == json.loads(json.dumps(contents(loaded)))
