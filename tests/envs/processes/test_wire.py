"""What workers write to their parent is data: it is checked, and can run nothing."""

import gc
import json
import os
import pickle
import random
import struct
import types
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
import torch

import morello
from morello.envs.counting import Counting
from morello.envs.errors import BrokenEnvironmentError, UserError
from morello.envs.processes import wire
from morello.envs.processes.serving import Share
from morello.envs.processes.wire import Command, GarbageError, Reply
from morello.envs.processes.worker_process import Worker, limit_patience, listen
from morello.envs.processes.workers import Workers

from ...support import gymnasium_worlds  # noqa: F401 (registers)

SPEC = Counting(2, torch.device("cpu"), 0).spec
GREETING = Reply(0, None, [(RuntimeWarning, "mind the gap")], SPEC, True)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def sent(message):
    """What a message is on its way."""
    ours, theirs = Pipe()
    wire.send(theirs, message)
    return ours.recv_bytes()


def received(data, kind=Reply):
    ours, theirs = Pipe()
    theirs.send_bytes(data)
    return wire.receive(ours, kind)


@pytest.mark.parametrize(
    "message",
    [
        GREETING,
        Reply(3, (UserError, "no world \N{SNOWMAN}"), []),
        Reply(4, (BrokenEnvironmentError, "it ended"), [(UserWarning, "a"), (DeprecationWarning, "b")]),
        Command(5, "reset", 2**62 - 1),
        Command(6, "step"),
    ],
)
def test_messages_arrive_as_they_were_sent(message):
    assert received(sent(message), type(message)) == message


@pytest.mark.parametrize(
    "name", ["labyrinth:recall_left+recall_right", "counting:steps", "gym:Parts-v0", "minigrid:DoorKey-5x5"]
)
def test_every_familys_spec_arrives_as_it_is(name):
    spec = morello.make(name, 2).spec
    arrived = received(sent(spec), type(spec))
    assert arrived == spec
    assert hash(arrived.tasks) == hash(spec.tasks)  # tuples, not lists


def changed(**fields):
    """The greeting with other fields in its spec."""
    plain = json.loads(sent(GREETING))
    plain["spec"] |= fields
    return json.dumps(plain).encode()


GARBAGE = {
    "nothing": b"",
    "words": b"hello, parent",
    "no text": b"\xff\xfe",
    "a pickle": pickle.dumps(GREETING),
    "half": sent(GREETING)[:-9],
    "a list": b"[1, 2]",
    "a nest": b"[" * 200_000,
    "a long number": b'{"number": 1' + b"0" * 9999 + b"}",
    "no number": sent(GREETING).replace(b'"number": 0', b'"number": NaN'),
    "a field more": sent(GREETING)[:-1] + b', "more": 1}',
    "another error": sent(Reply(0, (UserError, "x"), [])).replace(b"UserError", b"SystemExit"),
    "another warning": sent(GREETING).replace(b"RuntimeWarning", b"OSError"),
    "another dtype": sent(GREETING).replace(b"torch.uint8", b"torch.complex128"),
    "no actions": changed(num_actions=0, action_names=[]),
    "other actions": changed(num_actions=4),
    "true actions": changed(num_actions=True, action_names=["a"]),
    "a size below 1": changed(observation={"image": [[5, -7, 3], "torch.uint8"]}),
    "a size beyond memory": changed(observation={"image": [[2**31, 2**31, 3], "torch.uint8"]}),
    "a name that is taken": changed(observation={"reward": [[5], "torch.float32"]}),
    "no task": changed(tasks=[], success=[]),
    "success of another": changed(success=[True]),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_message_is_garbage(name):
    with pytest.raises(GarbageError):
        received(GARBAGE[name])


BITS = (b"", b"1", b"null", b"-", b"[", b'"', b"\x80", b"e")


def test_nothing_but_garbage_comes_of_mutated_messages():
    chance, taken = random.Random(0), 0
    for whole in (sent(GREETING), sent(Reply(7, (ValueError, "no"), []))):
        for _ in range(1500):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randint(0, 3)] = chance.choice(BITS)
            try:
                reply = received(bytes(data))
            except GarbageError:
                continue
            assert type(reply) is Reply
            taken += 1
    assert taken > 0  # a letter more in a warning is none


def test_text_cannot_command_a_terminal_and_ends():
    reply = received(sent(Reply(1, (UserError, "red \x1b[31m\nand more" + "x" * 9999), [])))
    assert reply.error[1].startswith("red  [31m and more")
    assert len(reply.error[1]) == wire.LONGEST
    assert received(sent(Reply(1, None, [])).replace(b"[]", b'[["UserWarning", "\\ud800"]]')).warnings[0][1] == " "


def fake(number=0):
    """A worker without a process, and its end of the pipe."""
    ours, theirs = Pipe()
    limit_patience(ours, 1)
    sentinel, _ = os.pipe()
    process = types.SimpleNamespace(sentinel=sentinel, pid=None, exitcode=None, join=lambda *_: None, kill=lambda: None)
    return Worker(Share(0, 1, 0, 2, 2, 0, 0, False, False), process, ours, commands=number), theirs


def heard(number, write):
    worker, theirs = fake(number)
    write(theirs)
    return listen([worker], 60)


WRITTEN = {
    "a pickle": lambda pipe: pipe.send(GREETING),
    "words": lambda pipe: os.write(pipe.fileno(), b"A" * 64),
    "the beginning": lambda pipe: os.write(pipe.fileno(), struct.pack("!i", 90) + b"{"),
    "a size of 1 GiB": lambda pipe: os.write(pipe.fileno(), struct.pack("!i", 2**30)),
    "a size of 8 EiB": lambda pipe: os.write(pipe.fileno(), struct.pack("!iQ", -1, 2**63)),
    "a size below 0": lambda pipe: os.write(pipe.fileno(), struct.pack("!i", -7)),
    "the answer before": lambda pipe: wire.send(pipe, Reply(2, None, [])),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_worker_that_writes_garbage_is_as_good_as_dead(how):
    replies, dead = heard(3, WRITTEN[how])
    assert replies == []
    assert dead[0][1].startswith("its process sent ")
    assert heard(3, lambda pipe: wire.send(pipe, Reply(3, None, [])))[1] == []


def test_a_pickle_is_not_opened(tmp_path):
    replies, dead = heard(0, lambda pipe: pipe.send(Bomb(str(tmp_path / "ran"))))
    assert replies == []
    assert dead
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Bomb(str(tmp_path / "ran"))))
    assert (tmp_path / "ran").exists()  # a bomb it is


class Traitor(Counting):
    """Sends a bomb to the parent in each step, or when it is made."""

    def __init__(self, path, at_once, **options):
        super().__init__(options["num_envs"], options["device"], options["seed"], env_offset=options["env_offset"])
        self.path = path
        if at_once:
            self.betray()

    def step(self, action, out=None):
        self.betray()
        return super().step(action, out)

    def betray(self):
        for pipe in [x for x in gc.get_objects() if isinstance(x, Connection) and x.writable]:
            pipe.send(Bomb(self.path))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_worker_runs_nothing_in_its_parent(at_once, tmp_path):
    ran = tmp_path / "ran"
    words = r"environments 0 to 1 .*its process sent something other than a message"
    build = partial(Traitor, str(ran), at_once)
    if at_once:
        with pytest.raises(BrokenEnvironmentError, match=words):
            Workers(build, 2, torch.device("cpu"), 0, env_workers=1)
    else:
        env = Workers(build, 2, torch.device("cpu"), 0, env_workers=1)
        env.reset()
        with pytest.raises(BrokenEnvironmentError, match=words):
            env.step(torch.zeros(2, dtype=torch.int64))
    assert not ran.exists()
