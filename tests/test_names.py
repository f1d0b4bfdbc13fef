"""What other libraries call the activations: each spelling computes what it does there, defaults included."""

import functools
import math
import os
import pickle
import re

import numpy as np
import pytest
from facts import FACTS, FACTS_OF_GATED, FACTS_OF_ROWS

import fastact
from fastact import Elementwise, Gated
from fastact.lookup import not_offered, spelt
from fastact.names import CONVENTIONS, NOT_OFFERED, SPELLINGS

LIBRARIES = (*(one for one in CONVENTIONS if one not in ("vllm", "ggml")), "onnxruntime")
"""Those whose functions Python can call. Of ONNX there are two: the reference of onnx itself, and ONNX Runtime."""

REQUIRED = {
    ("torch", "threshold"): (1.0, 0.0), ("torch", "Threshold"): (1.0, 0.0), ("torch", "threshold_"): (1.0, 0.0),
    ("keras", "threshold"): (1.0, 0.0), ("mlx", "prelu"): (np.array([0.25], np.float32),),
    ("torch", "prelu"): (np.array([0.25], np.float32),), ("onnx", "PRelu"): (np.array([0.25], np.float32),),
}
"""Arguments that have a default here and none there."""

NAMED = {
    "torch": "glu rrelu celu_ elu_ hardtanh_ leaky_relu_ relu_ rrelu_ selu_ threshold_ GLU RReLU Softmax2d "
    "MultiheadAttention gumbel_softmax scaled_dot_product_attention dropout cross_entropy kl_div clamp clip",
    "jax": "glu logmeanexp logsumexp log1mexp standardize dot_product_attention",
    "keras": "glu sparsemax binary_crossentropy categorical_crossentropy sparse_categorical_crossentropy "
    "dot_product_attention layer_normalization rms_normalization batch_normalization normalize ctc_loss "
    "BinaryFocalCrossentropy CategoricalFocalCrossentropy SparseCategoricalCrossentropy KLDivergence "
    "CategoricalGeneralizedCrossEntropy relu ReLU LeakyReLU PReLU elu ELU softmax Softmax exponential linear",
    "tensorflow": "relu relu6 crelu leaky_relu elu selu gelu silu swish sigmoid tanh softplus softsign softmax "
    "log_softmax log_sigmoid reduce_logsumexp sigmoid_cross_entropy_with_logits weighted_cross_entropy_with_logits "
    "softmax_cross_entropy_with_logits sparse_softmax_cross_entropy_with_logits sampled_softmax_loss nce_loss "
    "log_poisson_loss isotonic_regression",
    "onnx": "SwiGLU Clip ReduceLogSumExp SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss Multinomial Attention "
    "LinearAttention Dropout BiasGelu FastGelu QuickGelu BiasSoftmax BiasSplitGelu",
    "transformers": "gelu gelu_10 gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh gelu_accurate "
    "laplace leaky_relu linear mish quick_gelu relu relu2 relu6 sigmoid silu swish tanh prelu xielu sqrtsoftplus",
    "mlx": "elu celu gelu gelu_approx gelu_fast_approx glu hard_shrink hard_tanh hardswish leaky_relu log_sigmoid "
    "log_softmax mish prelu relu relu2 relu6 selu sigmoid silu softmax softmin softplus softshrink step tanh softsign "
    "ELU CELU GELU GLU HardShrink HardTanh Hardswish LeakyReLU LogSigmoid LogSoftmax Mish PReLU ReLU ReLU2 ReLU6 SELU "
    "Sigmoid SiLU Softmax Softmin Softplus Softshrink Softsign Step Tanh",
    "vllm": "silu_and_mul mul_and_silu gelu_and_mul gelu_tanh_and_mul gelu_and_mul_sparse fatrelu_and_mul "
    "swigluoai_and_mul silu_and_mul_with_clamp swiglustep_and_mul SiluAndMul MulAndSilu GeluAndMul GeluAndMulSparse "
    "FatreluAndMul SwigluOAIAndMul SiluAndMulWithClamp SwigluStepAndMul NewGELU FastGELU QuickGELU "
    "ReLUSquaredActivation XIELU gelu gelu_fast gelu_new gelu_pytorch_tanh relu relu2 silu quick_gelu tanh sigmoid",
    "ggml": "swiglu geglu reglu geglu_erf geglu_quick swiglu_oai swiglu_swapped geglu_swapped reglu_swapped gelu_erf "
    "step relu elu leaky_relu gelu gelu_quick silu sigmoid tanh hardswish hardsigmoid softplus exp xielu soft_max",
    "scipy": "expit log_expit logit softmax log_softmax logsumexp softplus ndtr erf",
    "thinc": "clipped_linear gelu_approx hard_swish_mobilenet maxout relu_k softmax_sequences hard_swish hard_sigmoid "
    "ClippedLinear HardSwishMobilenet HardTanh Logistic Maxout MultiSoftmax ReluK Softmax_v2 sigmoid_activation "
    "softmax_activation",
}
"""Names of functions like activations that the libraries are known to have, whether or not they are installed."""

ACTIVATION_LIKE = re.compile(
    r"(?i)(?<!tri)(?<=[a-z])lu(_?$|[\d_])|glu|sigmoid|soft_?(max|min|plus|sign|shrink)|hard_?max|swish|mish|shrink|(?<!a)tanh|"
    r"expit|^logit$|log_?sum_?exp|squareplus|maxout|attention|dropout|cross_?entropy|loss$|normaliz(e$|ation)|_norm$|threshold")
"""What a new release may call a new activation, or something that is taken for one."""

def convention_of(library):
    return "onnx" if library == "onnxruntime" else library


def spellings(convention):
    return {spelling: name for spelling, (name, _) in spelt(convention).items()}


# ------------------------------------------------------------------------------------------------------- the libraries

# Each of these returns a function (spelling, x, *required) -> array, or skips the test.

def torch_function():
    torch = pytest.importorskip("torch")

    def call(spelling, x, *required):
        x = torch.from_numpy(x.copy())
        axis = {} if isinstance(fastact.get(spelling, "torch"), Elementwise) else {"dim": -1}
        if spelling[0].isupper():
            return getattr(torch.nn, spelling)(*required, **axis).eval()(x).detach().numpy()
        place = next(place for place in (torch.nn.functional, torch, torch.special) if hasattr(place, spelling))
        arrays = [torch.from_numpy(one) if isinstance(one, np.ndarray) else one for one in required]
        return getattr(place, spelling)(x, *arrays, **axis).numpy()

    return call


def jax_function():
    jax = pytest.importorskip("jax")
    places = (jax.nn, pytest.importorskip("jax.numpy"), pytest.importorskip("jax.scipy.special"))

    def call(spelling, x):
        return np.asarray(next(getattr(place, spelling) for place in places if hasattr(place, spelling))(x))

    return call


def keras():
    os.environ.setdefault("KERAS_BACKEND", "numpy")     # the only one that needs no other package
    return pytest.importorskip("keras")


def keras_function():
    activations, layers = keras().activations, keras().layers

    def call(spelling, x, *required):
        if spelling[0].isupper():
            return np.asarray(getattr(layers, spelling)()(x))
        return np.asarray(getattr(activations, spelling)(x, *required))

    return call


def onnx_model(spelling, x, *required):
    """A model of the one operator, with its defaults, as bytes. Of SwiGLU, the inputs are the halves of x."""
    parser = pytest.importorskip("onnx.parser")
    shape = ", ".join(map(str, x.shape))
    constants = ", ".join(f"float[1] c{k} = {{{float(one[0])}}}" for k, one in enumerate(required))
    arguments = ", ".join(["x", *(f"c{k}" for k in range(len(required)))])
    body, opset = f"y = {spelling} ({arguments})", 24
    if spelling in ("FastGelu", "QuickGelu"):
        body = f"y = com.microsoft.{spelling} ({arguments})"
    if spelling == "SwiGLU":
        body, opset = "a, b = Split <axis = -1, num_outputs = 2> (x)  y = SwiGLU (a, b)", 28
    text = f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]> one (float[{shape}] x) => ' \
           f"(float[] y) <{constants}> {{ {body} }}"
    return parser.parse_model(text).SerializeToString()


def onnx_function():
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")

    def call(spelling, x, *required):
        if spelling in ("FastGelu", "QuickGelu"):
            pytest.skip("an operator of ONNX Runtime alone")
        if spelling == "SwiGLU" and onnx.defs.onnx_opset_version() < 28:
            pytest.skip("this release of onnx has no SwiGLU")
        model = onnx.load_model_from_string(onnx_model(spelling, x, *required))
        return reference.ReferenceEvaluator(model).run(None, {"x": x})[0]

    return call


def onnxruntime_function():
    runtime = pytest.importorskip("onnxruntime")

    def call(spelling, x, *required):
        if spelling == "SwiGLU":
            pytest.skip("this release of ONNX Runtime has no SwiGLU")
        session = runtime.InferenceSession(onnx_model(spelling, x, *required), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]

    return call


def tensorflow_function():
    tf = pytest.importorskip("tensorflow")

    def call(spelling, x):
        place = next(place for place in (tf.nn, tf.math, tf) if hasattr(place, spelling))
        return getattr(place, spelling)(tf.constant(x)).numpy()

    return call


def mlx_function():
    nn, core = pytest.importorskip("mlx.nn"), pytest.importorskip("mlx.core")

    def call(spelling, x, *required):
        arrays = [core.array(one) for one in (x, *required)]
        if spelling[0].isupper():
            return np.asarray(getattr(nn, spelling)()(*arrays))
        return np.asarray(next(getattr(place, spelling) for place in (nn, core) if hasattr(place, spelling))(*arrays))

    return call


def transformers_function():
    torch = pytest.importorskip("torch")
    activations = pytest.importorskip("transformers.activations")

    def call(spelling, x):
        # Its parameters are kept in bfloat16 unless told otherwise, which changes the third digit.
        exact = spelling == "xielu"
        function = activations.XIELUActivation(dtype=torch.float32) if exact else activations.ACT2FN[spelling]
        return function(torch.from_numpy(x)).detach().numpy()

    return call


def scipy_function():
    special = pytest.importorskip("scipy.special")

    def call(spelling, x):
        if not hasattr(special, spelling):
            pytest.skip(f"this release of SciPy has no {spelling}")
        return getattr(special, spelling)(x)

    return call


def sklearn_function():
    table = pytest.importorskip("sklearn.neural_network._base").ACTIVATIONS

    def call(spelling, x):
        if spelling not in table:
            pytest.skip(f"this release of scikit-learn has no {spelling}")
        y = x.copy()
        table[spelling](y)
        return y

    return call


def thinc_function():
    layers, ops = pytest.importorskip("thinc.layers"), pytest.importorskip("thinc.backends").NumpyOps()

    def call(spelling, x):
        if hasattr(ops, spelling):
            return getattr(ops, spelling)(x)
        width = x.shape[1]
        if spelling in ("Logistic", "sigmoid_activation", "softmax_activation"):
            return getattr(layers, spelling)().predict(x)
        layer = getattr(layers, spelling)(nO=width, nI=width).initialize()
        layer.set_param("W", np.eye(width, dtype=np.float32))
        layer.set_param("b", np.zeros(width, np.float32))
        return layer.predict(x)

    return call


@functools.cache
def function_of(library):
    return {"torch": torch_function, "jax": jax_function, "keras": keras_function, "tensorflow": tensorflow_function,
            "onnx": onnx_function, "onnxruntime": onnxruntime_function, "transformers": transformers_function,
            "mlx": mlx_function, "scipy": scipy_function, "sklearn": sklearn_function,
            "thinc": thinc_function}[library]()


def points(name):
    low, high = FACTS[name].domain if name in FACTS else (-np.inf, np.inf)
    low, high = max(low + 0.01, -8), min(high - 0.01, 8)
    return np.linspace(low, high, 108, dtype=np.float32).reshape(9, 12)  # glu halves the rows


@pytest.mark.parametrize(("library", "spelling"), [
    (library, spelling) for library in LIBRARIES for spelling in spellings(convention_of(library))])
def test_a_spelling_computes_what_it_does_there(library, spelling):
    convention = convention_of(library)
    x = points(spellings(convention)[spelling])
    theirs = function_of(library)(spelling, x, *REQUIRED.get((convention, spelling), ()))
    ours = fastact.get(spelling, convention=convention)(x)
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def halves(x):
    return np.split(x, 2, axis=-1)


def of_gpt_oss(a, b):
    """transformers: GptOssExperts, whose limit is 7."""
    gate, up = np.minimum(a, 7), np.clip(b, -7, 7)
    return (up + 1) * gate * sigmoid(1.702 * gate)


WITHOUT_PYTHON = {  # as their sources define them, of one packed array
    ("vllm", "silu_and_mul SiluAndMul silu_and_mul_with_clamp SiluAndMulWithClamp"): lambda a, b: a * sigmoid(a) * b,
    ("vllm", "mul_and_silu MulAndSilu"): lambda a, b: a * b * sigmoid(b),
    ("vllm", "gelu_and_mul GeluAndMul"): lambda a, b: gelu(a) * b,
    ("vllm", "gelu_tanh_and_mul"): lambda a, b: gelu_tanh(a) * b,
    ("vllm", "fatrelu_and_mul FatreluAndMul"): lambda a, b: np.where(a > 0, a, 0) * b,
    ("ggml", "swiglu swiglu_split"): lambda a, b: a * sigmoid(a) * b,
    ("ggml", "swiglu_swapped"): lambda a, b: a * b * sigmoid(b),
    ("ggml", "swiglu_oai"): of_gpt_oss,
    ("ggml", "geglu_quick geglu_quick_split"): lambda a, b: a * sigmoid(1.702 * a) * b,
    ("ggml", "geglu_quick_swapped"): lambda a, b: a * b * sigmoid(1.702 * b),
    ("ggml", "geglu_erf geglu_erf_split"): lambda a, b: gelu(a) * b,
    ("ggml", "geglu_erf_swapped"): lambda a, b: a * gelu(b),
    ("ggml", "geglu geglu_split"): lambda a, b: gelu_tanh(a) * b,
    ("ggml", "geglu_swapped"): lambda a, b: a * gelu_tanh(b),
    ("ggml", "reglu reglu_split"): lambda a, b: np.maximum(a, 0) * b,
    ("ggml", "reglu_swapped"): lambda a, b: a * np.maximum(b, 0),
}


@pytest.mark.parametrize("convention", ["vllm", "ggml"])
def test_gated_names_have_the_gate_the_layout_and_the_limits_of_the_library(convention):
    x = np.random.default_rng(0).uniform(-9, 9, (5, 24))
    defined = {word: (definition, halves) for (library, words), definition in WITHOUT_PYTHON.items()
               for word in words.split() if library == convention}
    if convention == "vllm":
        defined |= dict.fromkeys(("swigluoai_and_mul", "SwigluOAIAndMul"),
                                 (of_gpt_oss, lambda x: (x[..., ::2], x[..., 1::2])))
    gated = {word for word, name in spellings(convention).items() if name in FACTS_OF_GATED}
    assert gated == set(defined), "write the definition of a name into WITHOUT_PYTHON of this file"
    for word, (definition, parts) in defined.items():
        f = fastact.get(word, convention)
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
            for one in (x.astype(dtype), x.astype(dtype)[:, ::-1][:, ::-1], x.T.astype(dtype).T):
                np.testing.assert_allclose(f(one), definition(*parts(x)), rtol=tolerance, atol=tolerance)
        same = pickle.loads(pickle.dumps(f))
        assert same == f
        np.testing.assert_array_equal(same(x), f(x))
        dx = f.backward(np.ones((5, 12)), x)
        step = 1e-6 * np.random.default_rng(1).choice([-1, 1], x.shape)
        difference = (definition(*parts(x + step)) - definition(*parts(x - step))).sum()
        np.testing.assert_allclose((2 * step * dx).sum(), difference, rtol=1e-4)


def thinc_names():
    """What has a backward pass beside it among the methods, and the layers of one activation."""
    ops, layers = pytest.importorskip("thinc.backends").Ops, pytest.importorskip("thinc.layers")
    words = {name.removeprefix("backprop_") for name in dir(ops) if name.startswith("backprop_")}
    similar = {word.replace("_", "").lower() for word in words}
    named = {name for name in dir(layers) if name[0].isupper() and name.lower() in similar}
    return {word for word in words | named if not word.lower().startswith(("reduce_", "seq2col", "lstm"))}


def public(place):
    return {name for name in dir(place) if not name.startswith("_") and callable(getattr(place, name))}


def alike(names):
    return {name for name in names if ACTIVATION_LIKE.search(name)}


def torch_names():
    torch = pytest.importorskip("torch")
    layers = set(torch.nn.modules.activation.__all__)
    return layers | alike(name for name in public(torch.nn.functional) if name[0].islower())


def jax_names():
    nn = pytest.importorskip("jax").nn
    return public(nn) - {"get_scaled_dot_general_config", "one_hot", "scaled_dot_general", "scaled_matmul"}


def onnx_names():
    schemas = pytest.importorskip("onnx").defs.get_all_schemas()
    return alike(schema.name for schema in schemas if schema.domain == "")


NAMES = {
    "torch": torch_names,
    "jax": jax_names,
    "keras": lambda: public(keras().activations) - {"deserialize", "get", "serialize"}
    | alike(public(keras().ops.nn)),
    "tensorflow": lambda: alike(public(pytest.importorskip("tensorflow").nn)),
    "onnx": onnx_names,
    "transformers": lambda: set(pytest.importorskip("transformers.activations").ACT2CLS),
    "mlx": lambda: alike(public(pytest.importorskip("mlx.nn"))),
    "scipy": lambda: alike(public(pytest.importorskip("scipy.special"))),
    "sklearn": lambda: set(pytest.importorskip("sklearn.neural_network._base").ACTIVATIONS),
    "thinc": thinc_names,
}


@pytest.mark.parametrize("library", NAMES)
def test_every_activation_of_an_installed_library_is_spelt_or_not_offered_for_a_reason(library):
    known = set(spellings(library)) | set(not_offered(library))
    assert NAMES[library]() <= known, "write them into SPELLINGS or NOT_OFFERED of fastact/names.py"


@pytest.mark.parametrize("library", NAMED)
def test_every_known_name_is_spelt_or_not_offered_for_a_reason(library):
    assert set(NAMED[library].split()) <= set(spellings(library)) | set(not_offered(library))


# ----------------------------------------------------------------------------------------------------------- the table


def test_the_table_speaks_of_activations_and_conventions_that_there_are():
    assert set(SPELLINGS) <= set(fastact.activations)
    for name in fastact.activations:
        facts = (FACTS | FACTS_OF_GATED | FACTS_OF_ROWS).get(name)
        named = facts is None or facts.named_elsewhere
        assert (name in SPELLINGS) == named, (
            f"{name}: fastact/names.py must have its spellings in other libraries; where no library names it, write "
            f"named_elsewhere=False into its row in tests/facts.py and nothing into names.py")
    for row in SPELLINGS.values():
        assert set(row) <= set(CONVENTIONS)
    for convention in CONVENTIONS:
        rows = [row.get(convention, "") for row in SPELLINGS.values()]
        words = " ".join(row if isinstance(row, str) else " ".join(row) for row in rows).split()
        words += [one for row in NOT_OFFERED.values() for one in row.get(convention, "").split()]
        assert len(words) == len(set(words)), f"{convention} has two meanings for a spelling"
        for spelling, (name, options) in spelt(convention).items():
            f = fastact.activations[name]
            defaults = {**f.parameters, **({"gate": f.gate, "layout": f.layout} if isinstance(f, Gated) else {})}
            assert set(options) <= set(defaults), spelling
            assert all(defaults[one] != option for one, option in options.items()), f"{spelling}: no other default"
    for reason, row in NOT_OFFERED.items():
        assert set(row) <= set(CONVENTIONS), reason


def test_without_a_convention_a_name_of_the_catalogue_comes_first_and_agreement_is_asked_for():
    for convention in CONVENTIONS:
        for spelling in spellings(convention):
            meanings = {fastact.get(spelling, other) for other in CONVENTIONS if spelling in spellings(other)}
            meanings = {f.with_defaults(kinks="right") if isinstance(f, Elementwise) else f for f in meanings}
            if spelling in fastact.activations:
                assert fastact.get(spelling) is fastact.activations[spelling]
            elif len(meanings) == 1:
                assert fastact.get(spelling) == meanings.pop()
            else:
                with pytest.raises(ValueError, match=f"'{spelling}' has several meanings"):
                    fastact.get(spelling)
    with pytest.raises(ValueError, match=r"accepted with convention= are leaky_relu\(negative_slope=0.01\) for torch, "
                                         r"leaky_relu\(negative_slope=0.3\) for keras"):
        fastact.get("LeakyReLU")


def test_in_a_convention_the_names_of_the_catalogue_are_understood_too():
    for convention in CONVENTIONS:
        for spelling, name in spellings(convention).items():
            assert fastact.get(spelling, convention=convention).name == name
            if name not in spellings(convention) and name not in not_offered(convention):
                assert fastact.get(name, convention=convention).name == name
    assert fastact.get("softsign", convention="jax") is fastact.softsign


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_what_no_option_expresses_is_refused_with_the_reason(convention):
    """Not even where the catalogue has an activation of that name: it would give other numbers."""
    for spelling, reason in not_offered(convention).items():
        words = f"^fastact.get: {spelling} of {convention} {re.escape(reason)}$"
        with pytest.raises(ValueError, match=words):
            fastact.get(spelling, convention=convention)
        if spelling in fastact.activations:
            assert fastact.get(spelling) is fastact.activations[spelling]
        elif not any(spelling in spellings(other) for other in CONVENTIONS):
            with pytest.raises(ValueError, match=f"^fastact.get: {spelling} of [a-z]+ .*"):
                fastact.get(spelling)
        assert spelling not in spellings(convention)


def test_what_a_reason_tells_to_write_exists():
    for reason in NOT_OFFERED:
        for name in re.findall(r"fastact\.(\w+)", reason):
            assert hasattr(fastact, name), reason


def test_what_is_left_out_does_mean_something_else():
    x = np.linspace(-4, 4, 12, dtype=np.float32).reshape(3, 4)
    special = pytest.importorskip("scipy.special")
    for name in ("softmax", "log_softmax", "logsumexp"):
        theirs = getattr(special, name)(x)
        np.testing.assert_allclose(fastact.get(name)(x, axis=None), theirs, rtol=1e-5)
        assert np.shape(fastact.get(name)(x)) != np.shape(theirs) or not np.allclose(fastact.get(name)(x), theirs)
    ops = pytest.importorskip("thinc.backends").NumpyOps()
    assert not np.allclose(fastact.hard_swish(x), ops.hard_swish(x))


def test_sparsemax_of_keras_is_another_function():
    x = np.array([[1, 1.2, 0.9]], np.float32)
    assert fastact.sparsemax(x).sum() == pytest.approx(1, rel=1e-6)
    assert abs(np.asarray(keras().activations.sparsemax(x)).sum() - 1) > 0.1


@pytest.mark.parametrize("eps", [None, 0.0, 1e-6, 0.1])
def test_logit_clips_as_torch_does(eps):
    torch = pytest.importorskip("torch")
    x = np.array([-1, 0, 1e-7, 1e-3, 0.05, 0.3, 0.5, 0.95, 0.9995, 1, 2, np.nan], np.float32)
    np.testing.assert_allclose(fastact.logit(x, eps), torch.logit(torch.from_numpy(x), eps).numpy(), rtol=2e-5)


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (("Sigmoyd",), ValueError, "unknown activation 'Sigmoyd'; did you mean Sigmoid"),
    (("sigmoyd", "onnx"), ValueError, "unknown activation 'sigmoyd'; did you mean .*accepted are for onnx Relu, "),
    (("relu2", "jax"), ValueError, "unknown activation 'relu2'; did you mean relu"),
    (("relu", "kerras"), ValueError, "unknown convention 'kerras'; did you mean keras[?] accepted are torch, jax, "),
    (("silu_and_mul", "ggml"), ValueError, "unknown activation 'silu_and_mul'; "),
    (("relu", 3), TypeError, "convention must be a string, got int"),
    ((None, "keras"), TypeError, "name must be a string, got NoneType"),
])
def test_errors_of_get(arguments, error, words):
    with pytest.raises(error, match=f"^fastact.get: {words}"):
        fastact.get(*arguments)
