"""What every test gets: one torch thread, its own seeded generators, and `gpu` tests only where there is a GPU.

Nothing of morello is imported here: shape annotations are checked only in modules imported after pytest's set-up.
"""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

import hypothesis
import numpy as np
import pytest
import torch

from .support.opengl import opengl

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)
hypothesis.settings.register_profile("morello", deadline=None, derandomize=True)  # same examples every time
hypothesis.settings.load_profile("morello")


# Under nohup, or in the background of a script, some signals are ignored, and whatever is started inherits that.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)


class PlainRoot:
    """Collects the checkout as a folder. Its ``__init__.py`` would make it a package of the folder's name, and that may
    be any: morello-main, say.
    """

    @staticmethod
    def pytest_collect_directory(path, parent):
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config):
    config.pluginmanager.register(PlainRoot())


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device; `make gpu` runs it where there is one")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def pytest_runtest_setup(item):
    """A test's random numbers do not depend on which tests ran before it."""
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # training sets it for the process
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _forget_imported_files():
    """Drop the files that a test had --import run, which processes started by later tests would import too."""
    yield
    for name in [name for name in sys.modules if name.startswith("morello_import_")]:
        del sys.modules[name]


@pytest.fixture
def drawn():
    return opengl()
