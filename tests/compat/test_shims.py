"""The stand-ins for what old scripts import: only what is missing, and only when it is asked for."""

from __future__ import annotations

import collections
import collections.abc
import importlib
import sys
from types import ModuleType

import numpy as np
import pytest

from fastdl.compat import shims, virtual

OWN = [name for name in virtual.MODULES if name != "scipy.misc"]


@pytest.fixture
def bare(monkeypatch):
    """An interpreter in which none of the modules can be found."""
    for name in [name for name in sys.modules if name.split(".")[0] in shims.NAMES and name not in KEPT]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Hidden(), *sys.meta_path])
    yield
    shims.uninstall()
    for name in [name for name in sys.modules if name in virtual.MODULES]:
        del sys.modules[name]
    for name in ("float", "int"):
        vars(np).pop(name, None)
    vars(collections).pop("Hashable", None)


KEPT = {name for name in sys.modules if name.split(".")[0] in ("numpy", "collections")}


class _Hidden:
    """A finder that has the others find nothing under these names."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] not in {name.split(".")[0] for name in OWN}:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, shims._Supplier):
                return finder.find_spec(fullname, path, target)
        raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def test_without_them_nothing_is_there(bare):
    for name in OWN:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)
    assert not hasattr(collections, "Hashable")
    assert not hasattr(np, "float")


def test_they_are_supplied_when_they_are_asked_for(bare):
    supplied = shims.install()
    assert supplied == []
    for name in OWN:
        importlib.import_module(name)
    assert sorted(supplied) == sorted(OWN)
    from future import standard_library
    from past.builtins import xrange

    assert standard_library.install_aliases() is None
    assert list(xrange(2)) == [0, 1]
    assert importlib.import_module("past.utils").old_div(7, 2) == 3
    assert dict(importlib.import_module("future.utils").iteritems({1: 2})) == {1: 2}


def test_names_that_modules_lost(bare):
    supplied = shims.install(["collections", "numpy"])
    assert getattr(collections, "Hash" + "able") is collections.abc.Hashable
    assert np.float is float  # noqa: NPY001 - what is tested
    assert np.ones(1).astype(np.int).dtype == np.int_  # noqa: NPY001
    assert supplied == ["collections.Hashable", "numpy.float", "numpy.int"]
    for module in (np, collections):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            module.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("past")
    shims.uninstall()
    assert not hasattr(np, "complex")


def test_what_is_there_stays(monkeypatch, tmp_path):
    (tmp_path / "terminaltables.py").write_text("AsciiTable = 'theirs'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "terminaltables", raising=False)
    supplied = shims.install()
    try:
        assert importlib.import_module("terminaltables").AsciiTable == "theirs"
        assert supplied == []
    finally:
        shims.uninstall()
        sys.modules.pop("terminaltables", None)


def test_a_module_that_is_there_gets_the_names_it_lacks(monkeypatch, tmp_path):
    package = tmp_path / "sklearn"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "datasets.py").write_text("load_iris = 'theirs'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    supplied = shims.install(["sklearn.datasets"])
    try:
        from sklearn.datasets import fetch_mldata, load_iris

        assert load_iris == "theirs"
        assert fetch_mldata is virtual.fetch_mldata
        assert supplied == ["sklearn.datasets.fetch_mldata"]
    finally:
        shims.uninstall()
        for name in ("sklearn", "sklearn.datasets"):
            sys.modules.pop(name, None)


def test_beside_a_finder_that_asks_all_others():
    class Asking:
        def find_spec(self, fullname, path=None, target=None):
            found = (f.find_spec(fullname, path, target) for f in sys.meta_path if f is not self)
            return next((spec for spec in found if spec is not None), None)

    asking = Asking()
    supplied = shims.install(["scipy.misc"])
    try:
        for place in (0, len(sys.meta_path)):
            sys.meta_path.insert(place, asking)
            assert all(finder.find_spec("json.nothing", []) is None for finder in sys.meta_path)
            for finder in sys.meta_path:  # and none asks for ever
                finder.find_spec("scipy.misc", [])
            sys.meta_path.remove(asking)
    finally:
        shims.uninstall()
    assert supplied == []


def test_a_module_that_is_loaded_already(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", ModuleType("sklearn.datasets"))
    assert shims.install(["sklearn.datasets"]) == ["sklearn.datasets.fetch_mldata"]
    shims.uninstall()


def test_unknown_names():
    with pytest.raises(ValueError, match="got torch"):
        shims.install(["torch"])


# ---- what they do


def test_tables():
    table = virtual.AsciiTable([["Layer", "Size"], ["Conv", "160"], ["a\nb", "1"]])
    assert table.table.splitlines() == [
        "+-------+------+",
        "| Layer | Size |",
        "+-------+------+",
        "| Conv  | 160  |",
        "| a     | 1    |",
        "| b     |      |",
        "+-------+------+",
    ]
    assert virtual.AsciiTable([["net"]], "T").table.splitlines() == ["+T----+", "| net |", "+-----+"]


def test_progress_bars_show_nothing(capsys):
    names = virtual.MODULES["progressbar"]()
    bar = names["ProgressBar"](
        widgets=["Training: ", names["Percentage"](), names["Bar"](marker="-"), names["ETA"]()]
    )
    assert list(bar(range(3))) == [0, 1, 2]
    bar.start().update(2)
    bar.finish()
    assert (bar.currval, bar.finished) == (2, True)
    assert capsys.readouterr() == ("", "")


def test_data_sets_are_those_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="smaller digits"):
        digits = virtual.fetch_mldata("MNIST original")
    assert digits.data.shape == (1797, 784)
    assert digits.data.dtype == np.uint8
    assert digits.target.dtype == np.float64
    assert digits["target"][0] == 0
    assert digits.target[-1] == 9
    folder = tmp_path / ".keras" / "datasets"
    folder.mkdir(parents=True)
    images, labels = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28), np.array([1, 0], np.uint8)
    np.savez(folder / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    kept = virtual.fetch_mldata("MNIST original")
    assert kept.target.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(kept.data[0], images[1].ravel())
    with pytest.raises(OSError, match="its server is gone"):
        virtual.fetch_mldata("iris", data_home=str(tmp_path))
    with pytest.raises(AttributeError):
        digits.nothing  # noqa: B018


def test_data_sets_of_old(tmp_path):
    io = pytest.importorskip("scipy.io")
    (tmp_path / "mldata").mkdir()
    io.savemat(
        tmp_path / "mldata" / "mnist-original.mat", {"data": np.ones((4, 3)), "label": np.zeros((1, 3))}
    )
    found = virtual.fetch_mldata("MNIST original", data_home=str(tmp_path))
    assert found.data.shape == (3, 4)
    assert found.target.shape == (3,)


def test_pictures(tmp_path):
    pytest.importorskip("PIL")
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:2] = 200
    virtual.imsave(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(virtual.imread(tmp_path / "a.png"), picture)
    assert virtual.imread(tmp_path / "a.png", flatten=True).dtype == np.float32
    assert virtual.imread(tmp_path / "a.png", mode="L").shape == (4, 6)
    assert virtual.imresize(picture, 50).shape == (2, 3, 3)
    assert virtual.imresize(picture, 0.5).shape == (2, 3, 3)
    assert virtual.imresize(picture, (8, 3), interp="nearest").shape == (8, 3, 3)
    assert virtual.imresize(picture[..., 0] / 7.0, (4, 6)).max() == 255
