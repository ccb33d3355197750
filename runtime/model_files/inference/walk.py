"""Going through the operators of a graph with the sizes of their results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.runtime.model_files.graph_nodes import Attribute, Graph, Node
from gptneo_onnx.runtime.model_files.graph_tensors import ELEMENT_BITS
from gptneo_onnx.runtime.model_files.inference.call import Call, Unfollowed
from gptneo_onnx.runtime.model_files.inference.constants import tensor_value
from gptneo_onnx.runtime.model_files.inference.limits import Limits
from gptneo_onnx.runtime.model_files.inference.node_order import in_order, read_by
from gptneo_onnx.runtime.model_files.inference.operators import (
    DIVISIONS,
    IF,
    MAY_BE_MISSING,
    PRODUCTS,
    STANDARD,
    STANDARD_DOMAINS,
    Rule,
    Rules,
)
from gptneo_onnx.runtime.model_files.inference.rules_products import inner_size
from gptneo_onnx.runtime.model_files.inference.values import (
    MAX_AXES,
    UINT8,
    UNKNOWN,
    UNKNOWN_TYPE,
    Value,
    joined,
)

# Those of a GPT-Neo of 1024 layers are fewer; the check has to end soon for any graph.
MAX_OPERATORS = 100_000
_MAX_DEPTH = 8
_TYPES = {UNKNOWN_TYPE, *ELEMENT_BITS}
# Numbers that are followed, of all results together: Optimum's graph of 24 layers has some 10,000.
_MAX_NUMBERS = 500_000

Scope = dict[str, Value]
# Raises ModelFileError for an operator that may not be in a graph, whatever its inputs are.
CheckNode = Callable[[Node, Mapping[str, Attribute]], None]


@dataclass
class Walk:
    """A walk through a graph, whose results may not exceed the limits.

    Attributes:
        rules: those of the operators that there may be, by domain and type.
        limits: what all of it may take.
        check_node: is asked first, for every operator.
        addressed: operators that are listed in `unbounded` for the places that they read.
        folds: whether operators may depend on weights and constants alone.
        stored: the weights that the graph has, at least 2 bits each.
        unbounded: the operators whose results have sizes that are not known.
    """

    rules: Rules
    limits: Limits
    check_node: CheckNode
    addressed: frozenset[str] = frozenset()
    folds: bool = True
    stored: int = 0
    unbounded: list[str] = field(default_factory=list)
    _constants: int = 0
    _work: int = 0
    _constant_work: int = 0
    _operators: int = 0
    _numbers: int = 0

    def run(self, graph: Graph, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        """Go through a model's graph; returns what is known of its tensors, by name.

        Args:
            graph: the graph.
            inputs: what is known of its inputs.

        Raises:
            ModelFileError: an operator is not among those that there may be, or could end the
                process; a result could be larger than a limit, or the results together.
        """
        self._count_operators([*graph.nodes()], 1)
        scope = dict(inputs)
        self._graph(graph, scope)
        return scope

    def _count_operators(self, nodes: Sequence[Node], depth: int) -> None:
        """Refuse too many operators, and graphs too deep in others, before more is done."""
        self._operators += len(nodes)
        if self._operators > MAX_OPERATORS:
            raise ModelFileError(f"the graph has more than {MAX_OPERATORS} operators")
        if depth > _MAX_DEPTH:
            raise ModelFileError(f"graphs lie in graphs more than {_MAX_DEPTH} deep")
        for node in nodes:
            for attribute in node.attributes().values() if node.operator == IF else ():
                if attribute.graph is not None:
                    self._count_operators([*attribute.graph.nodes()], depth + 1)

    def _graph(self, graph: Graph, scope: Scope) -> Mapping[str, Value | None]:
        """Go through a graph, and add what it makes to the scope; returns what that hides."""
        hidden: dict[str, Value | None] = {}
        for tensor in graph.initializers():
            name = tensor.name
            hidden.setdefault(name, scope.get(name))
            scope[name] = self._weight(f"the weight {shown(tensor.name)}", tensor_value(tensor))
        nodes = in_order([*graph.nodes()], scope)
        last_use = {name: at for at, node in enumerate(nodes) for name in read_by(node)}
        last_use |= dict.fromkeys(graph.outputs(), len(nodes))
        live, freed = 0, dict[int, int]()  # bytes, and those that are freed after an operator
        for at, node in enumerate(nodes):
            results = self._operator(node, scope)
            for name, result in zip(node.outputs, results, strict=False):
                if not name:
                    continue
                if name in hidden:
                    raise ModelFileError(f"{shown(name)} is given twice")
                hidden[name] = scope.get(name)
                scope[name] = result
                live += result.bytes
                end = last_use.get(name, at)
                freed[end] = freed.get(end, 0) + result.bytes
            if live > self.limits.live:
                raise ModelFileError(
                    f"the results that are kept at {_described(node)} have up to {live} bytes; at "
                    f"most {self.limits.live} are possible with this config.json"
                )
            live -= freed.pop(at, 0)
        return hidden

    def _branch(self, graph: Graph, scope: Scope) -> list[Value]:
        """Go through a graph of an If, and leave the scope as it was; returns its outputs."""
        hidden = self._graph(graph, scope)
        outputs = [self._read(name, scope, "an output") for name in graph.outputs()]
        for name, before in hidden.items():
            if before is None:
                del scope[name]
            else:
                scope[name] = before
        return outputs

    def _operator(self, node: Node, scope: Scope) -> Sequence[Value]:
        operator = node.operator
        attributes = node.attributes()
        self.check_node(node, attributes)
        domain = STANDARD if node.domain in STANDARD_DOMAINS else node.domain
        if (domain, operator) == (STANDARD, IF):
            return self._branches(attributes, scope)
        rule = self.rules.get((domain, operator))
        if rule is None:
            raise ModelFileError(
                f"the operator {shown(operator)} of {shown(domain or 'ai.onnx')} is none of the "
                f"{len(self.rules)} that graphs may have here (docs/graphs.md lists them)"
            )
        described = _described(node)
        given = [self._read(name, scope, described) if name else None for name in node.inputs]
        call = Call(described, operator, given, attributes, len(node.outputs))
        missing = {place for place, each in enumerate(given) if each is None}
        if missing - MAY_BE_MISSING.get(operator, frozenset()):
            raise call.wrong("leaves out an input that it needs")
        results = self._results(call, rule)
        if any(len(result.dims or ()) > MAX_AXES for result in results):
            raise call.wrong(f"gives more than {MAX_AXES} axes")
        is_constant = all(each is None or each.constant for each in given) or (
            operator in ("Shape", "Size") and _are_known(results[0])
        )
        if is_constant and not self.folds:
            raise call.wrong("depends on weights and constants alone")
        self._count(call, results, is_constant)
        return [replace(each, constant=True) for each in results] if is_constant else results

    def _results(self, call: Call, rule: Rule) -> Sequence[Value]:
        """Return what is known of an operator's results; note those whose size is not known."""
        if call.operator in self.addressed:
            self.unbounded.append(call.described)
        if any(each.dims is None for each in call.given()):
            if call.operator in DIVISIONS:
                raise call.wrong("divides numbers that are not known, and 0 and -1 end the process")
            return (UNKNOWN,) * call.outputs
        try:
            results = rule(call)
        except Unfollowed:
            self.unbounded.append(call.described)
            return (UNKNOWN,) * call.outputs
        except IndexError as error:  # rules read the axes that an operator needs
            raise call.wrong("has an input with too few axes") from error
        if not 0 < call.outputs <= len(results):
            raise call.wrong(f"has {call.outputs} results")
        self._numbers += sum(len(each.numbers or ()) for each in results)
        if self._numbers > _MAX_NUMBERS:  # of whatever graph that is, it computes no shapes
            results = tuple(replace(each, numbers=None) for each in results)
        return results

    def _branches(self, attributes: Mapping[str, Attribute], scope: Scope) -> Sequence[Value]:
        """Go through both graphs of an If."""
        graphs = [attributes[name].graph for name in _BRANCHES if name in attributes]
        results = [self._branch(graph, scope) for graph in graphs if graph is not None]
        if len(results) < len(_BRANCHES) or len(results[0]) != len(results[1]):
            raise ModelFileError("an operator If has not two graphs with as many outputs")
        return [joined(one, other) for one, other in zip(*results, strict=True)]

    def _read(self, name: str, scope: Scope, reader: str) -> Value:
        known = scope.get(name)
        if known is None:  # ONNX Runtime refuses it
            self.unbounded.append(f"{reader} reads {shown(name)}, which nothing gives")
            return UNKNOWN
        return known

    def _count(self, call: Call, results: Sequence[Value], is_constant: bool) -> None:
        """Add up what an operator's results take, and refuse what is more than a GPT-Neo needs."""
        elements = 0
        for result in results:
            self._check_result(call.described, result)
            elements = max(elements, result.most)
            self._constants += result.bytes if is_constant else 0
        self._check_constants(call.described)
        given = [each.most for each in call.given()]
        elements = max([elements, *given])
        if not given:
            self.stored += _weights(results[0])
        if call.operator in PRODUCTS and results[0].dims is not None:
            elements = max(elements, results[0].most * inner_size(call))
        if is_constant:
            self._constant_work += elements
        self._work += elements
        for work, most in (
            (self._work, self.limits.work),
            (self._constant_work, self.limits.constant_work),
        ):
            if work > most:
                raise ModelFileError(
                    f"the operators as far as {call.described.removeprefix('the operator ')} take "
                    f"up to {work} steps; at most {most} are possible with this config.json"
                )

    def _weight(self, described: str, known: Value) -> Value:
        self._check_result(described, known)
        self._constants += known.bytes
        self.stored += _weights(known)
        self._check_constants(described)
        return replace(known, constant=True)

    def _check_result(self, described: str, result: Value) -> None:
        if result.element_type not in _TYPES:
            raise ModelFileError(
                f"{described} is of type {result.element_type} of onnx.TensorProto.DataType, as no "
                "tensor of a GPT-Neo is"
            )
        if result.bytes > self.limits.result:
            raise ModelFileError(
                f"{described} has up to {result.bytes} bytes; at most {self.limits.result} are "
                "possible with this config.json"
            )

    def _check_constants(self, described: str) -> None:
        if self._constants > self.limits.constants:
            raise ModelFileError(
                f"the constants as far as {described.removeprefix('the operator ')} have "
                f"{self._constants} bytes; at most {self.limits.constants} are possible with this "
                "config.json"
            )


_BRANCHES = ("then_branch", "else_branch")


def _weights(known: Value) -> int:
    """Return the most weights that a tensor can hold: a byte has up to four."""
    return known.most * (4 if known.element_type == UINT8 else 1)


def _described(node: Node) -> str:
    """Return what messages call an operator that may be there: its type and its first result."""
    name = next((name for name in node.outputs if name), "")
    return f"the operator {node.operator} {shown(name)}"


def _are_known(result: Value) -> bool:
    return result.numbers is not None and all(isinstance(each, int) for each in result.numbers)
