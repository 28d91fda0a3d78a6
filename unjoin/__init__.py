"""The command: the only room that sees ingest, processors and sinks."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Of the package that runs, as `1.2.0`; of one that nobody installed, in words."""
    try:
        return version("unjoin")
    except PackageNotFoundError:
        return "from a checkout"
