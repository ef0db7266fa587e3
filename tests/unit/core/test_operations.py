"""Every operation in the table is a method of its kind, with the arguments the table says."""

import inspect

import pytest

from mpserve.core.t_array import Array
from mpserve.core.t_dict import Dict
from mpserve.core.t_list import List
from mpserve.core.t_namespace import Namespace
from mpserve.core.t_set import Set
from mpserve.core.t_value import Value
from mpshared.ops import BY_NAME

CONTAINERS = {kind.kind: kind for kind in (Array, Dict, List, Namespace, Set, Value)}
OPS = [op for op in BY_NAME.values() if op.kind in CONTAINERS]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_a_container_has_the_operation(op):
    method = getattr(CONTAINERS[op.kind], op.method)
    assert len(inspect.signature(method).parameters) == len(["self", "fx", "call", *op.args])
