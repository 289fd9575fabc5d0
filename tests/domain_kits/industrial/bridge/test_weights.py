"""Models of anomalib compute on moekit's backbone, and nothing is fetched for them."""

import urllib.request

import pytest
import timm
import torch
from timm.models import vision_transformer

from moekit.backbone.sources import DEFAULT_ARCHITECTURE
from moekit.testing import refused
from moekit_industrial.bridge.models import build_model, find_class, with_shared_backbone
from moekit_industrial.bridge.offline import offline
from moekit_industrial.bridge.weights import shared_weights


@pytest.fixture
def build(weights):
    def make(name, **arguments):
        kind = find_class(name)
        arguments = with_shared_backbone(kind, arguments, DEFAULT_ARCHITECTURE)
        with offline(name), shared_weights(DEFAULT_ARCHITECTURE, weights) as backbones:
            return build_model(kind, arguments, image_size=56), backbones

    return make


@pytest.mark.parametrize("size", [56, 112, 518])
def test_features_are_those_of_the_shared_backbone(build, backbone, size):
    model, backbones = build("Patchcore", layers=["blocks.5", "blocks.8"])
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = model.model.feature_extractor(images)
    with torch.no_grad():
        x_BND, grid = backbone.embed(images)
        _, kept = backbone.run_blocks(x_BND, grid, stop=9, keep={5, 8})
        for block in (5, 8):
            tokens_BND = backbone.stem.norm(kept[block])[:, backbone.prefix_tokens :]
            side = size // backbone.patch
            wanted = tokens_BND.transpose(1, 2).reshape(1, -1, side, side)
            torch.testing.assert_close(found[f"blocks.{block}"], wanted, atol=1e-4, rtol=1e-4)
    assert len(backbones) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Padim", {"layers": ["blocks.2"], "n_features": 10}),
        ("AnomalyDINO", {}),
        ("dfm", {"layer": "blocks.8"}),
        ("Dinomaly", {}),
        ("Stfpm", {"layers": ["blocks.5"]}),
    ],
)
def test_models_of_many_kinds_take_the_shared_backbone(build, name, arguments):
    if name == "Dinomaly":
        arguments = {"encoder_name": DEFAULT_ARCHITECTURE}
    _, backbones = build(name, **arguments)
    assert backbones


def test_a_student_stays_without_the_weights_of_its_teacher(build):
    model, backbones = build("Stfpm", layers=["blocks.5"])
    teacher, student = model.model.teacher_model, model.model.student_model
    assert [id(one) for one in backbones] == [id(teacher.feature_extractor)]
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    assert any(not torch.equal(ours, theirs) for ours, theirs in pairs)


def test_a_model_that_breaks_while_it_is_built_is_refused(build):
    with refused("usage/bad-argument"):
        build("Supersimplenet", layers=["blocks.5", "blocks.8"])


def test_images_of_the_right_size_pass_the_models_preprocessing_as_they_are(build):
    model, _ = build("Patchcore", layers=["blocks.5"])
    images = torch.randn(2, 3, 56, 56)
    assert torch.equal(model.pre_processor(images), images)
    assert model.input_size == (56, 56)


def test_timm_is_as_it_was_afterwards(build):
    before = timm.create_model, vision_transformer.resample_abs_pos_embed
    build("AnomalyDINO")
    assert (timm.create_model, vision_transformer.resample_abs_pos_embed) == before


def test_a_backbone_of_other_pretrained_weights_is_refused_by_name(build):
    with refused("weights/needs-download", match="resnet18") as caught:
        build("Padim", backbone="resnet18", layers=["layer1"])
    assert "--architecture resnet18 --weights" in caught.value.fix


def test_another_architecture_gets_the_weights_of_a_local_file(weights, tmp_path):
    from safetensors.torch import save_file

    from moekit.backbone.sources import find_weights

    source = timm.create_model("resnet18", pretrained=False)
    path = tmp_path / "mine.safetensors"
    save_file(source.state_dict(), path)
    kind = find_class("Padim")
    arguments = {"backbone": "resnet18", "layers": ["layer1"], "n_features": 8}
    with offline("Padim"), shared_weights("resnet18", find_weights("resnet18", str(path))) as built:
        model = build_model(kind, arguments, image_size=56)
    assert built
    found = model.model.feature_extractor.feature_extractor.state_dict()
    assert torch.equal(found["layer1.0.conv1.weight"], source.layer1[0].conv1.weight)
    with shared_weights("resnet18", weights), refused("weights/misfit"):
        build_model(kind, arguments, image_size=56)


def test_whoever_connects_inside_the_block_is_stopped_by_name():
    with refused("weights/needs-download") as caught, offline("a model"):
        urllib.request.urlopen("http://127.0.0.1:9/")
    assert caught.value.whose == "a model"


def test_errors_of_other_kinds_pass_through_the_block():
    with pytest.raises(ZeroDivisionError), offline("a model"):
        1 / 0  # noqa: B018


@pytest.mark.parametrize(
    "name", ["Patchcor", "os.path.join", "no.such.module", "torch.nn.Linear", ""]
)
def test_what_is_no_model_is_refused(name):
    with refused("usage/unknown-name"):
        find_class(name)


def test_arguments_that_the_model_does_not_take_are_named(build):
    with refused("usage/bad-argument") as caught:
        build("Patchcore", coreset=0.1)
    assert "coreset_sampling_ratio" in caught.value.fix
    with refused("usage/bad-argument"):
        build("Patchcore", layers=["layer2"])
    with refused("usage/bad-argument"):
        build("Patchcore", post_processor=True)
