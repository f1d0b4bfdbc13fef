"""JAX: functions compiled by XLA, derivatives by its own autograd."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import nn
from jax.extend import backend
from jax.scipy import special

import fastact
from fastact.comparison.work import Call, Inputs, Library, Spelling

ELEMENTWISE = {
    "relu": nn.relu,
    "relu6": nn.relu6,
    "leaky_relu": nn.leaky_relu,
    "elu": nn.elu,
    "celu": nn.celu,
    "selu": nn.selu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": nn.gelu,
    "silu": nn.silu,
    "mish": nn.mish,
    "squareplus": nn.squareplus,
    "softplus": nn.softplus,
    "log_sigmoid": nn.log_sigmoid,
    "logit": special.logit,
    "hard_sigmoid": nn.hard_sigmoid,
    "hard_swish": nn.hard_swish,
    "hard_tanh": nn.hard_tanh,
    "softsign": nn.soft_sign,
    "sparse_plus": nn.sparse_plus,
    "sparse_sigmoid": nn.sparse_sigmoid,
    "erf": special.erf,
    "exp": jnp.exp,
    "identity": jnp.copy,
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
}


def softmax(x: Any, axis: int) -> Any:
    return nn.softmax(x, axis=axis)


def softmax_backward(dy: Any, y: Any, axis: int) -> Any:
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax(x: Any, axis: int) -> Any:
    return nn.log_softmax(x, axis=axis)


def log_softmax_backward(dy: Any, y: Any, axis: int) -> Any:
    return dy - jnp.exp(y) * dy.sum(axis, keepdims=True)


def logsumexp(x: Any, axis: int) -> Any:
    return nn.logsumexp(x, axis=axis)


def logsumexp_backward(dy: Any, x: Any, axis: int) -> Any:
    return jax.vjp(lambda x: nn.logsumexp(x, axis=axis), x)[1](dy)[0]


def softmax_mse(x: Any, targets: Any) -> Any:
    return jax.value_and_grad(lambda x: jnp.square(nn.softmax(x) - targets).sum() / (2 * len(x)))(x)


def softmax_cross_entropy(x: Any, labels: Any) -> Any:
    rows = jnp.arange(len(x))
    return jax.value_and_grad(lambda x: -nn.log_softmax(x)[rows, labels].mean())(x)


def sigmoid_cross_entropy(x: Any, targets: Any) -> Any:
    return jax.value_and_grad(
        lambda x: -(targets * nn.log_sigmoid(x) + (1 - targets) * nn.log_sigmoid(-x)).mean())(x)


def derivative(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.vjp(function, x)[1](jnp.ones_like(x))[0]


def value_and_derivative(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: (function(x), jax.vjp(function, x)[1](jnp.ones_like(x))[0])


def backward(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dy, x: jax.vjp(function, x)[1](dy)[0]


def product(function: Callable[..., Any], x: Any, u: Any) -> Any:
    return function(x) * u


def gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dy, x, u: jax.vjp(function, x, u)[1](dy)


def load() -> Library:
    jax.config.update("jax_enable_x64", True)  # float64 is computed in float64; float32 stays float32
    spellings = {
        ("softmax", "value"): Spelling(softmax, "x axis"),
        ("softmax", "backward_from_output"): Spelling(softmax_backward, "dy y axis"),
        ("log_softmax", "value"): Spelling(log_softmax, "x axis"),
        ("log_softmax", "backward_from_output"): Spelling(log_softmax_backward, "dy y axis"),
        ("logsumexp", "value"): Spelling(logsumexp, "x axis"),
        ("logsumexp", "backward"): Spelling(logsumexp_backward, "dy x axis"),
        ("softmax_mse", "loss"): Spelling(softmax_mse, "x targets"),
        ("softmax_cross_entropy", "loss"): Spelling(softmax_cross_entropy, "x labels"),
        ("sigmoid_cross_entropy", "loss"): Spelling(sigmoid_cross_entropy, "x targets"),
    }
    for name, function in ELEMENTWISE.items():
        spellings[name, "value"] = Spelling(function, "x")
        spellings[name, "derivative"] = Spelling(derivative(function), "x")
        spellings[name, "value_and_derivative"] = Spelling(value_and_derivative(function), "x")
        spellings[name, "backward"] = Spelling(backward(function), "dy x")
    for name, gated in fastact.activations.items():
        if isinstance(gated, fastact.Gated) and (function := ELEMENTWISE.get(gated.activation.name)):
            value = functools.partial(product, function)
            spellings[name, "value"] = Spelling(value, "x u")
            spellings[name, "backward"] = Spelling(gradients(value), "dy x u")
    fresh = {key: spelling._replace(has_out=False) for key, spelling in spellings.items()}
    return Library(jax.__version__, fresh, build, threads)


def build(spelling: Spelling, inputs: Inputs, out: Any) -> Call:
    words = spelling.arguments.split()
    function = functools.partial(spelling.function, axis=inputs.axis) if "axis" in words else spelling.function
    arguments = [jax.device_put(inputs.named(word)) for word in words if word != "axis"]
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arguments))


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    # XLA reads the number of its threads from this variable when a backend is created.
    before = os.environ.get("NPROC")
    os.environ["NPROC"] = str(count)
    backend.clear_backends()
    try:
        yield
    finally:
        del os.environ["NPROC"]
        if before is not None:
            os.environ["NPROC"] = before
        backend.clear_backends()
