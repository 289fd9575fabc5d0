"""Small weight files of a real timm architecture, and a hub's cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

SMALL = "test_vit"
REPOSITORY = "timm/test_vit.r160_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def small_state() -> dict[str, Tensor]:
    """Weights of timm's smallest vision transformer, its classification head included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(SMALL, pretrained=False)
    return model.state_dict()


@pytest.fixture
def small_file(tmp_path: Path, small_state: dict[str, Tensor]) -> Path:
    """They in a safetensors file, as timm's hub stores them."""
    path = tmp_path / "small.safetensors"
    save_file(small_state, path)
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """An empty cache of the hub, without a network; call it to put a weight file there.

    It is laid out as huggingface_hub does: blobs by hash, a ref to a commit, and a snapshot of that
    commit with links to the blobs. `as_hash` is the hash that the hub announced.
    """
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(content: bytes, *, as_hash: str | None = None) -> Path:
        folder = cache / f"models--{REPOSITORY.replace('/', '--')}"
        blob = folder / "blobs" / (as_hash or hashlib.sha256(content).hexdigest())
        snapshot = folder / "snapshots" / COMMIT
        for parent in (blob.parent, snapshot, folder / "refs"):
            parent.mkdir(parents=True)
        blob.write_bytes(content)
        (folder / "refs" / "main").write_text(COMMIT)
        link = snapshot / "model.safetensors"
        link.symlink_to(Path("..", "..", "blobs", blob.name))
        return link

    return put
