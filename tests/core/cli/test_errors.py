"""Every foreseen failure is three lines and an exit code, never a traceback."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["adapt"], 2, "Missing argument"),
        (["evaluate", "industrial", "--data", "elpv", "--run", "none"], 4, "[data/no-run]"),
        (["report", "none"], 4, "[data/no-result]"),
        (["predict", "industrial", "none.png", "--run", "r", "--out", "o"], 4, "[data/not-found]"),
        (["adapt", "nonesuch", "--data", "elpv", "--out", "o"], 2, "[usage/unknown-name]"),
        (["adapt", "industrial", "--data", "nonesuch", "--out", "o"], 2, "[usage/unknown-name]"),
        (["adapt", "industrial", "--data", "folder", "--out", "o"], 2, "[usage/loader-path]"),
        (["adapt", "industrial", "--data", "folder=none", "--out", "o"], 4, "[data/not-found]"),
        (["adapt", "k", "--data", "elpv", "--out", "o", "--token-window", "1"], 2, "take 0 or 2"),
        (["backbone", "info", "--weights", "none.safetensors"], 4, "[weights/not-found]"),
        (["backbone", "info", "--architecture", "resnet18"], 2, "[usage/unsupported-model]"),
        (["backbone", "info", "--architecture", "nonesuch"], 2, "[usage/unknown-name]"),
        (["plugins", "info", "nonesuch"], 2, "[usage/unknown-name]"),
        (["nonesuch"], 2, "No such command"),
    ],
)
def test_a_failure_has_its_code_and_says_what_to_do(
    moekit, tmp_path, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    outcome = moekit(*arguments)
    assert outcome.code == code, outcome.err
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert "to do:" in outcome.err or code == 2


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("--data", "folder=parts", "--shots", "5"), '--data "folder=parts?shots=5"'),
        (("--data=coco=a?test=b", "--shots=5"), '--data "coco=a?test=b&shots=5"'),
        (("--shots",), '--data "LOADER=PATH?shots=VALUE"'),
    ],
)
def test_an_option_of_the_data_is_shown_where_it_stands(moekit, typed, meant):
    outcome = moekit("adapt", "industrial", *typed)
    assert outcome.code == 2
    assert meant in outcome.err


@pytest.mark.parametrize(
    "typed", [("adapt", "k", "--epoch", "3"), ("kits", "--shots", "5"), ("adapt", "k")]
)
def test_what_is_no_option_of_the_data_has_no_such_hint(moekit, typed):
    outcome = moekit(*typed)
    assert outcome.code == 2
    assert "option of the data" not in outcome.err


def test_debug_adds_the_traceback(moekit, tmp_path):
    assert "Traceback" in moekit("report", tmp_path, "--debug").err


def test_an_empty_folder_is_refused(moekit, tmp_path):
    (tmp_path / "empty").mkdir()
    outcome = moekit("adapt", "industrial", "--data", f"folder={tmp_path / 'empty'}", "--out", "o")
    assert (outcome.code, "[data/no-image]" in outcome.err) == (4, True)


def test_a_device_that_is_not_there_is_told(moekit):
    outcome = moekit("adapt", "industrial", "--data", "elpv", "--out", "o", "--device", "cuda:7")
    assert outcome.code == 2
    assert "--device" in outcome.err
