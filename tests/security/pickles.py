"""Pickles made to harm whoever opens them: opcodes that leave one object on the stack.

They stand alone between a PROTO and a STOP (`whole`), or at any place within a request of the standard
library's protocol. What they would run is the canary of `attackers.py`, by a shell or by its name.
"""

from __future__ import annotations

import struct
from typing import Final

from tests.security.attackers import COMMAND, MODULE, short, text

__all__ = ["HEAVY", "RUNNING", "whole"]

_SYSTEM: Final = b"cposix\nsystem\n"
_COMMAND: Final = text(COMMAND)
_LOADS: Final = b"c_pickle\nloads\n"
_SING: Final = f"c{MODULE}\nsing\n".encode()
_BIRD: Final = f"c{MODULE}\nBird\n".encode()
_NEW_BIRD: Final = _BIRD + b")\x81"
_CODE: Final = text(f"__import__('os').system({COMMAND!r})")
_OS: Final = b"cimportlib\nimport_module\n" + text("os") + b"\x85R"
_MANY: Final = b"\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85R"
"""A call with 10 ** 13."""
_CALL: Final = _SYSTEM + _COMMAND + b"\x85R"


def whole(opcodes: bytes) -> bytes:
    """Return a pickle that stands alone."""
    return b"\x80\x04" + opcodes + b"."


RUNNING: Final = {
    "REDUCE of os.system": _CALL,
    "REDUCE of what STACK_GLOBAL named": text("posix") + text("system") + b"\x93" + _COMMAND + b"\x85R",
    "REDUCE of subprocess.Popen": b"csubprocess\nPopen\n(](" + text("touch") + text("canary") + b"etR",
    "REDUCE of eval": b"cbuiltins\neval\n" + _CODE + b"\x85R",
    "REDUCE of exec": b"cbuiltins\nexec\n" + _CODE + b"\x85R",
    "getattr of a module": b"cbuiltins\ngetattr\n" + _OS + text("system") + b"\x86R" + _COMMAND + b"\x85R",
    "methodcaller": b"coperator\nmethodcaller\n" + text("system") + _COMMAND + b"\x86R" + _OS + b"\x85R",
    "partial": b"cfunctools\npartial\n" + _SYSTEM + _COMMAND + b"\x86R)R",
    "map": b"cbuiltins\nlist\ncbuiltins\nmap\n" + _SYSTEM + b"](" + _COMMAND + b"e\x86R\x85R",
    "a pickle within": _LOADS + short(whole(_CALL)) + b"\x85R",
    "a pickle of cloudpickle's": b"ccloudpickle\nloads\n" + short(whole(_CALL)) + b"\x85R",
    "INST": b"(" + _COMMAND + b"iposix\nsystem\n",
    "OBJ": b"(" + _SYSTEM + _COMMAND + b"o",
    "NEWOBJ": _NEW_BIRD,
    "NEWOBJ_EX": _BIRD + b")}\x92",
    "the import of a name": _SING,
    "a call of what a name imports": _SING + b")R",
    "__setstate__": _NEW_BIRD + b"}b",
    "__setstate__ of a nested state": _NEW_BIRD + b"N}" + text("a") + _CALL + b"s\x86b",
    "attributes that are set": _NEW_BIRD + b"N}" + text("__class__") + _BIRD + b"s\x86b",
    "append": _NEW_BIRD + b"K\x01a",
    "extend": _NEW_BIRD + b"(K\x01e",
    "add": _NEW_BIRD + b"(K\x01\x90",
    "__setitem__": _NEW_BIRD + b"K\x01K\x02s",
    "__hash__ of a key": b"}" + _NEW_BIRD + b"K\x01s",
    "__hash__ of a member": b"\x8f(" + _NEW_BIRD + b"\x90",
    "__reduce_ex__": b"ccopy\ncopy\n" + _NEW_BIRD + b"\x85R",
    "copyreg.__newobj__": b"ccopyreg\n__newobj__\n" + _BIRD + b"\x85R",
    "copyreg._reconstructor": b"ccopyreg\n_reconstructor\n" + _BIRD + b"cbuiltins\nobject\nN\x87R",
    "copyreg.pickle": b"ccopyreg\npickle\n" + _BIRD + _SING + b"\x86R",
    "copyreg.add_extension": b"ccopyreg\nadd_extension\n" + text(MODULE) + text("sing") + b"K\x01\x87R",
    "EXT1": b"\x82\x01",
    "EXT2": b"\x83\x01\x00",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "PERSID": b"Pcanary\n",
    "BINPERSID": text("canary") + b"Q",
    "a Python 2 name": b"c__builtin__\neval\n" + _CODE + b"\x85R",
    "our own open_ref": b"cmpshared.values\nopen_ref\n" + text("dict") + text("1") + text("h:1") + b"\x87R",
    "our own errors": b"cmpshared.errors\nmake\n" + text("empty") + text("x") + _CALL + b"\x87R",
}
"""What would run something."""


def _tower(levels: int) -> bytes:
    """Return a tuple of twice a tuple of twice …: hashing it takes 2 ** levels steps."""
    return b")\x94" + b"".join(b"h%ch%c\x86\x94" % (n, n) for n in range(levels))


HEAVY: Final = {
    "a memo of 32 GiB": b"Nr\xff\xff\xff\x7f",
    "a memo of 4 Gi entries": b"Nj\xff\xff\xff\xff",
    "exponential key": b"}" + _tower(100) + b"Ns",
    "exponential tuple": _tower(200),
    "exponential list": b"]\x94" + b"".join(b"](h%c" % n + b"h%ce\x94" % n for n in range(100)),
    "a list in itself": b"]\x94h\x00a",
    "lists twenty thousand deep": b"]" * 20_000 + b"a" * 19_999,
    "tuples twenty thousand deep": b")" + b"\x85" * 20_000,
    "states four thousand deep": b"cm\nC\n)\x81" * 4_000 + b"b" * 3_999,
    "marks": b"(" * 50_000,
    "bytes of 2 GiB": b"B\xff\xff\xff\x7fx",
    "bytes of 4 EiB": b"\x8e" + struct.pack("<Q", 1 << 62) + b"x",
    "text of 4 EiB": b"\x8d" + struct.pack("<Q", 1 << 62) + b"x",
    "a bytearray of 4 EiB": b"\x96" + struct.pack("<Q", 1 << 62) + b"x",
    "a frame of 4 EiB": b"\x95" + struct.pack("<Q", 1 << 62) + b"N",
    "a number of 2 GiB": b"\x8b\xff\xff\xff\x7fx",
    "a number of negative length": b"\x8b\xff\xff\xff\xffx",
    "a number of half a million bits": b"\x8b" + struct.pack("<i", 1 << 16) + b"\x7f" * (1 << 16),
    "a bytearray made by a call": b"cbuiltins\nbytearray\n" + _MANY,
    "a range": b"cbuiltins\nrange\n" + _MANY,
    "a list of a range": b"cbuiltins\nlist\ncbuiltins\nrange\n" + _MANY + b"\x85R",
    "copies of copies": b"cbuiltins\nbytearray\nq\x00"
    + short(bytes(4096))
    + b"q\x01("
    + b"h\x00h\x01\x85R" * 4096
    + b"t",
    "a pickle within a pickle within a pickle": _LOADS
    + short(whole(_LOADS + short(b"N.") + b"\x85R"))
    + b"\x85R",
    "a long text": text("x" * (1 << 18)),
}
"""What would take all memory, or all time."""
