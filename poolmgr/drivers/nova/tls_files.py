"""Files of certificates and keys: held against OpenSSL before they are used.

requests would find out at the first call, and the error it has then is that of
a cloud that is not there.
"""

import os
import ssl

from openstack.config.cloud_region import CloudRegion

from poolmgr.drivers.nova.credentials import Origins
from poolmgr.errors import ConfigError
from poolmgr.text import one_line

# Where requests looks for authorities when none are given.
_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def bundle_of_environment() -> tuple[str, str] | None:
    """The variable that names a file of authorities, and the file."""
    for variable in _VARIABLES:
        if path := os.environ.get(variable):
            return variable, path
    return None


def check_tls_files(cloud: CloudRegion, origins: Origins) -> None:
    """Go on only if the files can be used.

    :raises ConfigError: one cannot; it says which, and where it is named
    """
    verify, cert = cloud.get_requests_verify_args()
    bundle = bundle_of_environment()
    if isinstance(verify, str):
        _check_authorities(verify, origins.of("cacert"))
    elif verify and bundle:
        _check_authorities(bundle[1], bundle[0])
    if isinstance(cert, tuple):
        _check_pair(*cert, origins.of("cert"), origins.of("key"))
    elif cert:
        _check_pair(cert, cert, origins.of("cert"), origins.of("cert"))
    elif key := cloud.config.get("key"):
        raise ConfigError(
            f"{origins.of('key')}: {one_line(str(key))!r} is of no use "
            f"without its certificate, {origins.of('cert')}"
        )


def _check_authorities(path: str, where: str) -> None:
    if os.path.isdir(path):
        return
    _check_readable(path, where)
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{where}: {one_line(path)!r} has no usable certificate"
        ) from error


def _check_pair(cert: str, key: str, of_cert: str, of_key: str) -> None:
    _check_readable(cert, of_cert)
    _check_readable(key, of_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Without a password of its own OpenSSL would ask the terminal.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        why = "has a pass phrase" if "pass phrase" in str(error) else ""
        raise ConfigError(
            f"{of_key}: {one_line(key)!r} {why or 'is no key'} of the "
            f"certificate {one_line(cert)!r}"
        ) from error


def _no_password() -> bytes:
    raise ValueError("the key has a pass phrase")


def _check_readable(path: str, where: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "there is no such name"
        raise ConfigError(
            f"{where}: cannot read {one_line(path)!r}: {why}"
        ) from None
