"""What a thing holds, in bytes: bounds of tables are seen from outside, whatever the tables are called."""

from __future__ import annotations

import gc
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType


def weight(thing: object, *without: object) -> int:
    """All that can be reached from `thing`, but not through classes, functions, modules or what is in `without`."""
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
