"""Names that a module defines for type checkers only, where annotations at run time need them.

Linters move what only annotations use into ``if TYPE_CHECKING:``. Payloads are converted to these
annotations all the same, so that such a name is defined in its module when it is needed.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator


class OnlyForTypeChecking(Exception):
    """A name is defined for type checkers only, and cannot be defined now."""


def define_name(module_name: str, name: str | None) -> bool:
    """Define a name as a branch of its module that did not run does; False if there is none.

    Raises:
        OnlyForTypeChecking: the statement in that branch fails, such as an import.
    """
    module = sys.modules.get(module_name)
    if module is None or name is None or name in vars(module):
        return False
    for statement in _branch_statements(module_name):
        if not {name, "*"} & set(_names_of(statement)):
            continue
        # What else the statement defines is not added to the module.
        namespace = dict(vars(module))
        try:
            exec(compile(ast.Module([statement], []), module_name, "exec"), namespace)
        except (Exception, SystemExit) as error:
            # An import runs any code.
            raise OnlyForTypeChecking(f"{type(error).__name__}: {error}") from error
        if name in namespace:
            setattr(module, name, namespace[name])
            return True
    return False


def _branch_statements(module_name: str) -> Iterator[ast.stmt]:
    """The statements of a module that are in an ``if``, outside of functions and classes."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module_name]))
    except (OSError, TypeError, SyntaxError):
        return
    yield from _statements(tree.body, is_in_branch=False)


def _statements(body: Iterable[ast.stmt], *, is_in_branch: bool) -> Iterator[ast.stmt]:
    for statement in body:
        if is_in_branch:
            yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt)]
            is_branch = is_in_branch or isinstance(statement, ast.If)
            yield from _statements(inner, is_in_branch=is_branch)


def _names_of(statement: ast.stmt) -> list[str]:
    """The names that a statement defines; ``*`` for any."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [each.asname or each.name.partition(".")[0] for each in statement.names]
    if isinstance(statement, ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [each.id for each in targets if isinstance(each, ast.Name)]
