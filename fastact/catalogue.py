"""The activations: one statement each.

The kernels are made from what has the same name in _math/formulas.pxd and _math/softmax.pxd.  A statement has

* the formulas in LaTeX, a summary and a source, for the documentation;
* the parameters with their defaults, or for a gated activation the elementwise one, whose parameters it has;
* `parameter_domain`: the accepted numbers, if not every number is accepted; `output_domain`: the same for the
  derivative from the output;
* `kinks`: where the derivative jumps, as a function of the parameters: for each kink, x and the derivatives on its left
  and on its right; x is NaN where the parameters let it vanish;
* `ulp`: the promised errors of value, derivative and derivatives in parameters that are not the usual ones;
  `value_zero`, `derivative_zero`: the interval around a root in which the error is counted in ulp of 1/4;
* `cost`: nanoseconds per float32 element on one thread (_costs.py), by which the engine decides whether a second thread
  pays.
"""

from typing import Any as _Any

import numpy as _np

from fastact._activation import Activation
from fastact._costs import cost_of as _cost
from fastact.elementwise import Elementwise
from fastact.gated import Gated
from fastact.reduction import RowReduction
from fastact.rowwise import Entmax, Rowwise

_Kinks = tuple[tuple[_Any, _Any, _Any], ...]

_INFINITE = float("inf")
_FINITE = (-1.7976931348623157e308, 1.7976931348623157e308)


def _kinks_of_shrink(threshold: _Any) -> _Kinks:
    threshold = _np.where(threshold >= 0, threshold, _np.nan)  # else nothing is replaced, or nothing moves
    return (-threshold, 1.0, 0.0), (threshold, 0.0, 1.0)


def _kinks_of_hard_sigmoid(slope: _Any, offset: _Any) -> _Kinks:
    first, second = -offset / slope, (1 - offset) / slope
    return (_np.minimum(first, second), 0.0, slope), (_np.maximum(first, second), slope, 0.0)


def _kinks_of_xielu(alpha_p: _Any, alpha_n: _Any, beta: _Any, eps: _Any) -> _Kinks:
    between = beta - alpha_n
    return (
        (_np.where(eps < 0, eps, _np.nan), alpha_n * _np.exp(eps) + between, between),
        (0.0, _np.where(eps < 0, between, beta), beta),
    )


def _kinks_of_logit(eps: _Any) -> _Kinks:
    eps = _np.where(eps <= 0.5, eps, _np.nan)
    inside = 1 / (eps * (1 - eps))
    return (eps, 0.0, inside), (1 - eps, inside, 0.0)


identity = Elementwise(
    "identity",
    summary="The identity: every number stays as it is.",
    formula=r"y = x",
    derivative_formula=r"y' = 1",
    source="the neutral element of composition",
    cost=_cost("identity"),
)
relu = Elementwise(
    "relu",
    summary="The rectifier: negative numbers become 0.",
    formula=r"y = \max(0, x)",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq 0, \; 0 \;\mathrm{for}\; x < 0",
    source="K. Fukushima, Visual feature extraction by a multilayered network (1969)",
    kinks=lambda: ((0.0, 0.0, 1.0),),
    cost=_cost("relu"),
)
softplus = Elementwise(
    "softplus",
    summary="A smooth rectifier.",
    formula=r"y = \log(1 + e^{\beta x}) / \beta",
    derivative_formula=r"y' = 1 - 1 / (e^{\beta x} + 1)",
    parameters={"beta": 1.0},
    parameter_domain={"beta": (*_FINITE, 0.0)},
    source="C. Dugas et al., Incorporating second-order functional knowledge for better option pricing (2001)",
    cost=_cost("softplus"),
    ulp={"derivative_in_beta": 2.5},
)
sigmoid = Elementwise(
    "sigmoid",
    summary="The logistic function: maps the line into (0, 1), symmetrically.",
    formula=r"y = 1 / (1 + e^{-x})",
    derivative_formula=r"y' = y (1 - y)",
    source="P.-F. Verhulst, Recherches mathématiques sur la loi d'accroissement de la population (1845)",
    cost=_cost("sigmoid"),
)
tanh = Elementwise(
    "tanh",
    summary="The hyperbolic tangent: maps the line into (-1, 1).",
    formula=r"y = (e^{x} - e^{-x}) / (e^{x} + e^{-x})",
    derivative_formula=r"y' = 1 - y^2",
    source="Y. LeCun et al., Efficient BackProp (1998)",
    cost=_cost("tanh"),
    ulp={"value": 2.0, "derivative": 2.0},
)
relu6 = Elementwise(
    "relu6",
    summary="The rectifier, saturated at 6.",
    formula=r"y = \min(\max(0, x), 6)",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; 0 \leq x < 6, \;\mathrm{else}\; 0",
    source="A. Krizhevsky, Convolutional deep belief networks on CIFAR-10 (2010)",
    kinks=lambda: ((0.0, 0.0, 1.0), (6.0, 1.0, 0.0)),
    cost=_cost("relu6"),
)
relu2 = Elementwise(
    "relu2",
    summary="The square of the rectifier.",
    formula=r"y = \max(0, x)^2",
    derivative_formula=r"y' = 2 \max(0, x)",
    source="D. R. So et al., Primer: searching for efficient transformers for language modeling (2021)",
    cost=_cost("relu2"),
)
leaky_relu = Elementwise(
    "leaky_relu",
    summary="The rectifier with a small slope for negative numbers.",
    formula=r"y = x \;\mathrm{for}\; x \geq 0, \; a x \;\mathrm{for}\; x < 0",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq 0, \; a \;\mathrm{for}\; x < 0",
    parameters={"negative_slope": 0.01},
    output_domain={"negative_slope": (0.0, _INFINITE)},
    source="A. L. Maas et al., Rectifier nonlinearities improve neural network acoustic models (2013)",
    kinks=lambda negative_slope: ((0.0, negative_slope, 1.0),),
    cost=_cost("leaky_relu"),
)
prelu = Elementwise(
    "prelu",
    summary="The leaky rectifier whose slope is learnt.",
    formula=r"y = x \;\mathrm{for}\; x \geq 0, \; a x \;\mathrm{for}\; x < 0",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq 0, \; a \;\mathrm{for}\; x < 0",
    parameters={"negative_slope": 0.25},
    output_domain={"negative_slope": (0.0, _INFINITE)},
    source="K. He et al., Delving deep into rectifiers (2015)",
    kinks=lambda negative_slope: ((0.0, negative_slope, 1.0),),
    cost=_cost("prelu"),
)
threshold = Elementwise(
    "threshold",
    summary="Numbers that do not exceed a threshold are replaced by a value.",
    formula=r"y = x \;\mathrm{for}\; x > t, \;\mathrm{else}\; v",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq t, \;\mathrm{else}\; 0",
    parameters={"threshold": 1.0, "value": 0.0},
    source="K. Konda et al., Zero-bias autoencoders and the benefits of co-adapting features (2014)",
    kinks=lambda threshold, value: ((threshold, 0.0, 1.0),),
    cost=_cost("threshold"),
)
hard_tanh = Elementwise(
    "hard_tanh",
    summary="The identity, clipped.",
    formula=r"y = \min(\max(x, a), b)",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; a \leq x < b, \;\mathrm{else}\; 0",
    parameters={"min_value": -1.0, "max_value": 1.0},
    source="R. Collobert, Large scale machine learning (2004)",
    kinks=lambda min_value, max_value: ((min_value, 0.0, 1.0), (max_value, 1.0, 0.0)),
    cost=_cost("hard_tanh"),
)
hard_shrink = Elementwise(
    "hard_shrink",
    summary="Numbers of small magnitude become 0.",
    formula=r"y = 0 \;\mathrm{for}\; |x| \leq t, \;\mathrm{else}\; x",
    derivative_formula=r"y' = 0 \;\mathrm{for}\; -t \leq x < t, \;\mathrm{else}\; 1",
    parameters={"threshold": 0.5},
    source="D. L. Donoho and I. M. Johnstone, Ideal spatial adaptation by wavelet shrinkage (1994)",
    kinks=_kinks_of_shrink,
    cost=_cost("hard_shrink"),
)
soft_shrink = Elementwise(
    "soft_shrink",
    summary="Every number moves towards 0 by the threshold; those of small magnitude become 0.",
    formula=r"y = \mathrm{sign}(x) \max(|x| - t, 0)",
    derivative_formula=r"y' = 0 \;\mathrm{for}\; -t \leq x < t, \;\mathrm{else}\; 1",
    parameters={"threshold": 0.5},
    parameter_domain={"threshold": (0.0, _INFINITE)},
    source="D. L. Donoho and I. M. Johnstone, Ideal spatial adaptation by wavelet shrinkage (1994)",
    kinks=_kinks_of_shrink,
    cost=_cost("soft_shrink"),
)
softsign = Elementwise(
    "softsign",
    summary="A sigmoid with slow tails: maps the line into (-1, 1).",
    formula=r"y = x / (1 + |x|)",
    derivative_formula=r"y' = 1 / (1 + |x|)^2",
    source="J. Turian et al., Quadratic features and deep architectures for chunking (2009)",
    cost=_cost("softsign"),
)
hard_sigmoid = Elementwise(
    "hard_sigmoid",
    summary="A piecewise linear sigmoid.",
    formula=r"y = \min(\max(a x + b, 0), 1)",
    derivative_formula=r"y' = a \;\mathrm{for}\; 0 \leq a x + b < 1, \;\mathrm{else}\; 0",
    parameters={"slope": 1 / 6, "offset": 0.5},
    parameter_domain={"slope": _FINITE, "offset": _FINITE},
    source="M. Courbariaux et al., BinaryConnect (2015)",
    kinks=_kinks_of_hard_sigmoid,
    cost=_cost("hard_sigmoid"),
)
hard_swish = Elementwise(
    "hard_swish",
    summary="The silu with a piecewise linear sigmoid.",
    formula=r"y = x \min(\max(x + 3, 0), 6) / 6",
    derivative_formula=r"y' = (2 x + 3) / 6 \;\mathrm{for}\; -3 \leq x < 3, \; 0 \;\mathrm{below}, 1 \;\mathrm{above}",
    source="A. Howard et al., Searching for MobileNetV3 (2019)",
    kinks=lambda: ((-3.0, 0.0, -0.5), (3.0, 1.5, 1.0)),
    cost=_cost("hard_swish"),
    ulp={"value": 2.0, "derivative": 2.0},
)
elu = Elementwise(
    "elu",
    summary="The exponential linear unit.",
    formula=r"y = x \;\mathrm{for}\; x \geq 0, \; \alpha (e^{x} - 1) \;\mathrm{for}\; x < 0",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq 0, \; \alpha e^{x} \;\mathrm{for}\; x < 0",
    parameters={"alpha": 1.0},
    parameter_domain={"alpha": _FINITE},
    output_domain={"alpha": (0.0, _FINITE[1])},
    source="D.-A. Clevert et al., Fast and accurate deep network learning by exponential linear units (2015)",
    kinks=lambda alpha: ((0.0, alpha, 1.0),),
    cost=_cost("elu"),
)
selu = Elementwise(
    "selu",
    summary="The self-normalising exponential linear unit.",
    formula=r"y = \lambda x \;\mathrm{for}\; x \geq 0, \; \lambda \alpha (e^{x} - 1) \;\mathrm{for}\; x < 0",
    derivative_formula=r"y' = \lambda \;\mathrm{for}\; x \geq 0, \; \lambda \alpha e^{x} \;\mathrm{for}\; x < 0",
    source="G. Klambauer et al., Self-normalizing neural networks (2017)",
    kinks=lambda: ((0.0, 1.7580993408473768, 1.0507009873554805),),
    cost=_cost("selu"),
)
log_sigmoid = Elementwise(
    "log_sigmoid",
    summary="The logarithm of the logistic function.",
    formula=r"y = -\log(1 + e^{-x})",
    derivative_formula=r"y' = 1 / (1 + e^{x})",
    source="P.-F. Verhulst, Recherches mathématiques sur la loi d'accroissement de la population (1845)",
    cost=_cost("log_sigmoid"),
)
exp = Elementwise(
    "exp",
    summary="The exponential function.",
    formula=r"y = e^{x}",
    derivative_formula=r"y' = e^{x}",
    source="L. Euler, Introductio in analysin infinitorum (1748)",
    cost=_cost("exp"),
)
celu = Elementwise(
    "celu",
    summary="The exponential linear unit whose slope is continuous.",
    formula=r"y = x \;\mathrm{for}\; x \geq 0, \; \alpha (e^{x / \alpha} - 1) \;\mathrm{for}\; x < 0",
    derivative_formula=r"y' = 1 \;\mathrm{for}\; x \geq 0, \; e^{x / \alpha} \;\mathrm{for}\; x < 0",
    parameters={"alpha": 1.0},
    parameter_domain={"alpha": (-_INFINITE, _INFINITE, 0.0)},
    source="J. T. Barron, Continuously differentiable exponential linear units (2017)",
    cost=_cost("celu"),
    ulp={"derivative_in_alpha": 3.0},
)
silu = Elementwise(
    "silu",
    summary="The sigmoid-weighted linear unit, also called swish.",
    formula=r"y = x / (1 + e^{-\beta x})",
    derivative_formula=r"y' = s (1 + \beta x (1 - s)), \; s = 1 / (1 + e^{-\beta x})",
    parameters={"beta": 1.0},
    parameter_domain={"beta": _FINITE},
    source="D. Hendrycks and K. Gimpel, Gaussian error linear units (2016)",
    cost=_cost("silu"),
    ulp={"value": 2.0, "derivative": 2.0, "derivative_in_beta": 2.5},
    derivative_zero=(-2.0, -0.75),
)
gelu_quick = Elementwise(
    "gelu_quick",
    summary="The silu with beta = 1.702, which approximates gelu.",
    formula=r"y = x / (1 + e^{-1.702 x})",
    derivative_formula=r"y' = s (1 + 1.702 x (1 - s)), \; s = 1 / (1 + e^{-1.702 x})",
    source="D. Hendrycks and K. Gimpel, Gaussian error linear units (2016)",
    cost=_cost("gelu_quick"),
    ulp={"value": 2.0, "derivative": 2.5},
    derivative_zero=(-1.25, -0.45),
)
gelu = Elementwise(
    "gelu",
    summary="The Gaussian error linear unit: x times the normal distribution.",
    formula=r"y = x (1 + \mathrm{erf}(x / \sqrt{2})) / 2",
    derivative_formula=r"y' = (1 + \mathrm{erf}(x / \sqrt{2})) / 2 + x e^{-x^2 / 2} / \sqrt{2 \pi}",
    source="D. Hendrycks and K. Gimpel, Gaussian error linear units (2016)",
    cost=_cost("gelu"),
    ulp={"value": 4.0, "derivative": 3.0},
    derivative_zero=(-1.5, -0.25),
)
gelu_tanh = Elementwise(
    "gelu_tanh",
    summary="The approximation of gelu by tanh.",
    formula=r"y = x (1 + \tanh(u)) / 2, \; u = \sqrt{2 / \pi} (x + 0.044715 x^3)",
    derivative_formula=r"y' = s (1 + 2 x u' (1 - s)), \; s = 1 / (1 + e^{-2u})",
    source="D. Hendrycks and K. Gimpel, Gaussian error linear units (2016)",
    cost=_cost("gelu_tanh"),
    ulp={"value": 2.5, "derivative": 2.5},
    derivative_zero=(-1.5, -0.25),
)
mish = Elementwise(
    "mish",
    summary="The self-regularised x tanh(softplus(x)).",
    formula=r"y = x \tanh(\log(1 + e^{x}))",
    derivative_formula=r"y' = \tanh(s) + x (1 - \tanh^2(s)) / (1 + e^{-x}), \; s = \log(1 + e^{x})",
    source="D. Misra, Mish: a self regularized non-monotonic activation function (2019)",
    cost=_cost("mish"),
    ulp={"value": 3.0, "derivative": 3.0},
    derivative_zero=(-2.0, -0.75),
)
sparse_sigmoid = Elementwise(
    "sparse_sigmoid",
    summary="A sigmoid that is linear between its limits.",
    formula=r"y = \min(\max(x + 1, 0), 2) / 2",
    derivative_formula=r"y' = 1 / 2 \;\mathrm{for}\; -1 \leq x < 1, \;\mathrm{else}\; 0",
    source="A. F. T. Martins and R. F. Astudillo, From softmax to sparsemax (2016)",
    kinks=lambda: ((-1.0, 0.0, 0.5), (1.0, 0.5, 0.0)),
    cost=_cost("sparse_sigmoid"),
)
sparse_plus = Elementwise(
    "sparse_plus",
    summary="The integral of sparse_sigmoid: a softplus with a parabola in the middle.",
    formula=r"y = 0 \;\mathrm{for}\; x \leq -1, \; (x + 1)^2 / 4 \;\mathrm{for}\; |x| < 1, \;\mathrm{else}\; x",
    derivative_formula=r"y' = \min(\max(x + 1, 0), 2) / 2",
    source="A. F. T. Martins and R. F. Astudillo, From softmax to sparsemax (2016)",
    cost=_cost("sparse_plus"),
    ulp={"value": 2.0, "derivative": 2.0},
)
squareplus = Elementwise(
    "squareplus",
    summary="A softplus without exponentials.",
    formula=r"y = (x + \sqrt{x^2 + b}) / 2",
    derivative_formula=r"y' = (1 + x / \sqrt{x^2 + b}) / 2",
    parameters={"b": 4.0},
    parameter_domain={"b": (0.0, _FINITE[1])},
    source="J. T. Barron, Squareplus: a softplus-like algebraic rectifier (2021)",
    cost=_cost("squareplus"),
    ulp={"value": 2.5, "derivative": 2.0},
)
tanh_shrink = Elementwise(
    "tanh_shrink",
    summary="The difference of x and tanh(x).",
    formula=r"y = x - \tanh(x)",
    derivative_formula=r"y' = \tanh^2(x)",
    source="R. Collobert, K. Kavukcuoglu and C. Farabet, Torch7 (2011)",
    cost=_cost("tanh_shrink"),
    ulp={"value": 2.0, "derivative": 2.5},
)
dish = Elementwise(
    "dish",
    summary="A mish without exponentials.",
    formula=r"y = x (1 + x / \sqrt{1 + x^2}) / 2",
    derivative_formula=r"y' = (1 + x / \sqrt{1 + x^2} + x / (1 + x^2)^{3/2}) / 2",
    source="M. Honnibal et al., Thinc (2022)",
    cost=_cost("dish"),
    ulp={"value": 2.0, "derivative": 3.0},
    derivative_zero=(-1.0, -0.5),
)
logit = Elementwise(
    "logit",
    summary="The inverse of the logistic function: the logarithm of the odds. With eps=1 or None nothing is clipped.",
    formula=r"y = \log(x / (1 - x)), \; x \;\mathrm{clipped\;to}\; [\epsilon, 1 - \epsilon]"
    r" \;\mathrm{if}\; 0 \leq \epsilon \leq 1/2",
    derivative_formula=r"y' = 1 / (x (1 - x)), \; 0 \;\mathrm{for}\; x < \epsilon, \; x \geq 1 - \epsilon",
    parameters={"eps": 1.0},
    parameter_domain={"eps": (0.0, 1.0)},
    source="J. Berkson, Application of the logistic function to bio-assay (1944)",
    kinks=_kinks_of_logit,
    cost=_cost("logit"),
    ulp={"value": 2.5, "derivative": 2.0},
)
erf = Elementwise(
    "erf",
    summary="The error function: the normal distribution from -x to x, of variance 1/2.",
    formula=r"y = \frac{2}{\sqrt{\pi}} \int_0^x e^{-t^2} \mathrm{d}t",
    derivative_formula=r"y' = \frac{2}{\sqrt{\pi}} e^{-x^2}",
    source="J. W. L. Glaisher, On a class of definite integrals (1871)",
    cost=_cost("erf"),
    ulp={"value": 2.0, "derivative": 2.0},
)
xielu = Elementwise(
    "xielu",
    summary="The expanded integral of the exponential linear unit: a parabola for x > 0, an exponential for x <= 0.",
    formula=r"y = \alpha_p x^2 + \beta x \;\mathrm{for}\; x > 0, \;"
    r" \alpha_n (e^{\min(x, \epsilon)} - 1 - x) + \beta x \;\mathrm{for}\; x \leq 0",
    derivative_formula=r"y' = 2 \alpha_p x + \beta \;\mathrm{for}\; x \geq 0, \;"
    r" \alpha_n (e^{x} - 1) + \beta \;\mathrm{for}\; x < \epsilon, \; \beta - \alpha_n \;\mathrm{between}",
    parameters={"alpha_p": 0.8, "alpha_n": 0.8, "beta": 0.5, "eps": -1e-6},
    parameter_domain={"alpha_p": (-1e30, 1e30), "alpha_n": (-1e30, 1e30), "beta": (-1e30, 1e30)},
    source="A. H. Huang and I. Schlag, Deriving activation functions using integration (2024)",
    kinks=_kinks_of_xielu,
    cost=_cost("xielu"),
    ulp={"value": 2.0, "derivative": 3.0},
    value_zero=(-3.0, -2.0),
    derivative_zero=(-1.5, -0.5),
)
gelu_clipped = Elementwise(
    "gelu_clipped",
    summary="The gelu, clipped for quantization.",
    formula=r"y = \min(\max(\mathrm{gelu}(x), a), b)",
    derivative_formula=r"y' = \mathrm{gelu}'(x) \;\mathrm{for}\; a < y < b, \;\mathrm{else}\; 0",
    parameters={"min_value": -10.0, "max_value": 10.0},
    source="H. Wu et al., Integer quantization for deep learning inference (2020)",
    cost=_cost("gelu_clipped"),
    ulp={"value": 4.0, "derivative": 3.0},
    derivative_zero=(-1.5, -0.25),
)
laplace = Elementwise(
    "laplace",
    summary="The normal distribution function of mean mu and deviation sigma: a bounded approximation of relu2 near 0.",
    formula=r"y = (1 + \mathrm{erf}((x - \mu) / (\sigma \sqrt{2}))) / 2",
    derivative_formula=r"y' = e^{-(x - \mu)^2 / (2 \sigma^2)} / (\sigma \sqrt{2 \pi})",
    parameters={"mu": 0.707107, "sigma": 0.282095},
    parameter_domain={"mu": (-1e6, 1e6), "sigma": (1e-6, 1e6)},
    source="X. Ma et al., Mega: moving average equipped gated attention (2022)",
    cost=_cost("laplace"),
    ulp={"value": 2.5, "derivative": 2.5},
)
sqrt_softplus = Elementwise(
    "sqrt_softplus",
    summary="The square root of softplus, for the scores of a router.",
    formula=r"y = \sqrt{\log(1 + e^{x})}",
    derivative_formula=r"y' = 1 / (2 (1 + e^{-x}) \sqrt{\log(1 + e^{x})})",
    source="DeepSeek-AI, DeepSeek-V4 (2026)",
    cost=_cost("sqrt_softplus"),
    ulp={"value": 1.5, "derivative": 3.0},
)
glu = Gated(
    "glu",
    activation=sigmoid,
    gate="second",
    summary="The gated linear unit: the logistic function of the gate times the other input.",
    formula=r"y = u / (1 + e^{-g})",
    derivative_formula=r"\partial y / \partial g = u s (1 - s), \; \partial y / \partial u = s, \;"
    r" s = 1 / (1 + e^{-g})",
    source="Y. N. Dauphin et al., Language modeling with gated convolutional networks (2016)",
    cost=_cost("glu"),
    ulp={"value": 2.5},
)
swiglu = Gated(
    "swiglu",
    activation=silu,
    summary="The silu of the gate times the other input; both may be limited, and the other one has an offset.",
    formula=r"y = (\mathrm{clip}(u, -L, L) + o) \, h / (1 + e^{-\beta h}), \; h = \min(g, L)",
    derivative_formula=r"\partial y / \partial g = (\mathrm{clip}(u, -L, L) + o) \, \mathrm{silu}'(h), \;"
    r" \partial y / \partial u = \mathrm{silu}(h); \; 0 \;\mathrm{beyond}\; L",
    source="N. Shazeer, GLU variants improve transformer (2020); limit and offset: OpenAI, gpt-oss (2025)",
    cost=_cost("swiglu"),
    ulp={"value": 3.5},
)
geglu = Gated(
    "geglu",
    activation=gelu,
    summary="The gelu of the gate times the other input.",
    formula=r"y = u \, g \, (1 + \mathrm{erf}(g / \sqrt{2})) / 2",
    derivative_formula=r"\partial y / \partial g = u \, \mathrm{gelu}'(g), \;"
    r" \partial y / \partial u = \mathrm{gelu}(g)",
    source="N. Shazeer, GLU variants improve transformer (2020)",
    cost=_cost("geglu"),
    ulp={"value": 4.5},
)
geglu_tanh = Gated(
    "geglu_tanh",
    activation=gelu_tanh,
    summary="The approximation gelu_tanh of the gate times the other input.",
    formula=r"y = u \, g \, (1 + \tanh(\sqrt{2 / \pi} \, (g + 0.044715 \, g^3))) / 2",
    derivative_formula=r"\partial y / \partial g = u \, \mathrm{gelu\_tanh}'(g), \;"
    r" \partial y / \partial u = \mathrm{gelu\_tanh}(g)",
    source="N. Shazeer, GLU variants improve transformer (2020)",
    cost=_cost("geglu_tanh"),
    ulp={"value": 3.5},
)
reglu = Gated(
    "reglu",
    activation=relu,
    summary="The rectified gate times the other input.",
    formula=r"y = u \max(0, g)",
    derivative_formula=r"\partial y / \partial g = u \;\mathrm{for}\; g \geq 0, \;\mathrm{else}\; 0; \;"
    r" \partial y / \partial u = \max(0, g)",
    source="N. Shazeer, GLU variants improve transformer (2020)",
    cost=_cost("reglu"),
    ulp={"value": 0.5},
)
softmax = Rowwise(
    "softmax",
    summary="Probabilities from logits: all positive, with the sum 1.",
    formula=r"y_i = e^{s x_i} / \sum_j e^{s x_j}, \; s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y_i / \partial x_j = s y_i (\delta_{ij} - y_j)",
    parameters={"scale": 1.0, "temperature": 1.0},
    source="J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)",
    cost=_cost("softmax"),
    masked_row=0.0,
)
softmin = Rowwise(
    "softmin",
    summary="The softmax of the negated logits.",
    formula=r"y_i = e^{-s x_i} / \sum_j e^{-s x_j}, \; s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y_i / \partial x_j = -s y_i (\delta_{ij} - y_j)",
    parameters={"scale": 1.0, "temperature": 1.0},
    source="J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)",
    cost=_cost("softmin"),
    masked_row=0.0,
    negates="softmax",
)
hardmax = Rowwise(
    "hardmax",
    summary="1 for the largest logit (the first of equal ones), 0 for the others: softmax at temperature 0.",
    formula=r"y_i = 1 \;\mathrm{for}\; i = \mathrm{argmax}_j \, x_j, \;\mathrm{else}\; 0",
    derivative_formula=r"\partial y_i / \partial x_j = 0",
    source="ONNX, Operator schemas: Hardmax (2017)",
    cost=_cost("hardmax"),
    masked_row=0.0,
    ulp=0.0,
)
log_softmax = Rowwise(
    "log_softmax",
    summary="The logarithm of softmax, accurate where softmax rounds to 0 or to 1.",
    formula=r"y_i = s x_i - \log \sum_j e^{s x_j}, \; s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y_i / \partial x_j = s (\delta_{ij} - e^{y_j})",
    parameters={"scale": 1.0, "temperature": 1.0},
    source="J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)",
    cost=_cost("log_softmax"),
    masked_row=float("-inf"),
)
sparsemax = Rowwise(
    "sparsemax",
    summary="The probabilities nearest to the logits: 0 for all logits far enough below the largest.",
    formula=r"y_i = \max(0, s x_i - \tau), \; \sum_i y_i = 1, \; s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y_i / \partial x_j = s (\delta_{ij} - 1 / k) \;\mathrm{where}\; y_i, y_j > 0, "
    r"\;\mathrm{else}\; 0; \; k = |\{i: y_i > 0\}|",
    parameters={"scale": 1.0, "temperature": 1.0},
    source="A. F. T. Martins and R. F. Astudillo, From softmax to sparsemax (2016)",
    cost=_cost("sparsemax"),
    masked_row=0.0,
    ulp=1.0,
)
entmax15 = Rowwise(
    "entmax15",
    summary="Between softmax and sparsemax: smooth, and 0 for all logits far enough below the largest.",
    formula=r"y_i = \max(0, s x_i / 2 - \tau)^2, \; \sum_i y_i = 1, \; s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y_i / \partial x_j = s \left(\delta_{ij} \sqrt{y_i}"
    r" - \sqrt{y_i y_j} / \sum_k \sqrt{y_k}\right)",
    parameters={"scale": 1.0, "temperature": 1.0},
    source="B. Peters, V. Niculae and A. F. T. Martins, Sparse sequence-to-sequence models (2019)",
    cost=_cost("entmax15"),
    masked_row=0.0,
    ulp=1.0,
)
entmax = Entmax(
    "entmax",
    summary="From softmax (alpha = 1) by entmax15 and sparsemax (alpha = 2) towards hardmax: sparser for larger alpha.",
    formula=r"y_i = \max(0, (\alpha - 1) s x_i - \tau)^{1 / (\alpha - 1)}, \; \sum_i y_i = 1, \;"
    r" s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y_i / \partial x_j = s \left(\delta_{ij} g_i"
    r" - g_i g_j / \sum_k g_k\right), \; g_i = y_i^{2 - \alpha} \;\mathrm{where}\; y_i > 0, "
    r"\;\mathrm{else}\; 0",
    parameters={"alpha": 1.5, "scale": 1.0, "temperature": 1.0},
    source="B. Peters, V. Niculae and A. F. T. Martins, Sparse sequence-to-sequence models (2019);"
    " the gradient in alpha: G. M. Correia, V. Niculae and A. F. T. Martins, Adaptively sparse transformers (2019)",
    cost=_cost("entmax"),
    masked_row=0.0,
    by_alpha={1.0: softmax, 1.5: entmax15, 2.0: sparsemax},
    ulp=3.0,
)
logsumexp = RowReduction(
    "logsumexp",
    summary="The logarithm of a sum of exponentials, a smooth maximum.",
    formula=r"y = \log \sum_j e^{s x_j}, \; s = \mathrm{scale} / \mathrm{temperature}",
    derivative_formula=r"\partial y / \partial x_j = s \, \mathrm{softmax}(s x)_j",
    parameters={"scale": 1.0, "temperature": 1.0},
    source="J. W. Gibbs, Elementary principles in statistical mechanics (1902)",
    cost=_cost("logsumexp"),
    derivative="softmax",
)

activations: dict[str, Activation] = {
    name: thing for name, thing in list(vars().items()) if isinstance(thing, Activation)
}
