"""Modules of PyTorch that compute with fastact: subclasses, with their arguments, parameters and state_dict."""

from typing import Any

import torch
from torch import Tensor, nn

import fastact
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


def _elementwise(name: str, *attributes: str) -> Any:
    """Make the method that computes a function, whose first parameters are attributes of the module."""
    function = f[name]
    defaults = [*fastact.activations[name].parameters.values()][:len(attributes)]

    def forward(self: Any, input: Tensor) -> Tensor:
        parameters = [getattr(self, one) for one in attributes]
        return _computed(self, function, input, *(parameters if parameters != defaults else ()))

    return forward


def _rows(name: str, base: Any) -> Any:
    """Make the method that computes a function along `dim`; without it PyTorch chooses, and warns."""
    function = f[name]

    def forward(self: Any, input: Tensor) -> Tensor:
        return base.forward(self, input) if self.dim is None else function(input, self.dim)

    return forward


# --------------------------------------------------------------------------------------------------------- activations

class Threshold(nn.Threshold):
    forward = _elementwise("threshold", "threshold", "value")


class ReLU(nn.ReLU):
    forward = _elementwise("relu")


class ReLU6(nn.ReLU6):
    forward = _elementwise("relu6")


class LeakyReLU(nn.LeakyReLU):
    forward = _elementwise("leaky_relu", "negative_slope")


class PReLU(nn.PReLU):
    def forward(self, input: Tensor) -> Tensor:
        return f["prelu"](input, self.weight)


class Hardtanh(nn.Hardtanh):
    forward = _elementwise("hard_tanh", "min_val", "max_val")


class Hardsigmoid(nn.Hardsigmoid):
    forward = _elementwise("hard_sigmoid")


class Hardswish(nn.Hardswish):
    forward = _elementwise("hard_swish")


class Hardshrink(nn.Hardshrink):
    forward = _elementwise("hard_shrink", "lambd")


class Softshrink(nn.Softshrink):
    forward = _elementwise("soft_shrink", "lambd")


class Tanhshrink(nn.Tanhshrink):
    forward = _elementwise("tanh_shrink")


class GELU(nn.GELU):
    def forward(self, input: Tensor) -> Tensor:
        return f["gelu" if self.approximate == "none" else "gelu_tanh"](input)


class SiLU(nn.SiLU):
    forward = _elementwise("silu")


class Mish(nn.Mish):
    forward = _elementwise("mish")


class ELU(nn.ELU):
    forward = _elementwise("elu", "alpha")


class CELU(nn.CELU):
    forward = _elementwise("celu", "alpha")


class SELU(nn.SELU):
    forward = _elementwise("selu")


class Softplus(nn.Softplus):
    def forward(self, input: Tensor) -> Tensor:
        if self.threshold < 20:  # there the function is not that of PyTorch
            return torch.where(input * self.beta > self.threshold, input, f["softplus"](input, self.beta))
        return f["softplus"](input, self.beta) if self.beta != 1 else f["softplus"](input)


class Softsign(nn.Softsign):
    forward = _elementwise("softsign")


class Tanh(nn.Tanh):
    forward = _elementwise("tanh")


class Sigmoid(nn.Sigmoid):
    forward = _elementwise("sigmoid")


class LogSigmoid(nn.LogSigmoid):
    forward = _elementwise("log_sigmoid")


class GLU(nn.GLU):
    def forward(self, input: Tensor) -> Tensor:
        return f["glu"](input, dim=self.dim)


class Softmax(nn.Softmax):
    forward = _rows("softmax", nn.Softmax)


class Softmax2d(nn.Softmax2d):
    def forward(self, input: Tensor) -> Tensor:
        return f["softmax"](input, -3) if input.ndim in (3, 4) else super().forward(input)  # which raises


class Softmin(nn.Softmin):
    forward = _rows("softmin", nn.Softmin)


class LogSoftmax(nn.LogSoftmax):
    forward = _rows("log_softmax", nn.LogSoftmax)


# -------------------------------------------------------------------------------------------------------------- losses
# In the dtype of the input, as those of PyTorch are.

class CrossEntropyLoss(nn.CrossEntropyLoss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        are_labels = self.ignore_index >= 0 or not target.is_floating_point()
        loss = f["softmax_cross_entropy"](
            input, target, 1 if input.ndim > 1 else 0, self.reduction, class_weight=self.weight,
            ignore_index=self.ignore_index if are_labels else None, label_smoothing=self.label_smoothing)
        return loss.to(input.dtype)


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if target.shape != input.shape:
            raise ValueError(f"fastact.torch.nn.BCEWithLogitsLoss: target has the shape {tuple(target.shape)}; "
                             f"accepted is that of input, {tuple(input.shape)}")
        loss = f["sigmoid_cross_entropy"](input, target, self.reduction, sample_weight=self.weight,
                                          pos_weight=self.pos_weight)
        return loss.to(input.dtype)


MODULES: dict[Any, Any] = {
    one.__base__: one for one in list(vars().values())
    if isinstance(one, type) and issubclass(one, nn.Module) and one.__module__ == __name__}
"""Each class of PyTorch, and the one that takes its place."""

WITHOUT = {
    "its slopes are random": "RReLU",
    "it has weights of its own": "MultiheadAttention LinearCrossEntropyLoss",
    "it takes log-probabilities, not logits": "NLLLoss NLLLoss2d KLDivLoss CTCLoss",
    "it takes probabilities, not logits": "BCELoss",
    "its targets are 1 and -1; those of BCEWithLogitsLoss are 1 and 0": "SoftMarginLoss",
    "it is the mean over the classes of BCEWithLogitsLoss": "MultiLabelSoftMarginLoss",
    "there is no activation in it":
        "L1Loss MSELoss SmoothL1Loss HuberLoss PoissonNLLLoss GaussianNLLLoss HingeEmbeddingLoss CosineEmbeddingLoss "
        "MarginRankingLoss MultiMarginLoss MultiLabelMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss",
}
"""The other activations and losses of torch.nn, by the reason why there is no class for them."""


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
