"""The `selfflow` program: finds the command, composes its configuration, runs it.

How a command and its configuration are declared: see `selfflow_robotics.cli.config`.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ..storage.notice import Notice
from ..training import stopping

COMMANDS = (
    "demo",
    "collect",
    "data convert rlds",
    "data check",
    "data encode",
    "data export lerobot",
    "tokenizer",
    "estimate",
    "pretrain",
    "finetune",
    "improve",
    "probe",
    "prior",
    "submit pretrain",
    "submit finetune",
    "infer",
    "rollout",
    "plan",
    "audit",
    "evaluate",
    "doctor",
)

USAGE = """usage: selfflow COMMAND [key=value ...]

Self-Flow world models for robots: train, imagine, plan.

Commands:
{commands}

"selfflow COMMAND --help" says what a command reads and writes, and lists its keys.
"--key value" and "--key=value" mean the same as "key=value". "-m" runs a command once for each
combination of values: key=A,B. "--config-dir DIR" adds a folder of presets. SELFFLOW_DEBUG=1 shows
the traceback of an error.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `selfflow`; those of this process when None.

    Returns:
        The exit status: the command's own, 1 when it failed with an error that it explains, 2 when
        the command line is wrong, 130 when interrupted. A SIGTERM clears up and leaves with 143;
        training that it stopped has saved where it is, and leaves with 0.
    """
    global _asked_to_leave
    _asked_to_leave = None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)
    words = list(sys.argv[1:] if arguments is None else arguments)
    before = len(stopping.heeded)
    try:
        status = _explained(functools.partial(_dispatch, words))
        # What `make` would run next lacks what this training has not made.
        return 128 + signal.SIGINT if signal.SIGINT in stopping.heeded[before:] else status
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, Exception) as error:
        # A library that is interrupted in the middle of an import makes another error of it.
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else _asked_to_leave
        if number is None:
            raise
        print("interrupted", file=sys.stderr)
        return 128 + number


def _as_line(
    message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A notice as a line; any other warning with its place, as Python has it."""
    if issubclass(category, Notice):
        return f"note: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


_asked_to_leave: int | None = None  # the signal that did


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that half-written files and worker processes are cleared away."""
    global _asked_to_leave
    _asked_to_leave = number
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def commands() -> dict[str, str]:
    """Every command with the first line of its help: read, not imported, which takes a second."""
    found = {}
    for name in COMMANDS:
        text = Path(__file__).with_name(f"{module_of(name)}.py").read_text(encoding="utf-8")
        found[name] = text.partition('\nHELP = """')[2].partition("\n")[0]
    return found


def module_of(command: str) -> str:
    """The module of a command: "data encode" is `selfflow_robotics.cli.data_encode`."""
    return command.replace(" ", "_")


def named_by(words: Sequence[str], known: Iterable[str]) -> str | None:
    """The command, of one word or several, that a command line begins with."""
    return next((name for name in known if name.split() == list(words)[: len(name.split())]), None)


def normalize(words: Sequence[str]) -> list[str]:
    """`--name value` and `--name=value` become `name=value`; a dash inside the name, an underscore.

    A `--name` at the end, or before another `--name` or `key=value`, is a switch: `name=true`.
    """
    result: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--"):
            result.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            switch = not waiting or re.match(r"--|[^\W\d][\w.]*=", waiting[0])
            value = "true" if switch else waiting.pop(0)
        result.append(f"{name.replace('-', '_')}={value}")
    return result


def _dispatch(words: list[str]) -> int:
    known = commands()
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, known))
        lines = "\n".join(f"  {name:{width}}  {text}" for name, text in known.items())
        print(USAGE.format(commands=lines), end="")
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from selfflow_robotics import __version__

        print(f"selfflow {__version__}")
        return 0

    if words[0] in ("-sc", "--shell-completion"):
        from selfflow_robotics.cli.completion import complete

        return complete(words[1:], known)
    command = named_by(words, known)
    if command is None:
        raise _no_command(words, known)
    return _run(command, words[command.count(" ") + 1 :])


def _explained(run: Callable[[], int], who: str = "") -> int:
    """The exit status of what is run; an error that explains itself is said in a sentence."""
    try:
        return run()
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError, RuntimeError, MemoryError) as error:
        if _asked_to_leave or os.environ.get("SELFFLOW_DEBUG", "0") not in ("", "0"):
            raise
        from selfflow_robotics.storage.typed_yaml import ConfigError

        text, status = _sentence(error), 2 if isinstance(error, ConfigError) else 1
    # Said only here, where the exception and with it any unfinished progress bar are gone.
    print(f"error: {who}{text}", file=sys.stderr)
    return status


def _no_command(words: list[str], known: Iterable[str]) -> ValueError:
    from selfflow_robotics.storage.typed_yaml import ConfigError, nearest

    family = [name for name in known if name.split()[0] == words[0]] or list(known)
    asked = " ".join(words[: max(name.count(" ") for name in family) + 1])
    hint = nearest(asked, family) or f"; there are: {', '.join(family)}"
    return ConfigError(f'there is no command "{asked}"{hint}')


def _run(command: str, words: list[str]) -> int:
    from selfflow_robotics.cli.config import compose

    module = importlib.import_module(f"selfflow_robotics.cli.{module_of(command)}")
    helps, sweeps = {"-h", "--help"}, {"-m", "--multirun"}
    arguments = normalize([word for word in words if word not in helps | sweeps])
    folders = [word for word in arguments if word.startswith("config_dir=")]
    arguments = [word for word in arguments if word not in folders]
    config_dir = Path(folders[-1][11:]) if folders else None
    if config_dir is not None and not config_dir.is_dir():
        raise FileNotFoundError(f"--config-dir: there is no folder {config_dir}")
    if helps & set(words):
        from selfflow_robotics.cli.help import describe

        print(f"usage: selfflow {command} [key=value ...]\n\n{module.HELP.strip()}\n")
        print(describe(module.Config, config_dir))
        return 0
    if sweeps & set(words):
        from selfflow_robotics.cli.sweep import sweep

        job = functools.partial(_job_of_a_sweep, module.run)
        return sweep(command, module.Config, job, arguments, config_dir)
    return _job(module.run, compose(command, module.Config, arguments, config_dir))


def _job(run: Callable[[Any], int], config: Any) -> int:
    from selfflow_robotics.machine.allocator import keep_memory

    keep_memory()
    warnings.formatwarning = _as_line
    return int(run(config))


def _job_of_a_sweep(run: Callable[[Any], int], config: Any, name: str) -> int:
    return _explained(functools.partial(_job, run, config), f"{name}: ")


def _sentence(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, MemoryError):
        return f"memory is short: {text}" if text else "memory is short"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return text or type(error).__name__


if __name__ == "__main__":
    # "python -m" looks into the working folder for modules; the program "selfflow" does not.
    if sys.path[:1] == [os.getcwd()]:
        del sys.path[0]
    sys.exit(main())
