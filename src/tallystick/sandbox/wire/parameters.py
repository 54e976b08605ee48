"""What a request may say: Stripe's own parameter schema, and which of it the sandbox acts on.

The schema comes from Stripe's OpenAPI facts. A parameter that Stripe does not have is Stripe's
``parameter_unknown``; one that Stripe has and the sandbox does not act on is refused with
``not_supported_by_sandbox``: none is ignored silently.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any

from tallystick.sandbox.wire.errors import StripeError, refused, unsupported

Supported = dict[str, "Supported"]
"""Names of parameters that are acted on; an empty dict stands for everything below a name."""

_INTEGER = re.compile(r"[+-]?\d{1,19}\Z")
_DECIMAL = re.compile(r"[+-]?\d{1,20}(\.\d{1,12})?\Z")
"""Plain notation only: whether Stripe reads exponents is unconfirmed, so the sandbox refuses what
may not work (the SDK writes ``Decimal("0.000000000001")`` as ``1E-12``)."""
_INT64_MAX = 2**63 - 1
_METADATA_KEYS_MAX = 50
_METADATA_KEY_MAX = 40
_METADATA_VALUE_MAX = 500


def parse_supported(names: str) -> Supported:
    """Return the tree of ``"email items.price automatic_tax.enabled=false"``."""
    tree: Supported = {}
    for name in names.split():
        path, has_value, value = name.partition("=")
        node = tree
        for part in path.split("."):
            node = node.setdefault(part, {})
        if has_value:
            node[f"={value}"] = {}
    return tree


def _only(node: Supported) -> list[str]:
    """Return the values that alone are acted on: those written ``name=value``."""
    return [name[1:] for name in node if name.startswith("=")]


class Reader(ABC):
    """Turns what came over the wire into a value of one schema node."""

    @abstractmethod
    def read(self, raw: Any, param: str) -> Any:
        """Return the value.

        Raises:
            StripeError: 400, Stripe's words.
        """


class Text(Reader):
    """A string, with Stripe's maximum length."""

    def __init__(self, length_max: int | None, *, is_decimal: bool, can_clear: bool) -> None:
        self._length_max = length_max
        self._is_decimal = is_decimal
        self._can_clear = can_clear

    def read(self, raw: Any, param: str) -> Any:
        if isinstance(raw, bool | int | float):
            raw = str(raw)
        if not isinstance(raw, str):
            raise refused(f"Invalid string: {_shown(raw)}", param=param)
        if raw == "" and not self._can_clear:
            raise _empty(param)
        if self._length_max is not None and len(raw) > self._length_max:
            raise refused(
                f"Invalid string: {raw[:5]}...{raw[-5:]}; must be at most {self._length_max} "
                "characters",
                param=param,
            )
        if self._is_decimal:
            return read_decimal(raw, param)
        return raw


class Integer(Reader):
    """A whole number of 64 bits."""

    def read(self, raw: Any, param: str) -> Any:
        if isinstance(raw, int) and not isinstance(raw, bool):
            raw = str(raw)
        if isinstance(raw, str) and raw == "":
            raise _empty(param)
        if not isinstance(raw, str) or not _INTEGER.match(raw) or abs(int(raw)) > _INT64_MAX:
            raise refused(
                f"Invalid integer: {_shown(raw)}", param=param, code="parameter_invalid_integer"
            )
        return int(raw)


class Number(Reader):
    """A decimal number such as a percentage."""

    def read(self, raw: Any, param: str) -> Any:
        if not isinstance(raw, str) or raw == "":
            raise refused(f"Invalid decimal: {_shown(raw)}", param=param)
        return read_decimal(raw, param)


class Boolean(Reader):
    """``true`` or ``false``."""

    def read(self, raw: Any, param: str) -> Any:
        if raw in ("true", "false"):
            return raw == "true"
        if isinstance(raw, bool):
            return raw
        raise refused(f"Invalid boolean: {_shown(raw)}", param=param)


class Choice(Reader):
    """One of Stripe's listed words."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def read(self, raw: Any, param: str) -> Any:
        if isinstance(raw, str) and raw in self.words:
            return raw
        listed = [word for word in self.words if word]
        options = " or ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
        raise refused(f"Invalid {param}: must be one of {options}", param=param)


class Dictionary(Reader):
    """A map with free keys; metadata follows its documented limits (DOC:api/metadata)."""

    def __init__(self, values: Reader | None, *, is_metadata: bool) -> None:
        self._values = values
        self._is_metadata = is_metadata

    def read(self, raw: Any, param: str) -> Any:
        if not isinstance(raw, dict):
            raise refused(f"Invalid object: {_shown(raw)}", param=param)
        if self._is_metadata:
            _check_metadata(raw, param)
            return {key: str(value) for key, value in raw.items()}
        if self._values is None:
            return raw
        return {key: self._values.read(value, f"{param}[{key}]") for key, value in raw.items()}


class Array(Reader):
    """A list, written with indexes or empty brackets."""

    def __init__(self, items: Reader) -> None:
        self._items = items

    def read(self, raw: Any, param: str) -> Any:
        if isinstance(raw, dict):
            if not all(key.isdigit() and len(key) < 6 for key in raw):
                raise refused("Invalid array", param=param)
            raw = [raw[key] for key in sorted(raw, key=int)]
        if not isinstance(raw, list):
            raise refused("Invalid array", param=param)
        return [self._items.read(item, f"{param}[{n}]") for n, item in enumerate(raw)]


class Hash(Reader):
    """An object with Stripe's own fields, of which some are acted on."""

    def __init__(
        self, fields: dict[str, Reader], required: list[str], supported: Supported | None
    ) -> None:
        self._fields = fields
        self._required = required
        self._supported = supported

    def read(self, raw: Any, param: str) -> Any:
        if not isinstance(raw, dict):
            raise refused(f"Invalid object: {_shown(raw)}", param=param)
        values = {}
        for name, given in raw.items():
            path = f"{param}[{name}]" if param else name
            field = self._fields.get(name)
            if field is None:
                raise refused(
                    f"Received unknown parameter: {path}", param=path, code="parameter_unknown"
                )
            value = field.read(given, path)
            self._require_support(name, value, path)
            values[name] = value
        for name in self._required:
            if name not in raw:
                path = f"{param}[{name}]" if param else name
                raise refused(
                    f"Missing required param: {path}.", param=path, code="parameter_missing"
                )
        return values

    def _require_support(self, name: str, value: Any, path: str) -> None:
        if self._supported is None:
            return
        node = self._supported.get(name)
        if node is None:
            raise unsupported(f"The parameter `{path}`", param=path)
        only = _only(node)
        if only and str(value).lower() not in only:
            raise unsupported(f"The value `{value}` of `{path}`", param=path)


class Either(Reader):
    """One of several forms: Stripe's ``anyOf``."""

    def __init__(self, options: list[Reader]) -> None:
        self._nested = [o for o in options if isinstance(o, Hash | Dictionary | Array)]
        self._words = [o for o in options if isinstance(o, Choice)]
        self._scalars = [o for o in options if o not in self._nested and o not in self._words]

    def read(self, raw: Any, param: str) -> Any:
        if isinstance(raw, dict | list) and self._nested:
            return self._nested[0].read(raw, param)
        for choice in self._words:
            if raw in choice.words:
                return raw
        named = [choice for choice in self._words if any(choice.words)]
        for option in (*self._scalars, *named, *self._nested, *self._words):
            return option.read(raw, param)
        raise refused(f"Invalid value: {_shown(raw)}", param=param)


def compile_schema(schema: dict[str, Any], supported: Supported | None, name: str = "") -> Reader:
    """Return the reader of a parameter schema.

    ``supported`` None or empty means: everything below is acted on.
    """
    if "anyOf" in schema:
        options = [compile_schema(option, supported, name) for option in schema["anyOf"]]
        return Either(options)
    kind = schema.get("type")
    if kind == "object":
        return _compile_object(schema, supported, name)
    if kind == "array":
        return Array(compile_schema(schema["items"], supported, name))
    if "enum" in schema:
        return Choice([str(word) for word in schema["enum"]])
    if kind == "integer":
        return Integer()
    if kind == "boolean":
        return Boolean()
    if kind == "number":
        return Number()
    is_decimal = schema.get("format") == "decimal"
    return Text(schema.get("maxLength"), is_decimal=is_decimal, can_clear=name in _CLEARED_BY_EMPTY)


_CLEARED_BY_EMPTY = frozenset(
    {"description", "name", "email", "phone", "nickname", "lookup_key", "footer", "message"}
    | {"city", "country", "line1", "line2", "postal_code", "state", "default_payment_method"}
    | {"unit_label", "url", "statement_descriptor", "default_source", "comment", "value", "payload"}
)
"""Plain strings that an empty value clears; the schema marks only the others."""


def _compile_object(schema: dict[str, Any], supported: Supported | None, name: str) -> Reader:
    if "properties" not in schema:
        values = schema.get("additionalProperties")
        inner = compile_schema(values, None, "value") if isinstance(values, dict) else None
        return Dictionary(inner, is_metadata=name == "metadata")
    fields = {
        field: compile_schema(inner, (supported or {}).get(field), field)
        for field, inner in schema["properties"].items()
    }
    return Hash(fields, schema.get("required", []), supported or None)


def read_decimal(raw: str, param: str) -> Decimal:
    """Return an exact decimal in plain notation.

    Raises:
        StripeError: 400, not a decimal, or more than Stripe's 12 places.
    """
    if not _DECIMAL.match(raw):
        raise refused(
            f"Invalid decimal: {raw[:40]}; must contain at maximum twelve decimal places.",
            param=param,
            code="parameter_invalid_decimal",
        )
    return Decimal(raw)


def _check_metadata(raw: dict[str, Any], param: str) -> None:
    if len(raw) > _METADATA_KEYS_MAX:
        raise refused(f"Metadata can have up to {_METADATA_KEYS_MAX} keys.", param=param)
    for key, value in raw.items():
        if not isinstance(value, str):
            raise refused("Metadata values must be strings.", param=f"{param}[{key}]")
        if len(key) > _METADATA_KEY_MAX:
            raise refused(
                f"Metadata keys must be under {_METADATA_KEY_MAX} characters long.", param=param
            )
        if len(value) > _METADATA_VALUE_MAX:
            raise refused(
                f"Metadata values can have up to {_METADATA_VALUE_MAX} characters, but you "
                f"passed in a value that is {len(value)} characters.",
                param=f"{param}[{key}]",
            )


def _empty(param: str) -> StripeError:
    return refused(
        f"You passed an empty string for '{param}'. We assume empty values are an attempt to "
        f"unset a parameter; however '{param}' cannot be unset. You should remove '{param}' from "
        "your request or supply a non-empty value.",
        param=param,
        code="parameter_invalid_empty",
    )


def _shown(raw: Any) -> str:
    return str(raw)[:60]


def is_plain_decimal(text: str) -> bool:
    """Say whether a text is a decimal in plain notation, of at most 12 decimal places."""
    return _DECIMAL.match(text) is not None
