"""What the platform says no with.

Decides only what a refusal consists of. The form in which it travels (string, object, plain text, the data
plane's form) is decided where it is written.
"""

from __future__ import annotations


class RefusedError(Exception):
    """A request the platform will not carry out.

    `status` is the HTTP status, `code` the machine's word for it, `message` the sentence for people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def bad_request(message: str) -> RefusedError:
    """Return the refusal of a request that can never be carried out as it stands."""
    return RefusedError(400, "bad_request", message)


def not_found(message: str) -> RefusedError:
    """Return the refusal of a request about something that is not there."""
    return RefusedError(404, "not_found", message)
