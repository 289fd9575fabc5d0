"""Loaders of the medical kit, each `load(path, seed)` giving samples that point at images.

| `--data` | what it reads |
| --- | --- |
| `candidates=PATH[?split=COLUMN]` | crops with labels.csv, as of LUNA16 |
| `medmnist=FILE.npz[?positive=0]` | a binary image set of MedMNIST v2 |
| `nifti=PATH[?window=LOW,HIGH]` | NIfTI volumes with candidates in labels.csv |
| `dicom=PATH[?window=LOW,HIGH]` | DICOM CT series with candidates in labels.csv |

No id, group, message or record of theirs repeats the name of a file, a person or a series; but for
a path that is not there, whose last part is repeated as it was typed.
"""

from __future__ import annotations

from moekit import DatasetSpec
from moekit_medical.loaders.candidates import CANDIDATES
from moekit_medical.loaders.medmnist import MEDMNIST
from moekit_medical.loaders.nifti import NIFTI
from moekit_medical.loaders.series import DICOM

DATASETS: tuple[DatasetSpec, ...] = (CANDIDATES, MEDMNIST, NIFTI, DICOM)

__all__ = ["CANDIDATES", "DATASETS", "DICOM", "MEDMNIST", "NIFTI"]
