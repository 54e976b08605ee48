"""The forms in which events are sent: JSON, NDJSON and CloudEvents, each event judged by itself."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from tallystick.api.problems import Problem
from tallystick.pipeline.event_draft import EventDraft, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVENTS_MAX = 20_000
"""Events of one request: bounds the transaction that they share."""

Drafts = list[EventDraft | Refusal]

_draft = msgspec.json.Decoder(EventDraft, float_hook=Decimal)
_drafts = msgspec.json.Decoder(list[EventDraft], float_hook=Decimal)
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

_MISSING = "Object missing required field `"
_UNKNOWN = "Object contains unknown field `"


def parse_events(content_type: str, body: bytes) -> Drafts:
    """Return the events of a body, in order, with a refusal in the place of each that is none.

    Raises:
        Problem: the body as a whole cannot be read: 400, 413 or 415.
    """
    media_type = content_type.partition(";")[0].strip().lower() or "application/json"
    parse = _FORMS.get(media_type)
    if parse is None:
        raise Problem(
            415, "unsupported_media_type", f"{media_type!r} is not read; send {', '.join(_FORMS)}"
        )
    if not body.strip():
        raise Problem(400, "empty_body", "the body is empty; send an event or an array of events")
    try:
        events = parse(body)
    except RecursionError:
        raise Problem(400, "invalid_json", "the body is nested too deeply to be read") from None
    if len(events) > EVENTS_MAX:
        raise Problem(
            413,
            "too_many_events",
            f"the request has {len(events)} events; {EVENTS_MAX} are the most",
        )
    return events


def _json(body: bytes) -> Drafts:
    if body.lstrip()[:1] != b"[":
        return [_one(raw, _from_json) for raw in _strict_or_lenient(body, is_array=False)]
    try:
        return list(_drafts.decode(body))
    except msgspec.MsgspecError:
        # some event is wrong, or a number is none: judge each by itself
        return [_one(raw, _from_json) for raw in _strict_or_lenient(body, is_array=True)]


def _ndjson(body: bytes) -> Drafts:
    return [_line(line, _from_json) for line in body.splitlines() if line.strip()]


def _cloud_event(body: bytes) -> Drafts:
    return [_one(raw, _from_cloud_event) for raw in _strict_or_lenient(body, is_array=False)]


def _cloud_events(body: bytes) -> Drafts:
    return [_one(raw, _from_cloud_event) for raw in _strict_or_lenient(body, is_array=True)]


_FORMS: dict[str, Callable[[bytes], Drafts]] = {
    "application/json": _json,
    "application/x-ndjson": _ndjson,
    "application/cloudevents+json": _cloud_event,
    "application/cloudevents-batch+json": _cloud_events,
}


def _strict_or_lenient(body: bytes, *, is_array: bool) -> Sequence[msgspec.Raw | bytes]:
    """Return each event's JSON.

    NaN and Infinity are not JSON, but Python's ``json.dumps`` writes them: one such number must not
    cost the neighbours, so a body that fails is read once more by a parser that knows them.
    """
    try:
        return _raw_array.decode(body) if is_array else [_checked_json(body)]
    except msgspec.MsgspecError as error:
        try:
            parsed = json.loads(body, parse_constant=_NotJson, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise Problem(400, "invalid_json", f"the body is not valid JSON: {error}") from None
    if is_array and not isinstance(parsed, list):
        raise Problem(400, "not_an_array", "the body must be a JSON array of events")
    return [_encoded(_marked(event)) for event in (parsed if is_array else [parsed])]


def _encoded(event: object) -> bytes:
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:  # half a character, which the lenient parser lets through
        return _encoder.encode({_NO_JSON: True})


def _checked_json(body: bytes) -> bytes:
    msgspec.json.decode(body, type=msgspec.Raw)
    return body


class _NotJson(str):
    """NaN, Infinity or -Infinity, as the lenient parser found it."""

    __slots__ = ()


def _marked(event: object) -> object:
    """Return an event in which a ``value`` that is no number is a text, which is refused by name.

    Elsewhere a text must not take such a number's place: the event becomes one that is refused.
    """
    if not isinstance(event, dict):
        return None if _holds_no_json(event) else event
    for holder in (event, event.get("data")):
        if isinstance(holder, dict) and isinstance(holder.get("value"), _NotJson):
            holder["value"] = str(holder["value"])
    if not _holds_no_json(event):
        return event
    found = event.get("id")
    return {"id": found if type(found) is str else None, _NO_JSON: True}


_NO_JSON = "\0not-json"


def _holds_no_json(item: object) -> bool:
    if isinstance(item, dict):
        return any(map(_holds_no_json, item.values()))
    if isinstance(item, list):
        return any(map(_holds_no_json, item))
    return isinstance(item, _NotJson)


def _line(line: bytes, read: Callable[[bytes], EventDraft]) -> EventDraft | Refusal:
    try:
        (raw,) = _strict_or_lenient(line, is_array=False)
    except Problem as problem:
        return Refusal(None, problem.code, problem.detail.replace("the body", "the line"))
    return _one(raw, read)


def _one(raw: msgspec.Raw | bytes, read: Callable[[bytes], EventDraft]) -> EventDraft | Refusal:
    text = bytes(raw)
    try:
        return read(text)
    except msgspec.MsgspecError as error:
        return _refusal(text, str(error))


def _from_json(raw: bytes) -> EventDraft:
    return _draft.decode(raw)


def _from_cloud_event(raw: bytes) -> EventDraft:
    """Read a CloudEvents 1.0 event: ``subject`` is the customer, ``data`` has value and properties.

    Properties are the members of ``data.properties`` and all other members of ``data``. Extension
    attributes are allowed by the specification and left aside.
    """
    event = _object.decode(raw)
    if _NO_JSON in event:
        return _draft.decode(raw)
    if event.get("specversion") != "1.0":
        raise msgspec.ValidationError("Expected CloudEvents 1.0 - at `$.specversion`")
    if "data_base64" in event:
        raise msgspec.ValidationError("data must be JSON, not base64 - at `$.data_base64`")
    data = event.get("data", {})
    if not isinstance(data, dict):
        raise msgspec.ValidationError("Expected `object` - at `$.data`")
    declared = data.get("properties", {})
    if not isinstance(declared, dict):
        raise msgspec.ValidationError("Expected `object` - at `$.data.properties`")
    others = {key: item for key, item in data.items() if key not in ("value", "properties")}
    fields: dict[str, Any] = {
        key: event[key] for key in ("id", "source", "type", "time") if key in event
    }
    if "subject" in event:
        fields["customer"] = event["subject"]
    if "value" in data:
        fields["value"] = data["value"]
    fields["properties"] = {**declared, **others}
    return _draft.decode(_encoder.encode(fields))


def _refusal(raw: bytes, message: str) -> Refusal:
    """Return the refusal of an event that cannot be read, with its id if that can."""
    try:
        fields = _object.decode(raw)
    except msgspec.MsgspecError:
        return Refusal(None, "not_an_object", "an event must be a JSON object")
    found = fields.get("id")
    event_id = found if isinstance(found, str) else None
    if _NO_JSON in fields:
        return Refusal(event_id, "invalid_json", "NaN, Infinity and half characters are not JSON")
    return Refusal(event_id, *_explained(message))


def _explained(message: str) -> tuple[str, str]:
    if message.startswith(_MISSING):
        field = message.removeprefix(_MISSING).partition("`")[0]
        return f"{field}_missing", f"the event has no {field}"
    if message.startswith(_UNKNOWN):
        field = message.removeprefix(_UNKNOWN).partition("`")[0]
        return "unknown_field", f"{field!r} is not a field of an event; properties has room for it"
    what, _, where = message.partition(" - at `$.")
    field = where.rstrip("`").partition("[")[0].partition(".")[0]
    if field == "value":
        return "value_not_a_number", f"value: {what}; a number or a decimal string is needed"
    if field:
        return f"{field}_invalid", f"{field}: {what}"
    return "event_invalid", message
