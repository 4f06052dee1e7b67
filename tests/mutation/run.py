"""`make mutants`: small mistakes are made in three files, one at a time, and the tests have to notice each of them.

mutmut makes the mistakes and runs, for each, the tests that reach it. It is made to mutate more here: decorated
functions such as properties, conditions as a whole, and the built-in functions that have an opposite. What tests cannot
be expected to notice is left out: the wording of messages, `typing.cast`, and the `strict=` of a `zip`. Which files and
which tests stands under [tool.mutmut] in pyproject.toml.

It is run as a script, because tests that run in the copy that mutmut makes need `tests` to be the copy's.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import libcst as cst
from hypothesis import Phase, settings
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.workers import isolation

LEAST_SHARE = 0.85
"""Of the mutants of a file, how many have to be noticed."""
NOTICED = ("killed", "timeout")
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}

skips = file_mutation.MutationVisitor._skip_node_and_children
arrange = file_mutation.function_trampoline_arrangement


def main() -> None:
    """Run all mutants, or those whose names are given, and print the counts."""
    # Failing examples need not be made smaller: that they fail is enough.
    settings.register_profile(
        "mutants", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate), print_blob=False
    )
    extend_mutmut()
    chosen = sys.argv[1:]
    if not chosen:
        shutil.rmtree("mutants", ignore_errors=True)
    start = time.monotonic()
    mutmut._run(chosen, max_children=1)
    print(f"{(time.monotonic() - start) / 60:.0f} minutes")
    sys.exit(not report([Path(name) for name in config().only_mutate]))


def extend_mutmut() -> None:
    """Make mutmut mutate what it leaves out, and leave out what says nothing about the tests."""
    operators: list[Any] = file_mutation.mutation_operators  # type: ignore[assignment]  # it is a list
    operators[operators.index((cst.BaseString, mutators.operator_string))] = (cst.BaseString, names)
    operators[operators.index((cst.Call, mutators.operator_arg_removal))] = (cst.Call, arguments)
    operators += [(cst.If, negated), (cst.CompIf, negated), (cst.Call, opposite)]
    file_mutation.MutationVisitor._skip_node_and_children = leaves_out  # type: ignore[method-assign]
    file_mutation.function_trampoline_arrangement = arrange_below_decorators  # type: ignore[assignment]
    # The limit of processor time stays; one of wall time would be reached by any mutant on a busy machine.
    isolation.register_timeout = lambda pid, timeout_s: None


def names(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """mutmut's mutants of a string that is a name or a key; one with blanks in it is wording."""
    if isinstance(node, cst.SimpleString) and " " not in node.value:
        yield from mutators.operator_string(node)


def arguments(node: cst.Call) -> Iterable[cst.CSTNode]:
    """mutmut's mutants of the arguments of a call, but not of what does nothing unless the code is wrong."""
    if isinstance(node.func, cst.Name) and node.func.value == "cast":
        return
    for mutant in mutators.operator_arg_removal(node):
        if not isinstance(mutant, cst.Call) or all(arg in mutant.args for arg in node.args if is_check(arg)):
            yield mutant


def is_check(node: cst.CSTNode) -> bool:
    """Whether it is the `strict=` of a `zip`."""
    return isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == "strict"


def negated(node: cst.If | cst.CompIf) -> Iterable[cst.CSTNode]:
    """`if x` -> `if not (x)`."""
    condition = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), condition))


def opposite(node: cst.Call) -> Iterable[cst.CSTNode]:
    """`min(...)` -> `max(...)`."""
    if isinstance(node.func, cst.Name) and node.func.value in OPPOSITES:
        yield node.with_changes(func=cst.Name(OPPOSITES[node.func.value]))


def leaves_out(visitor: Any, node: cst.CSTNode) -> bool:
    """mutmut's choice of what to leave out, without decorated functions, with what is no more than a check."""
    if isinstance(node, cst.FunctionDef) and node.decorators:
        return bool(skips(visitor, node.with_changes(decorators=())))
    return is_check(node) or bool(skips(visitor, node))


def arrange_below_decorators(
    function: cst.FunctionDef, mutants: Iterable[Any], class_name: str | None
) -> tuple[Any, Any, Any, Any]:
    """mutmut's switch between a function and its mutants, under decorators that it would apply to each of them."""
    kept = function.decorators
    if not kept or any(getattr(each.decorator, "value", None) in ("classmethod", "staticmethod") for each in kept):
        return arrange(function, mutants, class_name)
    declared, nodes, assigned, mutant_names = arrange(function.with_changes(decorators=()), mutants, class_name)
    switch: Any = nodes[0]
    return declared, [switch.with_changes(decorators=[*kept, *switch.decorators]), *nodes[1:]], assigned, mutant_names


def report(files: Sequence[Path]) -> bool:
    """Print what became of the mutants of each file that were run, and each that survived; whether enough did not."""
    enough = True
    for file in files:
        data = SourceFileMutationData(path=file)
        data.load()
        statuses = {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items() if code is not None}
        if not statuses:
            continue
        for name, status in statuses.items():
            if status not in NOTICED:
                print(f"\n{name}: {status}\n{get_diff_for_mutant(name, path=file)}")
        share = sum(status in NOTICED for status in statuses.values()) / len(statuses)
        told = ", ".join(f"{number} {status}" for status, number in Counter(statuses.values()).most_common())
        print(f"{file}: {len(statuses)} mutants, {told}; {share:.1%} noticed, at least {LEAST_SHARE:.0%} have to be")
        enough &= share >= LEAST_SHARE
    return enough


if __name__ == "__main__":
    main()
