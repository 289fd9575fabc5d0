"""Whether a file is there, and what the system says of it in plain words."""

from __future__ import annotations

import stat
from pathlib import Path

from moekit.errors import ImageError


def check_file(path: Path) -> None:
    """Checks at little cost that a file is there, is a plain file, can be opened and has bytes.

    Raises:
        ImageError: It does not.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(
                "this is a folder, not an image",
                whose=str(path),
                fix="name the image files in it",
                code="image/not-a-file",
            )
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                "this is a device or a pipe, not an image",
                whose=str(path),
                fix="leave it out",
                code="image/not-a-file",
            )
        if status.st_size == 0:
            raise ImageError(
                "the file is empty (0 bytes)",
                whose=str(path),
                fix="copy the file again from its source, or leave it out",
                code="image/empty",
            )
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(
            "the file does not exist",
            whose=str(path),
            fix="check the path, or leave it out",
            code="image/not-found",
        ) from error
    except PermissionError as error:
        raise ImageError(
            "the file may not be read (permission denied)",
            whose=str(path),
            fix="give this user the right to read it, or leave it out",
            code="image/no-permission",
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"the file cannot be opened ({plain(error)})",
            whose=str(path),
            fix="check the path and the disk, or leave it out",
            code="image/unreadable",
        ) from error


def plain(error: Exception) -> str:
    """An exception's message on one printable line."""
    message = getattr(error, "strerror", None) or str(error)  # an OSError's str holds the path
    words = " ".join(message.split()) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in words[:200])
