"""Command line ``morello COMMAND ...``. Modules are imported only by the command that needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

USAGE = """morello: reinforcement learning with many more cherries

  morello train [PRESET] --env ENV ...   train an agent (presets: morello list presets)
  morello eval RUN                       score an agent against a random policy, with 95 % intervals
  morello watch RUN                      write an mp4 of an episode: view, map and value estimates
  morello list envs|presets|losses|intrinsic|runners; morello list envs FAMILY
{benchmarks}

RUN is the folder of a run. Each command explains its flags with --help. --import FILE first runs a Python file, which
may register losses, rewards or levels."""


def usage() -> str:
    """Return what ``morello --help`` prints."""
    from .benchmarks import BENCHMARKS

    lines = (f"  morello bench {name:24} {benchmark.about}" for name, benchmark in BENCHMARKS.items())
    return USAGE.format(benchmarks="\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    The code is 2, with one sentence on standard error, for a user error, 1 for a failure and 128 + n after signal n.
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
        # A reader may close the pipe early (`morello list envs | head`), and training does not depend on its output.
        if code or refused is None or isinstance(refused, BrokenPipeError) or words[0] == "train":
            return code
        why = getattr(refused, "strerror", None) or refused
        print(f"morello: standard output cannot be written: {why}", file=sys.stderr)
        return 1


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
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
            print(usage())
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
    from .agents.config.registered import refuse_unknown, with_all_registered
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
    refuse_unknown(words)
    given = parse_alone(Config, "unroll", words, defaults.config.unroll)  # for the defaults that depend on it in --help
    config = parse(Config, words, f"morello train {preset}", with_all_registered(defaults.at(given)))
    saved = saved_settings(config, typed)
    if saved is not None:  # a resumed run takes its own settings as defaults
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
    from .benchmarks.throughput.recorded import costs
    from .envs.errors import UserError, suggest

    if {"-h", "--help"} & {*words}:
        print(f"usage: morello list {'|'.join(CATALOGUES)}\n       morello list envs FAMILY   (all of one family)")
        return 0
    if not words or words[0] not in CATALOGUES:
        raise UserError(f"Name what morello list is to show; {suggest(words[0] if words else '', CATALOGUES)}")
    if len(words) > 1 + (words[0] == "envs"):
        raise UserError(f"list {words[0]} takes no more words: leave '{words[-1]}' out.")
    measured = (costs(),) if words[0] == "intrinsic" else ()
    for name, about in CATALOGUES[words[0]](*words[1:], *measured):
        print(f"{name:44} {about}")
    return 0


def _bench(words: list[str]) -> int:
    from .benchmarks import BENCHMARKS
    from .envs.errors import UserError, suggest

    if words and words[0] in ("-h", "--help"):
        print(f"usage: morello bench {'|'.join(BENCHMARKS)} [OPTIONS]   (each explains its options with --help)")
        for name, benchmark in BENCHMARKS.items():
            print(f"  {name:24} {benchmark.about}")
        return 0
    if not words or words[0] not in BENCHMARKS:
        raise UserError(f"Name a benchmark for morello bench; {suggest(words[0] if words else '', BENCHMARKS)}")
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
