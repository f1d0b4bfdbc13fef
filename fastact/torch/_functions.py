"""The public functions: arguments as PyTorch spells them, checked, and the way of least cost."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import fastact
from fastact.elementwise import Elementwise
from fastact.torch import _exchange, _operations
from fastact.torch._exchange import is_transformed
from fastact.torch._operations import HALF, MASKED, PACKED, VALUES, Loss, PairValue, RowsValue
from fastact.torch._routes import are_in_memory, call, is_compiling

Function = Callable[..., Tensor]

DTYPES = (*HALF, torch.float32, torch.float64)
DEVICES = ("cpu", "meta")
ACCEPTED = ", ".join(map(str, DTYPES))


def checked(name: str, argument: str, x: Any, dtypes: Sequence[torch.dtype] = DTYPES) -> Tensor:
    """Return an argument, if it is a tensor that fastact can read."""
    if not isinstance(x, Tensor):
        raise TypeError(f"fastact.torch.{name}: {argument} is a {type(x).__name__}; accepted are tensors, and for "
                        f"arrays the functions of fastact")
    if x.device.type not in DEVICES:
        raise TypeError(f"fastact.torch.{name}: {argument} is on {x.device}; accepted are tensors in CPU memory")
    if x.layout is not torch.strided:
        raise TypeError(f"fastact.torch.{name}: {argument} has the layout {x.layout}; accepted is torch.strided")
    if dtypes and x.dtype not in dtypes:
        raise TypeError(f"fastact.torch.{name}: {argument} has the dtype {x.dtype}; accepted are "
                        f"{', '.join(map(str, dtypes))}")
    return x


def checked_dims(name: str, dim: Any, ndim: int) -> list[int]:
    """Return axes as negative integers; None: all of them."""
    dims = range(ndim) if dim is None else dim if isinstance(dim, tuple | list) else (dim,)
    for one in dims:
        if isinstance(one, bool) or not isinstance(one, int):
            raise TypeError(f"fastact.torch.{name}: dim must be an integer, got {one!r}")
        if not -ndim <= one < ndim:
            raise IndexError(f"fastact.torch.{name}: dim is {one}; accepted are {-ndim} to {ndim - 1} for a tensor of "
                             f"{ndim} dimensions")
    found = sorted(one if one < 0 else one - ndim for one in dims)
    if len(set(found)) < len(found):
        raise ValueError(f"fastact.torch.{name}: dim is {dim}; accepted are different axes")
    return found


class Parameters(NamedTuple):
    """The parameters of an activation, as plain objects, which Dynamo can follow."""

    name: str
    defaults: dict[str, float]
    learnt: tuple[str, ...]
    broadcast: bool
    accepted: str

    def arranged(self, given: Sequence[Any], named: dict[str, Any], x: Tensor) -> list[Any]:
        """Return the parameters in order: numbers, and tensors of those that are learnt."""
        if len(given) > len(self.defaults):
            raise TypeError(f"fastact.torch.{self.name}: got {len(given)} parameters by position, accepted are at most "
                            f"{len(self.defaults)}: {', '.join(self.defaults)}")
        values = dict(zip(self.defaults, given, strict=False))
        for name in named:
            if name not in self.defaults:
                raise TypeError(f"fastact.torch.{self.name}: unknown argument {name}; accepted are {self.accepted}")
            if name in values:
                raise TypeError(f"fastact.torch.{self.name}: got two values for the argument {name}")
        values.update(named)
        found = []
        for name, default in self.defaults.items():
            value = values.get(name)
            if isinstance(value, Tensor):
                found.append(self.learnt_tensor(name, value, x))
            elif value is None:
                found.append(default)
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"fastact.torch.{self.name}: {name} must be a number, got {type(value).__name__}")
            else:
                found.append(float(value))
        return found

    def learnt_tensor(self, name: str, value: Tensor, x: Tensor) -> Tensor:
        """Check a parameter that is a tensor."""
        if name not in self.learnt:
            raise TypeError(f"fastact.torch.{self.name}: {name} is a tensor; accepted is a number, since there is no "
                            f"gradient in it")
        checked(self.name, name, value)
        if value.numel() == 1:
            return value
        if not self.broadcast or value.dtype != x.dtype:
            raise TypeError(f"fastact.torch.{self.name}: {name} has {value.numel()} numbers of {value.dtype}; accepted "
                            f"is {f'the dtype of x, {x.dtype}' if self.broadcast else 'a single number'}")
        if value.ndim == 1 and x.ndim > 1:  # as in torch.nn.functional.prelu
            value = value.reshape(-1, *(1,) * (x.ndim - 2))
        if value.ndim > x.ndim or any(n not in (1, length) for n, length in
                                      zip(reversed(value.shape), reversed(x.shape), strict=False)):
            raise ValueError(f"fastact.torch.{self.name}: {name} has the shape {tuple(value.shape)}; accepted is what "
                             f"broadcasts to {tuple(x.shape)}, or one number for each index of the second axis")
        return value


def _parameters_of(f: Any) -> Parameters:
    return Parameters(f.name, dict(f.parameters), tuple(getattr(f, "learnt", ())), isinstance(f, Elementwise),
                      ", ".join(signature_of(f).parameters))


def signature_of(f: Any) -> inspect.Signature:
    """Return the signature of the function for tensors."""
    kinds = inspect.Parameter
    if not isinstance(f, fastact.Activation):
        return inspect.Signature([one.replace(name=_operations.spelling(name), annotation=kinds.empty)
                                  for name, one in _operations.options_of(f).items()])
    def many(kind: Any, entries: dict[str, Any]) -> list[inspect.Parameter]:
        return [kinds(name, kind, default=default) for name, default in entries.items()]
    either, keyword = kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY
    parameters = dict(f.parameters)
    if isinstance(f, Elementwise):
        return inspect.Signature([kinds("x", either), *many(either, parameters)])
    if isinstance(f, fastact.Gated):
        return inspect.Signature([kinds("a", either), *many(either, {"b": None}), *many(
            keyword, {**parameters, "dim": -1, "layout": None, "gate": None})])
    keepdim = {"keepdim": False} if isinstance(f, fastact.RowReduction) else {}
    masks = {name: False if name == "causal" else None for name in _operations.masks_of(f)}
    return inspect.Signature([kinds("x", either), *many(either, {"dim": -1}),
                              *many(keyword, keepdim | parameters | masks)])


class DirectFunction(_exchange.DirectFunction):
    """A function that is called without a frame of Python; Dynamo follows it into the frame."""

    __wrapped__: Function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.__wrapped__(*arguments, **named)


# ------------------------------------------------------------------------------------------------------------ functions

def _elementwise(operation: Any) -> Function:
    name, parameters_of = operation.name, _parameters_of(operation.f)

    def function(x: Tensor, *parameters: Any, **named: Any) -> Tensor:
        checked(name, "x", x)
        return call(operation, x, *parameters_of.arranged(parameters, named, x))

    return function


def _rows(operation: Any, masked: Any) -> Function:
    f, keeps, parameters_of = operation.f, not isinstance(operation, RowsValue), _parameters_of(operation.f)
    name, accepted = f.name, parameters_of.accepted

    def function(x: Tensor, dim: Any = -1, *, keepdim: bool = False, **named: Any) -> Tensor:
        checked(name, "x", x)
        if keepdim and not keeps:
            raise TypeError(f"fastact.torch.{name}: unknown argument keepdim; accepted are {accepted}")
        dims = checked_dims(name, dim, x.ndim)
        given = {one: named.pop(one) for one in masked.masks if one in named}
        arguments = [x, dims, *((bool(keepdim),) if keeps else ()), *parameters_of.arranged((), named, x)]
        masks = [_mask(name, one, given.get(one)) for one in masked.masks] if given else []
        if all(one is None or one is False for one in masks):
            return call(operation, *arguments)
        return call(masked, *arguments, *masks)

    return function


EVERY = 1 << 60  # entries on one side of a window: more than there are


def _mask(name: str, argument: str, value: Any) -> Any:
    """Return a mask as its operation takes it."""
    if argument == "causal":
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"fastact.torch.{name}: causal must be True or False, got {value!r}")
        return bool(value)
    if value is None:
        return None
    if argument == "window":
        return [EVERY if one is None else one for one in (value if isinstance(value, tuple | list) else (value,) * 2)]
    if argument in ("lengths", "offset") and isinstance(value, int) and not isinstance(value, bool):
        return torch.tensor(value)
    return checked(name, argument, value, ())


def _gated(pair: Any, packed: Any) -> Function:
    f, parameters_of = pair.f, _parameters_of(pair.f)
    name, own_layout, own_gate = f.name, f.layout, f.gate

    def function(a: Tensor, b: Tensor | None = None, *, dim: int = -1, layout: str | None = None,
                 gate: str | None = None, **named: Any) -> Tensor:
        checked(name, "a", a)
        parameters = parameters_of.arranged((), named, a)
        if layout not in (None, "halves", "interleaved") or gate not in (None, "first", "second"):
            raise ValueError(f"fastact.torch.{name}: layout is {layout!r} and gate is {gate!r}; accepted are "
                             f"'halves' and 'interleaved', 'first' and 'second'")
        if b is None:
            (axis,) = checked_dims(name, int(dim), a.ndim)
            if a.shape[axis] % 2:
                raise ValueError(f"fastact.torch.{name}: axis {dim} has the length {a.shape[axis]}; accepted is an "
                                 f"even one, of two halves, or two tensors")
            return call(packed, a, *parameters, axis, layout or own_layout, gate or own_gate)
        checked(name, "b", b, (a.dtype,))
        if a.shape != b.shape:
            raise ValueError(f"fastact.torch.{name}: a has the shape {tuple(a.shape)}, b {tuple(b.shape)}; accepted "
                             f"is one shape")
        if dim != -1 or layout == "interleaved":
            raise TypeError(f"fastact.torch.{name}: dim and layout say where the halves of one packed tensor lie; "
                            f"got two tensors")
        return call(pair, a, b, *parameters, gate or "first")

    return function


def _loss(operation: Loss) -> Function:
    name, options = operation.name, operation.options
    signature = signature_of(operation.f)

    def function(*given: Any, **named: Any) -> Tensor:
        values = _bound(name, signature, given, named)
        logits = checked(name, "logits", values[0])
        arguments = []
        for (option, parameter), kind, value in zip(options.items(), operation.schema, values, strict=True):
            spelt = _operations.spelling(option)
            if kind.startswith("Tensor") and option != "logits" and value is not None:
                value = checked(name, spelt, value, ())
                if value.requires_grad:
                    raise TypeError(f"fastact.torch.{name}: {spelt} requires a gradient, and there is none; accepted "
                                    f"is {spelt}.detach()")
            elif option == "axis":
                (value,) = checked_dims(name, value, logits.ndim)
            elif kind.startswith("float"):
                value = value if value == parameter.default else float(value)
            arguments.append(value)
        needs = logits.requires_grad and torch.is_grad_enabled()
        if needs or is_compiling() or is_transformed() or not are_in_memory(arguments):
            return call(operation, *arguments)[0]
        return operation.alone(*arguments)

    return function


def _bound(name: str, signature: inspect.Signature, given: Sequence[Any], named: dict[str, Any]) -> list[Any]:
    """Return the value of each parameter, in order."""
    either = [one.name for one in signature.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(given) > len(either):
        raise TypeError(f"fastact.torch.{name}: got {len(given)} arguments by position, accepted are at most "
                        f"{len(either)}: {', '.join(either)}")
    values = dict(zip(either, given, strict=False))
    for one in named:
        if one not in signature.parameters:
            raise TypeError(f"fastact.torch.{name}: unknown argument {one}; accepted are "
                            f"{', '.join(signature.parameters)}")
        if one in values:
            raise TypeError(f"fastact.torch.{name}: got two values for the argument {one}")
    values |= named
    found = []
    for argument, parameter in signature.parameters.items():
        if argument not in values and parameter.default is parameter.empty:
            raise TypeError(f"fastact.torch.{name}: the argument {argument} is missing")
        found.append(values.get(argument, parameter.default))
    return found


def _function_of(name: str, operation: Any) -> Function:
    if isinstance(operation, PairValue):
        function = _gated(operation, PACKED[name])
    elif isinstance(operation, Loss):
        function = _loss(operation)
    elif isinstance(operation, _operations.ElementwiseValue):
        function = _elementwise(operation)
    else:
        function = _rows(operation, MASKED[name])
    function.__name__ = function.__qualname__ = name
    function.__module__ = "fastact.torch"
    function.__signature__ = signature_of(operation.f)  # type: ignore[attr-defined]
    function.__doc__ = _documentation(name, operation)
    is_direct = isinstance(operation, _operations.ElementwiseValue | RowsValue)
    return DirectFunction(function, operation.direct) if is_direct else function


def _documentation(name: str, operation: Any) -> str:
    f = operation.f
    summary = f.summary if isinstance(f, fastact.Activation) else inspect.getdoc(f).split("\n")[0]  # type: ignore
    formula = f"\n.. math:: {f.formula}\n" if isinstance(f, fastact.Activation) else ""
    signature = signature_of(f)
    tensor, *_ = signature.parameters
    return f"""{name}{signature}

{summary}
{formula}
As `fastact.{name}`, with tensors for arrays, and `dim` for `axis`.

Parameters
----------
{tensor} : torch.Tensor
    In CPU memory, of {ACCEPTED}.
{_OTHERS[type(operation)]}
Returns
-------
torch.Tensor
    {_RETURNED[type(operation)]} PyTorch's autograd knows its gradient; a second derivative raises NotImplementedError.

Raises
------
TypeError
    If a tensor is on another device, or of another dtype or layout, or an argument is unknown.
ValueError
    If a shape or a parameter is not accepted.
"""


_MASKS = """\
bias, where, lengths, offset : torch.Tensor, optional
    As there; an integer does for `lengths` and `offset`. A bias may require a gradient.
causal, window : optional
    As there.
"""
_OTHERS: dict[type, str] = {
    _operations.ElementwiseValue: """\
*parameters : float, optional
    By position or by name. Those that are learnt (`learnt` of the activation) may be tensors: a single number, what
    broadcasts to `x`, or, of one dimension, a number for each index of the second axis, as in prelu of PyTorch.
""",
    RowsValue: """\
dim : int, tuple of int or None, optional
    Along which the rows lie; None: all entries are one row. Default: the last.
**parameters : float, optional
    By name; alpha of entmax may be a tensor of one number.
""" + _MASKS,
    _operations.ReductionValue: """\
dim : int, tuple of int or None, optional
    Along which the rows lie; None: all entries are one row. Default: the last.
keepdim : bool, optional
    Keep the axes of the rows, with length 1. Default: drop them.
**parameters : float, optional
    By name.
""" + _MASKS,
    PairValue: """\
b : torch.Tensor, optional
    The other input, of the shape and dtype of `a`. Without it `a` is a packed tensor of both.
dim, layout, gate : optional
    Where the inputs lie.
**parameters : float, optional
    By name.
""",
    Loss: """\
... : optional
    As there; the other tensors have no gradient.
""",
}
_RETURNED: dict[type, str] = {
    _operations.ElementwiseValue: "Of the shape, dtype and layout of `x`.",
    RowsValue: "Of the shape and dtype of `x`, contiguous.",
    _operations.ReductionValue: "One number for each row.",
    PairValue: "Of the shape and dtype of one input.",
    Loss: "The loss alone: one number, or with \"none\" one for each row or logit; float32 for 16 bits.",
}

FUNCTIONS: dict[str, Function] = {name: _function_of(name, operation) for name, operation in VALUES.items()}
"""Every function, by its name."""
