"""The memory of an object, in bytes. Tests measure the bounds of tables with it, without their names."""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType


def weight(thing: object, *without: object) -> int:
    """The bytes of all objects that `thing` reaches, except through classes, functions, modules and `without`."""
    seen = {id(one) for one in without}
    waiting, total = [thing], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | BuiltinFunctionType | MethodType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += gc.get_referents(one)
    return total
