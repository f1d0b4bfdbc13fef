"""The neural networks of scikit-learn, computed with the activations of fastact.

    import fastact.sklearn

    fastact.sklearn.patch()

or, without a change to the program, ``python -m fastact.sklearn script.py``.

scikit-learn looks up the activations and their derivatives in two tables, in every pass over a network. `patch`
replaces their entries: networks that were fitted before are computed by fastact too, and a pickled network holds
nothing of it. The tables are those of the process: patch while no other thread fits or predicts. Processes that joblib
starts have tables of their own.
"""

import argparse
import inspect
import os
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.neural_network import _base
from sklearn.utils import extmath

from fastact.catalogue import softmax as softmax_of_fastact
from fastact.lookup import get

__all__ = ["is_patched", "patch", "patched", "unpatch"]

Array = npt.NDArray[Any]
Namespace = dict[str, Any]

HIDDEN = ("logistic", "tanh", "relu")
OUTPUT = ("softmax", "exp")  # the others of the output are among HIDDEN; exp since scikit-learn 1.7


def _value(name: str) -> Callable[[Array], None]:
    f = get(name, convention="sklearn")

    def in_place(X: Array) -> None:
        f(X, out=X)

    return in_place


def _derivative(name: str) -> Callable[[Array, Array], None]:
    f = get(name, convention="sklearn")

    def in_place(Z: Array, delta: Array) -> None:
        f.backward(delta, output=Z, out=delta)  # from the output: at 0 the derivative of relu is 0, as there

    return in_place


@wraps(extmath.softmax)
def _softmax(X: Any, copy: bool = True) -> Any:
    if type(X) is np.ndarray and X.ndim == 2 and X.dtype.char in "efd":
        return softmax_of_fastact(X, out=None if copy else X)
    return _softmax.__wrapped__(X, copy)


class Replacement:
    """A function of scikit-learn, and the one that takes its place.

    Parameters
    ----------
    where : str
        What to call `home` in messages.
    home : dict
        The table or the module that has the function.
    name : str
        Its name there.
    ours : callable
        What takes its place, with the same parameters.
    importers : callable, optional
        The modules that may have imported it by its name, at the moment.
    """

    def __init__(
        self,
        where: str,
        home: Namespace,
        name: str,
        ours: Callable[..., Any],
        importers: Callable[[], Iterable[Namespace]] = lambda: (),
    ) -> None:
        self.where, self.home, self.name, self.ours, self.importers = where, home, name, ours, importers
        self.theirs: Any = None  # while ours takes its place

    def check(self) -> None:
        """Raise RuntimeError unless scikit-learn has such a function."""
        found, parameters = self.home.get(self.name), _parameters(self.ours)
        if _parameters(found) != parameters:
            raise RuntimeError(
                f"fastact.sklearn.patch: {self.where}[{self.name!r}] of scikit-learn {sklearn.__version__} is "
                f"{found!r}; accepted is a function of {' and '.join(parameters)}")

    def check_ours(self) -> None:
        """Raise RuntimeError if another one has been put in its place since."""
        if (found := self.home.get(self.name)) is not self.ours:
            raise RuntimeError(
                f"fastact.sklearn.unpatch: {self.where}[{self.name!r}] is {found!r}, which patch() has not put there; "
                f"accepted is fastact's function: undo the later change first")

    def put_ours(self) -> None:
        self.theirs = self.home[self.name]
        self._exchange(self.theirs, self.ours)

    def put_theirs(self) -> None:
        self._exchange(self.ours, self.theirs)
        self.theirs = None

    def _exchange(self, old: Any, new: Any) -> None:
        for namespace in (self.home, *self.importers()):
            if namespace.get(self.name) is old:
                namespace[self.name] = new


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _modules() -> list[Namespace]:
    """The modules of scikit-learn that are loaded."""
    return [vars(module) for name, module in list(sys.modules.items())
            if name.partition(".")[0] == "sklearn" and isinstance(module, ModuleType)]


def _entries(table: str, names: Iterable[str], function: Callable[[str], Callable[..., Any]]) -> list[Replacement]:
    home = getattr(_base, table, {})
    return [Replacement(f"sklearn.neural_network._base.{table}", home, name, function(name)) for name in names
            if name in home or name != "exp"]


TABLES = [*_entries("ACTIVATIONS", HIDDEN + OUTPUT, _value), *_entries("DERIVATIVES", HIDDEN, _derivative)]
SOFTMAX = Replacement("sklearn.utils.extmath", vars(extmath), "softmax", _softmax, _modules)


def _put_ours(softmax: bool) -> list[Replacement]:
    """Put the functions of fastact in place, all or none; return those that were not there."""
    new = [one for one in (*TABLES, *([SOFTMAX] if softmax else ())) if one.theirs is None]
    for one in new:
        one.check()
    for one in new:
        one.put_ours()
    return new


def _put_theirs(replacements: Iterable[Replacement]) -> None:
    """Put the functions of scikit-learn back, all or none."""
    here = [one for one in replacements if one.theirs is not None]
    for one in here:
        one.check_ours()
    for one in here:
        one.put_theirs()


def patch(*, softmax: bool = False) -> None:
    """Compute the activations of scikit-learn's neural networks with fastact.

    Replaced are the functions of ``sklearn.neural_network._base.ACTIVATIONS`` and ``DERIVATIVES``, which
    `MLPClassifier` and `MLPRegressor` use, but for the identity. A call that has nothing left to replace does nothing.

    Parameters
    ----------
    softmax : bool, optional
        Whether to replace `sklearn.utils.extmath.softmax` too, in each module of scikit-learn that has imported it:
        those of logistic regression, linear discriminant analysis, AdaBoost, neighbourhood components analysis and
        calibration. Default False.

    Raises
    ------
    RuntimeError
        If a function is not there, or has other parameters than those known; nothing is replaced then.

    Examples
    --------
    >>> import fastact.sklearn
    >>> fastact.sklearn.patch()
    >>> fastact.sklearn.is_patched()
    True
    >>> fastact.sklearn.unpatch()
    """
    _put_ours(softmax)


def unpatch() -> None:
    """Put scikit-learn's own functions back: those of the networks, and `softmax` if it was replaced.

    Raises
    ------
    RuntimeError
        If a function has been replaced by another one since; nothing is put back then.
    """
    _put_theirs([*TABLES, SOFTMAX])


@contextmanager
def patched(*, softmax: bool = False) -> Iterator[None]:
    """A context manager or decorator: `patch` at its start, and at its end back to what was there before.

    Parameters
    ----------
    softmax : bool, optional
        As `patch` has it.

    Raises
    ------
    RuntimeError
        As `patch` and `unpatch` raise it.

    Examples
    --------
    >>> import fastact.sklearn
    >>> with fastact.sklearn.patched():
    ...     fastact.sklearn.is_patched()
    True
    >>> fastact.sklearn.is_patched()
    False
    """
    new = _put_ours(softmax)
    try:
        yield
    finally:
        _put_theirs(new)


def is_patched() -> bool:
    """Return whether the networks compute with fastact.

    Returns
    -------
    bool
    """
    return all(one.theirs is not None for one in TABLES)


def main(arguments: list[str] | None = None) -> None:
    """Run a program with the networks patched, as ``python script.py`` would."""
    parser = argparse.ArgumentParser(
        prog="python -m fastact.sklearn", description="Run a Python program with fastact.sklearn.patch() in force.")
    parser.add_argument("script", help="path of the program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    given = parser.parse_args(arguments)
    if not os.path.isfile(given.script):
        parser.error(f"script is {given.script!r}, which is not there; accepted is the path of a file")
    sys.argv = [given.script, *given.arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(given.script))
    patch()
    runpy.run_path(given.script, run_name="__main__")


if __name__ == "__main__":
    # This module is __main__, a copy of the one that programs import; the state is that of the other one.
    from fastact import sklearn as imported

    imported.main()
