"""Runs the same steps against two managers and tells where they differ.

A step is a line of Python; what it returns or raises is its outcome. The same lines go to the standard library's own server
and to ours, in a client that knows nothing of mpserve:

    python -m tests.stdlib.steps HOST PORT [SCENARIO ...]     prints one JSON list of differences (key: MPSERVE_AUTHKEY)

RULES
* What is returned must be equal, and what is raised of the same type. Of the Python that runs our server too, our words
  must contain those of the standard library: we say more, with the object's name.
* This file runs on every Python from 3.8, and imports the standard library only.
* A line may end in a note that says what is known to differ, in the words of docs/reference/stock-clients.md:
      step  #: NotImplementedError        here this is raised
      step  #: = 5                        here this is returned
      step  #: any                        it must not hang; what it gives is no business of ours
      step  #: <3.13 any                  the same, where the standard library is older
      step  #: words                      the same type of exception, other words
  and a scenario may begin with `# from 3.13`: older standard libraries cannot do it at all.
"""

import array
import ast
import collections
import copy
import datetime
import decimal
import fractions
import functools
import json
import operator
import os
import pathlib
import pickle
import queue
import re
import sys
import threading
import uuid
from multiprocessing import current_process, get_context
from multiprocessing.managers import BaseProxy, MakeProxyType, SyncManager, public_methods

from tests.stdlib.things import Colour, Grown, Listed, Mapped, Pair, Point, Slotted, shout

SCENARIOS = {
    path.stem: path.read_text("utf-8")
    for path in sorted(pathlib.Path(__file__).with_name("scenarios").iterdir())
}
"""What manager clients do, a step a line; a file for each kind of object, and for what concerns all."""

TOOLS = (
    array,
    collections,
    copy,
    datetime,
    decimal,
    fractions,
    functools,
    operator,
    pathlib,
    pickle,
    queue,
    uuid,
)
TOOLS += (Colour, Grown, Listed, Mapped, Pair, Point, Slotted, shout)  # what steps may use, by name

WAIT_S = 10
FREE_WORDS = ("RemoteError", "TypeError")  # what they say of wrong calls changes with every Python
ADDRESS = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{16}\b")

SET_METHODS = tuple(
    "__%s__" % name
    for name in "and contains iand ior isub ixor iter len or rand ror rsub rxor sub xor ge gt le lt".split()
) + tuple(public_methods(set()))


class SetProxy(MakeProxyType("BaseSetProxy", SET_METHODS)):
    """As from 3.14 on, nearly."""

    _method_to_typeid_ = {"__iter__": "Iterator"}  # noqa: RUF012 - as BaseManager.register wants it


class Manager(SyncManager):
    """The standard library's, with the set that it has from 3.14 on."""


if not hasattr(SyncManager, "set"):
    Manager.register("set", set, SetProxy)


class StillWaits(Exception):
    """A call that should have come back has not."""


class Thread:
    """A call in a thread of its own."""

    def __init__(self, function, *args, **kwds):
        self._outcome = None
        self._thread = threading.Thread(target=self._run, args=(function, args, kwds), daemon=True)
        self._thread.start()

    def _run(self, function, args, kwds):
        try:
            self._outcome = ("returned", function(*args, **kwds))
        except Exception as err:
            self._outcome = ("raised", err)

    def result(self):
        """Return or raise what the call did, once it has."""
        self._thread.join(WAIT_S)
        if self._outcome is None:
            raise StillWaits("the call did not come back")
        if self._outcome[0] == "raised":
            raise self._outcome[1]
        return self._outcome[1]


def call(proxy, method, *args, **kwds):
    """Call a method that the proxy may not offer."""
    return proxy._callmethod(method, args, kwds)


def release_after(condition, action, *args):
    """Do something while holding `condition`."""
    with condition:
        return action(*args)


def shown(value):
    """Return a value as text that does not depend on the process."""
    if isinstance(value, BaseProxy):
        return "<proxy of %s>" % value._token.typeid
    if isinstance(value, (set, frozenset)):
        return "%s of %s" % (type(value).__name__, sorted(map(shown, value)))
    if isinstance(value, (list, tuple)):
        return "%s of [%s]" % (type(value).__name__, ", ".join(map(shown, value)))
    return "%s %s" % (type(value).__name__, ADDRESS.sub("ID", repr(value)))


def outcome(step, scope):
    """Run one step and return how it came out: returned or raised, what, and with which words."""
    body = ast.parse(step).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    try:
        exec(compile(ast.Module(body, []), "<step>", "exec"), scope)
        if last is None:
            return ["done", "", ""]
        return ["returned", shown(eval(compile(last, "<step>", "eval"), scope)), ""]
    except Exception as err:
        words = shown(err.args) if isinstance(err, KeyError) else ADDRESS.sub("ID", str(err))
        return ["raised", type(err).__name__, words]


def applies(note):
    """Return the note without its condition, or "" when the condition does not hold on this Python."""
    found = re.match(r"<(\d+)\.(\d+) (.*)", note)
    if found is None:
        return note
    version = (int(found.group(1)), int(found.group(2)))
    return found.group(3) if sys.version_info[:2] < version else ""


def complaint(note, stock, here, words):
    """Return what is wrong with an outcome, or "" when it is as the standard library has it, or as the note says."""
    note = applies(note)
    if note == "any":
        return ""
    if note.startswith("= "):
        return "" if here == ["returned", shown(eval(note[2:])), ""] else "should return " + note[2:]
    if note and note != "words":
        return "" if here[:2] == ["raised", note] else "should raise " + note
    if here == stock:
        return ""
    free = note == "words" or not words or here[1] in FREE_WORDS
    said = here[1] != "KeyError" and (free or stock[2] in here[2])
    return "" if here[:2] == stock[:2] and said else "differs from the standard library"


def differences(script, reference, manager, *, words):
    """Run a scenario on both sides; return one dict for each step whose outcomes differ."""
    found = []
    if applies(script.strip().partition("\n")[0].replace("# from ", "<") + " skip") == "skip":
        return found
    scopes = [{"m": each, **globals()} for each in (reference, manager)]
    for line in script.strip().splitlines():
        step, _, note = line.strip().partition("  #: ")
        if not step or step.startswith("#"):
            continue
        stock, here = [outcome(step, scope) for scope in scopes]
        wrong = complaint(note.strip(), stock, here, words)
        if wrong:
            found.append({"step": step, "wrong": wrong, "stock": stock, "here": here})
    return found


def main(host, port, *names):
    """Compare as a program of its own."""
    key = os.environ["MPSERVE_AUTHKEY"].encode()
    current_process().authkey = key
    manager = Manager((host, int(port)), key)
    manager.connect()
    found = []
    with Manager(authkey=key, ctx=get_context("fork")) as reference:
        for name in names or SCENARIOS:
            found += [
                dict(each, scenario=name)
                for each in differences(SCENARIOS[name], reference, manager, words=False)
            ]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
