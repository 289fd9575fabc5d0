"""The loader of slices with lesions: what it makes of a folder, how it splits, what it refuses."""

import dataclasses

import numpy as np
import pydicom
import pytest
from lesion_files import (
    NAME,
    SECRET,
    SHAPE,
    lesion,
    square,
    structures,
    volume_of,
    write_nifti,
    write_seg,
    write_series,
    write_structures,
)
from loader_tables import pixels_of, text_of
from PIL import Image

from moekit import DataError
from moekit.testing import refused
from moekit_medical.dicom.assemble import assemble
from moekit_medical.loaders.lesions import load_lesions

PATIENTS = 5


@pytest.fixture
def folder(tmp_path):
    """Five patients with a series and a structure set each, under a name."""
    root = tmp_path / SECRET
    for number in range(1, PATIENTS + 1):
        volume = volume_of(number)
        write_series(root / f"p{number}" / "ct", volume, patient=f"MRN-{number}")
        write_structures(root / f"p{number}" / "rt.dcm", volume, patient=f"MRN-{number}")
    return root


def mask_of(sample):
    with Image.open(sample.mask) as image:
        return np.asarray(image)


def option(folder, text):
    return folder.with_name(f"{folder.name}?{text}")


def test_slices_masks_and_splits_come_from_the_series(folder):
    dataset = load_lesions(folder, 0)
    assert dataset.classes == ("background", "lesion")
    assert dataset.split_names() == ("train", "val", "test")
    homes = {}
    for sample in dataset.samples:
        homes.setdefault(sample.group, set()).add(sample.split)
        assert pixels_of(sample).shape == mask_of(sample).shape == SHAPE[1:]
        assert set(np.unique(mask_of(sample))) <= {0, 1}
        assert bool(mask_of(sample).any()) == (sample.label == 1)
    assert len(homes) == PATIENTS
    assert all(len(splits) == 1 for splits in homes.values())
    positive = [sample for sample in dataset.samples if sample.label]
    assert len(positive) == PATIENTS * 9
    assert len(dataset.samples) == PATIENTS * SHAPE[0]  # three of a scan hold no lesion
    inside, outside = (
        pixels_of(positive[0])[mask_of(positive[0]) == value].mean() for value in (1, 0)
    )
    assert inside > outside + 100


def test_no_name_and_no_path_is_told(folder):
    dataset = load_lesions(option(folder, "roi=gtv*"), 0)
    told = text_of(dataset) + str([sample.facts for sample in dataset.samples])
    for word in (NAME, SECRET, "Doe", "MRN", volume_of().series_uid, str(folder)):
        assert word not in told


def test_the_share_of_slices_without_a_lesion_is_chosen_whatever_the_seed(folder):
    for share, count in (("0", 0), ("0.2", 2), ("9", 3)):
        ids = []
        for seed in (0, 1):
            samples = load_lesions(option(folder, f"negatives={share}"), seed).samples
            assert sum(not sample.label for sample in samples) == count * PATIENTS
            ids.append({sample.id for sample in samples})
        assert ids[0] == ids[1]
    for text in ("-1", "nan", "many"):
        with refused("data/bad-option", match="negatives"):
            load_lesions(option(folder, f"negatives={text}"), 0)


def test_pictures_are_written_once_and_follow_content_alone(folder, cache):
    first = load_lesions(folder, 0).samples
    written = {sample.path: sample.path.stat().st_mtime_ns for sample in first}
    assert load_lesions(folder.rename(folder.with_name("elsewhere")), 0).samples == first
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_one_patient_is_refused_unless_slices_are_dealt_in_blocks(folder, tmp_path):
    alone = (folder / "p1").rename(tmp_path / "alone")
    with refused("data/too-few-groups"):
        load_lesions(alone, 0)
    dataset = load_lesions(option(alone, "split=slices"), 0)
    assert "not by patient" in dataset.split_note
    assert "say nothing of other patients" in dataset.caution
    last = -1
    for split in ("train", "val", "test"):
        numbers = [int(sample.id.rpartition("/")[2]) for sample in dataset.split(split)]
        assert min(numbers) > last + 2 or last < 0
        assert any(sample.label for sample in dataset.split(split))
        last = max(numbers)
    assert any("gap" in skip.reason for skip in dataset.skipped)
    with refused("data/bad-option", match="split"):
        load_lesions(option(alone, "split=patients"), 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda made: setattr(made, "PatientID", "MRN-9"), "another patient"),
        (
            lambda made: setattr(
                made.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "1.2"
            ),
            "frame of reference",
        ),
        (
            lambda made: setattr(made.ROIContourSequence[0], "ContourSequence", [square(4.5)]),
            "between the slices",
        ),
        (lambda made: setattr(made.StructureSetROISequence[0], "ROIName", "heart"), "option roi"),
    ],
)
def test_a_series_whose_mask_contradicts_it_is_skipped_with_the_reason(folder, change, says):
    made = structures(volume_of(1), patient="MRN-1")
    change(made)
    made.save_as(folder / "p1" / "rt.dcm", enforce_file_format=True)
    dataset = load_lesions(folder, 0)
    (skip,) = dataset.skipped
    assert says in skip.reason
    assert len({sample.group for sample in dataset.samples}) == PATIENTS - 1


def test_masks_of_one_series_must_agree_where_they_overlap(folder):
    volume = volume_of(1)
    (slices,) = (write_series(folder / "p1" / "ct", volume, patient="MRN-1"),)
    write_seg(folder / "p1" / "seg.dcm", volume, lesion(), slices)
    assert not load_lesions(folder, 0).skipped
    moved = np.roll(lesion(), 5, axis=1)
    write_seg(folder / "p1" / "seg.dcm", volume, moved, slices)
    (skip,) = load_lesions(folder, 0).skipped
    assert "contradict each other" in skip.reason
    apart = np.zeros(SHAPE, dtype=bool)
    apart[0, :3, :3] = True
    write_seg(folder / "p1" / "seg.dcm", volume, apart, slices)
    dataset = load_lesions(folder, 0)
    assert sum(sample.label for sample in dataset.samples) == PATIENTS * 9 + 1


def test_a_mask_of_no_series_and_a_series_without_a_mask_are_named(folder):
    (folder / "p1" / "rt.dcm").unlink()
    write_structures(folder / "rt.dcm", dataclasses.replace(volume_of(1), series_uid="1.2.3"))
    reasons = sorted(skip.reason for skip in load_lesions(folder, 0).skipped)
    assert reasons == ["no mask refers to it", "the series that it refers to is not there"]


def test_a_segmentation_of_another_frame_of_reference_is_skipped_with_the_reason(folder):
    volume = volume_of(1)
    slices = write_series(folder / "p1" / "ct", volume, patient="MRN-1")
    (folder / "p1" / "rt.dcm").unlink()
    path = folder / "p1" / "seg.dcm"
    write_seg(path, volume, lesion(), slices)
    assert not load_lesions(folder, 0).skipped
    made = pydicom.dcmread(path)
    made.FrameOfReferenceUID = "1.2.3"
    made.save_as(path)
    (skip,) = load_lesions(folder, 0).skipped
    assert "frame of reference" in skip.reason


def test_series_and_masks_that_the_table_does_not_list_are_counted(folder):
    lines = [
        "patient,series",
        *(f"q{number},{volume_of(number).series_uid}" for number in range(1, PATIENTS)),
    ]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    strange = dataclasses.replace(volume_of(2), series_uid="1.2.3")
    write_structures(folder / "strange.dcm", strange, patient="MRN-2")
    (note,) = load_lesions(folder, 0).notes
    assert "1 series" in note
    assert "2 masks" in note
    lines.append(f"q9,{volume_of(PATIENTS).series_uid}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "strange.dcm").unlink()
    assert load_lesions(folder, 0).notes == ()


def test_a_table_brings_nifti_volumes_patients_and_splits(tmp_path):
    splits = ("train", "train", "val", "test")
    lines = ["volume,mask,patient,split,reader"]
    for number, split in enumerate(splits, 1):
        volume = volume_of(number)
        write_nifti(tmp_path / f"v{number}.nii", volume.hu_DHW, volume.affine)
        write_nifti(tmp_path / f"m{number}.nii", lesion().astype(np.uint8), volume.affine)
        lines.append(f"v{number}.nii,m{number}.nii,p{number},{split},9")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    dataset = load_lesions(tmp_path, 0)
    assert dataset.split_note == "column split, as given"
    assert dataset.notes == ("columns of the table that are not read: reader",)
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [24, 12, 12]
    for wrong in (f"v1.nii,,{SECRET},train,", ",m1.nii,p1,train,", "v1.nii,../m1.nii,p1,train,"):
        (tmp_path / "labels.csv").write_text("\n".join([lines[0], wrong]) + "\n")
        with pytest.raises(DataError) as caught:
            load_lesions(tmp_path, 0)
        assert "labels.csv, line 2" in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_real_patient_gives_slices_in_blocks(shared):
    folder = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1"
    (volume,) = assemble(folder / "ct", salt=b"s").volumes
    dataset = load_lesions(option(folder, "split=slices"), 0)
    assert {skip.reason for skip in dataset.skipped} == {
        "it lies in the gap between two blocks of slices"
    }
    held = [sample for sample in dataset.samples if sample.label]
    assert len(held) + sum(skip.label for skip in dataset.skipped) == 26
    assert mask_of(held[0]).shape == volume.hu_DHW.shape[1:]


def test_one_patient_id_of_two_persons_is_refused_without_a_table(folder):
    for path in (folder / "p2").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.PatientBirthDate = "MRN-1", "19900101"
        dataset.save_as(path)
    with refused("data/several-patients", match="PatientID is used for two persons"):
        load_lesions(folder, 0)
