"""Modules of PyTorch that compute with fastact: subclasses, with their arguments, parameters and state_dict."""

from typing import Any

import torch
from torch import Tensor, nn

from fastact.torch._exchange import is_plain, is_transformed
from fastact.torch._functions import FUNCTIONS as f
from fastact.torch._routes import is_compiling


def _computed(module: Any, function: Any, x: Tensor, *parameters: Any) -> Tensor:
    """Compute an elementwise function, in place where the module says so."""
    if not getattr(module, "inplace", False):
        return function(x, *parameters)
    if is_compiling() or is_transformed() or not is_plain(x) or (x.requires_grad and torch.is_grad_enabled()):
        return x.copy_(function(x.clone(), *parameters))
    return x.copy_(function(x, *parameters))  # which counts as a version of x


class GELU(nn.GELU):
    def forward(self, input: Tensor) -> Tensor:
        return f["gelu" if self.approximate == "none" else "gelu_tanh"](input)


class SiLU(nn.SiLU):
    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, f["silu"], input)


class Mish(nn.Mish):
    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, f["mish"], input)


class ELU(nn.ELU):
    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, f["elu"], input, self.alpha)


class CELU(nn.CELU):
    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, f["celu"], input, self.alpha)


class SELU(nn.SELU):
    def forward(self, input: Tensor) -> Tensor:
        return _computed(self, f["selu"], input)


class Softplus(nn.Softplus):
    def forward(self, input: Tensor) -> Tensor:
        if self.threshold < 20:  # there the function is not that of PyTorch
            return torch.where(input * self.beta > self.threshold, input, f["softplus"](input, self.beta))
        return f["softplus"](input, self.beta) if self.beta != 1 else f["softplus"](input)


class Tanh(nn.Tanh):
    def forward(self, input: Tensor) -> Tensor:
        return f["tanh"](input)


class Sigmoid(nn.Sigmoid):
    def forward(self, input: Tensor) -> Tensor:
        return f["sigmoid"](input)


class LogSigmoid(nn.LogSigmoid):
    def forward(self, input: Tensor) -> Tensor:
        return f["log_sigmoid"](input)


class PReLU(nn.PReLU):
    def forward(self, input: Tensor) -> Tensor:
        return f["prelu"](input, self.weight)


class Softmax(nn.Softmax):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.dim is None else f["softmax"](input, self.dim)


class LogSoftmax(nn.LogSoftmax):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.dim is None else f["log_softmax"](input, self.dim)


MODULES = {one.__base__: one for one in (GELU, SiLU, Mish, ELU, CELU, SELU, Softplus, Tanh, Sigmoid, LogSigmoid, PReLU,
                                         Softmax, LogSoftmax)}
"""Each class of PyTorch, and the one that takes its place."""


def _without_state(name: str) -> Any:
    """Make a class of modules that compute a function of its default parameters."""
    class Module(nn.Module):
        def forward(self, input: Tensor) -> Tensor:
            return f[name](input)
    Module.__name__ = Module.__qualname__ = name
    return Module


gelu, gelu_tanh, gelu_quick, silu, mish = map(_without_state, ("gelu", "gelu_tanh", "gelu_quick", "silu", "mish"))

HUGGING_FACE = {
    "GELUActivation": gelu, "NewGELUActivation": gelu_tanh, "FastGELUActivation": gelu_tanh, "GELUTanh": gelu_tanh,
    "PytorchGELUTanh": gelu_tanh, "AccurateGELUActivation": gelu_tanh, "QuickGELUActivation": gelu_quick,
    "SiLUActivation": silu, "MishActivation": mish,
}
"""Classes of transformers.activations, by name, and the one that takes the place of each."""
