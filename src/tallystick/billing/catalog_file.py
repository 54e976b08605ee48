"""Catalog files: YAML, read without losing a digit or the place where something stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tallystick.billing.exact_yaml import ExactLoader
from tallystick.domain.catalog.objects import CatalogError, CatalogProblem, Position, locate
from tallystick.domain.catalog.reading import SECTIONS, catalog_from_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.domain.catalog.objects import Catalog
    from tallystick.domain.catalog.objects import Path as FieldPath

SUFFIXES = (".yaml", ".yml")
FILE_BYTES_MAX = 5_000_000
"""Bytes of one file: ten thousand prices have less."""

NODES_MAX = 500_000
"""Values of one file, aliases counted each time: bounds what a nest of aliases unfolds to."""

DEPTH_MAX = 50


_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def read_catalog(*paths: Path) -> Catalog:
    """Return the catalog that the files declare together; a folder stands for its YAML files.

    Raises:
        CatalogError: a file cannot be read or parsed, declares what another one does, or what
            cannot be; every problem is named with its file, line and field.
    """
    return read_catalog_texts([(str(path), _read(path)) for path in _files(paths)])


def read_catalog_texts(texts: Sequence[tuple[str, str]]) -> Catalog:
    """Return the catalog that texts declare together, each with the name that errors call it.

    Raises:
        CatalogError: as ``read_catalog``.
    """
    document: dict[str, Any] = {}
    positions: dict[FieldPath, Position] = {}
    problems: list[CatalogProblem] = []
    for name, text in texts:
        parsed = _ParsedFile(name, text)
        problems += parsed.problems
        _merge(document, parsed, positions, problems)
        for path, position in parsed.positions.items():
            positions.setdefault(path, position)
    try:
        catalog = catalog_from_mapping(document, positions)
    except CatalogError as error:
        raise CatalogError(locate((*problems, *error.problems), positions)) from None
    if problems:
        raise CatalogError(locate(problems, positions))
    return catalog


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            within = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
            if not within:
                raise _problem(str(path), "this folder has no .yaml or .yml file")
            found += within
        else:
            found.append(path)
    return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _problem(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _problem(str(path), f"is not UTF-8: {error}") from error
    if len(content) > FILE_BYTES_MAX:
        raise _problem(str(path), f"has more than {FILE_BYTES_MAX} bytes")
    return text


def _problem(file: str, message: str, line: int = 1) -> CatalogError:
    return CatalogError((CatalogProblem((), message, Position(file, line)),))


def _merge(
    document: dict[str, Any],
    parsed: _ParsedFile,
    positions: dict[FieldPath, Position],
    problems: list[CatalogProblem],
) -> None:
    """Add a file's declarations; what two files declare is in neither's power to decide."""
    for section, declared in parsed.document.items():
        kept = document.setdefault(section, {} if isinstance(declared, dict) else declared)
        if not isinstance(declared, dict) or not isinstance(kept, dict):
            continue  # what is no section is refused with its fields
        for key, declaration in declared.items():
            path = (section, key)
            if section in SECTIONS and key in kept:
                message = f"is declared at {positions[path]} already"
                problems.append(CatalogProblem(path, message, parsed.positions.get(path)))
            kept[key] = declaration


class _ParsedFile:
    """One file as plain data, with the line of every value.

    ``problems`` has keys that stand twice in a mapping, of which YAML would keep the last.
    """

    def __init__(self, name: str, text: str) -> None:
        self.positions: dict[FieldPath, Position] = {}
        self.problems: list[CatalogProblem] = []
        self._name = name
        self._count = 0
        try:
            self._loader = ExactLoader(text)
            node = self._loader.get_single_node()
            found = {} if node is None else self._value(node, ())
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise _problem(name, f"is not valid YAML: {error.problem}", line) from error
        except (yaml.YAMLError, ValueError) as error:
            raise _problem(name, f"is not valid YAML: {error}") from error
        except (AttributeError, RecursionError) as error:
            # the parser's own, for a broken !!timestamp and for thousands of brackets
            raise _problem(name, "is not valid YAML: it cannot be parsed") from error
        if not isinstance(found, dict):
            raise _problem(name, f"must be sections: {', '.join(SECTIONS)}")
        self.document: dict[str, Any] = found

    def _value(self, node: yaml.Node, path: FieldPath) -> Any:
        self._count += 1
        if self._count > NODES_MAX or len(path) > DEPTH_MAX:
            raise yaml.YAMLError("it is nested too deep, or unfolds to too many values")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            raise yaml.YAMLError(f"a catalog has no {node.tag}")
        self.positions.setdefault(path, Position(self._name, node.start_mark.line + 1))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, place)) for place, child in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[Any, Any]:
        own = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self._loader.flatten_mapping(node)
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.YAMLError("a key must be a text")
            key = self._loader.construct_object(key_node)
            inner = (*path, str(key))
            line = Position(self._name, key_node.start_mark.line + 1)
            if own.count(key_node.value) > 1 and key in found:
                self.problems.append(CatalogProblem(inner, "stands twice", line))
            self.positions[inner] = line
            found[key] = self._value(value_node, inner)
        return found
