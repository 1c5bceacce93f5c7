"""The lock of a process that was killed goes with the last who holds its file, which may be a moment later."""

import fcntl
import os
import threading

import pytest

from morello.agents.storage.lock import LINGER_SECONDS, LOCK, Lock
from morello.envs.errors import UserError


def held(folder):
    """An open file that holds the lock, as a process holds it that was started before the kill."""
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def test_a_lock_that_lingers_is_waited_for(tmp_path):
    release = threading.Timer(LINGER_SECONDS / 5, os.close, [held(tmp_path)])
    release.start()
    lock = Lock(tmp_path, print)
    assert lock.held
    lock.release()
    release.join()


def test_one_that_stays_is_refused(tmp_path):
    file = held(tmp_path)
    with pytest.raises(UserError, match="is in use by process"):
        Lock(tmp_path, print)
    os.close(file)
