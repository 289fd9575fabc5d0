"""Stacks of neighbouring slices: which slices they show, how they are kept, and what is refused."""

import json

import numpy as np
import pytest
from loader_tables import pixels_of, write_table
from PIL import Image

from moekit.data.images import read_frames
from moekit.testing import refused
from moekit_medical.dicom.assemble import assemble
from moekit_medical.hounsfield import WINDOW_HU
from moekit_medical.loaders.cache import cached
from moekit_medical.loaders.crops import (
    CropError,
    Form,
    Scan,
    crop,
    crop_stack,
    cut_stack,
    turn_to_patient,
)
from moekit_medical.loaders.examples import write_dicom_example, write_nifti_example
from moekit_medical.loaders.nifti import load_nifti
from moekit_medical.loaders.nifti_file import read_nifti
from moekit_medical.loaders.options import parse_slices
from moekit_medical.loaders.series import load_dicom

FIVE = Form(window=(0.0, 255.0), slices=5)
LOADERS = pytest.mark.parametrize(
    ("load", "write"), [(load_dicom, write_dicom_example), (load_nifti, write_nifti_example)]
)


def numbered(step_mm, slices=41):
    """A scan whose slices show their own number, except one pixel that is always bright."""
    hu_DHW = np.zeros((slices, 60, 60), np.float32) + np.arange(slices)[:, None, None]
    hu_DHW[:, 30, 30] = 255
    affine = np.diag([step_mm, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    return Scan(hu_DHW=hu_DHW, affine=affine)


def shown(step_mm, depth, *, form=FIVE):
    """The numbers of the slices that a stack shows, and how many frames lie beyond the scan."""
    stack = crop_stack(numbered(step_mm), np.array([30, 30, depth * step_mm]), form=form)
    return stack.pixels_THW[:, 20, 20].tolist(), stack.beyond


@pytest.mark.parametrize(
    ("step_mm", "slices"),
    [
        (0.625, [12, 16, 20, 24, 28]),
        (1.25, [16, 18, 20, 22, 24]),
        (2.5, [18, 19, 20, 21, 22]),
        (3.0, [18, 19, 20, 21, 22]),
        (5.0, [18, 19, 20, 21, 22]),
        (8.0, [18, 19, 20, 21, 22]),
    ],
)
def test_frames_are_neighbours_or_about_two_and_a_half_mm_apart(step_mm, slices):
    assert shown(step_mm, 20) == (slices, 0)


@pytest.mark.parametrize(
    ("depth", "slices", "beyond"),
    [(0, [0, 0, 0, 1, 2], 2), (1, [0, 0, 1, 2, 3], 1), (40, [38, 39, 40, 40, 40], 2)],
)
def test_beyond_the_volume_its_outermost_slice_is_repeated(depth, slices, beyond):
    assert shown(2.5, depth) == (slices, beyond)


def test_one_slice_is_the_crop_of_ever():
    scan, place = numbered(2.5), np.array([30, 30, 50.0])
    pixels_HW = crop(scan, place, window=FIVE.window)
    stack = crop_stack(scan, place, form=FIVE)
    assert np.array_equal(stack.pixels_THW[2], pixels_HW)
    single = crop_stack(scan, place, form=Form(window=FIVE.window))
    assert np.array_equal(single.pixels_THW, pixels_HW[None])


def test_a_neighbour_of_one_value_is_no_fault_and_one_that_is_not_finite_is():
    scan, place = numbered(2.5), np.array([30, 30, 50.0])
    scan.hu_DHW[21] = -5
    assert crop_stack(scan, place, form=FIVE).pixels_THW[3].max() == 0
    scan.hu_DHW[22, 30, 30] = np.nan
    for cut in (crop_stack, cut_stack):
        with pytest.raises(CropError, match="not finite"):
            cut(scan, place, form=FIVE)


@pytest.mark.parametrize("text", ["0", "2", "-3", "65", "5.0", "five", ""])
def test_only_odd_numbers_of_slices_are_taken(text):
    with refused("data/bad-option"):
        parse_slices(text)


def test_slices_are_one_where_nothing_is_said():
    assert (parse_slices(None), parse_slices("1"), parse_slices("63")) == (1, 1, 63)


def test_a_stack_is_kept_without_loss(cache):
    pixels_THW = np.random.default_rng(0).integers(0, 256, (5, 30, 20), dtype=np.uint8)
    kept = cached("kind", "key", lambda writer: writer.stack("a.tif", pixels_THW))
    frames = read_frames(kept.folder / "a.tif", 5)
    assert np.array_equal(np.stack([np.asarray(one)[..., 0] for one in frames]), pixels_THW)
    again = cached("kind", "other", lambda writer: writer.stack("a.tif", pixels_THW))
    assert again.images == kept.images


def with_slices(folder, slices):
    return folder.with_name(f"{folder.name}?slices={slices}")


@LOADERS
def test_the_middle_frame_is_the_crop_of_one_slice(load, write, tmp_path):
    (tmp_path / "set").mkdir()
    folder = write(tmp_path / "set")
    single, stacks = load(folder, 0), load(with_slices(folder, 3), 0)
    assert (single.frames, stacks.frames) == (1, 3)
    assert [(s.id, s.label, s.split, s.group) for s in stacks.samples] == [
        (s.id, s.label, s.split, s.group) for s in single.samples
    ]
    for one, stack in zip(single.samples, stacks.samples, strict=True):
        middle = read_frames(stack.path, 3)[1]
        assert np.array_equal(np.asarray(middle)[..., 0], pixels_of(one))
    assert load(with_slices(folder, 1), 0) == single


@LOADERS
def test_what_lies_beyond_the_volume_is_recorded(load, write, tmp_path):
    (tmp_path / "set").mkdir()
    folder = write(tmp_path / "set")  # 4 slices; candidates in the second and the third
    inside, outside = load(with_slices(folder, 3), 0), load(with_slices(folder, 5), 0)
    assert "stacks of 3 axial crops, neighbours" in inside.source
    assert "repeat" not in inside.source
    assert "12 repeat the outermost slice" in outside.source
    notes = json.loads((outside.samples[0].path.parent / "index.json").read_text())["notes"]
    assert set(notes.values()) == {"1 of 5 frames repeat the outermost slice"}
    below = read_frames(outside.samples[0].path, 5)
    assert below[0].tobytes() == below[1].tobytes()


def test_a_row_without_a_stack_says_why(tmp_path):
    (tmp_path / "set").mkdir()
    folder = write_nifti_example(tmp_path / "set")
    rows = [
        ["v0.nii.gz", 0, "p0", 20, 20, 2.5, "train"],
        ["v0.nii.gz", 1, "p0", 0, 0, 999, "train"],
    ]
    rows += [["v1.nii.gz", label, "p1", 20, 20 + 9 * label, 2.5, "val"] for label in (0, 1)]
    rows += [["v0.nii.gz", 1, "p0", 44, 40, 5, "train"]]
    write_table(folder, "volume,label,patient,x,y,z,split", rows)
    dataset = load_nifti(with_slices(folder, 3), 0)
    assert [skip.reason for skip in dataset.skipped] == ["its centre lies outside the volume"]
    assert len(dataset.samples) == 4


def test_a_real_scan_gives_the_same_stack_from_dicom_and_from_nifti(shared):
    source = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1"
    nifti = read_nifti(source / "nifti" / "image" / "phantom.nii.gz")
    volume = assemble(source / "ct", salt=b"test").volumes[0]
    scan = turn_to_patient(volume.hu_DHW, volume.affine)
    form = Form(window=WINDOW_HU, slices=5)
    for index, beyond in (((30, 100, 100), 0), ((0, 60, 140), 2)):
        point = (nifti.place.affine @ (*index, 1))[:3]
        one, other = (crop_stack(s, point, form=form) for s in (nifti.scan, scan))
        assert np.array_equal(one.pixels_THW, other.pixels_THW)
        assert one.beyond == other.beyond == beyond
        frames = [Image.fromarray(pixels_HW).tobytes() for pixels_HW in one.pixels_THW]
        assert len(set(frames)) == 5 - beyond
