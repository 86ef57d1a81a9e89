"""Which functions of a module are handlers, and how they are called."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest

from bananas_topology import JobContext
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import HandlerError, InvalidPayload
from bananas_topology.handler_modules import load_handlers
from bananas_topology.handlers import Handler
from bananas_topology.worker.run import bind_handlers

HEAD = """
from __future__ import annotations

import asyncio, functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Optional

from bananas_topology import JobContext, job


def plain(function):
    def wrapper(*args, **kwargs):
        return ["plain", function(*args, **kwargs)]
    return wrapper


def wrapping(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return ["wrapping", function(*args, **kwargs)]
    return wrapper
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("made_")]:
        del sys.modules[name]


def _load(folder: Path, body: str, name: str = "made_jobs") -> dict[str, Handler]:
    path = folder / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + dedent(body))
    return dict(load_handlers((name,)))


def _call(handler: Handler, payload: Any) -> Any:
    context = JobContext("7", "a", 1, 3, "w", 0.0, lambda: False)
    given = [] if handler.payload_type is None else [payload]
    return handler.function(*given, *([context] if handler.takes_context else []))


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("def a(payload): return payload", 5),
        ("def a(context, payload): return context.job_id, payload", ("7", 5)),
        ("def a(ctx: JobContext, n: int): return ctx.job_id, n", ("7", 5)),
        ("def a(n: int, ctx: Optional[JobContext] = None): return ctx.job_id, n", ("7", 5)),
        ("def a(n, c: Annotated[Optional[JobContext], 1] = None): return c.job_id, n", ("7", 5)),
        ("def a(n, more=3, context=None): return context.job_id, n, more", ("7", 5, 3)),
        ("def a(context: dict): return context", 5),
        ("def a(context: Any): return context.job_id", "7"),
        ("def a(*, payload): return payload", 5),
        ("def a(*, payload, context): return context.job_id, payload", ("7", 5)),
        ("def a(*, context, payload): return context.job_id, payload", ("7", 5)),
        ("def a(limit=3, *, payload): return limit, payload", (3, 5)),
        ("def a(payload, /, context): return context.job_id, payload", ("7", 5)),
        ("def a(payload, **extra): return payload, extra", (5, {})),
        ("def a(payload, *rest): return payload, rest", (5, ())),
        ("def a(*args, **kwargs): return args, kwargs", ((5,), {})),
        ("def a(*args, context): return args, context.job_id", ((5,), "7")),
        ("def a(payload=3): return payload", 5),
        ("def a(): return 'none'", "none"),
    ],
)
def test_a_handler_is_called_as_it_is_written(
    modules: Path, definition: str, expected: Any
) -> None:
    handlers = _load(modules, f"@job('a')\n{definition}\n")

    assert _call(handlers["a"], 5) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("@plain\n@job('a')\ndef a(payload): return payload", ["plain", 5]),
        ("@wrapping\n@job('a')\ndef a(payload): return payload", ["wrapping", 5]),
        (
            "@wrapping\n@plain\n@job('a')\ndef a(payload): return payload",
            ["wrapping", ["plain", 5]],
        ),
        ("@job('a')\n@plain\ndef a(payload): return payload", ["plain", 5]),
        ("@job('a')\n@plain\ndef a(context, payload): return payload", ["plain", 5]),
        ("@job('a')\n@plain\ndef a(*, payload): return payload", ["plain", 5]),
        ("class Jobs:\n  @staticmethod\n  @job('a')\n  def a(payload): return payload", 5),
        ("class Jobs:\n  @job('a')\n  @staticmethod\n  def a(payload): return payload", 5),
        ("class Jobs:\n  @classmethod\n  @job('a')\n  def a(cls, payload): return payload", 5),
        ("def make(n):\n  @job('a')\n  def run(payload): return n, payload\nmake(1)", (1, 5)),
        ("job('a')(functools.partial(lambda n, payload: (n, payload), 1))", (1, 5)),
        ("class Call:\n  def __call__(self, payload): return payload\ncall = job('a')(Call())", 5),
        ("@job('b')\n@job('a')\ndef a(payload): return payload", 5),
        ("@job('a')\ndef a(payload): return payload\ndel a", 5),
        ("@job('a')\ndef h(payload): return 5\n@job('b')\ndef h(payload): return 6", 5),
        ("later = plain(job('a')(lambda payload: payload))", 5),
    ],
)
def test_a_handler_is_found_however_it_is_decorated(
    modules: Path, body: str, expected: Any
) -> None:
    handlers = _load(modules, body)

    assert _call(handlers["a"], 5) == expected


def test_a_module_has_the_handlers_that_its_import_makes_and_those_it_imports_by_name(
    modules: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (modules / "made_shared.py").write_text(
        HEAD
        + dedent("""
        @plain
        @job("imported")
        def imported(payload): ...

        @job("ignored")
        def ignored(payload): ...

        def factory(name):
            @job(name)
            def run(payload): ...
            return run
        """)
    )

    handlers = _load(modules, "from made_shared import factory, imported\nfactory('made')\n")

    assert handlers.keys() == {"imported", "made"}
    [record] = caplog.records
    assert (record.getMessage(), record.__dict__["handlers"]) == (
        "handlers of other modules ignored",
        "made_shared.ignored",
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("@job('a')\ndef a(**payload): ...", "got **payload"),
        ("@job('a')\ndef a(context, **payload): ...", "got context, **payload"),
        ("@job('a')\ndef a(x, *, y): ...", "got x, y"),
        ("@job('a')\ndef a(payload, context: dict): ...", "got payload, context"),
        ("@job('a')\ndef a(p, c: JobContext, d: JobContext): ...", "got p, c, d"),
        (
            "@job('a')\ndef a(more=1, /, context=None): ...\n@job('b')\ndef b(x, y): ...",
            "b: expected",
        ),
        (
            "class Jobs:\n  @job('a')\n  def a(self, payload): ...",
            "Jobs.a: expected the parameters payload and, optionally, context: JobContext, "
            "got self, payload; a method needs @staticmethod above @job",
        ),
        (
            "@job('a')\nclass A:\n  def __init__(self, payload): ...",
            "expected a function, got a class",
        ),
        (
            "class A:\n  @job('a')\n  @classmethod\n  def a(cls, payload): ...",
            "expected a function, got a classmethod: write @classmethod above @job",
        ),
        ("@job('a')\n@wrapping\ndef a(payload): yield 1", "got a generator"),
        ("@job(None)\ndef a(payload): ...", "expected 1 to 200 characters"),
        ("@job('a', max_retries='3')\ndef a(payload): ...", "max_retries: expected 0 to 1000"),
        ("@job('a', timeout=[])\ndef a(payload): ...", "timeout: expected a duration"),
        ("job('a')(3)", "expected a function, got a int"),
        ("@job('a', keep='1d')\ndef a(payload): ...", "keep: expected a dict of completed, dead,"),
        (
            "(folder := __import__('pathlib').Path(__file__).parent / 'made_mail.py').write_text(\n"
            "  'from bananas_topology import job\\n@job(\"b\")\\ndef b(payload): ...')\n"
            "import made_mail",
            "made_jobs has no handlers: it imports those of made_mail: name these instead, or",
        ),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused(modules: Path, body: str, message: str) -> None:
    with pytest.raises(HandlerError) as caught:
        _load(modules, body)

    assert message in str(caught.value)


MODELS = """
class Plain:
    def __init__(self, x): ...

@dataclass
class A:
    x: int

@dataclass
class B:
    y: int

@dataclass
class HasPlain:
    plain: Plain

import pydantic, msgspec

class Model(pydantic.BaseModel):
    x: int

class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    x: Annotated[int, pydantic.Field(gt=3)]

@dataclass
class HasModel:
    model: Model
"""


@pytest.mark.parametrize(
    ("annotation", "payload", "expected"),
    [
        ("A", b'{"x":5}', "A(x=5)"),
        ("A | None", b"null", "None"),
        ("Annotated[int, msgspec.Meta(gt=3)]", b"5", "5"),
        ("object", b"[5]", "[5]"),
        ("Model", b'{"x":"5"}', "Model(x=5)"),
        ("list[Model] | None", b'[{"x":5}]', "[Model(x=5)]"),
        ("Model | A", b'{"x":5}', "Model(x=5)"),
        ("HasModel", b'{"model":{"x":5}}', "HasModel(model=Model(x=5))"),
    ],
)
def test_a_payload_is_converted_to_its_annotation(
    modules: Path, annotation: str, payload: bytes, expected: str
) -> None:
    handlers = _load(modules, f"{MODELS}\n@job('a')\ndef a(payload: {annotation}): ...\n")

    decode = bind_handlers(handlers, WorkerConfig())["a"].decode_payload

    assert repr(decode(msgspec.Raw(payload))) == expected


@pytest.mark.parametrize(
    ("annotation", "payload", "message"),
    [
        ("A", b'{"x":"5"}', "Expected `int`, got `str`"),
        ("Annotated[int, msgspec.Meta(gt=3)]", b"2", "Expected `int` >= 4"),
        ("Strict", b'{"x":2}', "greater than 3"),
        ("Model", b'{"x":', "Invalid JSON"),
        ("list[Model]", b"[1]", "Model"),
        ("pydantic.PositiveInt", b"-5", "greater than 0"),
        ("Annotated[int, pydantic.Field(gt=7)]", b"5", "greater than 7"),
        ("list[Annotated[str, pydantic.StringConstraints(max_length=2)]]", b'["abc"]', "at most 2"),
        ("pydantic.HttpUrl", b'"shop"', "valid URL"),
    ],
)
def test_a_payload_that_does_not_match_is_reported(
    modules: Path, annotation: str, payload: bytes, message: str
) -> None:
    handlers = _load(modules, f"{MODELS}\n@job('a')\ndef a(payload: {annotation}): ...\n")
    decode = bind_handlers(handlers, WorkerConfig())["a"].decode_payload

    with pytest.raises(InvalidPayload) as caught:
        decode(msgspec.Raw(payload))

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (
            "Plain",
            "made_jobs.a: cannot convert payloads to Plain: expected a dataclass,",
        ),
        ("list[Plain]", "cannot convert payloads to Plain"),
        ("HasPlain", "cannot convert payloads to Plain"),
        ("A | B", "may not contain more than one dataclass"),
        ("list[A | B]", "may not contain more than one dataclass"),
        ("Model | Plain", "made_jobs.a: cannot convert payloads to "),
    ],
)
def test_a_payload_type_that_nothing_converts_to_is_refused(
    modules: Path, annotation: str, message: str
) -> None:
    handlers = _load(modules, f"{MODELS}\n@job('a')\ndef a(payload: {annotation}): ...\n")

    with pytest.raises(HandlerError) as caught:
        bind_handlers(handlers, WorkerConfig())

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "guarded",
    [
        "if TYPE_CHECKING:\n    from made_types import Mine",
        "import typing as t\nif t.TYPE_CHECKING:\n    from made_types import Mine",
        "from typing import TYPE_CHECKING as C\nif C:\n    from made_types import Mine",
        "if TYPE_CHECKING and 1:\n    from made_types import Mine",
        "if not True:\n    from made_types import Mine",
        "if TYPE_CHECKING:\n    from made_types import *",
        "if TYPE_CHECKING:\n  try:\n    from made_types import Mine\n  except ImportError: ...",
        "if TYPE_CHECKING:\n    import made_types\n    Mine = made_types.Mine\nimport made_types",
        "if TYPE_CHECKING:\n    Mine: Any = __import__('made_types').Mine",
        "if TYPE_CHECKING:\n    @dataclass\n    class Mine:\n        x: int",
    ],
)
@pytest.mark.parametrize(
    "payload_type",
    [
        "Mine",
        "list[Mine]",
        "Holder",
        "Model",
    ],
)
def test_a_name_that_is_there_for_type_checkers_only_is_defined_when_it_is_needed(
    modules: Path, guarded: str, payload_type: str
) -> None:
    (modules / "made_types.py").write_text(
        "from dataclasses import dataclass\nimport made_jobs\n@dataclass\nclass Mine:\n    x: int\n"
    )
    handlers = _load(
        modules,
        f"""import pydantic
{guarded}

@dataclass
class Holder:
    mine: Mine

class Model(pydantic.BaseModel):
    mine: Mine

@job("a")
def a(payload: {payload_type}): ...
""",
    )

    bound = bind_handlers(handlers, WorkerConfig())["a"]

    bodies = {"Mine": b'{"x":5}', "list[Mine]": b'[{"x":5}]'}
    body = bodies.get(payload_type, b'{"mine":{"x":5}}')
    assert "Mine(x=5)" in repr(bound.decode_payload(msgspec.Raw(body)))
    assert bound.decode_payload.schema()


@pytest.mark.parametrize("base", ["", "(pydantic.BaseModel)"], ids=["dataclass", "pydantic"])
def test_a_field_that_only_type_checkers_can_import_is_refused(modules: Path, base: str) -> None:
    handlers = _load(
        modules,
        f"""
        import pydantic
        if TYPE_CHECKING:
            from nowhere import Mine

        {"" if base else "@dataclass"}
        class Holder{base}:
            mine: Mine

        @job("a")
        def a(payload: Holder): ...
        """,
    )

    with pytest.raises(HandlerError) as caught:
        bind_handlers(handlers, WorkerConfig())

    assert str(caught.value) == (
        "made_jobs.a: cannot convert payloads to Holder: name 'Mine' is not defined: it is for "
        "type checkers only: ModuleNotFoundError: No module named 'nowhere'"
    )


def test_names_that_are_imported_for_type_checkers_only_are_imported_then(modules: Path) -> None:
    (modules / "made_types.py").write_text("class Model(dict): ...\nimport made_jobs\n")

    handlers = _load(
        modules,
        """
        import typing
        if TYPE_CHECKING:
            import collections.abc
            from bananas_topology import JobContext as Context
        if typing.TYPE_CHECKING:
            from made_types import Model as Mine

        @job("a")
        def a(context: Context, payload: collections.abc.Mapping[str, Mine]) -> Unknown: ...
        """,
    )

    model = sys.modules["made_types"].Model
    assert handlers["a"].payload_type.__args__ == (str, model)
    assert handlers["a"].takes_context


@pytest.mark.parametrize("reason", ["import nowhere", "1 / 0", "raise SystemExit(3)"])
def test_an_annotation_that_only_type_checkers_can_import_converts_nothing(
    modules: Path, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    (modules / "made_types.py").write_text(reason)
    handlers = _load(
        modules,
        """
        if TYPE_CHECKING:
            from made_types import Model

        @job("a")
        def a(payload: Model, context: JobContext): return payload
        """,
    )

    assert handlers["a"].payload_type is Any
    assert _call(handlers["a"], 5) == 5
    assert [each.getMessage() for each in caplog.records] == [
        "payloads not converted: their type cannot be imported"
    ]


def test_annotations_may_use_the_names_of_where_a_handler_was_made(modules: Path) -> None:
    handlers = _load(
        modules,
        """
        def make():
            @dataclass
            class Local:
                x: int
            @job("a")
            def run(payload: Local): ...
        make()

        class Jobs:
            Number = int
            @staticmethod
            @job("b")
            def run(payload: Number): ...
        """,
    )

    assert (handlers["a"].payload_type.__name__, handlers["b"].payload_type) == ("Local", int)


def test_a_handler_that_a_thread_registers_belongs_to_the_module_that_decorates_it(
    modules: Path,
) -> None:
    handlers = _load(
        modules,
        """
        import threading

        def register():
            @job("a")
            def a(payload): return payload

        thread = threading.Thread(target=register)
        thread.start()
        thread.join()
        """,
    )

    assert _call(handlers["a"], 5) == 5


def test_a_job_type_of_an_enum_is_its_value(modules: Path) -> None:
    handlers = _load(
        modules,
        """
        import enum
        class Jobs(str, enum.Enum):
            MAIL = "mail"

        @job(Jobs.MAIL)
        def a(payload): ...
        """,
    )

    assert [str(name) for name in handlers] == ["mail"]


def test_a_lazy_object_in_a_module_is_not_touched(modules: Path) -> None:
    handlers = _load(
        modules,
        """
        class Lazy:
            def __getattribute__(self, name):
                raise RuntimeError("Working outside of application context.")

        current_app, a = Lazy(), Lazy()

        @job("a")
        def hello(payload): return current_app
        """,
    )

    assert handlers.keys() == {"a"}
