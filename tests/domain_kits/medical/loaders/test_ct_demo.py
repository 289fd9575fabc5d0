"""The question of the demonstration is answered by pixels that no crop shows."""

import collections

import numpy as np
import pytest

from moekit.data.images import read_image
from moekit.testing import refused
from moekit_medical.loaders import CT_DEMO
from moekit_medical.loaders.crops import PIXEL_MM, Scan
from moekit_medical.loaders.ct_demo import DENSE_HU, HIDDEN_MM, find_centres, hide_centre
from moekit_medical.loaders.ct_slices import DemoSlice, package_folder, read_slices


@pytest.fixture(scope="module")
def slices():
    pytest.importorskip("data_store", reason="two of the slices come with pydicom-data")
    return {one.name: one for one in read_slices()}


@pytest.fixture(scope="module")
def dataset(slices, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield CT_DEMO.load(None, 0)


def made(hu_HW, spacing=0.5):
    affine = np.diag([5.0, spacing, spacing, 1.0])
    scan = Scan(hu_DHW=hu_HW[None].astype(np.float32), affine=affine)
    return DemoSlice(name="made", region="head", scan=scan, digest="0" * 64, facts={})


def test_centres_in_a_dense_block_are_dense_and_those_beside_it_soft():
    hu_HW = np.zeros((240, 240))
    hu_HW[:, 100:140] = 1000.0  # 20 mm wide, at columns 100 to 139
    centres, _ = find_centres(made(hu_HW))
    assert {centre.label for centre in centres} == {0, 1}
    for centre in centres:
        distance_mm = abs(centre.column - 119.5) * 0.5
        assert distance_mm <= 10 if centre.label else distance_mm > 10 + 4 - 0.5
    assert sum(centre.label for centre in centres) * 2 == len(centres)


def test_a_slice_without_dense_tissue_in_sight_asks_nothing():
    assert find_centres(made(np.zeros((240, 240)))) == ([], 0)


def test_values_between_the_classes_are_of_neither():
    hu_HW = np.full((240, 240), 250.0)
    hu_HW[:, 100:140] = 1000.0
    centres, neither = find_centres(made(hu_HW))
    assert not centres
    assert neither > 0


def test_nothing_of_the_judged_disc_is_left_in_the_crop():
    pixels_HW = np.full((100, 100), 200, dtype=np.uint8)
    hidden_HW = hide_centre(pixels_HW)
    y, x = np.indices(hidden_HW.shape) * PIXEL_MM + PIXEL_MM / 2 - 25
    np.testing.assert_array_equal(hidden_HW == 0, np.hypot(y, x) <= HIDDEN_MM)
    assert (pixels_HW == 200).all()


def test_the_real_crops_are_of_four_patients_none_of_them_in_two_splits(slices, dataset):
    homes = collections.defaultdict(set)
    for sample in dataset.samples:
        homes[sample.group].add(sample.split)
    assert sorted(homes) == sorted(slices)
    assert sorted(split for (split,) in homes.values()) == ["test", "train", "train", "val"]
    trained = {sample.subtype for sample in dataset.samples if sample.split == "train"}
    assert trained == {"head", "trunk"}
    counts = collections.Counter((sample.group, sample.label) for sample in dataset.samples)
    assert all(counts[name, 0] == counts[name, 1] > 50 for name in slices)


def test_the_set_says_what_it_cannot_show_and_names_its_positive(dataset):
    assert "cannot show how well nodules are found" in dataset.caution
    assert dataset.positive == "dense tissue"
    assert len(dataset.caution) <= 500  # a report cuts longer texts


def test_seeds_move_patients_and_not_samples():
    pytest.importorskip("data_store", reason="two of the slices come with pydicom-data")
    loads = [CT_DEMO.load(None, seed) for seed in (0, 2)]
    assert len({tuple(sample.id for sample in load.samples) for load in loads}) == 1
    assert len({load.split_note.partition(": ")[2] for load in loads}) > 1


def test_crops_show_the_slice_around_a_black_disc(dataset):
    for sample in dataset.samples[::200]:
        pixels = np.asarray(read_image(sample.path))[..., 0]
        assert (pixels[41:59, 45:55] == 0).all()
        assert (pixels >= round((DENSE_HU + 1000) / 1400 * 255)).mean() > 0.01


def test_a_package_that_is_not_there_is_named_with_what_to_install():
    with refused("data/not-installed") as caught:
        package_folder("no_such_module_of_slices", "some-slices")
    assert caught.value.fix == "pip install some-slices"
