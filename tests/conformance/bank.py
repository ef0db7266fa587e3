"""What a program serves by a manager of its own: each side's, with proxies that are derived from its own."""

from __future__ import annotations

import multiprocessing.managers
import threading
from typing import Any

import mpclient.managers


class Account:
    def __init__(self) -> None:
        self.money = 5

    def add(self, money: int) -> None:
        self.money += money


class Adding:
    """What both proxies of accounts have."""

    _callmethod: Any
    _exposed_ = ("__getattribute__", "__setattr__", "__delattr__", "add")

    def add(self, money: int) -> None:
        self._callmethod("add", (money,))


class TheirProxy(Adding, multiprocessing.managers.NamespaceProxy):  # type: ignore[name-defined]  # not in typeshed
    """The standard library's."""


class OurProxy(Adding, mpclient.managers.NamespaceProxy):
    """Ours."""


class TheirBank(multiprocessing.managers.BaseManager):
    """The standard library's."""


class OurBank(mpclient.managers.BaseManager):
    """Ours."""


def _register(bank: Any, module: Any, proxy: Any) -> None:
    bank.register("Account", Account, proxy)
    bank.register("dict", dict, module.DictProxy)
    bank.register("Lock", threading.Lock, module.AcquirerProxy)


_register(TheirBank, multiprocessing.managers, TheirProxy)
_register(OurBank, mpclient.managers, OurProxy)
