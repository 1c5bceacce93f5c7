"""What the trials share: children that are forked, not started, and that tell what they are doing.

Python, torch and morello take seconds to start. The parent imports them once, on one thread and without computing
anything, which is what makes a fork safe; a child is then there in milliseconds, and is in all else an ordinary run.
"""

import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"  # read when the libraries are imported, so that trials import this module first

# What torch and morello import late is here too: it takes seconds, once.
import torch._dynamo  # noqa: E402
import torch.utils.tensorboard  # noqa: E402

from morello.agents.storage import checkpoint  # noqa: E402
from morello.agents.training import loop  # noqa: E402

torch.set_num_threads(1)


class Board:
    """Memory that parent and children share: what the child is doing, and the step of its last finished checkpoint."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 32)
        self.write("nothing", -1)

    def write(self, doing: str, step: int | None = None) -> None:
        self.memory[8:32] = doing.encode().ljust(24)
        if step is not None:
            self.memory[:8] = struct.pack("q", step)

    @property
    def doing(self) -> str:
        return self.memory[8:32].decode().strip()

    @property
    def saved(self) -> int:
        return struct.unpack("q", self.memory[:8])[0]

    @contextmanager
    def during(self, doing: str):
        before = self.doing
        self.write(doing)
        yield
        self.write(before)

    def watch(self) -> None:
        """From here on training tells what it does. Nothing else about it changes."""
        save, score, film, run = checkpoint.save, loop.score, loop.film, loop.Training.run

        def saving(folder, step, *arguments, **more):
            with self.during("checkpoint"):
                done = save(folder, step, *arguments, **more)
                self.write("checkpoint", step)
            return done

        def scoring(*arguments, **more):
            with self.during("evaluation"):
                return score(*arguments, **more)

        def filming(*arguments, **more):
            with self.during("film"):
                return film(*arguments, **more)

        def running(*arguments, **more):
            self.write("training")
            return run(*arguments, **more)

        checkpoint.save, loop.score, loop.film, loop.Training.run = saving, scoring, filming, running


def fork(work: Callable[[], int], output: str = os.devnull) -> int:
    """The process that does ``work``, and ends with what that returns, or with 70 and a traceback in ``output``."""
    if len(threads := os.listdir("/proc/self/task")) > 1:
        names = [Path(f"/proc/self/task/{thread}/comm").read_text().strip() for thread in threads]
        raise RuntimeError(f"only a process of one thread may be forked, and this one has {names}")
    child = os.fork()
    if child:
        return child
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:  # a trial under nohup, or in the background of a script
            signal.signal(number, default)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 70
    try:
        code = work()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(child: int, seconds: float) -> int | None:
    """The exit code of a child (-signal if one ended it); None if it has not ended within ``seconds``."""
    ends = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > ends:
            return None
        time.sleep(0.0005)
