"""What stands in a Lease beside who holds it, and what that has to do with other Leases.

A seam: `leader` asks at each step, and does the work of one Lease; here is what one alone answers. Decides nothing.
"""

from __future__ import annotations

from inferencekey_operator.kube.reading import Body

Annotations = dict[str, str]


class LeaseHooks:
    """What several Leases have to do with each other; one alone has nothing to note.

    Annotations are those of the Lease as it was read; whatever is returned is written in the same request.
    """

    def seen(self, lease: Body | None, began: float) -> None:
        """The Lease was read or written by a request that began then; None where there is none."""

    def may_take(self, annotations: Annotations) -> bool:
        """Whether a Lease that is free is to be taken now."""
        return True

    def may_keep(self) -> bool:
        """Whether a Lease that is still ours, though we lost touch with it, is to be renewed."""
        return True

    def taken(self, lease: Body | None) -> None:
        """A term begins with the next write."""

    def held(self, annotations: Annotations) -> Annotations:
        """What a Lease of ours says from now on."""
        return annotations

    def asked(self, annotations: Annotations) -> Annotations | None:
        """What to write into the Lease of another; None to leave it alone."""
        return None

    def forbid(self) -> None:
        """Raises LeadershipLostError where we must not act for a reason of theirs."""


def annotations_of(lease: Body | None) -> Annotations:
    """Of a Lease; none where there is none."""
    return dict((lease or {}).get("metadata", {}).get("annotations") or {})


def annotated(lease: Body, annotations: Annotations) -> Body:
    """The Lease with these annotations; untouched where it has them."""
    if annotations == annotations_of(lease):
        return lease
    return {**lease, "metadata": {**lease["metadata"], "annotations": annotations}}
