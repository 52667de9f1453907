"""The `perennial` command and dbt, run in forks of a process that has loaded them already.

To load dbt takes longer than to build most of the shops of these tests, and they build a hundred.
Commands that are killed, or must find their modules themselves, are started as users start them:
see kills.py and `make test-build`.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Also what dbt, dbt-duckdb and the Python models load when they first need it.
LOADED = [
    "perennial.affinity.relations",
    "perennial.affinity.rules",
    "dbt.cli.main",
    "dbt.adapters.duckdb.environments.local",
    "dbt.compilation",
    "dbt.graph.thread_pool",
    "dbt_common.clients.agate_helper",
    "babel.dates",
    "pandas",
    "pyarrow.dataset",
    "perennial.build",
    "perennial.churn.reasons",
    "perennial.monitoring.drift",
]
# What dbt has compiled and read, for all processes that test.
TEMPLATES = Path(__file__).parents[2] / "target" / "templates"
PARSED = Path(__file__).parents[2] / "target" / "parsed"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(LOADED)


def run(
    command: list[object], cwd: Path | None = None, env: dict[str, str] | None = None, **_: object
) -> subprocess.CompletedProcess:
    """As subprocess.run(command, capture_output=True, text=True), for a command of Python's."""
    arguments = [str(argument) for argument in command]
    assert arguments[0] == sys.executable and arguments[1] in ("-m", "-c"), arguments
    with tempfile.TemporaryDirectory(prefix="preloaded-") as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        process = CONTEXT.Process(
            target=_become,
            args=(arguments[1:], str(cwd or Path.cwd()), dict(env or os.environ), files),
        )
        process.start()
        process.join()
        said = [file.read_text("utf-8") for file in files]
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def _become(arguments: list[str], cwd: str, env: dict[str, str], files: list[Path]) -> None:
    """Be a process that was started with these arguments of Python's."""
    for descriptor, file in enumerate(files, start=1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, descriptor)
    # To look for garbage in so short a life takes longer than it is worth.
    gc.disable()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    from perennial import build

    build.subprocess = _Forking
    _leave_out_debugging()
    _keep_what_is_the_same_each_time()
    _share_what_was_parsed()
    _execute(arguments)


def _leave_out_debugging() -> None:
    """Drop what dbt says for its own log only: to put it into words takes a tenth of a build."""
    from dbt_common.events.base_types import BaseEvent, DebugLevel, EventLevel
    from dbt_common.events.event_manager import EventManager

    fire, begin = EventManager.fire_event, BaseEvent.__init__

    def fire_what_is_told(self, event, level=None, **options):
        if (level or event.level_tag()) != EventLevel.DEBUG:
            fire(self, event, level, **options)

    def begin_what_is_told(self, *arguments, **said):
        if isinstance(self, DebugLevel):
            self.__dict__["said"] = arguments, said
        else:
            begin(self, *arguments, **said)

    def message_at_last(self, name):
        if name == "pb_msg" and "said" in self.__dict__:
            arguments, said = self.__dict__.pop("said")
            begin(self, *arguments, **said)
            return self.pb_msg
        if name == "pb_msg":
            raise AttributeError(name)
        return getattr(self.pb_msg, name)

    EventManager.fire_event = fire_what_is_told
    BaseEvent.__init__ = begin_what_is_told
    BaseEvent.__getattr__ = message_at_last


def _keep_what_is_the_same_each_time() -> None:
    """Let dbt take from a file, or not do at all, what it does anew in each process.

    To compile the templates of its macros takes a tenth of a build, what follows each a thirtieth.
    """
    from dbt.contracts.graph.nodes import ParsedNode
    from dbt_common.behavior_flags import BehaviorFlagRendered
    from jinja2 import Environment, FileSystemBytecodeCache

    TEMPLATES.mkdir(parents=True, exist_ok=True)
    kept = FileSystemBytecodeCache(str(TEMPLATES))
    compile_ = Environment.compile

    def compile_once(self, source, name=None, filename=None, raw=False, defer_init=False):
        if raw or not isinstance(source, str):
            return compile_(self, source, name, filename, raw, defer_init)
        key = hashlib.md5(f"{type(self)} {filename} {source}".encode()).hexdigest()
        bucket = kept.get_bucket(self, key, None, source)
        if bucket.code is None:
            bucket.code = compile_(self, source, name, filename, raw, defer_init)
            kept.set_bucket(bucket)
        return bucket.code

    Environment.compile = compile_once
    # Which file a flag of dbt's adapters stands in; it is looked for in the whole stack.
    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt")
    # The SQL of each model in target/compiled and target/run.
    ParsedNode.write_node = lambda *_: None


def _share_what_was_parsed() -> None:
    """Let dbt take up what it has read of the project with these settings in any process.

    It reads everything anew, which takes as long as a small build, for each other folder of a
    warehouse. Only the file's name, as that of the database, is in what it makes of the project.
    """
    from dbt.constants import PARTIAL_PARSE_FILE_NAME
    from dbt.parser.manifest import ManifestLoader

    fits = ManifestLoader.is_partial_parsable
    read = ManifestLoader.read_manifest_for_partial_parse
    write = ManifestLoader.write_manifest_for_partial_parse

    def own(self) -> Path:
        return Path(self.root_project.project_target_path) / PARTIAL_PARSE_FILE_NAME

    def shared(self) -> Path:
        to, asked = self.root_project.credentials, self.manifest.state_check
        told = [to.database, to.schema, asked.vars_hash, asked.project_env_vars_hash]
        told += [self.root_project.project_root, asked.project_hashes]
        return PARSED / hashlib.md5(repr(told).encode()).hexdigest()

    def fits_but_for_the_folder(self, parsed):
        if _text(_note(own(self))) == shared(self).name:
            parsed.state_check.profile_hash = self.manifest.state_check.profile_hash
        return fits(self, parsed)

    def read_what_is_shared(self):
        if shared(self).exists() and _text(_note(own(self))) != shared(self).name:
            own(self).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shared(self), own(self))
            _note(own(self)).write_text(shared(self).name)
        return read(self)

    def write_for_all(self):
        write(self)
        _note(own(self)).write_text(shared(self).name)
        if not shared(self).exists():
            PARSED.mkdir(parents=True, exist_ok=True)
            half = shared(self).with_suffix(f".{os.getpid()}")
            shutil.copyfile(own(self), half)
            half.rename(shared(self))

    ManifestLoader.is_partial_parsable = fits_but_for_the_folder
    ManifestLoader.read_manifest_for_partial_parse = read_what_is_shared
    ManifestLoader.write_manifest_for_partial_parse = write_for_all


def _note(file: Path) -> Path:
    """Beside what was parsed: with which settings."""
    return file.with_suffix(".settings")


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


class _Forking:
    """What perennial.build needs of subprocess."""

    @staticmethod
    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess:
        """As subprocess.run(command), in a fork of this process and with its output."""
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            os.environ.clear()
            os.environ.update(env)
            code = 1
            try:
                _execute(command[1:])
                code = 0
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else int(error.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status))


def _execute(arguments: list[str]) -> None:
    """Do what `python -m module …` or `python -c text …` does."""
    kind, what, *rest = arguments
    sys.argv = [what if kind == "-m" else "-c", *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
