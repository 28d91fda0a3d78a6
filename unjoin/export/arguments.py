"""The arguments of `unjoin export`, apart from what carries it out: that imports pyarrow, half a second."""

import argparse
import shlex
from pathlib import Path

from unjoin.output import add_format

DATASETS = ("labels", "signals", "features")
"""The first is meant where none is named."""

_MERGED = (
    "Labels have no site, so that nobody stands alone in a crowd: tasks of one name are one task, whichever site "
    "gave them out. Sites that must not be counted together prefix their tasks, as in `acme-dogs-0017`."
)
_IDENTIFIED = (
    "Retention and erasure do not reach these files: keep them no longer than the table's rows, and where they are "
    "guarded as the table is. Nothing in them joins a label."
)


UNNAMED = "--unnamed"
"""Not for people: put in where labels are meant because no data set is named."""


def meant_by(options: argparse.Namespace) -> str:
    """What to call instead where labels would go to a file called as something else; empty where that is not so."""
    target, folder = shlex.quote(str(options.target)), shlex.quote(str(options.target.with_suffix("")))
    meant = {
        "signals": f"signals are exported by `unjoin export signals {folder}`",
        "features": f"features are exported by `unjoin export features {folder}`",
        "session_features": f"features are exported by `unjoin export features {folder}`",
    }
    if not options.votes and not options.since_last:
        meant["votes"] = f"votes are exported by `unjoin export {target} --votes`"
    said = meant.get(options.target.stem.lower(), "")
    return said and f"{said}; labels under that name by `unjoin export labels {target}`"


def add_export_arguments(export: argparse.ArgumentParser) -> None:
    """What can be exported, each with its options."""
    datasets = export.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    text = "labels with agreement, without what fewer than k votes say; meant where no data set is named"
    labels = datasets.add_parser("labels", help=text, description=text, epilog=_MERGED)
    labels.add_argument(
        "target", nargs="?", type=Path, default=Path("labels"), metavar="FILE",
        help=".parquet or .csv; with --since-last a folder, by default `labels`",
    )  # fmt: skip
    labels.add_argument("--votes", action="store_true", help="a row a vote, instead of the answer of each task")
    labels.add_argument(
        "--since-last", action="store_true",
        help="add a file to the folder: the answers of the days that have closed since its last one",
    )  # fmt: skip
    labels.add_argument(
        "--without-names",
        action="store_true",
        help="with --votes or --since-last: leave out answers in which a model finds a name",
    )
    labels.add_argument("--k", type=int, help="leave out what fewer votes say; default UNJOIN_EXPORT_K")
    labels.add_argument(UNNAMED, action="store_true", help=argparse.SUPPRESS)
    add_format(labels)
    for name, what in (("signals", "signals"), ("features", "the features of sessions")):
        text = f"{what} as Parquet, a file a day: identified, for they name site and session"
        identified = datasets.add_parser(name, help=text, description=text, epilog=_IDENTIFIED)
        identified.add_argument(
            "target", nargs="?", type=Path, default=Path(name), metavar="FOLDER",
            help=f"days that are over since the last are added; default `{name}`",
        )  # fmt: skip
        add_format(identified)
