"""What each role may open of the data directory: its own, and above all no keys but its own."""

from pathlib import Path
from typing import Literal

import msgspec

from schemas.outcomes import UnjoinError
from unjoin.confine.landlock import confine
from unjoin.settings import Settings

Role = Literal["collector", "processor", "sink"]


class FolderError(UnjoinError):
    """A folder that a role needs cannot be made; the text says which and why."""


class AllowedPaths(msgspec.Struct, frozen=True, kw_only=True):
    """What one role may open beside what Linux and Python need.

    Attributes:
        read: folders, with all below.
        write: folders, with all below.
        closed: what must be out of reach, tried once the role is confined.
        files: to be read; skipped where they do not exist.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    closed: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()


def allowed_paths_of(role: Role, settings: Settings) -> AllowedPaths:
    """What a role may open."""
    sites, edge, epoch = settings.sites_file.parent, settings.edge_keys_dir, settings.epoch_keys_dir
    kafka, clickhouse, spool = settings.data_dir / "kafka", settings.clickhouse_dir, settings.spool_folder

    def token(closed: tuple[Path, ...]) -> tuple[Path, ...]:
        return _replaced(settings.kafka_oauth_token_file, closed)

    closed: tuple[Path, ...]
    match role:
        case "collector":
            closed = (epoch, clickhouse, kafka)
            return AllowedPaths(read=(sites,), write=(edge, spool), closed=closed, files=token(closed))
        case "processor":
            closed = (edge, sites, spool, clickhouse, kafka)
            return AllowedPaths(write=(epoch, settings.processor_dir), closed=closed, files=token(closed))
        case "sink":
            closed = (edge, epoch, sites, spool, kafka)
            read = (
                settings.asn_database,
                settings.clickhouse_tls_ca,
                settings.clickhouse_tls_cert,
                settings.clickhouse_tls_key,
            )
            files = (*(path for file in read for path in _replaced(file, closed)), *token(closed))
            return AllowedPaths(files=files, write=(clickhouse,), closed=closed)


def _replaced(path: str, closed: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders of a file and of what it links to, for what replaces it is another; the file alone beside keys."""
    if not path:
        return ()
    file = Path(path)
    folders = sorted({file.parent.resolve(), file.resolve().parent})
    if any(shut.resolve().is_relative_to(folder) for shut in closed for folder in folders):
        return (file,)
    return tuple(folders)


def confine_role(role: Role, settings: Settings) -> bool:
    """Makes the role's folders, and lets this process open nothing else from now on.

    Call it before a second thread starts.

    Returns:
        False where the kernel cannot do that, which is logged.

    Raises:
        FolderError: a folder cannot be made.
        SandboxError: the data directory lies where the role has to read, or the kernel refused.
    """
    paths = allowed_paths_of(role, settings)
    for folder in (*paths.read, *paths.write):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"{folder} cannot be made: {error.strerror}") from None
    return confine((*paths.read, *paths.files), paths.write, paths.closed)
