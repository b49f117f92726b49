"""The operator's image, built from the Dockerfile: by Docker, or by buildah on a base made of Debian's packages.

Decides names and build arguments. The Dockerfile is the repository's, as it stands.
"""

from __future__ import annotations

from pathlib import Path

from helmchart.render import ROOT
from pods.debian import BASE
from pods.enclosure import enclosed
from pods.steps import Steps

REPOSITORY, TAG = "pods.test/inferencekey-operator", "e2e"
IMAGE = f"{REPOSITORY}:{TAG}"
PAUSE = "pods.test/pause:e2e"
"""What holds a pod's namespaces: a process that sleeps."""

_PYTHON = "pods.test/python:e2e"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def by_docker(steps: Steps) -> None:
    """Into Docker's own store."""
    steps.run("docker build", ["docker", "build", "--tag", IMAGE, str(ROOT)])


def by_buildah(packages: Path, folder: Path, steps: Steps) -> list[Path]:
    """Archives of the image and of the one for pauses, in a folder that has room for the store that they come from."""

    def buildah(what: str, *arguments: str) -> None:
        store = [f"--root={folder / 'store'}", f"--runroot={folder / 'store-run'}", "--storage-driver=overlay"]
        steps.run(what, enclosed(packages, ["buildah", *store, *arguments]))

    policy = f"--signature-policy={packages / 'etc/containers/policy.json'}"
    build = ("bud", "--isolation=chroot", "--pull-never", policy)
    for what, image, instructions in (
        ("the base of the image", _PYTHON, f"ADD {BASE} /"),
        ("an image for pauses", PAUSE, 'COPY usr/bin/busybox /\nENTRYPOINT ["/busybox", "sleep", "infinity"]'),
    ):
        file = folder / "Dockerfile"
        file.write_text(f"FROM scratch\n{instructions}\n")
        buildah(what, *build, f"--file={file}", f"--tag={image}", str(packages))
    # What the machine trusts is trusted while dependencies are fetched, and is not in the result.
    trust = [f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro"] if _CERTIFICATES.exists() else []
    argument = f"--build-arg=PYTHON_IMAGE={_PYTHON}"
    buildah("the image, from the Dockerfile", *build, *trust, argument, f"--tag={IMAGE}", str(ROOT))
    archives = []
    for image in (PAUSE, IMAGE):
        archives.append(folder / f"{image.split('/')[1].split(':')[0]}.tar")
        buildah(f"an archive of {image}", "push", policy, image, f"docker-archive:{archives[-1]}:{image}")
    return archives
