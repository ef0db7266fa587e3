"""Addresses as typed, as printed, and as sockets take them."""

import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpshared.address import Address, AddressError

_UNSPEC, _V4, _V6, _UNIX = socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


@pytest.mark.parametrize(
    ("text", "family", "sockaddr", "local"),
    [
        ("server:7707", _UNSPEC, ("server", 7707), False),
        ("localhost:1", _UNSPEC, ("localhost", 1), True),
        ("127.0.0.1:0", _V4, ("127.0.0.1", 0), True),
        ("127.9.9.9:1", _V4, ("127.9.9.9", 1), True),
        ("0.0.0.0:65535", _V4, ("0.0.0.0", 65535), False),
        ("[::1]:7707", _V6, ("::1", 7707), True),
        ("[::]:7707", _V6, ("::", 7707), False),
        ("[fe80::1%eth0]:5", _V6, ("fe80::1%eth0", 5), False),
        ("unix:/run/mp.sock", _UNIX, "/run/mp.sock", True),
        ("unix:/with space:and colon", _UNIX, "/with space:and colon", True),
    ],
)
def test_what_can_be_typed(text, family, sockaddr, local):
    address = Address.parse(f" {text} ")
    assert str(address) == text
    assert (address.family, address.sockaddr, address.is_local) == (family, sockaddr, local)
    assert address.is_unix is (family == _UNIX)
    assert Address.parse(str(address)) == address == Address.from_sockaddr(address.sockaddr)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write it like server:7707"),
        ("server", "write it like server:7707"),
        ("[::1]", r"write it like \[::1\]:7707"),
        ("::1", r"in brackets, like \[::1\]:7707"),
        ("::1:7707", r"in brackets, like \[::1\]:7707"),
        ("[::1", r"write it like \[::1\]:7707"),
        ("[::1]7707", r"write it like \[::1\]:7707"),
        ("[server]:1", r"write it like \[::1\]:7707"),
        ("[:::]:1", r"write it like \[::1\]:7707"),
        (":7707", "write a name or an IP address"),
        ("two words:1", "write a name or an IP address"),
        ("server/x:1", "write a name or an IP address"),
        ("user@server:1", "write a name or an IP address"),
        ("a\x1bb:1", "write a name or an IP address"),
        ("x" * 300 + ":1", "write a name or an IP address"),
        ("server:", "from 0 to 65535"),
        ("server:http", "from 0 to 65535"),
        ("server:65536", "from 0 to 65535"),
        ("server:-1", "from 0 to 65535"),
        ("tcp://server:7707", "write only host:port"),
        ("unix:", "write it like unix:/tmp/mpserve.sock"),
        ("unix:relative.sock", "write it like unix:/tmp/mpserve.sock"),
        ("unix:/a\0b", "write it like unix:/tmp/mpserve.sock"),
        ("unix:/" + "x" * 107, "use a shorter one"),
    ],
)
def test_what_cannot_is_answered_with_what_to_type(text, hint):
    with pytest.raises(AddressError, match=hint) as caught:
        Address.parse(text)
    assert str(caught.value).isprintable()


def test_a_default_port():
    assert str(Address.parse("server", 7707)) == "server:7707"
    assert str(Address.parse("[::1]", 7707)) == "[::1]:7707"
    assert str(Address.parse("server:0", 7707)) == "server:0"


def test_the_longest_path():
    longest = 107 if sys.platform == "linux" else 103
    assert Address.unix("/" + "x" * (longest - 1)).is_unix
    with pytest.raises(AddressError, match=f"longer than the {longest} bytes"):
        Address.unix("/" + "ä" * (longest // 2 + 1))


@pytest.mark.parametrize(
    "sockaddr", [None, 7707, "", (), ("server",), (7707, "server"), ("server", "1"), b"/x"]
)
def test_no_socket_address(sockaddr):
    with pytest.raises(AddressError):
        Address.from_sockaddr(sockaddr)


def test_socket_addresses_of_other_shapes():
    assert str(Address.from_sockaddr(("", 5))) == "0.0.0.0:5"
    assert str(Address.from_sockaddr(("::1", 5, 0, 0))) == "[::1]:5"
    assert Address.from_sockaddr(Address.tcp("a", 1)) == Address.tcp("a", 1)


def test_the_port_that_the_system_chose():
    assert str(Address.tcp("::1", 0).with_port(9)) == "[::1]:9"
    assert Address.unix("/x").with_port(9) == Address.unix("/x")
    with pytest.raises(AddressError, match="there is no port 65536"):
        Address.tcp("a", 65536)


@given(st.text())
def test_whatever_is_typed_is_an_address_or_refused(text):
    try:
        address = Address.parse(text, 7707)
    except AddressError as error:
        assert str(error).isprintable()
    else:
        assert Address.parse(str(address)) == address
