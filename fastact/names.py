"""The names that other libraries have for the activations: data only, read by `fastact.get` (lookup.py).

A spelling is the name of an activation in a library. If the library has other defaults, `get` returns the activation of
the catalogue with those defaults (`Elementwise.with_defaults`). That is an Elementwise like any other, with the same
kernels and ufuncs; it prints, compares and pickles with its defaults. At a kink its derivative is the right-hand one,
whichever the library uses.

If a library requires an argument that has a default here (PyTorch: the threshold of `threshold`, the axis of
`softmax`), the default stays. `LEFT_OUT` has the spellings that no default can express. `get` raises for them and gives
the reason, because the activation of the same name would return other numbers.
"""

CONVENTIONS = {
    "torch": "functions of torch, torch.special and torch.nn.functional, modules of torch.nn",
    "jax": "functions of jax.nn, jax.numpy and jax.scipy.special",
    "keras": "functions of keras.activations, layers of keras.layers",
    "onnx": "operators",
    "transformers": "keys of transformers.activations.ACT2FN",
    "scipy": "functions of scipy.special",
    "sklearn": "activations of sklearn.neural_network, including those of an MLPClassifier's output",
    "thinc": "methods of thinc.backends.Ops; the activation of layers of thinc.layers, without their affine map",
}
"""The libraries, by their import name, and what their spellings refer to."""

SPELLINGS = {
    "relu": {
        "torch": "relu ReLU",
        "jax": "relu",
        "keras": "relu ReLU",
        "onnx": "Relu",
        "transformers": "relu",
        "sklearn": "relu",
        "thinc": "relu Relu",
    },
    "relu6": {
        "torch": "relu6 ReLU6",
        "jax": "relu6",
        "keras": "relu6",
        "transformers": "relu6",
        "thinc": "relu_k ReluK",
    },
    "relu2": {"transformers": "relu2"},
    "leaky_relu": {
        "torch": "leaky_relu LeakyReLU",
        "jax": "leaky_relu",
        "keras": "leaky_relu LeakyReLU",
        "onnx": "LeakyRelu",
        "transformers": "leaky_relu",
    },
    "prelu": {"torch": "prelu PReLU", "keras": "PReLU", "onnx": "PRelu", "transformers": "prelu"},
    "threshold": {"torch": "threshold Threshold", "keras": "threshold", "onnx": "ThresholdedRelu"},
    "elu": {"torch": "elu ELU", "jax": "elu", "keras": "elu ELU", "onnx": "Elu"},
    "celu": {"torch": "celu CELU", "jax": "celu", "keras": "celu", "onnx": "Celu"},
    "selu": {"torch": "selu SELU", "jax": "selu", "keras": "selu", "onnx": "Selu"},
    "gelu": {
        "torch": "gelu GELU",
        "keras": "gelu",
        "onnx": "Gelu",
        "transformers": "gelu gelu_python",
        "thinc": "gelu Gelu",
    },
    "gelu_tanh": {
        "jax": "gelu",
        "transformers": "gelu_new gelu_fast gelu_accurate gelu_pytorch_tanh gelu_python_tanh",
        "thinc": "gelu_approx",
    },
    "gelu_quick": {"transformers": "quick_gelu"},
    "silu": {
        "torch": "silu SiLU",
        "jax": "silu swish",
        "keras": "silu swish",
        "onnx": "Swish",
        "transformers": "silu swish",
        "thinc": "swish Swish",
    },
    "mish": {
        "torch": "mish Mish",
        "jax": "mish",
        "keras": "mish",
        "onnx": "Mish",
        "transformers": "mish",
        "thinc": "mish Mish",
    },
    "squareplus": {"jax": "squareplus", "keras": "squareplus"},
    "softplus": {
        "torch": "softplus Softplus",
        "jax": "softplus",
        "keras": "softplus",
        "onnx": "Softplus",
        "scipy": "softplus",
    },
    "log_sigmoid": {
        "torch": "logsigmoid LogSigmoid",
        "jax": "log_sigmoid",
        "keras": "log_sigmoid",
        "scipy": "log_expit",
    },
    "logit": {"torch": "logit", "jax": "logit", "scipy": "logit"},
    "hard_sigmoid": {
        "torch": "hardsigmoid Hardsigmoid",
        "jax": "hard_sigmoid",
        "keras": "hard_sigmoid",
        "onnx": "HardSigmoid",
        "thinc": "hard_sigmoid HardSigmoid clipped_linear ClippedLinear",
    },
    "hard_swish": {
        "torch": "hardswish Hardswish",
        "jax": "hard_swish hard_silu",
        "keras": "hard_swish hard_silu",
        "onnx": "HardSwish",
        "transformers": "hardswish",
        "thinc": "hard_swish_mobilenet HardSwishMobilenet",
    },
    "hard_tanh": {
        "torch": "hardtanh Hardtanh",
        "jax": "hard_tanh",
        "keras": "hard_tanh",
        "thinc": "hard_tanh HardTanh",
    },
    "softsign": {"torch": "softsign Softsign", "jax": "soft_sign", "keras": "softsign", "onnx": "Softsign"},
    "hard_shrink": {"torch": "hardshrink Hardshrink", "keras": "hard_shrink", "onnx": "Shrink"},
    "soft_shrink": {"torch": "softshrink Softshrink", "keras": "soft_shrink"},
    "tanh_shrink": {"torch": "tanhshrink Tanhshrink", "keras": "tanh_shrink"},
    "glu": {"torch": "glu GLU", "jax": "glu", "keras": "glu"},
    "sparse_plus": {"jax": "sparse_plus", "keras": "sparse_plus"},
    "sparse_sigmoid": {"jax": "sparse_sigmoid", "keras": "sparse_sigmoid"},
    "gelu_clipped": {"transformers": "gelu_10"},
    "laplace": {"transformers": "laplace", "scipy": "ndtr"},
    "sqrt_softplus": {"transformers": "sqrtsoftplus"},
    "dish": {"thinc": "dish Dish"},
    "xielu": {"transformers": "xielu"},
    "erf": {"torch": "erf", "jax": "erf", "onnx": "Erf", "scipy": "erf", "thinc": "erf"},
    "exp": {"torch": "exp", "jax": "exp", "keras": "exponential", "onnx": "Exp", "sklearn": "exp"},
    "identity": {
        "torch": "Identity",
        "jax": "identity",
        "keras": "linear",
        "onnx": "Identity",
        "transformers": "linear",
        "sklearn": "identity",
    },
    "sigmoid": {
        "torch": "sigmoid Sigmoid expit",
        "jax": "sigmoid expit",
        "keras": "sigmoid",
        "onnx": "Sigmoid",
        "transformers": "sigmoid",
        "scipy": "expit",
        "sklearn": "logistic",
        "thinc": "sigmoid Sigmoid Logistic sigmoid_activation",
    },
    "tanh": {
        "torch": "tanh Tanh",
        "jax": "tanh",
        "keras": "tanh",
        "onnx": "Tanh",
        "transformers": "tanh",
        "sklearn": "tanh",
    },
    "softmax": {
        "torch": "softmax Softmax",
        "jax": "softmax",
        "keras": "softmax Softmax",
        "onnx": "Softmax",
        "sklearn": "softmax",
        "thinc": "softmax Softmax Softmax_v2 softmax_activation",
    },
    "softmin": {"torch": "softmin Softmin"},
    "hardmax": {"onnx": "Hardmax"},
    "log_softmax": {
        "torch": "log_softmax LogSoftmax",
        "jax": "log_softmax",
        "keras": "log_softmax",
        "onnx": "LogSoftmax",
    },
    "logsumexp": {"torch": "logsumexp"},
}
"""For each activation, the spellings of each library that has it."""

DEFAULTS = {
    ("keras", "leaky_relu"): {"negative_slope": 0.2},
    ("keras", "LeakyReLU"): {"negative_slope": 0.3},
    ("keras", "PReLU"): {"negative_slope": 0.0},
    ("onnx", "HardSigmoid"): {"slope": 0.2},
    ("scipy", "ndtr"): {"mu": 0.0, "sigma": 1.0},
    ("thinc", "hard_sigmoid"): {"slope": 0.2},
    ("thinc", "HardSigmoid"): {"slope": 0.2},
    ("thinc", "clipped_linear"): {"slope": 1.0, "offset": 0.0},
    ("thinc", "ClippedLinear"): {"slope": 1.0, "offset": 0.0},
}
"""The defaults of spellings, where they differ from the catalogue."""

_ALL_AXES = "treats all axes as one row by default; accepted is fastact.{}(x, axis=None)"
_HARD_SWISH = "is x times a hard sigmoid of slope 0.2, which fastact does not have; accepted is hard_swish_mobilenet"
LEFT_OUT = {
    ("scipy", "softmax"): _ALL_AXES.format("softmax"),
    ("scipy", "log_softmax"): _ALL_AXES.format("log_softmax"),
    ("scipy", "logsumexp"): _ALL_AXES.format("logsumexp"),
    ("jax", "logsumexp"): _ALL_AXES.format("logsumexp"),
    ("keras", "logsumexp"): _ALL_AXES.format("logsumexp"),
    ("onnx", "ReduceLogSumExp"): _ALL_AXES.format("logsumexp"),
    ("thinc", "hard_swish"): _HARD_SWISH,
    ("thinc", "HardSwish"): _HARD_SWISH,
}
"""Spellings that no activation with other defaults expresses: what they mean, and what to write instead."""
