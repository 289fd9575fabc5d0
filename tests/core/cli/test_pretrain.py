"""`moekit pretrain`, and what adapt and evaluate say of its product."""

import importlib.resources
import shutil

import pytest

SHORT = ("--image-size", "28", "--epochs", "1", "--batch-size", "4", "--views", "1")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Real photographs in folders of splits and classes: four of each class in train."""
    pytest.importorskip("elpv_dataset", reason="the photographs come with elpv-dataset")
    source = importlib.resources.files("elpv_dataset").joinpath("data")
    rows = [line.split() for line in (source / "labels.csv").read_text().splitlines()]
    folder = tmp_path_factory.mktemp("parts")
    for name, probability in (("good", "0.0"), ("defective", "1.0")):
        chosen = [row[0] for row in rows if row[1] == probability][:8]
        for number, file in enumerate(chosen):
            split = "train" if number < 4 else ("val", "test")[number % 2]
            path = folder / split / name / f"{name}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, path)
    return folder


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def test_a_loader_is_learned_from_by_its_training_split_and_a_folder_whole(
    moekit, parts, own_cache, tmp_path
):
    done = moekit(
        *("pretrain", "industrial", "--data", f"folder={parts}", "--out", tmp_path / "one"),
        *("--json", *SHORT),
    )
    assert done.code == 0, done.err
    assert done.json["images"] == 8
    assert done.json["request"]["kit"] == "moekit-industrial/industrial"
    assert "probe" in done.json["curves"][-1]
    # All images are learned from: then a run says that its validation and test images were seen.
    done = moekit("pretrain", "industrial", "--data", parts, "--out", tmp_path / "all", *SHORT)
    assert done.code == 0, done.err
    assert "pretrained on 16 images" in done.err
    told = moekit(
        *("adapt", "industrial", "--data", f"folder={parts}", "--out", tmp_path / "run"),
        *("--from", tmp_path / "all", "--image-size", "28", "--epochs", "1", "--views", "1"),
    )
    assert told.code == 0, told.err
    assert "4 images of the split val were seen in the pretraining" in told.err
    result = moekit(
        *("evaluate", "industrial", "--data", f"folder={parts}", "--run", tmp_path / "run"),
        "--json",
    )
    assert result.code == 0, result.err
    note = "4 of 4 images were seen in the pretraining that the run began with"
    assert any(one.startswith(note) for one in result.json["notes"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "name a KIT"),
        (("industrial", "--architecture", "base"), "name a KIT"),
        (("industrial", "--twin"), "--twin"),
        (("--architecture", "base", "--task", "score", "--views", "2"), "--task"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(moekit, tmp_path, arguments, named):
    done = moekit("pretrain", *arguments, "--data", tmp_path, "--out", tmp_path / "out")
    assert done.code == 2
    assert named in done.err


def test_a_folder_without_images_is_refused(moekit, tmp_path):
    (tmp_path / "none").mkdir()
    done = moekit(
        *("pretrain", "industrial", "--data", tmp_path / "none", "--out", tmp_path / "out")
    )
    assert done.code == 4
    assert "[data/no-images]" in done.err


def test_the_twin_is_trained_from_a_folder(moekit, parts, tmp_path):
    done = moekit(
        *("pretrain", "--architecture", "base", "--twin", "--blocks", "1", "--data", parts),
        *("--out", tmp_path / "twin", "--epochs", "1", "--batch-size", "8", "--json"),
    )
    assert done.code == 0, done.err
    assert done.json["images"] == 16
    assert [one["step"] for one in done.json["curves"]] == [0, 1, 2]
    assert list((tmp_path / "twin" / "backbone").glob("*.safetensors"))
    done = moekit(
        *("pretrain", "--architecture", "base", "--twin", "--objective", "masked-features"),
        *("--data", parts, "--out", tmp_path / "other"),
    )
    assert done.code == 2
    assert "[usage/option-conflict]" in done.err
