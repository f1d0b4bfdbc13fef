"""PyTorch: the operators that its autograd calls, without autograd."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from fastact.comparison.peers.packing import packed
from fastact.comparison.work import MASKS, Call, Inputs, Library, Spelling, arguments_of, bind

aten = torch.ops.aten

SELU = "1.6732632423543772 1.0507009873554805"  # alpha and scale

SLOPES = {
    dtype: torch.tensor([0.25], dtype=dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}
"""The slope of prelu as a parameter of each dtype."""


def operator(packet: Any, arguments: str) -> Spelling:
    return Spelling(packet, arguments, has_out=not {"out", "grad_input"}.isdisjoint(packet.overloads()))


def derivative(value: Any, backward: Any) -> Callable[..., Any]:
    """f'(x) from the backward that takes the output: its result for the upstream gradient 1."""

    def call(ones: Any, x: Any, out: Any = None) -> Any:
        y = value(x, out=out)
        return backward(ones, y) if out is None else backward.grad_input(ones, y, grad_input=out)

    return call


def value_and_derivative(value: Any, backward: Any) -> Callable[..., Any]:
    def call(ones: Any, x: Any, out: Any = None) -> Any:
        if out is None:
            return (y := value(x)), backward(ones, y)
        value(x, out=out[0])
        return backward.grad_input(ones, out[0], grad_input=out[1])

    return call


def softplus_and_derivative(x: Any) -> Any:
    return aten.softplus(x, 1, 20), torch.sigmoid(x)


def prelu(x: Any) -> Any:
    return torch.prelu(x, SLOPES[x.dtype])


def prelu_backward(dy: Any, x: Any) -> Any:
    return aten._prelu_kernel_backward(dy, x, SLOPES[x.dtype])[0]  # the other result is the gradient of the slope


def logsumexp_backward(dy: Any, x: Any, axis: int) -> Any:
    return torch.softmax(x, axis).mul_(dy.unsqueeze(axis))


def softmax_mse(x: Any, targets: Any) -> Any:
    p = torch.softmax(x, -1)
    difference = p - targets
    loss = difference.square().sum() / (2 * len(x))
    return loss, aten._softmax_backward_data(difference.div_(len(x)), p, -1, x.dtype)


def softmax_cross_entropy(x: Any, labels: Any) -> Any:
    logarithms = torch.log_softmax(x, -1)
    loss, weight = aten.nll_loss_forward(logarithms, labels, None, 1, -100)
    gradient = aten.nll_loss_backward(torch.ones_like(loss), logarithms, labels, None, 1, -100, weight)
    return loss, aten._log_softmax_backward_data(gradient, logarithms, -1, x.dtype)


def sigmoid_cross_entropy(x: Any, targets: Any) -> Any:
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x, targets)
    return loss, torch.sigmoid(x).sub_(targets).div_(x.numel())  # the formula of PyTorch's derivative


def sigmoid_focal(x: Any, targets: Any) -> Any:
    signs = 2 * targets - 1
    z = signs * x
    q, p, logarithms = torch.sigmoid(-z), torch.sigmoid(z), -torch.nn.functional.logsigmoid(z)
    weights = (0.25 * targets + 0.75 * (1 - targets)) * q.square()
    loss = (weights * logarithms).mean()
    return loss, (weights * (2 * p * logarithms + q)).mul_(signs).div_(-x.numel())


def sigmoid_hessian(x: Any, targets: Any) -> Any:
    p = torch.sigmoid(x)
    return p - targets, aten.sigmoid_backward(torch.ones_like(p), p)


def softmax_hessian(x: Any, labels: Any) -> Any:
    p = torch.softmax(x, -1)
    hessian = p * (1 - p)
    p[torch.arange(len(x)), labels] -= 1
    return p, hessian


def softmax_entropy(x: Any) -> Any:
    logarithms = torch.log_softmax(x, -1)
    p = logarithms.exp()
    entropies = -(p * logarithms).sum(-1)
    return entropies.mean(), logarithms.add_(entropies.unsqueeze(-1)).mul_(p).div_(-len(x))


def softmax_kl(x: Any, targets: Any) -> Any:
    logarithms, of_targets = torch.log_softmax(x, -1), torch.log_softmax(targets, -1)
    loss = torch.nn.functional.kl_div(logarithms, of_targets, reduction="batchmean", log_target=True)
    return loss, logarithms.exp_().sub_(of_targets.exp_()).div_(len(x))


def masked_softmax(x: Any, additive: Any) -> Any:
    return torch.softmax(x + additive, -1)


def sample(x: Any) -> Any:
    return torch.multinomial(torch.softmax(x, -1), 1).squeeze(-1)


SPELLINGS = {
    ("relu", "value"): Spelling(torch.clamp_min, "x 0"),
    ("relu", "derivative"): Spelling(aten.threshold_backward, "ones x 0"),
    ("relu", "backward"): Spelling(aten.threshold_backward, "dy x 0"),
    ("relu", "backward_from_output"): Spelling(aten.threshold_backward, "dy y 0"),
    ("softplus", "value"): Spelling(aten.softplus, "x 1 20"),
    ("softplus", "derivative"): Spelling(torch.sigmoid, "x"),
    ("softplus", "value_and_derivative"): Spelling(softplus_and_derivative, "x", has_out=False),
    ("softplus", "backward"): Spelling(aten.softplus_backward, "dy x 1 20"),
    ("sigmoid", "value"): Spelling(torch.sigmoid, "x"),
    ("sigmoid", "derivative"): Spelling(derivative(torch.sigmoid, aten.sigmoid_backward), "ones x"),
    ("sigmoid", "value_and_derivative"): Spelling(value_and_derivative(torch.sigmoid, aten.sigmoid_backward), "ones x"),
    ("sigmoid", "backward"): Spelling(derivative(torch.sigmoid, aten.sigmoid_backward), "dy x"),
    ("sigmoid", "backward_from_output"): Spelling(aten.sigmoid_backward, "dy y"),
    ("tanh", "value"): Spelling(torch.tanh, "x"),
    ("tanh", "derivative"): Spelling(derivative(torch.tanh, aten.tanh_backward), "ones x"),
    ("tanh", "value_and_derivative"): Spelling(value_and_derivative(torch.tanh, aten.tanh_backward), "ones x"),
    ("tanh", "backward"): Spelling(derivative(torch.tanh, aten.tanh_backward), "dy x"),
    ("tanh", "backward_from_output"): Spelling(aten.tanh_backward, "dy y"),
    ("leaky_relu", "backward_from_output"): operator(aten.leaky_relu_backward, "dy y 0.01 True"),
    ("prelu", "value"): Spelling(prelu, "x", has_out=False),
    ("prelu", "derivative"): Spelling(prelu_backward, "ones x", has_out=False),
    ("prelu", "backward"): Spelling(prelu_backward, "dy x", has_out=False),
    ("elu", "backward_from_output"): operator(aten.elu_backward, "dy 1 1 1 True y"),
    ("celu", "backward_from_output"): operator(aten.elu_backward, "dy 1 1 1 True y"),
    ("selu", "backward_from_output"): operator(aten.elu_backward, f"dy {SELU} 1 True y"),
    ("softsign", "value"): Spelling(torch.nn.functional.softsign, "x", has_out=False),
    ("tanh_shrink", "value"): Spelling(torch.nn.functional.tanhshrink, "x", has_out=False),
    ("erf", "value"): Spelling(torch.erf, "x"),
    ("exp", "value"): Spelling(torch.exp, "x"),
    ("exp", "backward_from_output"): Spelling(torch.mul, "dy y"),
    ("identity", "value"): Spelling(torch.clone, "x", has_out=False),
    ("softmin", "value"): Spelling(torch.nn.functional.softmin, "x axis", has_out=False),
    ("softmax", "value"): Spelling(aten._softmax, "x axis 0"),
    ("softmax", "backward_from_output"): Spelling(aten._softmax_backward_data, "dy y axis dtype"),
    ("log_softmax", "value"): Spelling(aten._log_softmax, "x axis 0"),
    ("log_softmax", "backward_from_output"): Spelling(aten._log_softmax_backward_data, "dy y axis dtype"),
    ("logsumexp", "value"): Spelling(torch.logsumexp, "x axis"),
    ("logsumexp", "backward"): Spelling(logsumexp_backward, "dy x axis", has_out=False),
    ("softmax_mse", "loss"): Spelling(softmax_mse, "x targets", has_out=False),
    ("softmax_cross_entropy", "loss"): Spelling(softmax_cross_entropy, "x labels", has_out=False),
    ("sigmoid_cross_entropy", "loss"): Spelling(sigmoid_cross_entropy, "x targets", has_out=False),
    ("sigmoid_focal", "loss"): Spelling(sigmoid_focal, "x targets", has_out=False),
    ("sigmoid_cross_entropy", "hessian"): Spelling(sigmoid_hessian, "x targets", has_out=False),
    ("softmax_cross_entropy", "hessian"): Spelling(softmax_hessian, "x labels", has_out=False),
    ("softmax_entropy", "loss"): Spelling(softmax_entropy, "x", has_out=False),
    ("softmax_kl", "loss"): Spelling(softmax_kl, "x targets", has_out=False),
    **{("softmax", mask): Spelling(masked_softmax, "x additive", has_out=False) for mask in MASKS},
    ("sample", "sample"): Spelling(sample, "x", has_out=False),
}

OPERATORS = (
    ("relu6", aten.hardtanh, aten.hardtanh_backward, "x 0 6", "dy x 0 6"),
    ("leaky_relu", aten.leaky_relu, aten.leaky_relu_backward, "x 0.01", "dy x 0.01 False"),
    ("threshold", aten.threshold, aten.threshold_backward, "x 1 0", "dy x 1"),
    ("elu", aten.elu, aten.elu_backward, "x 1 1 1", "dy 1 1 1 False x"),
    ("celu", aten.elu, aten.elu_backward, "x 1 1 1", "dy 1 1 1 False x"),
    ("selu", aten.elu, aten.elu_backward, f"x {SELU} 1", f"dy {SELU} 1 False x"),
    ("gelu", aten.gelu, aten.gelu_backward, "x", "dy x"),
    ("gelu_tanh", aten.gelu, aten.gelu_backward, "x approximate='tanh'", "dy x approximate='tanh'"),
    ("silu", aten.silu, aten.silu_backward, "x", "dy x"),
    ("mish", aten.mish, aten.mish_backward, "x", "dy x"),
    ("log_sigmoid", aten.log_sigmoid, aten.log_sigmoid_backward, "x", "dy x buffer"),
    ("logit", aten.logit, aten.logit_backward, "x", "dy x"),
    ("hard_sigmoid", aten.hardsigmoid, aten.hardsigmoid_backward, "x", "dy x"),
    ("hard_swish", aten.hardswish, aten.hardswish_backward, "x", "dy x"),
    ("hard_tanh", aten.hardtanh, aten.hardtanh_backward, "x -1 1", "dy x -1 1"),
    ("hard_shrink", aten.hardshrink, aten.hardshrink_backward, "x 0.5", "dy x 0.5"),
    ("soft_shrink", aten.softshrink, aten.softshrink_backward, "x 0.5", "dy x 0.5"),
)
"""Name, operators of the value and of the backward from the input, and the arguments of both."""


GATED = {
    "glu": (torch.sigmoid, lambda dy, x: aten.sigmoid_backward(dy, torch.sigmoid(x))),
    "swiglu": (aten.silu, aten.silu_backward),
    "geglu": (aten.gelu, aten.gelu_backward),
    "geglu_tanh": (
        functools.partial(aten.gelu, approximate="tanh"),
        functools.partial(aten.gelu_backward, approximate="tanh"),
    ),
    "reglu": (torch.relu, lambda dy, x: aten.threshold_backward(dy, x, 0)),
}
"""Value and backward of the activation."""


def product(value: Any, x: Any, u: Any) -> Any:
    return value(x).mul_(u)


def gradients(value: Any, backward: Any, dy: Any, x: Any, u: Any) -> tuple[Any, Any]:
    return backward(dy * u, x), value(x).mul_(dy)


def load() -> Library:
    spellings = dict(SPELLINGS)
    for name, (value, backward) in GATED.items():
        spellings[name, "value"] = Spelling(functools.partial(product, value), "x u", has_out=False)
        spellings[name, "backward"] = Spelling(functools.partial(gradients, value, backward), "dy x u", has_out=False)
    spellings |= packed(torch, spellings)
    spellings["glu", "halves"] = operator(aten.glu, "packed")
    spellings["glu", "halves_backward"] = operator(aten.glu_backward, "dy packed -1")
    for name, value, backward, value_arguments, backward_arguments in OPERATORS:
        spellings[name, "value"] = operator(value, value_arguments)
        spellings[name, "backward"] = operator(backward, backward_arguments)
        spellings[name, "derivative"] = operator(backward, backward_arguments.replace("dy", "ones"))
    return Library(torch.__version__, spellings, build, threads)


def build(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
    values, keywords = arguments_of(spelling, inputs)
    arguments = [tensors(value) for value in values]
    if out is None or not isinstance(spelling.function, torch._ops.OpOverloadPacket):
        return bind(spelling.function, *arguments, out=tensors(out), **keywords)
    # The out= form of an operator is an overload, and each has its own name for the argument.
    (overload,) = (name for name in spelling.function.overloads() if name in ("out", "grad_input"))
    chosen = getattr(spelling.function, overload)
    return functools.partial(chosen, *arguments, **keywords, **{chosen._schema.arguments[-1].name: tensors(out)})


def tensors(value: Any) -> Any:
    """Arrays as tensors on the same memory, and names of dtypes as PyTorch's dtypes; other arguments as they are."""
    if isinstance(value, tuple):
        return tuple(map(tensors, value))
    if isinstance(value, str):
        return getattr(torch, value)
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name == "bfloat16":  # the bits are those of PyTorch's bfloat16
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(value)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
