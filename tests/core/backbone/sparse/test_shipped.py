"""The sparse form that ships with moekit: small, told by its card, exact, and near at top-4."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import moekit.backbone.sparse.shipped
from moekit import MoEBackbone
from moekit.backbone.sparse.card import render_card
from moekit.backbone.sparse.form import load_form

FOLDER = Path(moekit.backbone.sparse.shipped.__file__).parent
FORMS = sorted(FOLDER.glob("*.safetensors"))


def test_a_form_ships_and_all_of_them_are_small() -> None:
    assert FORMS
    assert all(path.stat().st_size <= 5e6 for path in FORMS)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_the_card_is_made_from_the_facts_of_the_form(path: Path) -> None:
    assert path.with_suffix(".md").read_text(encoding="utf-8") == render_card(load_form(path))


def test_the_default_backbone_uses_the_shipped_form(backbone: MoEBackbone) -> None:
    assert backbone.provenance.sparse_form == "shipped"
    assert backbone.provenance.sparse_sha256 in {load_form(path).sha256 for path in FORMS}


@torch.inference_mode()
def test_features_come_nearer_with_every_expert(backbone: MoEBackbone, photos: Tensor) -> None:
    dense_BND = backbone(photos).final_BND
    near = []
    for k in (1, 2, 4, 8, 12):
        backbone.top_k = k
        found_BND = backbone(photos).final_BND
        near.append(float(nn.functional.cosine_similarity(found_BND, dense_BND, dim=2).mean()))
    assert near == sorted(near)
    assert near[2] > 0.8
    assert near[3] > 0.9
