"""What other libraries call the activations: each spelling computes what it does there, defaults included."""

import copy
import functools
import os
import pickle

import numpy as np
import pytest
from common import ELEMENTWISE, each
from facts import FACTS, FACTS_OF_GATED

import fastact
from fastact import Elementwise
from fastact.names import CONVENTIONS, DEFAULTS, LEFT_OUT, SPELLINGS

LIBRARIES = (*CONVENTIONS, "onnxruntime")
"""Of ONNX there are two implementations: the reference of onnx itself, and ONNX Runtime."""

REQUIRED = {
    ("torch", "threshold"): (1.0, 0.0), ("torch", "Threshold"): (1.0, 0.0), ("keras", "threshold"): (1.0, 0.0),
    ("torch", "prelu"): (np.array([0.25], np.float32),), ("onnx", "PRelu"): (np.array([0.25], np.float32),),
}
"""Arguments that have a default here and none there."""

NOT_HERE = {
    "jax": {"logmeanexp", "logsumexp", "log1mexp", "standardize"},
    "keras": {"sparsemax"},
    "transformers": set(),
    "sklearn": set(),
    "thinc": {
        "hard_swish", "HardSwish",  # x times a hard sigmoid of slope 0.2: left out by fastact.names
        "maxout", "Maxout", "lstm_forward_inference", "softmax_sequences", "MultiSoftmax",  # of another shape
        "sechsq", "logloss",  # no activations
    },
}
"""What the libraries have beside: of another shape, no activation, or not a function of this library."""


def convention_of(library):
    return "onnx" if library == "onnxruntime" else library


def spellings(convention):
    return {spelling: name for name, row in SPELLINGS.items() for spelling in row.get(convention, "").split()}


# ------------------------------------------------------------------------------------------------------- the libraries

# Each of these returns a function (spelling, x, *required) -> array, or skips the test.

def torch_function():
    torch = pytest.importorskip("torch")

    def call(spelling, x, *required):
        x = torch.from_numpy(x)
        axis = {} if isinstance(fastact.get(spelling, "torch"), Elementwise) else {"dim": -1}
        if spelling[0].isupper():
            return getattr(torch.nn, spelling)(*required, **axis)(x).detach().numpy()
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
    """A model of the one operator, with its defaults, as bytes."""
    parser = pytest.importorskip("onnx.parser")
    shape = ", ".join(map(str, x.shape))
    constants = ", ".join(f"float[1] c{k} = {{{float(one[0])}}}" for k, one in enumerate(required))
    arguments = ", ".join(["x", *(f"c{k}" for k in range(len(required)))])
    text = f'<ir_version: 10, opset_import: ["": 24]> one (float[{shape}] x) => (float[] y) <{constants}> ' \
           f"{{ y = {spelling} ({arguments}) }}"
    return parser.parse_model(text).SerializeToString()


def onnx_function():
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")

    def call(spelling, x, *required):
        model = onnx.load_model_from_string(onnx_model(spelling, x, *required))
        return reference.ReferenceEvaluator(model).run(None, {"x": x})[0]

    return call


def onnxruntime_function():
    runtime = pytest.importorskip("onnxruntime")

    def call(spelling, x, *required):
        session = runtime.InferenceSession(onnx_model(spelling, x, *required), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]

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
    return {"torch": torch_function, "jax": jax_function, "keras": keras_function, "onnx": onnx_function,
            "onnxruntime": onnxruntime_function, "transformers": transformers_function, "scipy": scipy_function,
            "sklearn": sklearn_function, "thinc": thinc_function}[library]()


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


def thinc_names():
    """What has a backward pass beside it among the methods, and the layers of one activation."""
    ops, layers = pytest.importorskip("thinc.backends").Ops, pytest.importorskip("thinc.layers")
    words = {name.removeprefix("backprop_") for name in dir(ops) if name.startswith("backprop_")}
    similar = {word.replace("_", "").lower() for word in words}
    named = {name for name in dir(layers) if name[0].isupper() and name.lower() in similar}
    return {word for word in words | named if not word.lower().startswith(("reduce_", "seq2col", "lstm"))}


@pytest.mark.parametrize("library", NOT_HERE)
def test_every_activation_of_a_library_is_spelt(library):
    known = {
        "jax": lambda: {name for name in dir(pytest.importorskip("jax").nn) if not name.startswith("_")}
        - {"dot_product_attention", "get_scaled_dot_general_config", "initializers", "one_hot", "scaled_dot_general",
           "scaled_matmul"},
        "keras": lambda: {name for name in dir(keras().activations) if not name.startswith("_")}
        - {"deserialize", "get", "serialize"},
        "transformers": lambda: set(pytest.importorskip("transformers.activations").ACT2CLS),
        "sklearn": lambda: set(pytest.importorskip("sklearn.neural_network._base").ACTIVATIONS),
        "thinc": thinc_names,
    }[library]()
    assert known <= set(spellings(library)) | NOT_HERE[library]
    assert not set(spellings(library)) & NOT_HERE[library]


# ----------------------------------------------------------------------------------------------------------- the table


def test_the_table_speaks_of_activations_and_conventions_that_there_are():
    assert set(SPELLINGS) <= set(fastact.activations)
    for name in fastact.activations:
        facts = (FACTS | FACTS_OF_GATED).get(name)
        named = facts is None or facts.named_elsewhere
        assert (name in SPELLINGS) == named, (
            f"{name}: fastact/names.py must have its spellings in other libraries; where no library names it, write "
            f"named_elsewhere=False into its row in tests/facts.py and nothing into names.py")
    for row in SPELLINGS.values():
        assert set(row) <= set(CONVENTIONS)
    for convention in CONVENTIONS:
        words = " ".join(row.get(convention, "") for row in SPELLINGS.values()).split()
        assert len(words) == len(set(words)), f"{convention} has two meanings for a spelling"
    for (convention, spelling), defaults in DEFAULTS.items():
        parameters = fastact.activations[spellings(convention)[spelling]].parameters
        assert set(defaults) <= set(parameters)
        assert all(parameters[name] != default for name, default in defaults.items()), "no other default at all"


def test_without_a_convention_a_name_of_the_catalogue_comes_first_and_agreement_is_asked_for():
    for convention in CONVENTIONS:
        for spelling in spellings(convention):
            meanings = {fastact.get(spelling, other) for other in CONVENTIONS if spelling in spellings(other)}
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
            if name not in spellings(convention) and (convention, name) not in LEFT_OUT:
                assert fastact.get(name, convention=convention).name == name
    assert fastact.get("softsign", convention="jax") is fastact.softsign


@pytest.mark.parametrize(("convention", "spelling"), LEFT_OUT)
def test_what_no_default_expresses_is_refused_with_the_reason(convention, spelling):
    """Not even where the catalogue has an activation of that name: it would give other numbers."""
    with pytest.raises(ValueError, match=f"^fastact.get: {spelling} of {convention} .*; accepted is "):
        fastact.get(spelling, convention=convention)
    if spelling in fastact.activations:
        assert fastact.get(spelling) is fastact.activations[spelling]
    elif not any(spelling in spellings(other) for other in CONVENTIONS):
        with pytest.raises(ValueError, match=f"^fastact.get: {spelling} of {convention} .*; accepted is "):
            fastact.get(spelling)
    assert spelling not in spellings(convention)


def test_what_is_left_out_does_mean_something_else():
    x = np.linspace(-4, 4, 12, dtype=np.float32).reshape(3, 4)
    special = pytest.importorskip("scipy.special")
    for name in ("softmax", "log_softmax", "logsumexp"):
        theirs = getattr(special, name)(x)
        np.testing.assert_allclose(fastact.get(name)(x, axis=None), theirs, rtol=1e-5)
        assert np.shape(fastact.get(name)(x)) != np.shape(theirs) or not np.allclose(fastact.get(name)(x), theirs)
    ops = pytest.importorskip("thinc.backends").NumpyOps()
    assert not np.allclose(fastact.hard_swish(x), ops.hard_swish(x))


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
    (("relu", 3), TypeError, "convention must be a string, got int"),
    ((None, "keras"), TypeError, "name must be a string, got NoneType"),
])
def test_errors_of_get(arguments, error, words):
    with pytest.raises(error, match=f"^fastact.get: {words}"):
        fastact.get(*arguments)


# ------------------------------------------------------------------------------------------------------ other defaults


WITH_PARAMETERS = [f for f in ELEMENTWISE if f.parameters]


def changed(f, name, step):
    """Another default, of the parameter's domain."""
    default = f.parameters[name]
    return default + step if default + step <= f.parameter_domain[name][1] else default - step


@each("f", WITH_PARAMETERS)
def test_other_defaults_are_what_is_taken_when_nothing_is_said(f):
    given = {name: changed(f, name, 0.5) for name in f.parameters}
    g = f.with_defaults(**given)
    assert type(g) is type(f)
    assert g.name == f.name
    assert dict(g.parameters) == given
    assert g.ufunc is f.ufunc
    for dtype in (np.float32, np.float64):
        x = np.linspace(-4, 4, 333).astype(dtype)
        dy = np.linspace(1, 2, 333).astype(dtype)
        strided, out = x[::3], np.empty_like(x)
        for method, arrays in (("__call__", (x,)), ("derivative", (x,)), ("value_and_derivative", (x,)),
                               ("backward", (dy, x)), ("__call__", (strided,)), ("derivative", (strided,))):
            expected = getattr(f, method)(*arrays, **given)
            np.testing.assert_array_equal(getattr(g, method)(*arrays), expected)
            np.testing.assert_array_equal(getattr(g, method)(*arrays, **dict(f.parameters)),
                                          getattr(f, method)(*arrays))
        assert g(x, out=out) is out
        np.testing.assert_array_equal(out, f(x, **given))
        if "backward_from_output" in f.ufuncs:
            y = g(x)
            np.testing.assert_array_equal(g.backward(dy, output=y), f.backward(dy, output=y, **given))
        np.testing.assert_array_equal(g(x[7]), f(x[7], **given))  # logit has none there


@each("f", WITH_PARAMETERS)
def test_an_activation_with_other_defaults_shows_compares_and_pickles_as_that(f):
    (first, _), *rest = f.parameters.items()
    other = changed(f, first, 0.25)
    g = f.with_defaults(**{first: other})
    assert dict(g.parameters) == {first: other, **dict(rest)}
    assert f"{first}={other:g}" in repr(g)
    assert f"Default {other:g}." in g.__doc__
    assert g != f
    assert g == f.with_defaults(**{first: other})
    assert len({f, g, f.with_defaults(**{first: other})}) == 2
    for same in (pickle.loads(pickle.dumps(g)), copy.copy(g), copy.deepcopy(g)):
        assert same == g
        np.testing.assert_array_equal(same(-1.25), g(-1.25))
    assert g.with_defaults() is g
    assert g.with_defaults(**f.parameters) is f.with_defaults(**f.parameters) is f
    for name in dir(f):
        if not callable(getattr(f, name)) and name not in ("parameters", "__doc__", "__signature__"):
            assert getattr(g, name) == getattr(f, name), f"{name} got lost"
    assert f == fastact.activations[f.name], "the catalogue's own was changed"


def test_errors_of_other_defaults():
    with pytest.raises(TypeError, match=r"^fastact.leaky_relu.with_defaults: unknown argument slope; accepted are neg"):
        fastact.leaky_relu.with_defaults(slope=1)
    with pytest.raises(TypeError, match=r"^fastact.relu.with_defaults: unknown argument slope; accepted are none"):
        fastact.relu.with_defaults(slope=1)
    for wrong in ("0.2", np.ones(3), None, 1j):
        with pytest.raises(TypeError, match=f"negative_slope must be a number, got {type(wrong).__name__}"):
            fastact.leaky_relu.with_defaults(negative_slope=wrong)
