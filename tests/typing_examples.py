"""What type checkers know of calls: mypy and pyright read this file, and tests/test_typing.py runs it."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastact
from fastact import Elementwise, Entmax, Gated, RowReduction, Rowwise, scipy_special

x16: NDArray[np.float16] = np.linspace(-2, 2, 6, dtype=np.float16)
x32: NDArray[np.float32] = np.linspace(-2, 2, 6, dtype=np.float32)
x64: NDArray[np.float64] = np.linspace(-2, 2, 6)
y32: NDArray[np.float32] = np.tanh(x32)
narrow: NDArray[np.float32] = np.empty_like(x32)
wide: NDArray[np.float64] = np.empty_like(x64)
mask = np.ones(6, dtype=bool)


def names() -> None:
    assert_type(fastact.get("gelu"), Elementwise)
    assert_type(fastact.get("gelu_new"), Elementwise)
    assert_type(fastact.get("LeakyReLU", convention="keras"), Elementwise)
    assert_type(fastact.get("swiglu"), Gated)
    assert_type(fastact.get("silu_and_mul", "vllm"), Gated)
    assert_type(fastact.get("softmax"), Rowwise)
    assert_type(fastact.get("LogSoftmax"), Rowwise)
    assert_type(fastact.get("entmax"), Entmax)
    assert_type(fastact.get("logsumexp"), RowReduction)
    assert_type(fastact.gelu, Elementwise)
    assert_type(fastact.ufuncs.gelu, np.ufunc)
    assert_type(fastact.ufuncs.softplus_backward_beta, np.ufunc)
    for name in fastact.activations:
        assert_type(fastact.get(name), fastact.Activation)


def elementwise() -> None:
    assert_type(fastact.gelu(x16), NDArray[np.float16])
    assert_type(fastact.gelu(x32), NDArray[np.float32])
    assert_type(fastact.gelu(x64), NDArray[np.float64])
    assert_type(fastact.gelu(1.5), np.float64)
    assert_type(fastact.gelu(2), np.float64)
    assert_type(fastact.gelu([1.0, 2.0]), Any)
    assert_type(fastact.gelu(x32, out=narrow, where=mask), NDArray[np.float32])
    assert_type(fastact.gelu(x32, dtype=np.float64), Any)
    assert_type(fastact.gelu(x32, out=wide), NDArray[np.float64])
    assert_type(fastact.leaky_relu(x32, 0.2), NDArray[np.float32])
    assert_type(fastact.leaky_relu(x32, negative_slope=0.2), NDArray[np.float32])
    assert_type(fastact.leaky_relu(x32, x32), NDArray[np.float32])
    assert_type(fastact.leaky_relu(x32, x64), Any)
    assert_type(fastact.leaky_relu(-1.0, 0.2), np.float64)
    assert_type(fastact.get("gelu").derivative(x32), NDArray[np.float32])
    assert_type(fastact.gelu.derivative(0.5), np.float64)
    assert_type(fastact.softplus.derivative(x16, beta=2.0), NDArray[np.float16])
    assert_type(fastact.gelu.value_and_derivative(x32), tuple[NDArray[np.float32], NDArray[np.float32]])
    assert_type(fastact.gelu.value_and_derivative(0.5), tuple[np.float64, np.float64])
    assert_type(fastact.gelu.backward(x32, x32), NDArray[np.float32])
    assert_type(fastact.gelu.backward(1.0, x32), NDArray[np.float32])
    assert_type(fastact.gelu.backward(x32, x64), Any)
    assert_type(fastact.gelu.backward(1.0, 0.5), np.float64)
    assert_type(fastact.tanh.backward(x32, output=y32), NDArray[np.float32])
    assert_type(fastact.tanh.backward(x32, output=y32, out=narrow), NDArray[np.float32])
    assert_type(fastact.prelu.backward_parameter(x32, x32), Any)


def gated() -> None:
    assert_type(fastact.swiglu(x32, x32), NDArray[np.float32])
    assert_type(fastact.swiglu(x32), NDArray[np.float32])
    assert_type(fastact.swiglu(x32, axis=0, limit=7.0), NDArray[np.float32])
    assert_type(fastact.swiglu(x32, x32, out=wide), NDArray[np.float64])
    assert_type(fastact.swiglu(1.0, 2.0), np.float64)
    assert_type(fastact.swiglu([1.0, 2.0]), Any)
    assert_type(fastact.swiglu.backward(x32, x32, x32), tuple[NDArray[np.float32], NDArray[np.float32]])
    assert_type(fastact.swiglu.backward(x32[:3], x32), NDArray[np.float32])


def rows() -> None:
    assert_type(fastact.softmax(x16), NDArray[np.float16])
    assert_type(fastact.softmax(x32, axis=0, temperature=0.5), NDArray[np.float32])
    assert_type(fastact.softmax(x64, None, where=mask), NDArray[np.float64])
    assert_type(fastact.softmax([1.0, 2.0]), Any)
    assert_type(fastact.softmax(x32, dtype=np.float64), Any)
    assert_type(fastact.softmax(x32, out=narrow), NDArray[np.float32])
    assert_type(fastact.softmax(x32, sink=0.0, return_lse=True), tuple[NDArray[np.float32], Any])
    assert_type(fastact.softmax.backward(x32, x32), NDArray[np.float32])
    assert_type(fastact.softmax.backward(x32, output=fastact.softmax(x32)), NDArray[np.float32])
    assert_type(fastact.softmax.jacobian(x32), NDArray[np.float32])
    assert_type(fastact.entmax(x32, alpha=1.2), NDArray[np.float32])
    assert_type(fastact.entmax.backward(x32, x32, alpha=1.2), NDArray[np.float32])
    assert_type(fastact.logsumexp(x32), Any)
    assert_type(fastact.logsumexp(x32, None), np.float32)
    assert_type(fastact.logsumexp(x32, keepdims=True), NDArray[np.float32])
    assert_type(fastact.logsumexp.backward(1.0, x32), NDArray[np.float32])


def of_scipy() -> None:
    assert_type(scipy_special.expit(x32), NDArray[np.float32])
    assert_type(scipy_special.expit(x32, wide), NDArray[np.float64])
    assert_type(scipy_special.logit(0.5), np.float64)
    assert_type(scipy_special.softmax(x32), NDArray[np.float32])
    assert_type(scipy_special.log_softmax([1.0, 2.0]), Any)
    assert_type(scipy_special.logsumexp(x32, axis=0, b=x32), Any)
    assert_type(scipy_special.logsumexp(x32, b=x32, return_sign=True), tuple[Any, Any])
