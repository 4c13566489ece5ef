"""The parser for a source: from whole lines to labelled rows."""

from __future__ import annotations

from typing import Protocol

from cirrus.errors import PipelineError
from cirrus.learn.columns import Parsed
from cirrus.learn.parse_criteo import CriteoParser
from cirrus.learn.parse_csv import CsvParser
from cirrus.learn.parse_libsvm import LibsvmParser
from cirrus.sources import CriteoSource, CsvSource, LibsvmSource, Source


class Parser(Protocol):
    """What turns whole lines into rows, without reading anything by itself."""

    def parse(self, chunk: bytes, first_line: int, name: str) -> Parsed:
        """The rows of whole lines, the first of which is line ``first_line`` of the object ``name``."""
        ...


def parser(source: Source) -> Parser:
    """The parser for a definite source; see ``cirrus.learn.layouts.layout``."""
    match source:
        case CriteoSource():
            return CriteoParser(source)
        case CsvSource():
            return CsvParser(source)
        case LibsvmSource():
            return LibsvmParser(source)
        case _:
            raise PipelineError("data", source, "a source such as cirrus.criteo(path)")
