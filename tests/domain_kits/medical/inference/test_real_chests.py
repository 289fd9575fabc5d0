"""Candidates in real chest CT with tumours that radiologists marked."""

import csv
import time
from pathlib import Path

import nibabel
import numpy as np
from inference_series import brightness

from moekit_medical.dicom.assemble import assemble
from moekit_medical.inference.candidates import MOST, find_candidates
from moekit_medical.inference.grids import upright
from moekit_medical.inference.lungs import find_lungs
from moekit_medical.inference.pipeline import run_inference
from moekit_medical.volume import Volume


def centres(volume: Volume) -> np.ndarray:
    turned = upright(volume)
    lungs = find_lungs(turned)
    assert lungs is not None
    return find_candidates(turned, lungs).centre_mm_N3


def test_each_marked_slice_has_a_candidate_within_the_box(shared: Path) -> None:
    folder = shared / "data" / "lung_ct_dicom"
    with (folder / "boxes.csv").open() as file:
        boxes = list(csv.DictReader(file))
    seen = 0
    for volume in assemble(folder / "Lung_Dx-A0002", salt=b"x").volumes:
        index_N3 = volume.to_index(centres(volume))
        for box in boxes:
            if box["sop_instance_uid"] not in volume.sop_uids:
                continue
            seen += 1
            d = volume.sop_uids.index(box["sop_instance_uid"])
            low, high = ([float(box[f"{axis}{end}"]) for axis in "yx"] for end in ("min", "max"))
            hit_N = (
                (np.abs(index_N3[:, 0] - d) <= 0.5)
                & (index_N3[:, 1:] >= low).all(axis=1)
                & (index_N3[:, 1:] <= high).all(axis=1)
            )
            assert hit_N.any(), f"slice {d}"
    assert seen == 18


def test_the_outlined_tumour_of_a_part_of_a_chest_has_a_candidate_within_it(shared: Path) -> None:
    folder = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1"
    (volume,) = assemble(folder / "ct", salt=b"x").volumes
    (path,) = (folder / "nifti" / "mask").iterdir()
    mask = nibabel.load(path)
    mask_IJK = np.asarray(mask.dataobj) > 0
    ras_N3 = centres(volume) * [-1, -1, 1]
    inverse = np.linalg.inv(mask.affine)
    index_N3 = np.round(ras_N3 @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    within_N = ((index_N3 >= 0) & (index_N3 < mask_IJK.shape)).all(axis=1)
    assert mask_IJK[tuple(index_N3[within_N].T)].sum() >= 1


def test_a_real_series_is_done_in_time(shared: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    summary = run_inference(
        shared / "data" / "lung_ct_dicom" / "Lung_Dx-A0002" / "610983",
        scorer=brightness,
        threshold=0.78,
        out=tmp_path / "out",
        salt=b"x",
        provenance={},
    )
    (record,) = summary.series
    assert (record.status, record.slices, record.candidates) == ("scored", 30, MOST)
    assert record.dropped > 0
    assert [one.partition(":")[0] for one in record.problems] == ["candidates"]
    assert 1000 < (record.lung_ml or 0) < 6000
    assert time.monotonic() - began < 25
