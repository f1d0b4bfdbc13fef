"""fastact.sklearn: the functions against those of scikit-learn in long double, what is replaced, what comes back."""

import doctest
import pickle
import subprocess
import sys
import textwrap
import types
import warnings

import numpy as np
import pytest
from common import WIDE, each

pytest.importorskip("sklearn")

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neural_network import MLPClassifier, MLPRegressor, _base, _multilayer_perceptron
from sklearn.utils import extmath

import fastact.sklearn
from fastact.sklearn import HIDDEN, SOFTMAX, TABLES

THEIRS = {(one.where, one.name): one.home[one.name] for one in (*TABLES, SOFTMAX)}


@pytest.fixture(autouse=True)
def put_back():
    yield
    fastact.sklearn.unpatch()
    for one in (*TABLES, SOFTMAX):
        assert one.home[one.name] is THEIRS[one.where, one.name]


def entries(table):
    return [pytest.param(one, id=one.name) for one in TABLES if one.where.endswith(table)]


def layouts(x):
    """The same numbers in other layouts."""
    wide = np.zeros((x.shape[0], 2 * x.shape[1]), x.dtype)
    wide[:, ::2] = x
    backwards = x[:, ::-1].copy()[:, ::-1]
    return {"C": x.copy(), "Fortran": x.copy(order="F"), "strided": wide[:, ::2], "backwards": backwards}


def logits(shape, dtype):
    x = np.random.default_rng(0).normal(0, 3, shape).astype(dtype)
    x.reshape(-1)[: x.size // 8] = 0
    return x


# ----------------------------------------------------------------------------------------------------- the functions


def test_every_activation_of_the_networks_is_replaced():
    for table in ("ACTIVATIONS", "DERIVATIVES"):
        replaced = {one.name for one in TABLES if one.where.endswith(table)}
        assert {"identity", *replaced} == set(getattr(_base, table)), (
            f"{table} of this release of scikit-learn: write the names into HIDDEN or OUTPUT of fastact/sklearn.py")


@each("shape", [(0, 4), (1, 1), (7, 5), (64, 33), (500, 100)])
@each("dtype", WIDE)
@pytest.mark.parametrize("entry", entries("ACTIVATIONS"))
def test_a_value_is_that_of_scikit_learn_and_in_place(entry, dtype, shape):
    x = logits(shape, dtype)
    exact = x.astype(np.longdouble)
    if x.size or entry.name != "softmax":
        THEIRS[entry.where, entry.name](exact)
    for y in layouts(x).values():
        assert entry.ours(y) is None
        np.testing.assert_allclose(y, exact.astype(dtype), rtol=4 * np.finfo(dtype).eps)


@each("shape", [(0, 4), (1, 1), (7, 5), (64, 33), (500, 100)])
@each("dtype", WIDE)
@pytest.mark.parametrize("entry", entries("DERIVATIVES"))
def test_a_derivative_is_that_of_scikit_learn_and_in_place(entry, dtype, shape):
    z = logits(shape, dtype)
    _base.ACTIVATIONS[entry.name](z)
    delta = np.random.default_rng(1).normal(size=shape).astype(dtype)
    exact = delta.astype(np.longdouble)
    THEIRS[entry.where, entry.name](z.astype(np.longdouble), exact)
    for name, given in layouts(delta).items():
        output = layouts(z)[name]
        assert entry.ours(output, given) is None
        cancelled = 4 * np.finfo(np.longdouble).eps     # of 1 - Z**2 there
        np.testing.assert_allclose(given, exact.astype(dtype), rtol=4 * np.finfo(dtype).eps, atol=cancelled)
        np.testing.assert_array_equal(output, z)


@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float64, np.float32)])
@pytest.mark.parametrize("entry", entries("DERIVATIVES"))
def test_a_derivative_of_two_dtypes(entry, dtypes):
    z, delta = np.linspace(0, 0.9, 12, dtype=dtypes[0]), np.linspace(-1, 1, 12, dtype=dtypes[1])
    expected = delta.copy()
    THEIRS[entry.where, entry.name](z, expected)
    entry.ours(z, delta)
    np.testing.assert_allclose(delta, expected, rtol=1e-6)


@each("dtype", WIDE)
def test_a_unit_that_is_zero_gets_no_gradient(dtype):
    x, delta = np.array([[-1, -0.0, 0, 1]], dtype), np.full((1, 4), 3, dtype)
    with fastact.sklearn.patched():
        _base.ACTIVATIONS["relu"](x)
        _base.DERIVATIVES["relu"](x, delta)
    np.testing.assert_array_equal(delta, [[0, 0, 0, 3]])


# ------------------------------------------------------------------------------------------------------ the networks


def data(dtype):
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8)).astype(dtype)
    return x, (x[:, :3] ** 2).sum(axis=1).argsort().argsort() // 100


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("solver", "dtype"), [
    ("adam", np.float32), ("adam", np.float64), ("sgd", np.float32), ("lbfgs", np.float64)])
@pytest.mark.parametrize("activation", HIDDEN)
def test_a_network_learns_the_same(activation, solver, dtype):
    x, y = data(dtype)
    network = MLPClassifier((20, 10), activation=activation, solver=solver, max_iter=10, random_state=0, alpha=1e-3)
    theirs = network.fit(x, y).predict_proba(x)
    with fastact.sklearn.patched():
        of_the_same_weights = network.predict_proba(x)
        ours = network.fit(x, y).predict_proba(x)
    tolerance = 2e-4 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(of_the_same_weights, theirs, rtol=1e-5 if dtype is np.float32 else 1e-13)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    assert ours.dtype == theirs.dtype == dtype
    assert b"fastact" not in pickle.dumps(network)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("options", [{}, {"loss": "poisson"}], ids=str)
def test_a_regression_learns_the_same(options):
    if options and "exp" not in _base.ACTIVATIONS:
        pytest.skip("this release of scikit-learn has one loss")
    x, y = data(np.float64)
    network = MLPRegressor(hidden_layer_sizes=(10,), max_iter=10, random_state=0, **options)
    theirs = network.fit(x, y).predict(x)
    with fastact.sklearn.patched():
        np.testing.assert_allclose(network.fit(x, y).predict(x), theirs, rtol=1e-9)


def test_a_fitted_network_is_reached():
    """The network looks its activations up in every pass."""
    assert _multilayer_perceptron.ACTIVATIONS is _base.ACTIVATIONS
    x, y = data(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = MLPClassifier((4,), activation="logistic", max_iter=1, random_state=0).fit(x, y > 0)
    seen = []
    with fastact.sklearn.patched(), pytest.MonkeyPatch.context() as patch:
        entry = next(one for one in TABLES if one.name == "logistic")
        patch.setitem(entry.home, "logistic", lambda X: (seen.append(X.shape), entry.ours(X))[1])
        network.predict_proba(x)
    assert seen == [(300, 4), (300, 1)]


# ---------------------------------------------------------------------------------------------------------- patching


def are_ours():
    return [one.home.get(one.name) is one.ours for one in (*TABLES, SOFTMAX)]


NOTHING = [False] * (len(TABLES) + 1)
NETWORKS = [True] * len(TABLES) + [False]
ALL = [True] * (len(TABLES) + 1)


def test_patch_and_unpatch():
    assert are_ours() == NOTHING
    assert not fastact.sklearn.is_patched()
    for _ in range(2):
        fastact.sklearn.patch()
        assert are_ours() == NETWORKS
        assert fastact.sklearn.is_patched()
    for softmax in (True, False, True):     # once there it stays
        fastact.sklearn.patch(softmax=softmax)
        assert are_ours() == ALL
    for _ in range(2):
        fastact.sklearn.unpatch()
        assert are_ours() == NOTHING
        assert not fastact.sklearn.is_patched()
        assert {(one.where, one.name): one.home[one.name] for one in (*TABLES, SOFTMAX)} == THEIRS


def test_a_block_ends_with_what_was_there_before():
    with fastact.sklearn.patched():
        with fastact.sklearn.patched(softmax=True):
            assert are_ours() == ALL
        assert are_ours() == NETWORKS
        with pytest.raises(KeyError), fastact.sklearn.patched():
            raise KeyError
        assert are_ours() == NETWORKS
    assert are_ours() == NOTHING
    fastact.sklearn.patch(softmax=True)
    with fastact.sklearn.patched():
        pass
    assert are_ours() == ALL
    with fastact.sklearn.patched():
        fastact.sklearn.unpatch()
    assert are_ours() == NOTHING
    with fastact.sklearn.patched():
        fastact.sklearn.unpatch()
        assert are_ours() == NOTHING
        fastact.sklearn.patch(softmax=True)
    assert are_ours() == [False] * len(TABLES) + [True]
    assert fastact.sklearn.patched()(are_ours)() == ALL


@pytest.mark.parametrize("entry", [*TABLES, SOFTMAX], ids=lambda one: f"{one.where.rpartition('.')[2]}-{one.name}")
def test_what_is_not_what_it_was_is_refused(entry, monkeypatch):
    for found in (None, 3, lambda Z, delta, mask: None, lambda y: None, np.tanh):
        if found is None:
            monkeypatch.delitem(entry.home, entry.name)
        else:
            monkeypatch.setitem(entry.home, entry.name, found)
        words = (rf"^fastact.sklearn.patch: sklearn\.\S+\['{entry.name}'\] of scikit-learn \S+ is .*; accepted is a "
                 r"function of (X|Z and delta|X and copy)$")
        with pytest.raises(RuntimeError, match=words):
            fastact.sklearn.patch(softmax=True)
        assert are_ours() == NOTHING
        monkeypatch.undo()


@pytest.mark.parametrize("entry", [*TABLES, SOFTMAX], ids=lambda one: f"{one.where.rpartition('.')[2]}-{one.name}")
def test_a_later_change_is_not_overwritten(entry, monkeypatch):
    fastact.sklearn.patch(softmax=True)
    monkeypatch.setitem(entry.home, entry.name, print)
    with pytest.raises(RuntimeError, match=r"^fastact.sklearn.unpatch: .* is <built-in function print>, which patch"):
        fastact.sklearn.unpatch()
    assert are_ours().count(False) == 1
    monkeypatch.undo()


# ----------------------------------------------------------------------------------------------------------- softmax


def test_softmax_is_replaced_wherever_it_was_imported():
    importers = [name for name, module in sys.modules.items()
                 if name.startswith("sklearn.") and vars(module).get("softmax") is extmath.softmax]
    assert {"sklearn.utils.extmath", "sklearn.discriminant_analysis", "sklearn._loss.link"} <= set(importers)
    late = types.ModuleType("sklearn._imported_later")
    fastact.sklearn.patch(softmax=True)
    for name in importers:
        assert vars(sys.modules[name])["softmax"] is SOFTMAX.ours, name
    late.softmax = extmath.softmax
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, late.__name__, late)
        fastact.sklearn.unpatch()
    for module in (late, *(sys.modules[name] for name in importers)):
        assert module.softmax is THEIRS[SOFTMAX.where, "softmax"]


@each("dtype", WIDE)
def test_softmax_of_rows(dtype):
    x = logits((40, 7), dtype)
    exact = extmath.softmax(x.astype(np.longdouble)).astype(dtype)
    with fastact.sklearn.patched(softmax=True):
        for given in layouts(x).values():
            kept = given.copy()
            y = extmath.softmax(given)
            np.testing.assert_allclose(y, exact, rtol=4 * np.finfo(dtype).eps)
            np.testing.assert_array_equal(given, kept)
            assert extmath.softmax(given, copy=False) is given
            np.testing.assert_array_equal(given, y)


@pytest.mark.parametrize("x", [[[1.0, 2.0], [3.0, 4.0]], np.ones((2, 3), np.longdouble), np.ma.ones((2, 3))])
def test_softmax_of_what_is_no_plain_matrix_is_that_of_scikit_learn(x):
    expected = extmath.softmax(x)
    with fastact.sklearn.patched(softmax=True):
        y = extmath.softmax(x)
    assert type(y) is type(expected)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("x", [np.ones((2, 3), int), np.ones(3), np.ones((2, 3, 4))])
def test_softmax_refuses_what_scikit_learn_refuses(x):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        extmath.softmax(x)
    with fastact.sklearn.patched(softmax=True), pytest.raises(expected.type):
        extmath.softmax(x)


def test_an_estimator_that_uses_softmax():
    x, y = data(np.float64)
    estimator = LinearDiscriminantAnalysis().fit(x, y)
    theirs = estimator.predict_proba(x)
    with fastact.sklearn.patched(softmax=True):
        np.testing.assert_allclose(estimator.predict_proba(x), theirs, rtol=1e-13)
        assert pickle.loads(pickle.dumps(extmath.softmax)) is SOFTMAX.ours


# -------------------------------------------------------------------------------------------------- the command line


def run(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_a_program_runs_with_the_networks_patched(tmp_path):
    (tmp_path / "beside.py").write_text("name = 'beside'\n")
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent("""
        import sys
        import beside
        import fastact.sklearn
        from sklearn.neural_network import _base
        assert __name__ == "__main__" and __file__ == sys.argv[0]
        assert fastact.sklearn.is_patched()
        fastact.sklearn.unpatch()
        assert _base.ACTIVATIONS["tanh"] is _base.inplace_tanh
        print(sys.argv[1:], beside.name)
        sys.exit(7)
    """))
    result = run("-W", "error", "-m", "fastact.sklearn", str(script), "--flag", "-h")
    assert result.returncode == 7, result.stderr
    assert result.stdout == "['--flag', '-h'] beside\n"


def test_a_program_that_is_not_there():
    result = run("-m", "fastact.sklearn", "nowhere.py")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "python -m fastact.sklearn: error: script is 'nowhere.py', which is not there; accepted is the path of a file")


@each("function", [fastact.sklearn.patch, fastact.sklearn.patched])
def test_examples(function):
    session = doctest.DocTestParser().get_doctest(function.__doc__, {}, function.__name__, None, 0)
    assert session.examples
    assert doctest.DocTestRunner(verbose=False).run(session).failed == 0
