"""What the API server refused, or did not answer, as one error that says what may help.

Must not know how a request is sent, nor what it is for.
"""

from __future__ import annotations

PAGE_BYTES = 8 * 1024 * 1024
"""What is read of a page: if it has more, fewer objects are asked for. No object has more."""


class ClusterError(Exception):
    """The API server refused a request, or did not answer: `status` is its HTTP status, 0 where none came.

    `retry_after` is its own wish in seconds, where it stated one.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Trouble of the API server's or of the way to it: the same request may succeed later."""
        return self.status in (0, 429) or self.status >= 500

    @property
    def conflict(self) -> bool:
        """The object has moved on since it was read, is there already, or is another one by now."""
        return self.status == 409

    @property
    def gone(self) -> bool:
        """There is no such object."""
        return self.status == 404

    @property
    def expired(self) -> bool:
        """The place where a watch was to go on is too long ago: it begins anew with a list."""
        return self.status == 410

    @property
    def refused(self) -> bool:
        """An answer that the same request will get again until somebody changes what refuses it.

        A 401 is not about the request, but about our credential.
        """
        return not (
            self.passing or self.conflict or self.gone or self.expired or self.terminating or self.status == 401
        )

    @property
    def terminating(self) -> bool:
        """The namespace is going away, and takes no new objects."""
        return self.status == 403 and "because it is being terminated" in str(self)


class TooLargeError(ClusterError):
    """The answer has more bytes than are read of it."""

    def __init__(self) -> None:
        super().__init__(0, f"the answer has more than {PAGE_BYTES} bytes")


def unanswered(error: Exception) -> ClusterError:
    """What kept a request from being answered."""
    return error if isinstance(error, ClusterError) else ClusterError(0, f"{type(error).__name__}: {error}")
