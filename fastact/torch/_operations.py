"""What each function of fastact is for PyTorch: an operation on tensors, and its derivatives.

An operation takes a flat tuple of arguments, tensors and others. `value` computes it, of tensors in memory, and knows
no derivatives. `gradients` are written with other operations, so that a derivative is routed as any call is: the
operation `gelu_backward` makes the gradient of `gelu`. The gradients of that one are refused, since fastact has no
second derivatives.

At a kink the gradient is PyTorch's: that of its own operators, in `PIECEWISE` and `_gradient_of_aten`, or fastact's
with the sides that names.py has for PyTorch, in `WITH_ITS_KINKS`.
"""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fastact
from fastact import divergences, losses, sigmoid_losses
from fastact._masks import MASKS as NAMES_OF_MASKS
from fastact.elementwise import Elementwise
from fastact.gated import Gated
from fastact.lookup import at_kinks
from fastact.rowwise import Rowwise
from fastact.torch import _routes
from fastact.torch._exchange import Direct, compute, view

Gradients = Sequence[Tensor | None]
aten = torch.ops.aten

MASKS = {name: {"causal": "bool", "window": "int[]?"}.get(name, "Tensor?") for name in NAMES_OF_MASKS}
"""The arguments that say which entries of a row take part, with their types in a schema."""

HALF = (torch.float16, torch.bfloat16)
FROM_OUTPUT = frozenset({"relu", "sigmoid", "tanh", "exp"})
"""The functions whose gradient comes from the value, as in PyTorch; the others keep the argument."""


# -------------------------------------------------------------------------------------------- kinks as PyTorch has them

def _leaky(dy: Tensor, x: Tensor, slope: Any) -> Tensor:
    if isinstance(slope, Tensor):
        return torch.where(x > 0, dy, dy * slope.to(x.dtype))
    return aten.leaky_relu_backward(dy, x, slope, False)


def _shrink(backward: Any) -> Callable[..., Tensor]:
    def gradient(dy: Tensor, x: Tensor, threshold: float) -> Tensor:
        if _routes.are_in_memory((dy, x)):
            return backward(dy, x, threshold)
        return torch.where(x.abs() <= threshold, 0, dy)  # PyTorch's own takes no symbolic shapes
    return gradient


def _hard_sigmoid(dy: Tensor, x: Tensor, slope: float, offset: float) -> Tensor:
    if (slope, offset) == tuple(fastact.hard_sigmoid.parameters.values()):
        return aten.hardsigmoid_backward(dy, x)
    return aten.hardtanh_backward(dy * slope, x * slope + offset, 0.0, 1.0)


PIECEWISE: dict[str, Callable[..., Tensor]] = {
    "relu": lambda dy, y: aten.threshold_backward(dy, y, 0.0),
    "relu6": lambda dy, x: aten.hardtanh_backward(dy, x, 0.0, 6.0),
    "leaky_relu": _leaky,
    "prelu": _leaky,
    "threshold": lambda dy, x, threshold, value: aten.threshold_backward(dy, x, threshold),
    "hard_tanh": aten.hardtanh_backward,
    "hard_shrink": _shrink(aten.hardshrink_backward),
    "soft_shrink": _shrink(aten.softshrink_backward),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": aten.hardswish_backward,
}
"""The gradients of functions of polynomial pieces: PyTorch's own, which have all derivatives."""

WITH_ITS_KINKS: dict[str, Elementwise] = {name: getattr(fastact, name).with_defaults(kinks=sides)
                                          for name, sides in at_kinks("torch").items() if name not in PIECEWISE}
"""Other functions, with PyTorch's derivatives at kinks: for parameters that are tensors, which aten does not take."""


def _elu(dy: Tensor, x: Tensor, alpha: float, scale: float = 1.0) -> Tensor:
    return aten.elu_backward.grad_input(dy, alpha, scale, 1.0, False, x, grad_input=torch.empty_like(x))


def _gradient_of_aten(name: str, dy: Tensor, x: Tensor, parameters: Sequence[Any]) -> Tensor | None:
    """Return the gradient of another function that has a kink, if fastact's differs there."""
    if name == "selu":
        scale, lowest = float(fastact.selu(1.0)), float(fastact.selu(-1e3))  # lowest: -alpha scale
        return _elu(dy, x, -lowest / scale, scale)
    if name == "elu" and parameters[0] != 1.0:  # without a kink
        return _elu(dy, x, parameters[0])
    if name == "logit" and 0 <= parameters[0] <= 0.5:
        return aten.logit_backward.grad_input(dy, x, parameters[0], grad_input=torch.empty_like(x))
    if name == "gelu_clipped":  # torch.clamp has the derivative 1 at its limits
        gelu: Any = VALUES["gelu"]
        y = gelu.value(x)
        return gelu.backward.value(torch.where((y < parameters[0]) | (y > parameters[1]), 0, dy), x)
    return None


# ------------------------------------------------------------------------------------------------- calls of the kernels

def number(parameter: Any) -> Any:
    """Return a parameter as a float, unless it is a tensor of several numbers."""
    return float(parameter) if not isinstance(parameter, Tensor) or parameter.numel() == 1 else parameter


def _flat(tensor: Tensor) -> Any:
    return view(tensor.as_strided((tensor.numel(),), (1,)))


def dense(direct: Direct, *tensors: Tensor, numbers: tuple[float, ...] = ()) -> Tensor:
    """Compute an elementwise mode of tensors of one shape; the result has the layout that PyTorch would give it."""
    result = direct.run(tensors[0], tensors[1] if len(tensors) == 2 else None, numbers)
    if result is not None:
        return result
    result = torch.empty_like(tensors[-1])
    layout = result.stride(), result.dtype
    arrays = [_flat(one if (one.stride(), one.dtype) == layout else torch.empty_like(result).copy_(one))
              for one in tensors]
    named = {"output": arrays.pop()} if direct.mode == "backward_from_output" else {}
    compute(direct.f if direct.mode == "value" else direct.f.backward, *arrays, *numbers, out=_flat(result), **named)
    return result


def _contiguous_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _as_precise_as(result: Tensor, *tensors: Tensor) -> list[Tensor]:
    """Widen tensors to the dtype of a sum over them, which fastact rounds to the dtype of its arguments."""
    return [one.to(torch.promote_types(one.dtype, result.dtype)) for one in tensors]


def _schema_of(f: Any) -> list[str]:
    learnt = getattr(f, "learnt", ())
    return [f"Tensor {name}" if name in learnt else f"float {name}" for name in f.parameters]


# ----------------------------------------------------------------------------------------------------------- operations

class Operation(ABC):
    """A function of tensors.

    Attributes
    ----------
    name : str
        That of the operator, without the namespace.
    public : str
        The function that the user called.
    schema : list of str
        The arguments, as a schema of PyTorch has them.
    results : int
        How many tensors it returns; a single one is no tuple.
    alike : int
        The first arguments, which are tensors whose axes are counted from the end: `vmap` may prepend one.
    """

    results = 1
    alike = 1

    def __init__(self, name: str, public: str, schema: list[str]) -> None:
        self.name, self.public, self.schema = name, public, schema

    @abstractmethod
    def value(self, *arguments: Any) -> Any:
        """Compute the results, of tensors in memory, without derivatives."""

    @abstractmethod
    def like(self, *arguments: Any) -> Any:
        """Make empty results, of tensors that may have no memory."""

    def saved(self, results: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the result and the arguments, with None for what the derivatives do not read."""
        return (None, *arguments)

    def gradients(self, needs: Sequence[bool], dy: Any, result: Any, *arguments: Any) -> Gradients:
        """Return the gradient of each argument that needs one, from those of the results."""
        raise self.refusal()

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, *arguments: Any) -> Tensor:
        """Return the derivative of the first result in the direction of the tangents."""
        raise self.refusal()

    def refusal(self) -> NotImplementedError:
        """Return the error of an operation that is a derivative itself."""
        return NotImplementedError(
            f"fastact.torch.{self.public}: it has no second derivative; accepted are first derivatives, and "
            f"torch.autograd without create_graph=True")


class ElementwiseValue(Operation):
    def __init__(self, f: Elementwise) -> None:
        super().__init__(f.name, f.name, ["Tensor x", *_schema_of(f)])
        self.f, self.backward, self.direct = f, ElementwiseBackward(f), Direct(f, "value")
        self.of_parameters = {1 + list(f.parameters).index(name): ParameterBackward(f, name) for name in f.learnt}

    def value(self, x: Tensor, *parameters: Any) -> Tensor:
        numbers = tuple(map(number, parameters))
        if not any(isinstance(one, Tensor) for one in numbers):
            return dense(self.direct, x, numbers=numbers)
        result = torch.empty_like(x)
        compute(self.f, view(x), *_arrays(numbers), out=view(result))
        return result

    def like(self, x: Tensor, *parameters: Any) -> Tensor:
        return torch.empty_like(x)

    def saved(self, result: Tensor, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (result, None, *arguments[1:]) if self.f.name in FROM_OUTPUT else (None, *arguments)

    def gradients(self, needs: Sequence[bool], dy: Any, result: Any, x: Any, *parameters: Any) -> Gradients:
        found: list[Tensor | None] = [None] * (1 + len(parameters))
        kept = result if self.f.name in FROM_OUTPUT else x
        if needs[0] and self.f.name in PIECEWISE:
            found[0] = PIECEWISE[self.f.name](dy, kept, *parameters)
        elif needs[0]:
            found[0] = _routes.call(self.backward, dy, kept, *parameters)
        for k, backward in self.of_parameters.items():
            if needs[k]:
                found[k] = _routes.call(backward, dy, x, *parameters)
        return found

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, x: Any, *parameters: Any) -> Tensor:
        parts = []
        if tangents[0] is not None:
            parts += [one for one in self.gradients([True] + [False] * len(parameters), tangents[0], result, x,
                                                    *parameters) if one is not None]
        for k, backward in self.of_parameters.items():
            if tangents[k] is not None:
                whole = [one.to(x.dtype).expand(x.shape) if isinstance(one, Tensor) else one for one in parameters]
                whole[k - 1] = whole[k - 1].clone()
                terms = _routes.call(backward, torch.ones_like(x), x, *whole)
                parts.append(terms * tangents[k])
        return functools.reduce(torch.add, parts)


def _arrays(parameters: Sequence[Any]) -> list[Any]:
    return [view(one) if isinstance(one, Tensor) else one for one in parameters]


class ElementwiseBackward(Operation):
    alike = 2

    def __init__(self, f: Elementwise) -> None:
        super().__init__(f"{f.name}_backward", f.name, ["Tensor dy", "Tensor kept", *_schema_of(f)])
        self.f = f
        self.direct = Direct(f, "backward_from_output" if f.name in FROM_OUTPUT else "backward")

    def value(self, dy: Tensor, kept: Tensor, *parameters: Any) -> Tensor:
        numbers = tuple(map(number, parameters))
        if not any(isinstance(one, Tensor) for one in numbers):
            dx = _gradient_of_aten(self.f.name, dy, kept, numbers)
            return dense(self.direct, dy, kept, numbers=numbers) if dx is None else dx
        dx = torch.empty_like(kept)
        compute(WITH_ITS_KINKS.get(self.f.name, self.f).backward, view(dy), view(kept), *_arrays(numbers), out=view(dx))
        return dx

    def like(self, dy: Tensor, kept: Tensor, *parameters: Any) -> Tensor:
        return torch.empty_like(kept)


class ParameterBackward(Operation):
    alike = 0

    def __init__(self, f: Elementwise, name: str) -> None:
        super().__init__(f"{f.name}_backward_{name}", f.name, ["Tensor dy", "Tensor x", *_schema_of(f)])
        self.f, self.parameter, self.index = f, name, list(f.parameters).index(name)

    def value(self, dy: Tensor, x: Tensor, *parameters: Any) -> Tensor:
        result = self.like(dy, x, *parameters)
        dy, x = _as_precise_as(result, dy, x)
        found = compute(self.f.backward_parameter, view(dy), view(x), *_arrays([number(one) for one in parameters]),
                        name=self.parameter)
        view(result)[...] = found.reshape(tuple(result.shape))
        return result

    def like(self, dy: Tensor, x: Tensor, *parameters: Any) -> Tensor:
        parameter = parameters[self.index]
        return _contiguous_like(parameter if isinstance(parameter, Tensor) else x.new_empty(()))


class OfRows(Operation):
    """A function of rows, or its derivative, with the axes counted from the end; without masks, or with all of them.

    Attributes
    ----------
    first : int
        The index of the first parameter among the arguments; the masks follow the parameters.
    bias : int or None
        The index of the bias.
    """

    def __init__(self, f: Any, suffix: str, leading: list[str], masks: tuple[str, ...]) -> None:
        super().__init__(f"{f.name}{'_masked' if masks else ''}{suffix}", f.name,
                         [*leading, *_schema_of(f), *(f"{MASKS[name]} {name}" for name in masks)])
        self.f, self.masks, self.first, self.last = f, masks, len(leading), len(leading) + len(f.parameters)
        self.bias = self.last + masks.index("bias") if "bias" in masks else None

    def named(self, others: Sequence[Any]) -> dict[str, Any]:
        """Return the parameters and the masks, as fastact takes them, that are not at their defaults."""
        count = self.last - self.first
        return _named(self.f, others[:count]) | {
            name: view(one) if isinstance(one, Tensor) else one
            for name, one in zip(self.masks, others[count:], strict=True) if one is not None and one is not False}


class ValueOfRows(OfRows):
    """What gives the value of a function of rows."""

    backward: OfRows
    of_alpha: "RowsParameterBackward | None" = None

    def factor(self, arguments: Sequence[Any]) -> float:
        """Return that of the logits, which the bias does not have."""
        scale, temperature = arguments[self.first:self.last]
        return scale / temperature

    def gradients(self, needs: Sequence[bool], dy: Any, result: Any, *arguments: Any) -> Gradients:
        found: list[Tensor | None] = [None] * len(arguments)
        kept = result if self.f.keeps == "output" else arguments[0]
        if needs[0]:
            found[0] = _routes.call(self.backward, dy, kept, *arguments[1:])
        if self.of_alpha is not None and needs[self.first]:
            found[self.first] = _routes.call(self.of_alpha, dy, kept, *arguments[1:self.last])
        if self.bias is not None and needs[self.bias]:
            factor, bias, slopes = self.factor(arguments), arguments[self.bias], found[0]
            dtype = torch.promote_types(kept.dtype, bias.dtype)
            if slopes is None or factor != 1 or dtype != kept.dtype:
                slopes = _routes.call(self.backward, dy.to(dtype) / factor, kept.to(dtype), *arguments[1:])
            found[self.bias] = slopes.sum_to_size(bias.shape).to(bias.dtype)
        return found

    def direction(self, tangents: Sequence[Tensor | None], kept: Any, arguments: Sequence[Any]) -> Any:
        """Return the tangent of the logits, with that of the bias in it."""
        of_bias = None if self.bias is None else tangents[self.bias]
        if of_bias is None:
            return tangents[0]
        of_x = 0 if tangents[0] is None else tangents[0]
        return (of_x + of_bias / self.factor(arguments)).to(kept.dtype).expand(kept.shape)


class RowsValue(ValueOfRows):
    """An activation of rows."""

    def __init__(self, f: Any, masks: tuple[str, ...] = ()) -> None:
        super().__init__(f, "", ["Tensor x", "int[] dim"], masks)
        self.backward, self.of_alpha, self.direct = RowsBackward(f, masks), _of_alpha(f), Direct(f, "value")

    def value(self, x: Tensor, dim: Sequence[int], *others: Any) -> Tensor:
        named = self.named(others)
        result = self.direct.run(x) if list(dim) == [-1] and not named else None
        if result is None:
            result = _contiguous_like(x)
            compute(self.f, view(x), tuple(dim), out=view(result), **named)
        return result

    def like(self, x: Tensor, dim: Sequence[int], *others: Any) -> Tensor:
        return _contiguous_like(x)

    def saved(self, result: Tensor, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (result, None, *arguments[1:])

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, *arguments: Any) -> Tensor:
        if self.of_alpha is not None and tangents[self.first] is not None:
            raise NotImplementedError(
                f"fastact.torch.{self.public}: it has no forward-mode derivative in alpha; accepted is "
                f"one in x, and reverse mode")
        direction = self.direction(tangents, result, arguments)
        if self.f.name != "log_softmax":  # the others have symmetric matrices of derivatives
            return _routes.call(self.backward, direction, result, *arguments[1:])
        direction = direction * self.factor(arguments)
        if self.masks:
            direction = torch.where(result == -torch.inf, 0, direction)
        tangent = direction - (result.exp() * direction).sum(arguments[1], keepdim=True)
        return torch.where(result == -torch.inf, 0, tangent) if self.masks else tangent


def _named(f: Any, parameters: Sequence[Any]) -> dict[str, float]:
    """Return the parameters that are not at their defaults."""
    return {name: value for (name, default), value in zip(f.parameters.items(), map(number, parameters), strict=True)
            if value != default}


class RowsBackward(OfRows):
    alike = 2

    def __init__(self, f: Any, masks: tuple[str, ...]) -> None:
        super().__init__(f, "_backward", ["Tensor dy", "Tensor output", "int[] dim"], masks)
        self.direct = Direct(f, "backward")

    def value(self, dy: Tensor, output: Tensor, dim: Sequence[int], *others: Any) -> Tensor:
        named = self.named(others)
        dx = self.direct.run(dy, output) if list(dim) == [-1] and not named else None
        if dx is None:
            dx = _contiguous_like(output)
            compute(self.f.backward, view(dy), None, tuple(dim), output=view(output), out=view(dx), **named)
        return dx

    def like(self, dy: Tensor, output: Tensor, dim: Sequence[int], *others: Any) -> Tensor:
        return _contiguous_like(output)


class RowsParameterBackward(Operation):
    """The gradient in alpha; masks do not matter to it, since the output is 0 where they leave an entry out."""

    alike = 0

    def __init__(self, f: Any) -> None:
        super().__init__(f"{f.name}_backward_alpha", f.name,
                         ["Tensor dy", "Tensor output", "int[] dim", *_schema_of(f)])
        self.f = f

    def value(self, dy: Tensor, output: Tensor, dim: Sequence[int], alpha: Any, *factors: float) -> Tensor:
        result = self.like(dy, output, dim, alpha)
        dy, output = _as_precise_as(result, dy, output)
        view(result)[...] = compute(self.f.backward_parameter, view(dy), None, tuple(dim), output=view(output),
                                    alpha=number(alpha))
        return result

    def like(self, dy: Tensor, output: Tensor, dim: Sequence[int], alpha: Any, *factors: float) -> Tensor:
        return _contiguous_like(alpha if isinstance(alpha, Tensor) else output.new_empty(()))


@functools.cache
def _of_alpha(f: Any) -> RowsParameterBackward | None:
    """Return the operation that the function shares with that of masked rows."""
    return RowsParameterBackward(f) if getattr(f, "learnt", ()) else None


class ReductionValue(ValueOfRows):
    def __init__(self, f: Any, masks: tuple[str, ...] = ()) -> None:
        super().__init__(f, "", ["Tensor x", "int[] dim", "bool keepdim"], masks)
        self.backward = ReductionBackward(f, masks)

    def value(self, x: Tensor, dim: Sequence[int], keepdim: bool, *others: Any) -> Tensor:
        result = self.like(x, dim, keepdim)
        compute(self.f, view(x), tuple(dim), keepdims=keepdim, out=view(result), **self.named(others))
        return result

    def like(self, x: Tensor, dim: Sequence[int], keepdim: bool, *others: Any) -> Tensor:
        return x.new_empty(_shape_without(x, dim, keepdim))

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, *arguments: Any) -> Tensor:
        direction = self.direction(tangents, arguments[0], arguments)
        dim, keepdim = arguments[1:self.first]
        slopes = _routes.call(self.backward, torch.ones_like(result), *arguments)
        terms = torch.where(slopes == 0, 0, slopes * direction) if self.masks else slopes * direction
        return terms.sum(dim, keepdim=keepdim)

    def saved(self, result: Tensor, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (result, *arguments)


def _shape_without(x: Tensor, dim: Sequence[int], keepdim: bool) -> list[int]:
    return [1 if k - x.ndim in dim else n for k, n in enumerate(x.shape) if keepdim or k - x.ndim not in dim]


class ReductionBackward(OfRows):
    alike = 2

    def __init__(self, f: Any, masks: tuple[str, ...]) -> None:
        super().__init__(f, "_backward", ["Tensor dy", "Tensor x", "int[] dim", "bool keepdim"], masks)

    def value(self, dy: Tensor, x: Tensor, dim: Sequence[int], keepdim: bool, *others: Any) -> Tensor:
        dx = _contiguous_like(x)
        compute(self.f.backward, view(dy), view(x), tuple(dim), keepdims=keepdim, out=view(dx), **self.named(others))
        return dx

    def like(self, dy: Tensor, x: Tensor, dim: Sequence[int], keepdim: bool, *others: Any) -> Tensor:
        return _contiguous_like(x)


class PairValue(Operation):
    """A gated activation of two tensors."""

    alike = 2

    def __init__(self, f: Gated) -> None:
        super().__init__(f.name, f.name, ["Tensor a", "Tensor b", *_schema_of(f), "str gate"])
        self.f, self.backward, self.direct = f, PairBackward(f), Direct(f, "value")

    def value(self, a: Tensor, b: Tensor, *others: Any) -> Tensor:
        named = _named(self.f, others[:-1])
        if others[-1] == "second":
            a, b = b, a
        if not named:
            return dense(self.direct, a, b)
        result = torch.empty_like(a)
        compute(self.f, view(a), view(b), out=view(result), **named)
        return result

    def like(self, a: Tensor, b: Tensor, *others: Any) -> Tensor:
        return torch.empty_like(a)

    def gradients(self, needs: Sequence[bool], dy: Any, result: Any, a: Any, b: Any, *others: Any) -> Gradients:
        if self.f.name == "reglu":
            found = _of_reglu(dy, a, b) if others[-1] == "first" else _of_reglu(dy, b, a)[::-1]
        else:
            found = _routes.call(self.backward, dy, a, b, *others)
        return [*found, *[None] * len(others)]

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, a: Any, b: Any, *others: Any) -> Tensor:
        slopes: Any = self.gradients((True, True), torch.ones_like(a), result, a, b, *others)
        return functools.reduce(torch.add, [slope * one for slope, one in zip(slopes, tangents, strict=False)
                                            if one is not None])


def _of_reglu(dy: Tensor, gate: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of reglu with that of PyTorch at a gate of 0."""
    return aten.threshold_backward(dy * other, gate, 0.0), dy * torch.relu(gate)


class PairBackward(Operation):
    results, alike = 2, 3

    def __init__(self, f: Gated) -> None:
        super().__init__(f"{f.name}_backward", f.name,
                         ["Tensor dy", "Tensor a", "Tensor b", *_schema_of(f), "str gate"])
        self.f = f

    def value(self, dy: Tensor, a: Tensor, b: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        results = self.like(dy, a, b)
        compute(self.f.backward, view(dy), view(a), view(b), gate=others[-1],
                out=tuple(view(one) for one in results), **_named(self.f, others[:-1]))
        return results

    def like(self, dy: Tensor, a: Tensor, b: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        return torch.empty_like(a), torch.empty_like(b)


class PackedValue(Operation):
    """A gated activation of one tensor with both inputs, along an axis counted from the end."""

    def __init__(self, f: Gated) -> None:
        super().__init__(f"{f.name}_packed", f.name,
                         ["Tensor x", *_schema_of(f), "int dim", "str layout", "str gate"])
        self.f, self.backward = f, PackedBackward(f)

    def value(self, x: Tensor, *others: Any) -> Tensor:
        result = self.like(x, *others)
        compute(self.f, view(x), out=view(result), **_packed(self.f, others))
        return result

    def like(self, x: Tensor, *others: Any) -> Tensor:
        dim = others[-3]
        return x.new_empty([n // 2 if k - x.ndim == dim else n for k, n in enumerate(x.shape)])

    def gradients(self, needs: Sequence[bool], dy: Any, result: Any, x: Any, *others: Any) -> Gradients:
        if self.f.name == "reglu":
            axis, first, second = _halves(x, *others[-3:-1])
            found = _of_reglu(dy, first, second) if others[-1] == "first" else _of_reglu(dy, second, first)[::-1]
            dx = torch.stack(found, axis).flatten(others[-3] - 1, others[-3])
        else:
            dx = _routes.call(self.backward, dy, x, *others)
        return [dx, *[None] * len(others)]

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, x: Any, *others: Any) -> Tensor:
        ones = torch.ones_like(_halves(x, *others[-3:-1])[1])
        slopes: Any = self.gradients((True,), ones, result, x, *others)[0]
        _, first, second = _halves(slopes * tangents[0], *others[-3:-1])
        return first + second


def _packed(f: Gated, others: Sequence[Any]) -> dict[str, Any]:
    return {**_named(f, others[:-3]), **dict(zip(("axis", "layout", "gate"), others[-3:], strict=True))}


def _halves(x: Tensor, dim: int, layout: str) -> tuple[int, Tensor, Tensor]:
    """Return the axis that tells the halves of `x.unflatten` apart, and the halves."""
    half = x.shape[dim] // 2
    axis, parts = (dim - 1, (2, half)) if layout == "halves" else (dim, (half, 2))
    return axis, *x.unflatten(dim, parts).unbind(axis)


class PackedBackward(Operation):
    alike = 2

    def __init__(self, f: Gated) -> None:
        super().__init__(f"{f.name}_packed_backward", f.name,
                         ["Tensor dy", "Tensor x", *_schema_of(f), "int dim", "str layout", "str gate"])
        self.f = f

    def value(self, dy: Tensor, x: Tensor, *others: Any) -> Tensor:
        dx = _contiguous_like(x)
        compute(self.f.backward, view(dy.contiguous()), view(x.contiguous()), out=view(dx), **_packed(self.f, others))
        return dx

    def like(self, dy: Tensor, x: Tensor, *others: Any) -> Tensor:
        return _contiguous_like(x)


class Loss(Operation):
    """A loss of logits; it returns the loss and its gradient, which one pass gives."""

    results, alike = 2, 0

    def __init__(self, f: Callable[..., Any]) -> None:
        self.options = options_of(f)
        super().__init__(f.__name__, f.__name__, [f"{_type_of(one)} {spelling(name)}"
                                                  for name, one in self.options.items()])
        self.f, self.backward = f, LossBackward(f.__name__)
        self.is_separable = "gradient" in inspect.signature(f).parameters
        self.axis = list(self.options).index("axis") if "axis" in self.options else None
        self.reduction = list(self.options).index("reduction")

    def _arguments(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """Return what differs from the defaults, tensors as arrays."""
        return {name: view(one) if isinstance(one, Tensor) else one
                for (name, option), one in zip(self.options.items(), arguments, strict=True)
                if one is not option.default and (isinstance(one, Tensor) or one != option.default)}

    def value(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        loss, gradient = compute(self.f, **self._arguments(arguments))
        return _tensor(loss), _tensor(gradient).contiguous()

    def alone(self, *arguments: Any) -> Tensor:
        """Compute the loss without its gradient."""
        if not self.is_separable:
            return self.value(*arguments)[0]
        return _tensor(compute(self.f, **self._arguments(arguments), gradient=False))

    def like(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        logits = arguments[0]
        dim = self._dim(arguments)
        shape = logits.shape if dim is None else _shape_without(logits, dim, False)
        return (logits.new_empty(shape if arguments[self.reduction] == "none" else (),
                                 dtype=torch.float32 if logits.dtype in HALF else logits.dtype),
                _contiguous_like(logits))

    def _dim(self, arguments: Sequence[Any]) -> tuple[int] | None:
        return None if self.axis is None else (arguments[self.axis],)

    def saved(self, results: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (results[1], *[None if isinstance(one, Tensor) else one for one in arguments])

    def gradients(self, needs: Sequence[bool], dy: Any, result: Any, *arguments: Any) -> Gradients:
        dim = self._dim(arguments) if arguments[self.reduction] == "none" else None
        return [_routes.call(self.backward, dy, result, dim and dim[0]), *[None] * (len(arguments) - 1)]

    def tangent(self, tangents: Sequence[Tensor | None], result: Any, *arguments: Any) -> Tensor:
        terms = result * tangents[0]
        if arguments[self.reduction] == "none":
            return terms if self.axis is None else terms.sum(arguments[self.axis])
        return terms.sum()


def options_of(f: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a loss that matter where PyTorch asks for the gradient."""
    return {name: one for name, one in inspect.signature(f).parameters.items()
            if name not in ("gradient", "dtype", "out")}


def spelling(option: str) -> str:
    """Return what PyTorch calls an option."""
    return "dim" if option == "axis" else option


def _type_of(option: inspect.Parameter) -> str:
    """Return the type of an option of a loss in a schema."""
    if option.default is option.empty:
        return "Tensor"
    if option.default is None:
        return "int?" if option.name == "ignore_index" else "Tensor?"
    return type(option.default).__name__


def _tensor(array: Any) -> Tensor:
    """Return a tensor on the memory of an array; of a scalar, a new one."""
    array = np.asarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


class LossBackward(Operation):
    alike = 0

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}_backward", name, ["Tensor dy", "Tensor gradient", "int? dim"])

    def value(self, dy: Tensor, gradient: Tensor, dim: int | None) -> Tensor:
        return (gradient * (dy if dim is None else dy.unsqueeze(dim))).to(gradient.dtype)

    def like(self, dy: Tensor, gradient: Tensor, dim: int | None) -> Tensor:
        return _contiguous_like(gradient)


def _operation_of(f: Any) -> Operation:
    if isinstance(f, Elementwise):
        return ElementwiseValue(f)
    if isinstance(f, Gated):
        return PairValue(f)
    return RowsValue(f) if isinstance(f, Rowwise) else ReductionValue(f)


LOSSES = [getattr(fastact, name) for name in (*losses.LOSSES, *sigmoid_losses.LOSSES, divergences.ENTROPY.name,
                                              divergences.DIVERGENCE.name)]
VALUES: dict[str, Operation] = {
    **{name: _operation_of(f) for name, f in fastact.activations.items()},
    **{f.__name__: Loss(f) for f in LOSSES},
}
"""The operation of each function; of a gated activation that of two tensors."""

PACKED = {name: PackedValue(one.f) for name, one in VALUES.items() if isinstance(one, PairValue)}


def masks_of(f: Any) -> tuple[str, ...]:
    """Return the names of the masks that a function of rows takes."""
    return tuple(name for name in inspect.signature(f).parameters if name in MASKS)


MASKED = {name: type(one)(one.f, masks_of(one.f)) for name, one in VALUES.items()
          if isinstance(one, RowsValue | ReductionValue)}
"""The operations of masked rows."""


def _with_derivatives(operation: Operation) -> list[Operation]:
    more = [operation, getattr(operation, "backward", None), getattr(operation, "of_alpha", None),
            *getattr(operation, "of_parameters", {}).values()]
    return [one for one in more if one is not None]


OPERATIONS = [*dict.fromkeys(one for value in (*VALUES.values(), *PACKED.values(), *MASKED.values())
                             for one in _with_derivatives(value))]
"""All of them, with their derivatives."""
