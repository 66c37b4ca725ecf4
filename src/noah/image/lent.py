"""What a container is lent of the host beside its network: names, proxies, certificate authorities.

    /etc/resolv.conf, /etc/hosts   are written when it starts, as docker(1) does it (noah.image.container)
    http_proxy and the like        are in the environment of what runs in it, as podman-run(1) does it
    certificate authorities        the host's bundle is shown for reading, and named in the variables by which programs
                                   look for one, where that is asked for

Taken anew whenever something is run, so that an image which is made of the container has nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from noah.image.errors import ImageError

_PROXIES: Final = (b"http_proxy", b"https_proxy", b"ftp_proxy", b"no_proxy", b"all_proxy")
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS, the BSDs
)
_READERS: Final = (
    b"SSL_CERT_FILE",  # OpenSSL, and with it Ruby; Go; rustls
    b"CURL_CA_BUNDLE",
    b"GIT_SSL_CAINFO",
    b"REQUESTS_CA_BUNDLE",  # Python's requests
    b"PIP_CERT",
    b"NODE_EXTRA_CA_CERTS",
    b"CARGO_HTTP_CAINFO",
)
BUNDLE: Final = b"/run/host/ca-certificates.crt"
"""Where a container sees it: https://systemd.io/CONTAINER_INTERFACE keeps /run/host for what is the host's."""


def proxies(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables of the host's environment that name proxies, in the two spellings there are."""
    names = [spelling for name in _PROXIES for spelling in (name, name.upper())]
    return {name: environ[name] for name in names if environ.get(name)}


def certificates(environ: Mapping[bytes, bytes]) -> bytes:
    """The file with the authorities that the host trusts. ImageError if there is none."""
    if own := environ.get(b"SSL_CERT_FILE"):
        return own
    found = next((path for path in _BUNDLES if Path(path).is_file()), "")
    if not found:
        raise ImageError("this host has no bundle of certificate authorities: name one in SSL_CERT_FILE")
    return found.encode()


def certificate_variables() -> dict[bytes, bytes]:
    """By which programs of a container find the bundle."""
    return dict.fromkeys(_READERS, BUNDLE)
