"""`moekit backbone plan` and `upcycle`."""

import timm
import torch
from safetensors.torch import save_file

from moekit.backbone.upcycled_file import load_upcycled


def test_a_plan_of_the_base_tier_is_told(moekit):
    outcome = moekit("backbone", "plan", "--gpus", 32, "--recompute", "--json")
    assert outcome.code == 0, outcome.err
    plan = outcome.json
    assert plan["parameters"] == plan["parameters_built"]
    assert (plan["gpus"], plan["data"], plan["expert"]) == (32, 4, 8)
    assert plan["memory_bytes_per_gpu"]["weights"] * 32 >= 4 * plan["parameters"]
    assert "14,808,889,088" in moekit("backbone", "plan").out


def test_a_plan_of_other_sizes_is_told(moekit):
    sizes = ("--blocks", 2, "--width", 64, "--heads", 4, "--patch", 16, "--precision", "fp32")
    plan = moekit("backbone", "plan", "--twin", "--gpus", 1, *sizes, "--json").json
    assert plan["tier"]["blocks"] == 2
    assert plan["tier"]["hidden"] == 32
    assert plan["memory_bytes_per_gpu"]["weights"] == 4 * plan["parameters_built"]


def test_sizes_and_meshes_that_do_not_fit_are_wrong_usage(moekit):
    for option, value, code in (
        ("--width", 100, "usage/bad-sizes"),
        ("--expert-axis", 3, "usage/not-divisible"),
        ("--image-size", 100, "usage/image-size"),
    ):
        outcome = moekit("backbone", "plan", option, value)
        assert outcome.code == 2
        assert f"[{code}]" in outcome.err


def test_any_vision_transformer_of_timm_is_upcycled_from_a_file(moekit, tmp_path):
    torch.manual_seed(0)
    save_file(
        timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "w.safetensors"
    )
    made = tmp_path / "made.safetensors"
    arguments = ("--architecture", "test_vit", "--weights", tmp_path / "w.safetensors")
    outcome = moekit(
        *("backbone", "upcycle", "--out", made, *arguments),
        *("--experts", 8, "--slices", 2, "--json"),
    )
    assert outcome.code == 0, outcome.err
    facts = outcome.json
    assert facts["max_difference"] <= 1e-4
    assert (facts["experts"], facts["slices"], facts["top_k"]) == (8, 2, 2)
    assert facts["parameters"] > facts["dense_parameters"]
    model = load_upcycled(made)
    assert sum(value.numel() for value in model.parameters()) == facts["parameters"]


def test_slices_that_do_not_divide_are_wrong_usage(moekit, tmp_path):
    outcome = moekit("backbone", "upcycle", "--out", tmp_path / "made.safetensors", "--slices", 5)
    assert outcome.code == 2
    assert not (tmp_path / "made.safetensors").exists()
