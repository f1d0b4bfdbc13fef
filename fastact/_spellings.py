"""Names of activations, for type checkers."""

# Written by tools/stubs.py.

from typing import Literal

ElementwiseName = Literal[
    "identity", "relu", "softplus", "sigmoid", "tanh", "relu6", "relu2", "leaky_relu", "prelu", "threshold",
    "hard_tanh", "hard_shrink", "soft_shrink", "softsign", "hard_sigmoid", "hard_swish", "elu", "selu", "log_sigmoid",
    "exp", "celu", "silu", "gelu_quick", "gelu", "gelu_tanh", "mish", "sparse_sigmoid", "sparse_plus", "squareplus",
    "tanh_shrink", "dish", "logit", "erf", "xielu", "gelu_clipped", "laplace", "sqrt_softplus", "ReLU", "relu_",
    "ReLU6", "LeakyReLU", "leaky_relu_", "rrelu", "RReLU", "rrelu_", "PReLU", "Threshold", "threshold_", "ELU", "elu_",
    "CELU", "celu_", "SELU", "selu_", "GELU", "SiLU", "Mish", "Softplus", "logsigmoid", "LogSigmoid", "hardsigmoid",
    "Hardsigmoid", "hardswish", "Hardswish", "hardtanh", "Hardtanh", "hardtanh_", "Softsign", "hardshrink",
    "Hardshrink", "softshrink", "Softshrink", "tanhshrink", "Tanhshrink", "Identity", "Sigmoid", "expit", "Tanh",
    "swish", "hard_silu", "soft_sign", "exponential", "linear", "Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu",
    "Celu", "Selu", "Gelu", "FastGelu", "QuickGelu", "Swish", "HardSigmoid", "HardSwish", "Shrink", "Erf", "Exp",
    "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh", "quick_gelu",
    "gelu_10", "sqrtsoftplus", "ReLU2", "gelu_approx", "gelu_fast_approx", "HardTanh", "HardShrink",
    "ReLUSquaredActivation", "NewGELU", "FastGELU", "QuickGELU", "XIELU", "gelu_erf", "log_expit", "ndtr", "logistic",
    "relu_k", "ReluK", "clipped_linear", "ClippedLinear", "hard_swish_mobilenet", "HardSwishMobilenet", "Dish",
    "Logistic", "sigmoid_activation",
]

GatedName = Literal[
    "glu", "swiglu", "geglu", "geglu_tanh", "reglu", "GLU", "SwiGLU", "silu_and_mul", "SiluAndMul",
    "silu_and_mul_with_clamp", "SiluAndMulWithClamp", "mul_and_silu", "MulAndSilu", "swigluoai_and_mul",
    "SwigluOAIAndMul", "gelu_and_mul", "GeluAndMul", "gelu_tanh_and_mul", "fatrelu_and_mul", "FatreluAndMul",
    "swiglu_split", "swiglu_swapped", "swiglu_oai", "geglu_quick", "geglu_quick_split", "geglu_quick_swapped",
    "geglu_erf", "geglu_erf_split", "geglu_erf_swapped", "geglu_split", "geglu_swapped", "reglu_split", "reglu_swapped",
]

RowwiseName = Literal[
    "softmax", "softmin", "hardmax", "log_softmax", "sparsemax", "entmax15", "Softmax", "Softmin", "LogSoftmax",
    "Hardmax", "soft_max", "Softmax_v2", "softmax_activation",
]

EntmaxName = Literal[
    "entmax",
]

RowReductionName = Literal[
    "logsumexp",
]
