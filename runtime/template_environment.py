"""The environment of jinja that chat templates run in: a sandbox with bounds on time and memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gptneo_onnx.models.errors import MissingDependencyError
from gptneo_onnx.runtime.template_limits import (
    check_call,
    check_operation,
    concatenated,
    joined,
    limited_filter,
    sized,
    spend,
    tick,
)

# Filters that the compiled templates call.
_SIZED, _TICK, _CONCATENATED = "_sized", "_tick", "_concatenated"


def limited_environment() -> Any:
    """Return the environment that transformers gives templates, with bounds; needs jinja2.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    try:
        from jinja2 import ext
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingDependencyError(
            "chat templates need jinja2: pip install 'gptneo-onnx[chat]'"
        ) from error
    transformer = _transformer()

    class LimitedEnvironment(ImmutableSandboxedEnvironment):  # type: ignore[misc,unused-ignore]
        intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
        concat = staticmethod(joined)

        def _parse(self, source: str, name: str | None, filename: str | None) -> Any:
            return transformer.visit(super()._parse(source, name, filename)).set_environment(self)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
            check_call(__obj, args, kwargs)
            return super().call(__context, __obj, *args, **kwargs)

    environment = LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_tag(), ext.loopcontrols]
    )
    filters = {name: limited_filter(name, each) for name, each in environment.filters.items()}
    own = {_SIZED: sized, _TICK: _turn(), _CONCATENATED: concatenated}
    environment.filters = filters | own
    del environment.globals["lipsum"]  # text in any length, which no chat needs
    return environment


def _turn() -> Any:
    """Return the filter that counts a turn of a loop."""
    from jinja2 import pass_context

    @pass_context  # so that it is not taken for a constant
    def turn(context: Any, value: Any) -> Any:
        tick()
        return value

    return turn


def _generation_tag() -> Any:
    """Return the extension with the tag `generation`."""
    from jinja2 import ext, nodes

    class Generation(ext.Extension):  # type: ignore[misc,unused-ignore]
        """The tag `generation`, around what the assistant generates."""

        tags = {"generation"}  # noqa: RUF012

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            environment.extend(track_generation=self.track)
            self.blocks: list[str] = []
            self.spans: list[tuple[int, int]] = []

        def parse(self, parser: Any) -> Any:
            """Read the tag: its body becomes the body of a call of _note()."""
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_note"), [], [], body).set_lineno(line)

        def _note(self, caller: Any) -> str:
            text: str = caller()
            if self.blocks or self.spans:
                start = sum(map(len, self.blocks))
                spend(start)
                self.spans.append((start, start + len(text)))
            return text

        @contextmanager
        def track(self, blocks: list[str], spans: list[tuple[int, int]]) -> Iterator[None]:
            """Note where the tag's texts are, while a template writes blocks."""
            self.blocks, self.spans = blocks, spans
            try:
                yield
            finally:
                self.blocks, self.spans = [], []

    return Generation


def _transformer() -> Any:
    """Return what changes a parsed template."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def filtered(value: Any, name: str, arguments: Any = ()) -> Any:
        return nodes.Filter(value, name, [*arguments], [], None, None, lineno=value.lineno or 1)

    class Limits(NodeTransformer):  # type: ignore[misc,unused-ignore]
        """Has a template check the values that it names, and count the turns of its loops."""

        def visit_For(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.iter = filtered(node.iter, _SIZED)
            turn = nodes.ExprStmt(filtered(nodes.Const(None), _TICK), lineno=node.lineno)
            node.body.insert(0, turn)
            return node

        def visit_Assign(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.node = filtered(node.node, _SIZED)
            return node

        def visit_With(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.values = [filtered(value, _SIZED) for value in node.values]
            return node

        def visit_Macro(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.defaults = [filtered(value, _SIZED) for value in node.defaults]
            return node

        def visit_CallBlock(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.defaults = [filtered(value, _SIZED) for value in node.defaults]
            return node

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            return filtered(node.nodes[0], _CONCATENATED, node.nodes[1:])

    return Limits()
