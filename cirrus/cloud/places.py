"""Where a run takes place: frozen values; what a pipeline does is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Local:
    """Workers and shards as processes of this machine, objects as files below the folder ``store``: free.

    ``None`` is the folder ``.cirrus`` in the user's home.
    """

    store: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the objects, absolute."""
        return (Path.home() / ".cirrus" if self.store is None else self.store).absolute()

    @property
    def url(self) -> str:
        """The object store's URL."""
        return self.folder.as_uri()


def local(store: str | Path | None = None) -> Local:
    """Run on this machine, and keep the objects below ``store`` (default: ``~/.cirrus``)."""
    return Local(None if store is None else Path(store))
