"""Which certificate authorities are trusted on the way to the platform.

`SSL_CERT_FILE` and `SSL_CERT_DIR` take the place of the built-in ones, as for Go and OpenSSL. Bundles are extended and
authorities replaced while the operator runs, so the files are read again when they change. If that fails, the reason is
logged, and the certificates that were read before stay trusted.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import certifi

from inferencekey_operator.network.files import Stamps, contents, stamps
from inferencekey_operator.network.variables import VariableError

log = logging.getLogger(__name__)

FILE, DIRECTORY = "SSL_CERT_FILE", "SSL_CERT_DIR"

LOOK_EVERY = 1.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    stamps: Stamps
    contents: bytes
    """A hash."""
    context: ssl.SSLContext


class Trust:
    """Makes TLS contexts for connections to the platform; all share the newest one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Raises VariableError where a variable names nothing that holds a certificate."""
        self._file = environ.get(FILE, "").strip()
        self._directories = list(filter(None, environ.get(DIRECTORY, "").strip().split(os.pathsep)))
        self._bundle = self._read()
        self._failed: Stamps | None = None
        """The files as they were when they could not be read."""
        self._look_at = time.monotonic() + LOOK_EVERY

    def context(self) -> ssl.SSLContext:
        """For the next connection. The files are looked at once a second: a directory may hold hundreds."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY
            if (now := stamps(self._paths())) not in (self._bundle.stamps, self._failed):
                self._read_again(now)
        return self._bundle.context

    def renewed(self) -> bool:
        """Read the files in any case, as after a certificate was refused; whether they hold something else by now."""
        before = self._bundle.contents
        self._read_again(stamps(self._paths()))
        return self._bundle.contents != before

    def _read_again(self, now: Stamps) -> None:
        if contents(self._paths()) == self._bundle.contents:  # connections keep their context
            self._bundle, self._failed = replace(self._bundle, stamps=now), None
            return
        try:
            bundle = self._read()
        except VariableError as error:
            if now != self._failed:
                log.warning("%s The operator keeps the certificates that it read before.", error)
            self._failed = now
            return
        log.info("reloaded the certificates to trust for the platform")
        self._bundle, self._failed = bundle, None

    def _read(self) -> _Bundle:
        paths = self._paths()
        at, held = stamps(paths), contents(paths)
        return _Bundle(at, held, self._context(paths))

    def _context(self, paths: list[str]) -> ssl.SSLContext:
        """Of a directory, files that hold no certificate are passed over."""
        context = None
        for path in paths:
            try:
                if context is None:
                    context = ssl.create_default_context(cafile=path)
                else:
                    context.load_verify_locations(cafile=path)
            except OSError as error:
                if path == self._file:
                    raise VariableError(FILE, path, _problem(error)) from error
        if context is None:
            raise VariableError(
                DIRECTORY, os.pathsep.join(self._directories), "holds no file with a certificate in PEM."
            )
        return context

    def _paths(self) -> list[str]:
        """The files that are read, each once; those of a directory in the order of their names."""
        if not (self._file or self._directories):
            return [certifi.where()]
        found = {os.path.realpath(self._file): self._file} if self._file else {}
        for directory in self._directories:
            with suppress(OSError):
                for name in sorted(os.listdir(directory)):
                    path = os.path.join(directory, name)
                    if os.path.isfile(path):
                        found.setdefault(os.path.realpath(path), path)
        return list(found.values())


def _problem(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}. Name a file with certificates in PEM, or unset it."
    return "holds no certificate in PEM that can be read. Name a file with such certificates, or unset it."
