"""Near-duplicates: registration, codes, candidates, and groups that are dealt again."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from moekit import Dataset, Sample
from moekit.data.near import find as finding
from moekit.data.near.coded import Coded
from moekit.data.near.codes import CELLS, Coder, turned, unit
from moekit.data.near.find import find_across, find_within
from moekit.data.near.group import PREFIX, joined, regrouped
from moekit.data.near.in_words import pairs_in_words
from moekit.data.near.neighbours import candidates
from moekit.data.near.register import PreparedPicture, register
from moekit.data.near.spectrum import spectral_codes, spectrum
from moekit.data.splits import complete_splits, deal_again, split_dataset
from moekit.testing import refused

pytestmark = pytest.mark.usefixtures("all_pairs")


def texture(seed, side=128):
    """Noise of several scales, as photographs have."""
    generator = np.random.default_rng(seed)
    whole = np.zeros((side, side))
    for coarse in (4, 8, 16, 32, 64):
        grey = generator.integers(0, 255, (coarse, coarse)).astype(np.uint8)
        whole += np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray((whole / 5).astype(np.uint8)).convert("RGB")


CHANGES = {
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cut": lambda image: image.crop((10, 4, 104, 98)),
    "smaller": lambda image: image.resize((90, 90)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_changed_copy_fits_its_source_and_no_other_picture(change):
    first, copy = PreparedPicture(texture(0)), PreparedPicture(CHANGES[change](texture(0)))
    assert register(first, copy).score > 0.7
    assert register(PreparedPicture(texture(1)), copy, whole=True).score < 0.45


def test_how_a_copy_was_changed_is_told():
    mirrored = register(PreparedPicture(texture(0)), PreparedPicture(ImageOps.mirror(texture(0))))
    assert (mirrored.mirrored, mirrored.turns, mirrored.score > 0.99) == (True, 0, True)
    cut = register(PreparedPicture(texture(0)), PreparedPicture(texture(0).crop((0, 0, 96, 96))))
    assert cut.scale == pytest.approx(0.75, abs=0.03)
    assert cut.moved == 1


@pytest.mark.parametrize("picture", [Image.new("L", (8, 90)), Image.new("L", (64, 64), 7)])
def test_a_tiny_or_flat_picture_is_like_none(picture):
    assert register(PreparedPicture(picture), PreparedPicture(texture(0))).score == 0


def cells_of_noise(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, CELLS, 24)).astype(np.float32)


def test_codes_leave_out_what_all_pictures_have_in_common():
    cells = cells_of_noise(50)
    shifted = cells + 100 * np.random.default_rng(1).standard_normal((CELLS, 24))
    codes, others = Coder.fit(cells).codes(cells), Coder.fit(shifted).codes(shifted)
    assert codes.shape == (50, CELLS * 24)
    np.testing.assert_allclose(np.linalg.norm(codes.astype(float), axis=1), 1, atol=1e-2)
    np.testing.assert_allclose(np.abs(codes @ codes.T), np.abs(others @ others.T), atol=0.02)


def test_a_coder_of_alike_pictures_gives_finite_codes():
    same = np.repeat(cells_of_noise(1), 5, axis=0)
    assert np.isfinite(Coder.fit(same).codes(same)).all()


def test_a_turned_picture_has_the_code_of_a_turn():
    codes = Coder.fit(cells_of_noise(20)).codes(cells_of_noise(20))
    grid = codes.reshape(20, 4, 4, -1)
    assert any(
        np.array_equal(variant, np.rot90(grid, axes=(1, 2)).reshape(20, -1))
        for variant in turned(codes).swapaxes(0, 1)
    )
    assert len({variant.tobytes() for variant in turned(codes)[0]}) == 8


def test_blocks_change_no_candidate(monkeypatch):
    generator = np.random.default_rng(0)
    asking = unit(generator.standard_normal((40, 2, 16))).astype(np.float16)
    asked = unit(generator.standard_normal((30, 16))).astype(np.float16)
    kin = {"kin_N": np.arange(40), "kin_K": np.arange(30)}
    whole = candidates(asking, asked, **kin)
    monkeypatch.setattr("moekit.data.near.neighbours.BLOCK", 130)
    parts = candidates(asking, asked, **kin)
    assert [one[:2] for one in parts] == [one[:2] for one in whole]
    assert all(one.first != one.second for one in whole)
    products = np.einsum("nvw,kw->nvk", asking.astype(float), asked.astype(float)).max(1)
    np.fill_diagonal(products, -2)
    best = np.unravel_index(products.argmax(), products.shape)
    assert whole[0][:2] == best
    assert len(whole) == 3 * len(asked)


@pytest.fixture
def textures(tmp_path, monkeypatch):
    """24 pictures; 3, 7 and 11 of the second half are changed copies of 3, 7, 11 of the first."""
    monkeypatch.setattr(finding, "DRAWN", 10)  # quick
    samples = []
    for number in range(24):
        side, row = divmod(number, 12)
        copy = side == 1 and row in (3, 7, 11)
        picture = texture(row if copy else number)
        if copy:
            picture = ImageEnhance.Brightness(ImageOps.mirror(picture)).enhance(0.7)
        path = tmp_path / f"{number:02d}.png"
        picture.save(path)
        split = ("train", "test")[side]
        samples.append(Sample(id=path.name, path=path, label=number % 2, split=split))
    return samples


def cells_of(samples):
    """Means and spreads of parts of pictures, in place of features."""
    cells = []
    for sample in samples:
        with Image.open(sample.path) as picture:
            grey = np.asarray(picture.convert("L").resize((32, 32)), dtype=np.float32)
        grey = (grey - grey.mean()) / grey.std()
        parts = grey.reshape(4, 8, 4, 8).swapaxes(1, 2).reshape(CELLS, 64)
        cells.append(np.stack([parts.mean(1), parts.std(1)], axis=1))
    return np.stack(cells)


def coded(samples, *lists):
    """The lists, with codes by a coder of all samples."""
    coder = Coder.fit(cells_of(samples))
    return [
        Coded(samples=one, codes_NVW=coder.codes(cells_of(one))[:, None])
        for one in lists or (samples,)
    ]


COPIES = [("03.png", "15.png"), ("07.png", "19.png"), ("11.png", "23.png")]


def test_changed_copies_across_splits_are_found_and_nothing_else(textures):
    found = find_across(*coded(textures, textures[:12], textures[12:]))
    assert sorted((pair.first.id, pair.second.id) for pair in found.pairs) == COPIES
    assert all(pair.fit.mirrored for pair in found.pairs)
    told = pairs_in_words(found, "test", ["train"])
    assert len(told) == 1
    assert told[0].startswith("3 images of test have a near-duplicate in train")
    assert "--group-near-duplicates" in told[0]


def test_items_of_one_group_are_never_a_pair(textures):
    one = [dataclasses.replace(sample, group="patient") for sample in textures]
    assert find_across(*coded(one, one[:12], one[12:])).candidates == 0


def test_what_is_left_out_of_a_search_is_told(textures, monkeypatch):
    textures[3].path.write_bytes(b"no picture")
    made = Coded(samples=textures[:12], codes_NVW=np.ones((12, 1, 32), np.float16))
    other = Coded(samples=textures[12:], codes_NVW=np.ones((12, 1, 32), np.float16))
    monkeypatch.setattr(finding, "VERIFIED", 5)
    found = find_across(made, other)
    assert (found.verified, found.candidates > 5) == (5, True)
    assert any(
        "not compared by pixels" in text for text in pairs_in_words(found, "test", ["train"])
    )


@pytest.mark.parametrize("change", ["mirrored", "turned"])
def test_turned_and_mirrored_copies_are_named_by_spectra_where_features_name_others(
    change, textures
):
    copy = textures[20]
    CHANGES[change](Image.open(textures[5].path)).save(copy.path)
    generator = np.random.default_rng(0)
    codes = unit(generator.standard_normal((len(textures), 1, 32))).astype(np.float16)
    first = Coded(samples=textures[:12], codes_NVW=codes[:12])
    found = find_across(first, Coded(samples=[copy], codes_NVW=codes[20:21]))
    assert found.by_spectra
    ((pair),) = found.pairs
    assert (pair.first.id, pair.second.id) == (textures[5].id, copy.id)
    assert change in pair.fit_in_words


def test_many_pictures_are_not_read_for_their_spectra_and_that_is_told(textures, monkeypatch):
    monkeypatch.setattr("moekit.data.near.coded.SPECTRA", 23)
    codes = np.ones((12, 1, 32), np.float16)
    sides = [Coded(samples=part, codes_NVW=codes) for part in (textures[:12], textures[12:])]
    found = find_across(*sides)
    assert not found.by_spectra
    assert found.candidates == 3 * 12
    assert any("by features only" in text for text in pairs_in_words(found, "test", ["train"]))


def test_spectra_stay_as_they_are_when_a_picture_is_moved_and_turn_with_it():
    picture = texture(0)
    spectra = [
        spectrum(PreparedPicture(one))
        for one in (picture, *(change(picture) for change in CHANGES.values()), texture(1))
    ]
    codes, asked = spectral_codes(np.stack(spectra[:1]), np.stack(spectra[1:]))
    alike = (codes[0].astype(float) @ asked.astype(float).T).max(0)
    by_change = dict(zip([*CHANGES, "another"], alike, strict=True))
    assert min(by_change[name] for name in ("mirrored", "turned")) > 0.95
    assert min(by_change[name] for name in ("smaller", "darker")) > 0.7
    assert by_change["another"] < 0.3


def test_a_picture_of_stated_bits_is_read_by_them(textures):
    sample = textures[0]
    grey = np.asarray(Image.open(sample.path).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 16).save(sample.path)
    codes = np.ones((1, 1, 32), np.float16)
    read = Coded(samples=[sample], codes_NVW=codes, bits=12).picture(0)
    assert np.abs(np.asarray(read)[..., 0].astype(int) - grey).max() <= 1
    with refused("image/over-bits"):
        Coded(samples=[sample], codes_NVW=codes, bits=8).picture(0)


def test_near_duplicates_of_one_list_are_each_found_once(textures):
    pairs = find_within(*coded(textures)).pairs
    assert sorted(tuple(sorted((one.first.id, one.second.id))) for one in pairs) == COPIES


def plain(count, **groups):
    return [
        Sample(id=f"{number:02d}", path=None, label=number % 2, group=groups.get(f"g{number}"))
        for number in range(count)
    ]


def test_connected_near_duplicates_become_one_group_with_the_groups_they_had():
    samples = plain(6, g3="part", g4="part")
    groups = joined(samples, [("00", "01"), ("01", "02"), ("05", "03")])
    assert groups == {
        **dict.fromkeys(("00", "01", "02"), f"{PREFIX}00"),
        "05": "part",
    }


def dataset_of(samples, **fields):
    return Dataset(name="set", samples=tuple(samples), classes=("a", "b"), **fields)


def splits_of(dataset):
    return {sample.id: sample.split for sample in dataset.samples}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_set_dealt_again_with_groups_has_no_pair_on_two_sides(seed):
    dealt = split_dataset(dataset_of(plain(60)), seed=seed)
    assert splits_of(deal_again(dealt)) == splits_of(dealt)
    pairs = [(f"{one:02d}", f"{one + 1:02d}") for one in range(0, 60, 2)]
    again = regrouped(dealt, joined(dealt.samples, pairs))
    found = splits_of(again)
    assert any(splits_of(dealt)[one] != splits_of(dealt)[other] for one, other in pairs)
    assert all(found[one] == found[other] for one, other in pairs)
    assert again.split_note.endswith("near-duplicates are whole groups")
    assert splits_of(deal_again(again)) == found


def test_of_a_given_test_split_nothing_is_moved(tmp_path):
    samples = []
    for number, sample in enumerate(plain(40)):
        path = tmp_path / f"{number}.png"
        path.write_bytes(str(number).encode())
        split = "test" if number >= 30 else "train"
        samples.append(dataclasses.replace(sample, path=path, split=split))
    dealt = complete_splits(dataset_of(samples), seed=0)
    pairs = [(f"{one:02d}", f"{one + 2:02d}") for one in range(0, 26, 4)] + [("00", "35")]
    again = splits_of(regrouped(dealt, joined(dealt.samples[:30], pairs[:-1])))
    assert {name for name, split in again.items() if split == "test"} == {
        f"{number:02d}" for number in range(30, 40)
    }
    assert all(again[one] == again[other] for one, other in pairs[:-1])


def test_a_split_that_the_data_bring_is_refused():
    given = [
        dataclasses.replace(sample, split=("train", "val", "test")[number % 3])
        for number, sample in enumerate(plain(12))
    ]
    with refused("data/given-split"):
        regrouped(dataset_of(given), {"00": "x"})


def test_a_split_that_was_changed_after_it_was_dealt_is_refused():
    dealt = split_dataset(dataset_of(plain(60)), seed=0)
    moved = [
        dataclasses.replace(sample, split="test" if sample.split == "val" else sample.split)
        for sample in dealt.samples
    ]
    with refused("data/given-split"):
        regrouped(dealt.with_samples(moved), {"00": "x"})
