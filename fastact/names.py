"""The names that other libraries have for the activations: data only, read by `fastact.get` (lookup.py).

A spelling is the name of an activation in a library. If the library has other defaults, or another layout of a packed
array, the spelling has options, and `get` returns the activation of the catalogue with them (`with_defaults`). That is
an activation like any other, with the same kernels and ufuncs; it prints, compares and pickles with its defaults.
`KINKS` has the libraries' derivatives at kinks. An activation that works in place there is a call with ``out=x`` here,
and one that is random while it trains is what it is otherwise.

If a library requires an argument that has a default here (PyTorch: the threshold of `threshold`, the axis of
`softmax`; vLLM: the limit of `silu_and_mul_with_clamp`), the default stays. `NOT_OFFERED` has the names that no options
can express. `get` raises for them and gives the reason; the activation of the same name would return other numbers.
"""

from collections.abc import Mapping
from typing import Any

Options = Mapping[str, Any]  # numbers, and for a gated activation the words `gate` and `layout`

CONVENTIONS = {
    "torch": "functions of torch, torch.special and torch.nn.functional, modules of torch.nn",
    "jax": "functions of jax.nn, jax.numpy and jax.scipy.special",
    "keras": "functions of keras.activations, layers of keras.layers",
    "tensorflow": "functions of tf, tf.math and tf.nn",
    "onnx": "operators, those of ONNX Runtime included",
    "transformers": "keys of transformers.activations.ACT2FN",
    "mlx": "functions and layers of mlx.nn, functions of mlx.core",
    "vllm": "operators, and classes and keys of vllm.model_executor.layers.activation; FlashInfer and SGLang have some",
    "ggml": "functions, without the prefix ggml_ and the suffix _inplace",
    "scipy": "functions of scipy.special",
    "sklearn": "activations of sklearn.neural_network, including those of an MLPClassifier's output",
    "thinc": "methods of thinc.backends.Ops; the activation of layers of thinc.layers, without their affine map",
}
"""The libraries, by their import name, and what their spellings refer to."""

SPELLINGS: dict[str, dict[str, str | dict[str, Options]]] = {
    "relu": {
        "torch": "relu ReLU relu_", "jax": "relu", "keras": "relu ReLU", "tensorflow": "relu", "onnx": "Relu",
        "transformers": "relu", "mlx": "relu ReLU", "vllm": "relu", "ggml": "relu", "sklearn": "relu",
        "thinc": "relu Relu",
    },
    "relu6": {
        "torch": "relu6 ReLU6", "jax": "relu6", "keras": "relu6", "tensorflow": "relu6", "transformers": "relu6",
        "mlx": "relu6 ReLU6", "thinc": "relu_k ReluK",
    },
    "relu2": {"transformers": "relu2", "mlx": "relu2 ReLU2", "vllm": "relu2 ReLUSquaredActivation"},
    "leaky_relu": {
        "torch": {"leaky_relu LeakyReLU leaky_relu_": {}, "rrelu RReLU rrelu_": {"negative_slope": 11 / 48}},
        "jax": "leaky_relu", "keras": {"leaky_relu": {"negative_slope": 0.2}, "LeakyReLU": {"negative_slope": 0.3}},
        "tensorflow": {"leaky_relu": {"negative_slope": 0.2}}, "onnx": "LeakyRelu", "transformers": "leaky_relu",
        "mlx": "leaky_relu LeakyReLU", "ggml": "leaky_relu",
    },
    "prelu": {
        "torch": "prelu PReLU", "keras": {"PReLU": {"negative_slope": 0.0}}, "onnx": "PRelu", "transformers": "prelu",
        "mlx": "prelu PReLU",
    },
    "threshold": {"torch": "threshold Threshold threshold_", "keras": "threshold", "onnx": "ThresholdedRelu"},
    "elu": {
        "torch": "elu ELU elu_", "jax": "elu", "keras": "elu ELU", "tensorflow": "elu", "onnx": "Elu", "mlx": "elu ELU",
        "ggml": "elu",
    },
    "celu": {"torch": "celu CELU celu_", "jax": "celu", "keras": "celu", "onnx": "Celu", "mlx": "celu CELU"},
    "selu": {
        "torch": "selu SELU selu_", "jax": "selu", "keras": "selu", "tensorflow": "selu", "onnx": "Selu",
        "mlx": "selu SELU",
    },
    "gelu": {
        "torch": "gelu GELU", "keras": "gelu", "tensorflow": "gelu", "onnx": "Gelu", "transformers": "gelu gelu_python",
        "mlx": "gelu GELU", "vllm": "gelu GELU", "ggml": "gelu_erf", "thinc": "gelu Gelu",
    },
    "gelu_tanh": {
        "jax": "gelu", "onnx": "FastGelu",
        "transformers": "gelu_new gelu_fast gelu_accurate gelu_pytorch_tanh gelu_python_tanh", "mlx": "gelu_approx",
        "vllm": "gelu_new gelu_fast gelu_pytorch_tanh NewGELU FastGELU", "ggml": "gelu", "thinc": "gelu_approx",
    },
    "gelu_quick": {
        "onnx": "QuickGelu", "transformers": "quick_gelu", "mlx": "gelu_fast_approx", "vllm": "quick_gelu QuickGELU",
        "ggml": "gelu_quick",
    },
    "silu": {
        "torch": "silu SiLU", "jax": "silu swish", "keras": "silu swish", "tensorflow": "silu swish", "onnx": "Swish",
        "transformers": "silu swish", "mlx": "silu SiLU", "vllm": "silu", "ggml": "silu", "thinc": "swish Swish",
    },
    "mish": {
        "torch": "mish Mish", "jax": "mish", "keras": "mish", "onnx": "Mish", "transformers": "mish",
        "mlx": "mish Mish", "thinc": "mish Mish",
    },
    "squareplus": {"jax": "squareplus", "keras": "squareplus"},
    "softplus": {
        "torch": "softplus Softplus", "jax": "softplus", "keras": "softplus", "tensorflow": "softplus",
        "onnx": "Softplus", "mlx": "softplus Softplus", "ggml": "softplus", "scipy": "softplus",
    },
    "log_sigmoid": {
        "torch": "logsigmoid LogSigmoid", "jax": "log_sigmoid", "keras": "log_sigmoid", "tensorflow": "log_sigmoid",
        "mlx": "log_sigmoid LogSigmoid", "scipy": "log_expit",
    },
    "logit": {"torch": "logit", "jax": "logit", "scipy": "logit"},
    "hard_sigmoid": {
        "torch": "hardsigmoid Hardsigmoid", "jax": "hard_sigmoid", "keras": "hard_sigmoid",
        "onnx": {"HardSigmoid": {"slope": 0.2}}, "ggml": "hardsigmoid",
        "thinc": {
            "hard_sigmoid HardSigmoid": {"slope": 0.2},
            "clipped_linear ClippedLinear": {"slope": 1.0, "offset": 0.0},
        },
    },
    "hard_swish": {
        "torch": "hardswish Hardswish", "jax": "hard_swish hard_silu", "keras": "hard_swish hard_silu",
        "onnx": "HardSwish", "transformers": "hardswish", "mlx": "hardswish Hardswish", "ggml": "hardswish",
        "thinc": "hard_swish_mobilenet HardSwishMobilenet",
    },
    "hard_tanh": {
        "torch": "hardtanh Hardtanh hardtanh_", "jax": "hard_tanh", "keras": "hard_tanh", "mlx": "hard_tanh HardTanh",
        "thinc": "hard_tanh HardTanh",
    },
    "softsign": {
        "torch": "softsign Softsign", "jax": "soft_sign", "keras": "softsign", "tensorflow": "softsign",
        "onnx": "Softsign", "mlx": "softsign Softsign",
    },
    "hard_shrink": {
        "torch": "hardshrink Hardshrink", "keras": "hard_shrink", "onnx": "Shrink", "mlx": "hard_shrink HardShrink",
    },
    "soft_shrink": {"torch": "softshrink Softshrink", "keras": "soft_shrink", "mlx": "softshrink Softshrink"},
    "tanh_shrink": {"torch": "tanhshrink Tanhshrink", "keras": "tanh_shrink"},
    "glu": {"torch": "glu GLU", "jax": "glu", "keras": "glu", "mlx": "glu GLU"},
    "swiglu": {
        "onnx": "SwiGLU",
        "vllm": {
            "silu_and_mul SiluAndMul silu_and_mul_with_clamp SiluAndMulWithClamp": {},
            "mul_and_silu MulAndSilu": {"gate": "second"},
            "swigluoai_and_mul SwigluOAIAndMul": {"beta": 1.702, "limit": 7.0, "offset": 1.0, "layout": "interleaved"},
        },
        "ggml": {
            "swiglu swiglu_split": {},
            "swiglu_swapped": {"gate": "second"},
            "swiglu_oai": {"beta": 1.702, "limit": 7.0, "offset": 1.0},
            "geglu_quick geglu_quick_split": {"beta": 1.702},
            "geglu_quick_swapped": {"beta": 1.702, "gate": "second"},
        },
    },
    "geglu": {
        "vllm": "gelu_and_mul GeluAndMul",
        "ggml": {"geglu_erf geglu_erf_split": {}, "geglu_erf_swapped": {"gate": "second"}},
    },
    "geglu_tanh": {
        "vllm": "gelu_tanh_and_mul", "ggml": {"geglu geglu_split": {}, "geglu_swapped": {"gate": "second"}},
    },
    "reglu": {
        "vllm": "fatrelu_and_mul FatreluAndMul", "ggml": {"reglu reglu_split": {}, "reglu_swapped": {"gate": "second"}},
    },
    "sparse_plus": {"jax": "sparse_plus", "keras": "sparse_plus"},
    "sparse_sigmoid": {"jax": "sparse_sigmoid", "keras": "sparse_sigmoid"},
    "gelu_clipped": {"transformers": "gelu_10"},
    "laplace": {"transformers": "laplace", "scipy": {"ndtr": {"mu": 0.0, "sigma": 1.0}}},
    "sqrt_softplus": {"transformers": "sqrtsoftplus"},
    "dish": {"thinc": "dish Dish"},
    "xielu": {"transformers": "xielu", "vllm": "xielu XIELU", "ggml": "xielu"},
    "erf": {
        "torch": "erf", "jax": "erf", "tensorflow": "erf", "onnx": "Erf", "mlx": "erf", "scipy": "erf", "thinc": "erf",
    },
    "exp": {
        "torch": "exp", "jax": "exp", "keras": "exponential", "tensorflow": "exp", "onnx": "Exp", "mlx": "exp",
        "ggml": "exp", "sklearn": "exp",
    },
    "identity": {
        "torch": "Identity", "jax": "identity", "keras": "linear", "tensorflow": "identity", "onnx": "Identity",
        "transformers": "linear", "mlx": "Identity", "sklearn": "identity",
    },
    "sigmoid": {
        "torch": "sigmoid Sigmoid expit", "jax": "sigmoid expit", "keras": "sigmoid", "tensorflow": "sigmoid",
        "onnx": "Sigmoid", "transformers": "sigmoid", "mlx": "sigmoid Sigmoid", "vllm": "sigmoid", "ggml": "sigmoid",
        "scipy": "expit", "sklearn": "logistic", "thinc": "sigmoid Sigmoid Logistic sigmoid_activation",
    },
    "tanh": {
        "torch": "tanh Tanh", "jax": "tanh", "keras": "tanh", "tensorflow": "tanh", "onnx": "Tanh",
        "transformers": "tanh", "mlx": "tanh Tanh", "vllm": "tanh", "ggml": "tanh", "sklearn": "tanh",
    },
    "softmax": {
        "torch": "softmax Softmax", "jax": "softmax", "keras": "softmax Softmax", "tensorflow": "softmax",
        "onnx": "Softmax", "mlx": "softmax Softmax", "ggml": "soft_max", "sklearn": "softmax",
        "thinc": "softmax Softmax Softmax_v2 softmax_activation",
    },
    "softmin": {"torch": "softmin Softmin", "mlx": "softmin Softmin"},
    "hardmax": {"onnx": "Hardmax"},
    "log_softmax": {
        "torch": "log_softmax LogSoftmax", "jax": "log_softmax", "keras": "log_softmax", "tensorflow": "log_softmax",
        "onnx": "LogSoftmax", "mlx": "log_softmax LogSoftmax",
    },
    "logsumexp": {"torch": "logsumexp"},
}
"""For each activation, the spellings of each library that has it: words, or words with their options."""

KINKS: dict[str, dict[str, str]] = {
    "torch": {
        "left": "relu leaky_relu prelu threshold elu selu",
        "left right": "relu6 hard_tanh hard_sigmoid hard_swish",
        "right left": "hard_shrink soft_shrink logit",
    },
    "jax": {
        "left": "relu elu selu",
        "left right": "relu6 hard_sigmoid hard_swish",
        "right left": "hard_tanh",
        "mean mean": "sparse_sigmoid",
    },
    "keras": {
        "left": "relu threshold elu",
        "left right": "relu6 hard_sigmoid hard_swish",
        "right left": "hard_shrink soft_shrink",
    },
    "tensorflow": {"left": "relu leaky_relu", "left right": "relu6"},
    "transformers": {
        "left": "relu leaky_relu prelu",
        "left right": "relu6 hard_swish",
        "mean left": "xielu",
    },
    "mlx": {
        "left": "relu elu selu",
        "left right": "relu6 hard_tanh hard_swish",
        "right left": "hard_shrink soft_shrink",
    },
    "sklearn": {"left": "relu"},
    "thinc": {
        "left": "relu",
        "left right": "relu6 hard_tanh hard_sigmoid",
        "right left": "hard_swish",
    },
}
"""For each library, which derivative activations have at their kinks, from the first to the last: that of the piece to
the left or to the right, or the mean of both. Where nothing is said it is the right-hand one.

All were measured in the libraries, but for those of TensorFlow, which are read from its gradient kernels, and of
Transformers, whose functions other than `xielu` are those of PyTorch. Keras has those of its backend: here are the ones
on which PyTorch, JAX and TensorFlow agree, which `leaky_relu`, `hard_tanh`, `selu` and `sparse_sigmoid` are not. PReLU
of Keras and `prelu` and `celu` of MLX have other numbers at 0 and keep the right-hand derivative. ONNX, ggml, vLLM and
SciPy give no derivatives.
"""

NOT_OFFERED: dict[str, dict[str, str]] = {
    "treats all axes as one row by default; accepted is fastact.softmax(x, axis=None)": {"scipy": "softmax"},
    "treats all axes as one row by default; accepted is fastact.log_softmax(x, axis=None)": {"scipy": "log_softmax"},
    "treats all axes as one row by default; accepted is fastact.logsumexp(x, axis=None)": {
        "jax": "logsumexp", "keras": "logsumexp", "tensorflow": "reduce_logsumexp", "onnx": "ReduceLogSumExp",
        "mlx": "logsumexp", "scipy": "logsumexp",
    },
    "is a softmax along the third axis from the end; accepted is fastact.softmax(x, axis=-3)": {"torch": "Softmax2d"},
    "is a softmax of several rows in one; accepted is fastact.softmax of each": {
        "thinc": "softmax_sequences MultiSoftmax",
    },
    "adds random noise; accepted is fastact.softmax(x + noise, temperature=tau)": {"torch": "gumbel_softmax"},
    "divides the sum by the number of entries; accepted is fastact.logsumexp(x) - np.log(n)": {"jax": "logmeanexp"},
    "is a logarithm of a difference; accepted is np.log(-np.expm1(-x))": {"jax": "log1mexp"},
    "adds up to 1 only where one entry is positive or all entries are equal, with a threshold from sums of sums (Keras "
    "3.15); accepted is fastact.sparsemax(x)": {"keras": "sparsemax"},
    "clips to limits without defaults; accepted is fastact.hard_tanh(x, min_value, max_value)": {
        "torch": "clamp clip", "tensorflow": "clip_by_value", "onnx": "Clip", "mlx": "clip", "ggml": "clamp",
    },
    "is x times a hard sigmoid of slope 0.2, which fastact does not have; accepted is hard_swish_mobilenet": {
        "thinc": "hard_swish HardSwish",
    },
    "is a step, whose derivative is 0; accepted is np.where(x > threshold, 1, 0)": {"mlx": "step Step", "ggml": "step"},
    "joins relu(x) and relu(-x); accepted is np.concatenate((fastact.relu(x), fastact.relu(-x)), -1)": {
        "tensorflow": "crelu",
    },
    "is the largest of several affine maps; accepted is np.max of them": {"thinc": "maxout Maxout"},
    "clips the product's factors after the activation, which fastact does not have": {
        "vllm": "swiglustep_and_mul SwigluStepAndMul",
    },
    "drops gates below a threshold of each row, which fastact does not have": {
        "vllm": "gelu_and_mul_sparse GeluAndMulSparse",
    },
    "adds a bias first; accepted is fastact.gelu(x + bias)": {"onnx": "BiasGelu"},
    "adds a bias first; accepted is fastact.softmax(x + bias)": {"onnx": "BiasSoftmax"},
    "adds a bias first; accepted is fastact.geglu(x + bias, gate='second')": {"onnx": "BiasSplitGelu"},
    "is a loss and no activation; accepted is fastact.softmax_cross_entropy(logits, labels)": {
        "torch": "cross_entropy CrossEntropyLoss", "onnx": "SoftmaxCrossEntropyLoss", "mlx": "cross_entropy",
        "tensorflow": "softmax_cross_entropy_with_logits sparse_softmax_cross_entropy_with_logits",
    },
    "is a loss and no activation; accepted is fastact.sigmoid_cross_entropy(logits, targets)": {
        "torch": "binary_cross_entropy_with_logits BCEWithLogitsLoss",
        "tensorflow": "sigmoid_cross_entropy_with_logits weighted_cross_entropy_with_logits",
        "mlx": "binary_cross_entropy",
    },
    "draws random indices and is no activation; accepted is fastact.sample(logits, rng)": {"onnx": "Multinomial"},
    "is a loss; those of logits that fastact has are functions of their own, as fastact.softmax_kl": {
        "torch": "binary_cross_entropy linear_cross_entropy kl_div nll_loss ctc_loss gaussian_nll_loss "
        "poisson_nll_loss soft_margin_loss multilabel_soft_margin_loss multi_margin_loss mse_loss "
        "multilabel_margin_loss hinge_embedding_loss margin_ranking_loss cosine_embedding_loss triplet_margin_loss "
        "triplet_margin_with_distance_loss l1_loss smooth_l1_loss huber_loss",
        "keras": "binary_crossentropy categorical_crossentropy sparse_categorical_crossentropy ctc_loss "
        "BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy BinaryFocalCrossentropy "
        "CategoricalFocalCrossentropy CategoricalGeneralizedCrossEntropy KLDivergence",
        "tensorflow": "sampled_softmax_loss nce_loss log_poisson_loss ctc_loss l2_loss",
        "onnx": "NegativeLogLikelihoodLoss",
        "mlx": "cosine_similarity_loss gaussian_nll_loss hinge_loss huber_loss kl_div_loss "
        "l1_loss log_cosh_loss margin_ranking_loss mse_loss nll_loss smooth_l1_loss triplet_loss",
        "thinc": "logloss",
    },
    "multiplies matrices; accepted is fastact.softmax of the scores": {
        "torch": "scaled_dot_product_attention multi_head_attention_forward MultiheadAttention",
        "jax": "dot_product_attention", "keras": "dot_product_attention",
        "onnx": "Attention FlexAttention LinearAttention",
    },
    "draws random numbers, which no activation here does": {
        "torch": "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
        "tensorflow": "dropout", "onnx": "Dropout",
    },
    "is a normalization by statistics and no activation": {
        "torch": "normalize layer_norm rms_norm group_norm batch_norm instance_norm local_response_norm",
        "jax": "standardize",
        "keras": "normalize layer_normalization rms_normalization batch_normalization",
        "tensorflow": "batch_normalization local_response_normalization",
        "onnx": "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization LpNormalization "
        "MeanVarianceNormalization RMSNormalization",
    },
    "is no activation: a fit to sorted numbers": {"tensorflow": "isotonic_regression"},
    "is no activation: a square of a hyperbolic secant": {"thinc": "sechsq"},
}
"""What no spelling expresses: for each reason, with what is accepted instead, the names of each library."""
