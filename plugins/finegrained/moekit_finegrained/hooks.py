"""The hooks of the finegrained plugin."""

from __future__ import annotations

from moekit import DatasetSpec, ExpertSpec, KitSpec, hookimpl
from moekit_finegrained.cifar100 import CIFAR100
from moekit_finegrained.grocery import GROCERY
from moekit_finegrained.kit import FINEGRAINED
from moekit_finegrained.shape import ShapeExpert
from moekit_finegrained.surface import SurfaceExpert


@hookimpl
def moekit_experts() -> list[ExpertSpec]:
    """The shape expert and the surface expert."""
    return [
        ExpertSpec(
            name="object_shape",
            build=ShapeExpert,
            summary="a bottleneck with a wide view, relative to the object's centre of mass",
            source="dilated convolutions, Yu and Koltun 2016, arXiv:1511.07122; moments, Hu 1962",
        ),
        ExpertSpec(
            name="surface",
            build=SurfaceExpert,
            summary="a bottleneck on the local structure tensor at two scales",
            source="structure tensor, Bigun and Granlund 1987, ICCV; Heeger 1992",
        ),
    ]


@hookimpl
def moekit_datasets() -> list[DatasetSpec]:
    """Loaders of fine-grained sets."""
    return [CIFAR100, GROCERY]


@hookimpl
def moekit_kits() -> list[KitSpec]:
    """The finegrained kit."""
    return [FINEGRAINED]
