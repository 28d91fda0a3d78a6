"""The door's identity: an Ed25519 key that lasts, in the folder of its keys of the day; it signs their public halves.

It reads no label and joins nothing; who has it could announce a public key of their own. `unjoin keys rotate` makes a
new one.
"""

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unjoin.keys.keyring import KeyLost, KeysUnreachable

NAME = "identity"
IDENTITY_BYTES = 32


def door_identity(directory: Path) -> Ed25519PrivateKey:
    """The identity of the door whose keys lie here; made now if there is none.

    Raises:
        KeyLost: the file is damaged.
        KeysUnreachable: the folder cannot be read or written.
    """
    try:
        if (directory / NAME).exists():  # in a folder that may be read-only
            return _identity_in(directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate().private_bytes_raw()
        draft = directory / f".{NAME}.{os.getpid()}"
        with suppress(FileExistsError):
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, made)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.link(draft, directory / NAME)  # appears whole, and never replaces one that is there
        draft.unlink()
        return _identity_in(directory)
    except OSError as error:
        raise KeysUnreachable(f"the door's identity in {directory} cannot be used: {error.strerror}") from None


def _identity_in(directory: Path) -> Ed25519PrivateKey:
    kept = (directory / NAME).read_bytes()
    if len(kept) != IDENTITY_BYTES:
        raise KeyLost(f"the door's identity {directory / NAME} is damaged: restore it, or remove it for a new one")
    return Ed25519PrivateKey.from_private_bytes(kept)


def new_identity(directory: Path) -> bytes:
    """Replaces the identity; the public one, 32 bytes.

    Raises:
        KeysUnreachable: the folder cannot be written; the old identity may be gone.
    """
    try:
        (directory / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise KeysUnreachable(f"the door's identity in {directory} cannot be removed: {error.strerror}") from None
    return door_identity(directory).public_key().public_bytes_raw()


def existing_identity(directory: Path) -> bytes | None:
    """The public identity, 32 bytes, if there is one here; makes none."""
    if not (directory / NAME).is_file():
        return None
    return door_identity(directory).public_key().public_bytes_raw()
