"""The command line: ``morello COMMAND ...``. Imports what a command needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

USAGE = """morello: reinforcement learning with many more cherries

  morello train [PRESET] --env ENV ...   train an agent (presets: morello list presets)
  morello eval RUN                       score it beside a random policy, with 95 % intervals
  morello watch RUN                      an mp4 of what it sees, where it goes and what it expects
  morello list envs|presets|losses|intrinsic; morello list envs FAMILY
  morello bench throughput               steps a second, part by part
  morello bench adapters                 what our adapters cost beside the simulators alone
  morello bench density                  density models beside the entropy of known sources
  morello bench curves RUN...            finished runs as a record and a picture

Each command explains its flags with --help. --import FILE runs a Python file first, which may register losses."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. 2, with one sentence on standard error, is what the user got wrong, 1
    what failed, 128 + n the end by signal n.
    """
    from .agents.training.console import forgiving, open_standard_files
    from .agents.training.signals import Stopped, stoppable

    words = list(sys.argv[1:] if arguments is None else arguments)
    open_standard_files()
    with forgiving() as output:
        try:
            with stoppable():
                code = _run(words)
        except Stopped as stopped:
            if not stopped.said:
                print(f"morello: {stopped}", file=sys.stderr)
            return stopped.code
        refused = output.out.error
        # A reader may have had enough (`morello list envs | head`), and training is more than what it says.
        if code or refused is None or isinstance(refused, BrokenPipeError) or words[0] == "train":
            return code
        why = getattr(refused, "strerror", None) or refused
        print(f"morello: standard output cannot be written: {why}", file=sys.stderr)
        return 1


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from . import __version__

        print(__version__)
        return 0
    from .agents.storage.paths import refuse_no_directory
    from .envs.errors import BrokenEnvironmentError, UserError, suggest
    from .flags import import_files, import_installed

    try:
        words = import_files(words) or ["--help"]
        if words[0] == "--help":
            print(USAGE)
            return 2
        if words[0] in ("train", "list", "bench"):
            import_installed()
        if words[0] not in COMMANDS:
            raise UserError(f"Unknown command '{words[0]}': {suggest(words[0], COMMANDS)}")
        refuse_no_directory()
        return COMMANDS[words[0]](words[1:])
    except UserError as error:
        print(f"morello: {error}", file=sys.stderr)
        return 2
    except BrokenEnvironmentError as error:
        print(f"morello: {error}", file=sys.stderr)
        return 1


def _train(words: list[str]) -> int:
    from pathlib import Path

    from .agents.config.config import Config
    from .agents.config.overrides import preset_named
    from .agents.config.registered import with_all_registered
    from .agents.config.resolve import resolve
    from .agents.config.saved import saved_settings
    from .agents.config.trust import allow_import
    from .agents.finite import NonFiniteError
    from .agents.storage.paths import typed as as_typed
    from .agents.training.train import start
    from .flags import parse, parse_alone

    typed = words.pop(0) if words and not words[0].startswith("-") else None
    preset = "a2c" if typed is None else typed
    defaults = preset_named(preset)
    given = parse_alone(Config, "unroll", words, defaults.config.unroll)  # what follows it is shown by --help too
    config = parse(Config, words, f"morello train {preset}", with_all_registered(defaults.at(given)))
    saved = saved_settings(config, typed)
    if saved is not None:  # a run that goes on takes its own settings as defaults
        if not config.env:
            allow_import(str(config.run), saved[1].env, config.trust)
        preset = saved[0]
        config = parse(Config, words, f"morello train {preset}", with_all_registered(saved[1]))
    try:
        run = start(preset, resolve(config))
    except (NonFiniteError, OSError) as error:
        print(f"morello: {error}", file=sys.stderr)
        return 1
    if not config.quiet:
        folder = as_typed(run.path, Path.cwd())
        print(f"next:  morello eval {folder}    morello watch {folder}")
    return 0


def _eval(words: list[str]) -> int:
    from .agents.evaluation.command import EvalFlags, eval_run
    from .flags import parse

    return eval_run(parse(EvalFlags, words, "morello eval"))


def _watch(words: list[str]) -> int:
    from .agents.video.command import WatchFlags, watch_run
    from .flags import parse

    return watch_run(parse(WatchFlags, words, "morello watch"))


def _list(words: list[str]) -> int:
    from .agents.config.catalogue import CATALOGUES
    from .envs.errors import UserError, suggest

    if {"-h", "--help"} & {*words}:
        print(f"usage: morello list {'|'.join(CATALOGUES)}    morello list envs FAMILY")
        return 0
    if not words or words[0] not in CATALOGUES:
        raise UserError(f"morello list what? {suggest(words[0] if words else '', CATALOGUES)}")
    if len(words) > 1 + (words[0] == "envs"):
        raise UserError(f"list {words[0]} takes no more words: leave '{words[-1]}' out.")
    for name, about in CATALOGUES[words[0]](*words[1:]):
        print(f"{name:44} {about}")
    return 0


def _bench(words: list[str]) -> int:
    from .benchmarks import BENCHMARKS
    from .envs.errors import UserError, suggest

    if words and words[0] in ("-h", "--help"):
        print(f"usage: morello bench {'|'.join(BENCHMARKS)} [OPTIONS]")
        return 0
    if not words or words[0] not in BENCHMARKS:
        raise UserError(f"morello bench what? {suggest(words[0] if words else '', BENCHMARKS)}")
    return BENCHMARKS[words[0]](words[1:])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "eval": _eval,
    "watch": _watch,
    "list": _list,
    "bench": _bench,
}

if __name__ == "__main__":
    sys.exit(main())
