"""The certificates and keys of one control plane, made anew each time.

Decides names, lifetimes and extensions; writes no file. Elliptic keys throughout: they are made in a moment.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICE_ADDRESS = "10.0.0.1"
"""The first address of the service network, which is the API server's own."""

_DNS_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", SERVICE_ADDRESS)
_LIFETIME = datetime.timedelta(days=365)
_CLOCK_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class KeyPair:
    """A certificate (or a public key) and its private key, both as PEM."""

    certificate: str
    key: str = field(repr=False)


class Authority:
    """A certificate authority that signs for one control plane and is forgotten with it."""

    def __init__(self) -> None:
        self._key = _new_key()
        self._name = _name("controlplane-ca", ())
        usage = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._builder(self._name, self._key).add_extension(usage, critical=True)
        certificate = certificate.add_extension(_key_usage(signs_certificates=True), critical=True)
        self.certificate = _pem(certificate.sign(self._key, hashes.SHA256()))

    def serving(self) -> KeyPair:
        """For the API server, under every name that a client may know it by."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in _DNS_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
        alternative = x509.SubjectAlternativeName(names)
        return self._issue(_name("kube-apiserver", ()), ExtendedKeyUsageOID.SERVER_AUTH, alternative)

    def client(self, user: str, groups: Iterable[str] = (), lifetime: datetime.timedelta = _LIFETIME) -> KeyPair:
        """For a client that Kubernetes takes to be `user`, a member of `groups`."""
        return self._issue(_name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, lifetime=lifetime)

    def _issue(
        self,
        name: x509.Name,
        purpose: x509.ObjectIdentifier,
        *extensions: x509.ExtensionType,
        lifetime: datetime.timedelta = _LIFETIME,
    ) -> KeyPair:
        key = _new_key()
        certificate = (
            self._builder(name, key, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        for extension in extensions:
            certificate = certificate.add_extension(extension, critical=False)
        return KeyPair(_pem(certificate.sign(self._key, hashes.SHA256())), _private_pem(key))

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: datetime.timedelta = _LIFETIME
    ) -> x509.CertificateBuilder:
        """What all certificates have; Python 3.13 and later refuse those without both key identifiers."""
        now = datetime.datetime.now(datetime.UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
        )


def service_account_keys() -> KeyPair:
    """Signs and verifies ServiceAccount tokens: the public key stands in place of a certificate.

    The private key is in the traditional form (`EC PRIVATE KEY`): the API server does not read PKCS #8 here.
    """
    key = _new_key()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(public.decode(), _private_pem(key))


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(user: str, groups: Iterable[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
