"""XML of others: no document type, so no entity, in whatever encoding it is written."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import NoReturn

__all__ = ["parse_xml"]


def parse_xml(content: bytes) -> ElementTree.Element:
    """The root of an XML text.

    The parser itself looks for a document type, since the bytes of a text in UTF-16 hide it.

    Raises:
        ValueError: It is no XML, is in an unknown encoding, or declares a document type, which may
            hold entities that grow without bound or name other files.
    """
    parser = ElementTree.XMLParser(target=_NoDocumentType())  # noqa: S314  # see _NoDocumentType
    try:
        parser.feed(content)
        root = parser.close()
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(str(error)) from error
    assert isinstance(root, ElementTree.Element)
    return root


class _NoDocumentType(ElementTree.TreeBuilder):
    """Builds the tree, and ends at a document type."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Refuses it."""
        raise ValueError("it declares a document type or entities, which no annotation needs")
