"""The little XML that S3 speaks, read without declarations of types or entities."""

from __future__ import annotations

from typing import Any, NoReturn
from xml.etree.ElementTree import Element, ParseError, SubElement, TreeBuilder, XMLParser, tostring


class _Plain(TreeBuilder):
    def doctype(self, *_: object) -> NoReturn:
        raise ParseError("declarations are not read")


def parsed(data: bytes) -> Element:
    """The root element, names without their name space; ``ParseError`` for what is no XML, or declares types."""
    parser = XMLParser(target=_Plain())  # noqa: S314  entities, the danger, are refused above
    parser.feed(data)
    root: Element = parser.close()
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
    return root


def text(element: Element, name: str) -> str:
    """The text of the element's child of that name; an empty one where there is none."""
    return element.findtext(name) or ""


def completion(parts: list[dict[str, Any]]) -> bytes:
    """The list of an upload's parts that completes it."""
    root = Element("CompleteMultipartUpload")
    for part in parts:
        one = SubElement(root, "Part")
        for name in ("PartNumber", "ETag"):
            SubElement(one, name).text = str(part[name])
    found: bytes = tostring(root)
    return found
