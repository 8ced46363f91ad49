"""Plug-in kinds: ``*.py`` files beside the rules, each with one or more kinds of its own.

Which kinds a file holds is read off its source; it is run when the first rule names one of them. So a plug-in that
nobody uses costs no time, and the packages that it imports need not be there. It is loaded by its path, under a name
of its own: nothing is put where imports look.
"""

import ast
import functools
import sys
import traceback
import zlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from birdwatch.detect.kind import Rule
from birdwatch.detect.mistakes import Mistake

__all__ = ["Kinds", "Plugin"]


class Plugin(NamedTuple):
    """A kind of rule as a plug-in's source has it: by which class, in which file, on which line."""

    kind: str
    name: str
    file: Path
    line: int


class Kinds:
    """The kinds of rules that a folder may use: those built in, and its plug-ins, which are loaded when asked for.

    Parameters
    ----------
    builtin
        Kinds by name.
    folder
        Where the plug-ins are. Files whose names begin with ``_`` or ``test_``, and ``conftest.py``, are none.
    mistakes
        Takes what is wrong with the plug-ins: at once what their sources show, and when it is loaded the rest.

    Attributes
    ----------
    plugins
        The plug-ins' kinds, by name.
    """

    def __init__(self, builtin: Mapping[str, type[Rule]], folder: Path, mistakes: list[Mistake]) -> None:
        self._builtin = builtin
        self._mistakes = mistakes
        self._lacking: dict[Path, str] = {}
        self._broken: set[Path] = set()
        self.plugins: dict[str, Plugin] = {}
        for file in sorted(folder.glob("*.py")):
            if not file.name.startswith(("_", "test_")) and file.name != "conftest.py":
                self._survey(file)

    def __iter__(self) -> Iterator[str]:
        """Name them all."""
        return iter(sorted({*self._builtin, *self.plugins}))

    def __contains__(self, kind: object) -> bool:
        """Tell whether there is a kind of that name."""
        return kind in self._builtin or kind in self.plugins

    def load(self, kind: str) -> type[Rule] | None:
        """Give a kind by its name; None if its plug-in cannot be loaded, and then why was noted, or it is `lacking`.

        Raises
        ------
        KeyError
            There is no such kind.
        """
        if kind in self._builtin:
            return self._builtin[kind]
        plugin = self.plugins[kind]
        if plugin.file in self._broken or plugin.file in self._lacking:
            return None
        try:
            found = getattr(_run(plugin.file, plugin.file.stat().st_mtime_ns), plugin.name, None)
            if isinstance(found, type) and issubclass(found, Rule):
                found.model_rebuild()  # annotations written as text are wrong now, or not at all
                return found
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "birdwatch") or find_spec(package):
                self._refuse(plugin, error)
            else:
                self._lacking[plugin.file] = package
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's code may raise
            self._refuse(plugin, error)
            return None
        self._broken.add(plugin.file)
        self._note(plugin.file, plugin.line, f"{plugin.name} is no rule: make it a subclass of {_RULE}")
        return None

    def loaded(self) -> dict[str, type[Rule]]:
        """Give all kinds that can be loaded."""
        return {name: kind for name in self for kind in [self.load(name)] if kind}

    def lacking(self, kind: str) -> str:
        """Name the package that a kind cannot be loaded without; empty where that is not why, or nobody has tried."""
        return self._lacking.get(self.plugins[kind].file, "") if kind in self.plugins else ""

    def _survey(self, file: Path) -> None:
        """Find the kinds of a file."""
        try:
            found = list(_plugins(file))
        except (OSError, SyntaxError, ValueError) as error:
            line = error.lineno or 1 if isinstance(error, SyntaxError) else 1
            problem = error.msg if isinstance(error, SyntaxError) else str(error)
            self._note(file, line, f"cannot be read as Python: {problem}; {_ELSE}")
            return
        if not found:
            self._note(file, 1, f'defines no kind: write a subclass of {_RULE} with `kind: Literal["NAME"]`; {_ELSE}')
        for plugin in found:
            other = self.plugins.get(plugin.kind)
            if plugin.kind in self._builtin or other:
                where = f"at {other.file}:{other.line}" if other else "among those built in"
                self._note(file, plugin.line, f"there is a kind {plugin.kind!r} already, {where}: choose another name")
            else:
                self.plugins[plugin.kind] = plugin

    def _refuse(self, plugin: Plugin, error: BaseException) -> None:
        """Note that a file cannot be run, at the last line of it that was reached."""
        self._broken.add(plugin.file)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(plugin.file) and frame.lineno]
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        line = lines[-1] if lines else plugin.line
        self._note(plugin.file, line, f"cannot be loaded: {problem}; mend it, or {_ELSE}")

    def _note(self, file: Path, line: int, message: str) -> None:
        self._mistakes.append(Mistake(file, line, message))


_RULE = "`birdwatch.detect.kind.Rule`"
_ELSE = "if it is no plug-in, begin its name with `_`"


def _plugins(file: Path) -> Iterator[Plugin]:
    """Find the classes of a source whose body says ``kind: Literal["NAME"]``."""
    for node in ast.parse(file.read_bytes(), str(file)).body:
        if isinstance(node, ast.ClassDef):
            for said in node.body:
                match said:
                    case ast.AnnAssign(
                        target=ast.Name("kind"),
                        annotation=ast.Subscript(
                            value=ast.Name("Literal") | ast.Attribute(attr="Literal"), slice=ast.Constant(str(kind))
                        ),
                    ):
                        yield Plugin(kind, node.name, file, node.lineno)


@functools.cache
def _run(file: Path, changed_at: int) -> ModuleType:
    """Run a file, once for as long as it does not change."""
    del changed_at
    name = f"_birdwatch_plugin_{zlib.crc32(str(file.resolve()).encode()):08x}_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a name for a module")
    module = module_from_spec(spec)
    # Annotations written as text are looked up where their class's module is said to be.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
