"""Images that are replaced under their names are others, for every installed loader."""

import gzip

import numpy as np
import pytest
from PIL import Image

from moekit import Registry
from moekit.data.content import Contents
from moekit.data.fingerprint import changes, fingerprints

_HEADER = 352
"""Bytes of a NIfTI file before its voxels."""
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif"}
LOADERS = {
    name: spec
    for name in sorted(Registry().names("datasets"))
    if (spec := Registry().dataset(name)).example is not None
}


def replace(path):
    """Writes another picture of the same name, size and length; says whether it is one."""
    if path.suffix in PICTURES:
        with Image.open(path) as image:
            pixels, palette = np.array(image), image.getpalette()
        made = Image.fromarray(np.roll(pixels, 3, axis=0))
        if palette is not None and made.mode == "L":
            made.putpalette(palette)
        made.save(path)
        return True
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = {
                name: np.roll(file[name], 3, axis=1) if file[name].ndim > 2 else file[name]
                for name in file.files
            }
        np.savez(path, **arrays)
        return True
    if path.suffix == ".dcm":
        pydicom = pytest.importorskip("pydicom")
        dataset = pydicom.dcmread(path)
        if "PixelData" not in dataset:
            return False
        dataset.PixelData = dataset.PixelData[2:] + dataset.PixelData[:2]
        dataset.save_as(path)
        return True
    if path.name.endswith((".nii", ".nii.gz")):
        packed = path.suffix == ".gz"
        content = path.read_bytes()
        content = gzip.decompress(content) if packed else content
        content = content[:_HEADER] + content[_HEADER + 64 :] + content[_HEADER : _HEADER + 64]
        path.write_bytes(gzip.compress(content) if packed else content)
        return True
    return False


def known(spec, path):
    dataset = spec.load(path, 0)
    return fingerprints(dataset, dataset.split_names(), Contents())


@pytest.mark.parametrize("name", LOADERS)
def test_data_whose_images_were_replaced_are_not_those_of_before(name, tmp_path):
    spec = LOADERS[name]
    (tmp_path / "set").mkdir()
    path = spec.example(tmp_path / "set")
    before = known(spec, path)
    assert not changes(before, known(spec, path))
    files = sorted(one for one in (tmp_path / "set").rglob("*") if one.is_file())
    if not [one for one in files if replace(one)]:
        pytest.skip("its example holds files of another kind")
    found = changes(before, known(spec, path))
    assert any("images" in one or "masks" in one or "ids" in one for one in found), found
