"""Who this process is to the API server, and how it connects: out of a pod's ServiceAccount, or out of a kubeconfig.

A login is a value, read once; `authentication` says when to read another. The official client knows the formats.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from inferencekey_operator.kube import execplugin
from inferencekey_operator.kube.official import client, config, incluster_config, kube_config, rest
from inferencekey_operator.network.files import Stamps, contents, stamps


@dataclass(frozen=True, eq=False)
class Login:
    """Server, TLS and credentials."""

    configuration: client.Configuration
    rest: Any = field(repr=False)
    """The official client's factory of sessions."""
    authorization: str = field(repr=False)
    """The header; empty for none."""
    certificates: bytes = field(repr=False)
    """A hash of the files that TLS was made of."""
    files: Stamps = ()
    """What it was read from, as it was then."""
    expires_at: float = float("inf")
    """In seconds since the epoch, as far as it is known."""

    @classmethod
    def of(cls, configuration: client.Configuration, files: Stamps = (), expires_at: float = float("inf")) -> Login:
        """As the official client has it. Raises OSError for a certificate or key that cannot be read."""
        paths = [configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file]
        return cls(
            configuration=configuration,
            certificates=contents(filter(None, paths)),
            rest=rest.RESTClientObject(configuration),
            authorization=str(configuration.api_key.get("BearerToken") or "").strip(),
            files=files,
            expires_at=expires_at,
        )

    @property
    def tls(self) -> ssl.SSLContext:
        """For connections to the server."""
        context: ssl.SSLContext = self.rest.ssl_context
        return context

    @property
    def server_name(self) -> str | None:
        """What the server's certificate is for, where that is not its host: a kubeconfig's `tls-server-name`."""
        name: str | None = self.configuration.tls_server_name
        return name


class Source(Protocol):
    """Where logins come from; its `str` names it in messages."""

    def stamps(self) -> Stamps:
        """Of the files that the last login was read from, as they are now."""

    async def login(self) -> Login:
        """Read it. What goes wrong has no common type."""


class ServiceAccount:
    """The projected token and the authority that a pod finds in files, which the kubelet keeps current."""

    def __str__(self) -> str:
        return "the ServiceAccount"

    def stamps(self) -> Stamps:
        """Of token and authority."""
        return stamps((incluster_config.SERVICE_TOKEN_FILENAME, incluster_config.SERVICE_CERT_FILENAME))

    async def login(self) -> Login:
        """Raises config.ConfigException outside of a pod."""
        files, configuration = self.stamps(), client.Configuration()
        config.load_incluster_config(configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
        return Login.of(configuration, files)


class Kubeconfig:
    """One or several files as `KUBECONFIG` names them, and the context that is current when they are first read."""

    def __init__(self, paths: str) -> None:
        self._paths = paths
        self._files = [os.path.expanduser(path) for path in paths.split(kube_config.ENV_KUBECONFIG_PATH_SEPARATOR)]
        self._read = list(self._files)
        self._context: str | None = None

    def __str__(self) -> str:
        return f"the kubeconfig {self._paths}"

    @property
    def context(self) -> str | None:
        """The context in use; None before the first login."""
        return self._context

    def stamps(self) -> Stamps:
        """Of the kubeconfig, and of each file that it names."""
        return stamps(self._read)

    async def login(self) -> Login:
        """Run the plugin, if it has one. A person who makes another context current does not mean this process."""
        try:
            return await self._login()
        except config.ConfigException as error:  # some quote a whole user, with its token
            raise config.ConfigException(str(error).partition("{")[0]) from None

    async def _login(self) -> Login:
        files = stamps(self._files)
        _refuse_what_is_none(self._files, self._context)
        merged = kube_config.KubeConfigMerger(self._paths)  # type: ignore[no-untyped-call]
        loader = _Loader(merged.config, active_context=self._context)
        self._context = loader.current_context["name"]
        named = list(loader.files())
        self._read, files = [*self._files, *named], files + stamps(named)
        configuration = client.Configuration()
        try:
            await loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
            return Login.of(configuration, files, loader.expires_at)
        finally:
            kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call]  # keys, which are in memory by now


def _refuse_what_is_none(files: Sequence[str], in_use: str | None) -> None:
    """As kubectl does, read those files that exist. Raises ConfigException where they are no kubeconfig.

    Before the first login no context is in use; the one that is current is meant.
    """
    there = [file for file in files if os.path.exists(file)]
    if not there:
        raise config.ConfigException(f"{', '.join(files)} does not exist")
    documents = [_document(file) for file in there]
    current = in_use or next((each["current-context"] for each in documents if each.get("current-context")), None)
    contexts = [
        context for each in documents for name, context in _named(each, "contexts", "context") if name == current
    ]
    for kind in ("cluster", "user"):
        known = {name for each in documents for name, _ in _named(each, f"{kind}s", kind)}
        for wanted in [context.get(kind) for context in contexts]:
            if wanted is not None and wanted not in known:
                raise config.ConfigException(
                    f'the context "{current}" of {", ".join(there)} names "{wanted}", which is not in its {kind}s'
                )


def _document(file: str) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as stream:
            document = yaml.safe_load(stream)
    except OSError as error:
        raise config.ConfigException(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise config.ConfigException(f"{file} is not a kubeconfig: it is not YAML") from None
    lists = ("clusters", "users", "contexts")
    if not isinstance(document, dict) or any(not isinstance(document.get(kind) or [], list) for kind in lists):
        raise config.ConfigException(f"{file} is not a kubeconfig")
    return document


def _named(document: Mapping[str, Any], entries: str, kind: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The named parts of a kubeconfig, as far as they have the right form; the official client judges the others."""
    for entry in document.get(entries) or ():
        if isinstance(entry, dict):
            part = entry.get(kind)
            yield entry.get("name"), part if isinstance(part, dict) else {}


class _Loader(kube_config.KubeConfigLoader):
    _cluster: Any
    _user: Any

    def __init__(self, merged: Any, active_context: str | None) -> None:
        super().__init__(merged, active_context=active_context, config_base_path=None)  # type: ignore[no-untyped-call]
        self.expires_at = float("inf")

    def files(self) -> Iterator[str]:
        """What the kubeconfig names instead of holding it."""
        names = ("certificate-authority",), ("client-certificate", "client-key", "tokenFile")
        for node, keys in zip((self._cluster, self._user), names, strict=True):
            for key in keys if node is not None else ():
                if key in node:
                    yield os.path.normpath(os.path.join(_folder_of(node), str(node[key])))

    async def load_from_exec_plugin(self) -> bool:
        """As the official one, but an error is one."""
        given = await execplugin.run(self._user["exec"], _folder_of(self._user))
        self.expires_at = given.expires_at
        if given.token:
            self.token = f"Bearer {given.token}"
        if given.certificate:
            self.cert_file, self.key_file = map(_in_a_file, (given.certificate, given.key))
        return True


def _folder_of(node: Any) -> str:
    """Of the kubeconfig that this part is in: paths are relative to it."""
    return os.path.abspath(os.path.dirname(node.path or ""))


def _in_a_file(content: str) -> str:
    name: str = kube_config._create_temp_file_with_content(content)  # type: ignore[no-untyped-call]
    return name


async def first() -> tuple[Login, Source]:
    """That of the pod this process runs in or, where it runs in none, of the current kubeconfig."""
    source: Source = ServiceAccount()
    try:
        return await source.login(), source
    except config.ConfigException:
        source = Kubeconfig(os.environ.get("KUBECONFIG") or kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
        return await source.login(), source
