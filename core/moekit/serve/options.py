"""How a server is set up, and what is refused."""

from __future__ import annotations

import dataclasses
import ipaddress
import ssl
from pathlib import Path

from moekit.errors import UsageError

_MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How a server is set up.

    Attributes:
        host: Address or name that it listens on.
        port: Its port; 0 for any that is free.
        token_file: File of tokens that clients must show; None for no tokens.
        unprotected: Whether it may listen on other addresses than this machine's own without
            tokens.
        tls_cert: PEM file of the certificate chain; None for HTTP without TLS.
        tls_key: PEM file of its private key; None if that is in `tls_cert`.
        cors: Origins whose pages may read answers, such as `https://line.example`.
        batch_size: Most images a forward pass. With 1 each image is computed by itself.
        gather_ms: Longest time that a request waits for others, in milliseconds.
        queue: Most images that wait.
        deadline_s: Seconds that a request may take, its upload included.
        most_mib: Most MiB of a request's body.
        most_images: Most images of a request; never more than `queue`.
        most_pixels: Most pixels of an image.

    Raises:
        UsageError: They contradict each other.
    """

    host: str = "127.0.0.1"
    port: int = 8040
    token_file: Path | None = None
    unprotected: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors: tuple[str, ...] = ()
    batch_size: int = 8
    gather_ms: float = 4.0
    queue: int = 64
    deadline_s: float = 30.0
    most_mib: float = 32.0
    most_images: int = 32
    most_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if not self.unprotected and self.token_file is None and not is_own(self.host):
            raise UsageError(
                f"on {self.host} anybody who reaches this machine could use the server",
                whose="--host",
                fix="add --token-file FILE, or --unprotected if the network itself is protected",
                code="usage/unprotected",
            )
        if self.tls_key is not None and self.tls_cert is None:
            raise UsageError(
                "a private key is given without a certificate",
                whose="--tls-key",
                fix="add --tls-cert FILE",
                code="usage/option-conflict",
            )
        if self.tls_cert is not None:
            _check_tls(self.tls_cert, self.tls_key)

    @property
    def most_bytes(self) -> int:
        """Most bytes of a request's body."""
        return int(self.most_mib * _MIB)

    @property
    def images(self) -> int:
        """Most images of a request, all of which find room in the empty queue."""
        return min(self.most_images, self.queue)


def is_own(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_tls(cert: Path, key: Path | None) -> None:
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # A key with a pass phrase would stop the start with a question.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(
            f"certificate and key cannot be used ({getattr(error, 'strerror', None) or error})",
            whose=str(cert),
            fix="name PEM files that belong together, the key without a pass phrase",
            code="usage/bad-certificate",
        ) from error
