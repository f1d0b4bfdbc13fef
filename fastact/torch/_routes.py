"""Which way a call takes: directly, or through what PyTorch needs to differentiate, transform or trace it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastact.torch._exchange import is_plain, is_transformed

KEPT = object()  # stands for a tensor that is saved

is_compiling = torch.compiler.is_dynamo_compiling


def call(operation: Any, *arguments: Any) -> Any:
    """Compute an operation, with all that PyTorch may ask of it.

    Parameters
    ----------
    operation : Operation
    *arguments
        Those of its schema. In place of a tensor parameter there may be a number.
    """
    if is_compiling() and forward_ad._current_level < 0:
        return operation.operator(*_as_operator_takes(operation, arguments))
    if is_transformed():
        return Transformed.apply(operation, *arguments)
    tensors = [one for one in arguments if isinstance(one, Tensor)]
    if torch.is_grad_enabled() and any(one.requires_grad for one in tensors) and all(map(is_plain, tensors)):
        return Differentiated.apply(operation, *arguments)
    return evaluate(operation, *arguments)


def evaluate(operation: Any, *arguments: Any) -> Any:
    """Compute an operation; its derivatives are the business of the caller, or of the operator."""
    if are_in_memory(arguments):
        return operation.value(*[_in_memory(one) for one in arguments])
    return operation.operator(*_as_operator_takes(operation, arguments))


def are_in_memory(arguments: Sequence[Any]) -> bool:
    """Tell whether fastact can read the tensors among the arguments, and nothing else has to see the call."""
    return all(is_plain(one) and one.device.type == "cpu" for one in arguments if isinstance(one, Tensor))


def _in_memory(argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    return argument.clone() if argument._is_zerotensor() else argument.resolve_neg()


def _as_operator_takes(operation: Any, arguments: Sequence[Any]) -> list[Any]:
    """Make tensors of the numbers that stand for tensors."""
    return [torch.full((), one, dtype=torch.float64, device="cpu")
            if isinstance(one, float) and kind.startswith("Tensor ") else one
            for kind, one in zip(operation.schema, arguments, strict=True)]


def remember(ctx: Any, operation: Any, arguments: tuple[Any, ...], result: Any) -> None:
    """Save what the derivatives read."""
    saved = operation.saved(result, arguments)
    tensors = [one for one in saved if isinstance(one, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.operation = operation
    ctx.saved = [KEPT if isinstance(one, Tensor) else one for one in saved]


def recalled(ctx: Any) -> list[Any]:
    """Return the result and the arguments, as far as they were saved."""
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if one is KEPT else one for one in ctx.saved]


class Differentiated(torch.autograd.Function):
    """The cheapest way to reverse-mode derivatives; no transform of `torch.func` takes it."""

    @staticmethod
    def forward(ctx: Any, operation: Any, *arguments: Any) -> Any:
        result = evaluate(operation, *arguments)
        remember(ctx, operation, arguments, result)
        return result

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        return None, *ctx.operation.gradients(ctx.needs_input_grad[1:], dy[0], *recalled(ctx))


class Transformed(torch.autograd.Function):
    """What `torch.func` and forward-mode derivatives ask for."""

    @staticmethod
    def forward(operation: Any, *arguments: Any) -> Any:
        return evaluate(operation, *arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        remember(ctx, inputs[0], inputs[1:], output)
        ctx.save_for_forward(*[one for one in inputs[0].saved(output, inputs[1:]) if isinstance(one, Tensor)])

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        return None, *ctx.operation.gradients(ctx.needs_input_grad[1:], dy[0], *recalled(ctx))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Any) -> Any:
        result, *arguments = recalled(ctx)
        tangent = ctx.operation.tangent(tangents, result, *arguments)
        if ctx.operation.results == 1:
            return tangent
        return tangent, torch.full_like(result, math.nan)  # of the gradient of a loss, a second derivative

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], operation: Any, *arguments: Any) -> Any:
        in_dims = in_dims[1:]
        tensors = [k for k, one in enumerate(arguments) if isinstance(one, Tensor)]
        if tensors == list(range(operation.alike)):
            first = [arguments[k].movedim(in_dims[k], 0) if in_dims[k] is not None else
                     arguments[k].expand(info.batch_size, *arguments[k].shape) for k in tensors]
            result = call(operation, *first, *arguments[len(first):])
        else:
            each = [call(operation, *[one.select(dim, k) if isinstance(one, Tensor) and dim is not None else one
                                      for one, dim in zip(arguments, in_dims, strict=True)])
                    for k in range(info.batch_size)]
            result = torch.stack(each) if operation.results == 1 else tuple(map(torch.stack, zip(*each, strict=True)))
        return result, 0 if operation.results == 1 else (0,) * operation.results


class OfOperator(torch.autograd.Function):
    """Reverse-mode derivatives of an operator: of traces, of tensors without memory and of subclasses."""

    @staticmethod
    def forward(ctx: Any, operation: Any, keys: Any, *arguments: Any) -> Any:
        result = _below_autograd(operation, keys, arguments)
        remember(ctx, operation, arguments, result)
        return result

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        return None, None, *ctx.operation.gradients(ctx.needs_input_grad[2:], dy[0], *recalled(ctx))


def _below_autograd(operation: Any, keys: Any, arguments: Sequence[Any]) -> Any:
    with torch._C._AutoDispatchBelowAutograd():
        return operation.operator.redispatch(keys & torch._C._after_autograd_keyset, *arguments)


def _differentiated(operation: Any) -> Any:
    """Return the kernel of an operator that knows its derivatives, and refuses those that it does not."""
    def kernel(keys: Any, *arguments: Any) -> Any:
        tensors = [one for one in arguments if isinstance(one, Tensor)]
        needed = torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
        if needed and torch._C._are_functorch_transforms_active():
            _refuse(operation, "derivatives of torch.func")
        if (forward_ad._current_level >= 0 and torch._C._is_fwd_grad_enabled()
                and any(forward_ad.unpack_dual(one).tangent is not None for one in tensors)):
            _refuse(operation, "forward-mode derivatives")
        return OfOperator.apply(operation, keys, *arguments) if needed else _below_autograd(operation, keys, arguments)
    return kernel


def _refuse(operation: Any, derivatives: str) -> None:
    raise NotImplementedError(
        f"fastact.torch.{operation.public}: its operator, which torch.compile calls, has no {derivatives}; accepted is "
        f"fastact.torch.{operation.public} outside of torch.compile, and torch.autograd")


def register(operations: Sequence[Any]) -> torch.library.Library:
    """Make an operator of PyTorch of each operation: for compilers, tensors without memory, and subclasses.

    Returns
    -------
    torch.library.Library
        The operators exist as long as it does.
    """
    library = torch.library.Library("fastact", "DEF")
    for one in operations:
        name = f"fastact::{one.name}"
        library.define(f"{one.name}({', '.join(one.schema)}) -> {_RETURNS[one.results]}",
                       tags=torch.Tag.pt2_compliant_tag)
        library.impl(one.name, one.value, "CPU")
        torch.library.register_fake(name, one.like, lib=library)
        library.impl(one.name, _differentiated(one), "Autograd", with_keyset=True)
        one.operator = getattr(torch.ops.fastact, one.name).default
    return library


_RETURNS = {1: "Tensor", 2: "(Tensor, Tensor)"}
