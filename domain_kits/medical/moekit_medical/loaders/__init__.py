"""Loaders of the medical kit, each `load(path, seed)` giving samples that point at images.

| `--data` | what it reads |
| --- | --- |
| `candidates=PATH[?split=COLUMN]` | crops with labels.csv, as of LUNA16 |
| `medmnist=FILE.npz[?positive=0]` | an image set of MedMNIST v2 |
| `nifti=PATH[?window=LOW,HIGH&slices=T]` | NIfTI volumes with candidates in labels.csv |
| `dicom=PATH[?window=LOW,HIGH&slices=T]` | DICOM CT series with candidates in labels.csv |
| `lesions=PATH[?negatives=1&roi=LABELS&split=slices]` | CT slices with masks of lesions |
| `ct_demo` | crops of four real CT slices of installed packages, for the demonstration |

No id, group, message or record of theirs repeats the name of a file, a person or a series. The
exception is a path that is not there: its last part is repeated as it was typed.
"""

from __future__ import annotations

from moekit import DatasetSpec
from moekit_medical.loaders.candidates import CANDIDATES
from moekit_medical.loaders.ct_demo import CT_DEMO
from moekit_medical.loaders.lesions import LESIONS
from moekit_medical.loaders.medmnist import MEDMNIST
from moekit_medical.loaders.nifti import NIFTI
from moekit_medical.loaders.series import DICOM

DATASETS: tuple[DatasetSpec, ...] = (CANDIDATES, MEDMNIST, NIFTI, DICOM, LESIONS, CT_DEMO)

__all__ = ["CANDIDATES", "CT_DEMO", "DATASETS", "DICOM", "LESIONS", "MEDMNIST", "NIFTI"]
