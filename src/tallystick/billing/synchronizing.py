"""Full syncs and sweeps: how the mirror is filled, and made true again after disorder.

A full sync reads every list of the account, page by page. What changes meanwhile is told by events
from after its beginning, which the sweep that follows takes in. A sweep takes in the events that no
webhook brought, and compares what is still open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tallystick.billing.inbox import arrived
from tallystick.billing.stripe_objects import Event
from tallystick.domain.instants import DAY_US
from tallystick.domain.json_types import prepare
from tallystick.ports.errors import PortError
from tallystick.ports.inbox import Brought
from tallystick.ports.mirror import Kept, ObjectKind, SyncStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tallystick.billing.inbox import InboxWorker
    from tallystick.billing.stripe_mirror import StripeMirror
    from tallystick.ports.clock import Clock
    from tallystick.ports.inbox import Inbox, InboxReader
    from tallystick.ports.mirror import Mirror, ObjectSource, SyncLedger

ABSENCE_US_MAX = 28 * DAY_US
"""After so long without a sweep events may be lost for good: Stripe lists those of 30 days."""

SETTLED_KEPT_US = 45 * DAY_US
"""How long settled events are kept, to be shown and to be known again: Stripe can send an event
again for 30 days (docs.stripe.com/webhooks)."""

OVERLAP_EVENTS = 100
"""Events looked at again beyond the newest one of the last sweep: Stripe lists by the second."""

CALLS_MAX = 5_000
"""Calls that a full sync plans with unless it is told otherwise: half a million objects."""

CLOCK_PREFIX = "clock_"
"""How Stripe's ids of test clocks begin; as a cursor: all until this clock is read."""

_BY_CLOCK = (ObjectKind.CUSTOMER, ObjectKind.SUBSCRIPTION)
"""Kinds that Stripe's lists leave out for customers on test clocks, unless a clock is named
(API reference, customers/list and subscriptions/list, ``test_clock``)."""

_OPEN_LISTS: tuple[tuple[ObjectKind, tuple[dict[str, str], ...]], ...] = (
    (ObjectKind.SUBSCRIPTION, ({},)),
    (ObjectKind.INVOICE, ({"status": "draft"}, {"status": "open"})),
    (ObjectKind.TEST_CLOCK, ({},)),
)
"""What is still moving, and how Stripe lists it; subscriptions that are over it leaves out."""


class PlanExceeded(PortError):
    """A full sync would need more calls than it had planned; what it has read stands."""

    code = "plan_exceeded"


@dataclass
class SyncFindings:
    """What a sync did and found.

    ``wrong`` names objects that were known and not as Stripe has them, though no event waited that
    would have said so: zero, unless something is lost on the way from Stripe. ``missed`` are
    events that no webhook had brought.
    """

    is_full: bool = False
    calls: int = 0
    objects: int = 0
    new: int = 0
    missed: int = 0
    dead: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, calls: int) -> None:
        """Count calls."""
        self.calls += calls


class PlannedStep(NamedTuple):
    """What a full sync has done of one kind, and what it will do."""

    kind: ObjectKind
    objects: int
    calls: int
    is_done: bool


class SyncPlan(NamedTuple):
    """What a full sync will do: at most ``calls_max`` calls, ``calls_made`` of them already."""

    steps: tuple[PlannedStep, ...]
    calls_made: int
    calls_max: int
    is_resumed: bool


class _ReadPage(NamedTuple):
    step: SyncStep
    has_more: bool


class Synchronizer:
    """Fills and repairs the mirror. Every method raises StripeUnreachable or StripeRefused."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        ledger: SyncLedger,
        inbox: Inbox,
        inbox_reader: InboxReader,
        source: ObjectSource,
        stripe_mirror: StripeMirror,
        worker: InboxWorker,
        clock: Clock,
    ) -> None:
        self._mirror = mirror
        self._ledger = ledger
        self._inbox = inbox
        self._inbox_reader = inbox_reader
        self._source = source
        self._stripe_mirror = stripe_mirror
        self._worker = worker
        self._clock = clock

    def needs_full(self) -> bool:
        """Tell whether a sweep is not enough: never synced, not finished, or away too long."""
        state = self._ledger.state()
        if state.synced_at is None or state.began_at is not None:
            return True
        last_at = max(state.synced_at, state.swept_at or 0)
        return self._clock.now() - last_at > ABSENCE_US_MAX

    def plan(self, calls_max: int | None = None) -> SyncPlan:
        """Begin a full sync, or take up the one that was stopped; return what it will do.

        One call: the newest event marks the beginning.
        """
        state = self._ledger.state()
        is_resumed = state.began_at is not None
        if not is_resumed:
            listed = [arrived(body, Brought.SWEEP) for body in self._source.events().bodies]
            for event in reversed(listed):
                # older than all that will be read: known, so that no sweep takes it for missed
                self._inbox.add(event, self._clock.now()).result()
            newest = listed[0].event_id if listed else None
            self._ledger.begin(newest, calls_max or CALLS_MAX, self._clock.now())
        elif calls_max is not None:
            self._ledger.begin(None, calls_max, self._clock.now())
        steps = self._ledger.steps()
        return SyncPlan(
            steps=tuple(PlannedStep(s.kind, s.objects, s.calls, s.is_done) for s in steps),
            calls_made=1 + sum(step.calls for step in steps),
            calls_max=self._ledger.state().calls_max,
            is_resumed=is_resumed,
        )

    def sync_fully(self, show: Callable[[PlannedStep], None] = lambda _: None) -> SyncFindings:
        """Read every list of the account, then the events since; ``show`` is told after each page.

        Stopped in between, it goes on behind the last page that was kept. Call ``plan`` before.

        Raises:
            PlanExceeded: it stopped before a call that was not in the plan.
        """
        findings = SyncFindings(is_full=True)
        state = self._ledger.state()
        if state.synced_at is not None:
            self._worker.run()  # what waits to be dealt with is not wrong yet
        for step in self._ledger.steps():
            if not step.is_done:
                self._read_kind(step, state.run, findings, show)
        budget = _Budget(self, self._ledger.steps()[-1])
        newest = self._take_in_events(findings, budget.spend)
        self._ledger.finish(newest, self._clock.now(), is_full=True)
        findings.calls += budget.spent
        findings.dead = self._worker.run()["dead"]
        return findings

    def sweep(self) -> SyncFindings:
        """Take in events that no webhook brought, deal with what waits, compare what is open."""
        findings = SyncFindings()
        newest = self._take_in_events(findings, findings.count)
        findings.dead = self._worker.run()["dead"]
        self._compare_open(findings)
        self._inbox_reader.forget_settled(self._clock.now() - SETTLED_KEPT_US)
        self._ledger.finish(newest, self._clock.now(), is_full=False)
        return findings

    def repair(self) -> Counter[str]:
        """Do what a server does by itself from time to time: sweep, or read all after an absence.

        The first full sync is left to `tallystick sync`, which says what it will cost.
        """
        if self._ledger.state().synced_at is None:
            return Counter()
        if self.needs_full():
            self.plan()
            findings = self.sync_fully()
        else:
            findings = self.sweep()
        found = {"missed": findings.missed, "wrong": len(findings.wrong), "new": findings.new}
        return Counter({name: number for name, number in found.items() if number})

    def _read_kind(
        self, step: SyncStep, run: int, findings: SyncFindings, show: Callable[[PlannedStep], None]
    ) -> None:
        """Read one kind to its end; each page is kept with how far it brought us."""
        where = {"status": "all"} if step.kind is ObjectKind.SUBSCRIPTION else {}
        while not (step.after or "").startswith(CLOCK_PREFIX):
            page = self._read_page(step, run, findings, where)
            step = page.step
            if not page.has_more:
                break
            self._note(step, show)
        if step.kind in _BY_CLOCK:
            step = self._read_by_clock(step, run, findings, where, show)
        if step.kind is ObjectKind.SUBSCRIPTION:
            step = self._learn_pasts(step, findings)
        step = self._read_unseen(step, run, findings)
        self._note(step._replace(is_done=True), show)

    def _note(self, step: SyncStep, show: Callable[[PlannedStep], None]) -> None:
        self._ledger.advance(step)
        show(PlannedStep(step.kind, step.objects, step.calls, step.is_done))

    def _read_page(
        self, step: SyncStep, run: int, findings: SyncFindings, where: Mapping[str, str]
    ) -> _ReadPage:
        budget = _Budget(self, step)
        budget.spend(1)
        begun = self._stripe_mirror.begin()
        page = self._source.page(step.kind, step.after, where)
        kept = self._stripe_mirror.keep_page(
            step.kind, page.bodies, begun, run=run, count=budget.spend
        )
        ids = [msgspec.json.decode(body, type=_Named).id for body in page.bodies]
        self._judge(ids, kept, findings)
        findings.calls += budget.spent
        after = ids[-1] if ids else step.after
        read = budget.step._replace(after=after, objects=step.objects + len(ids))
        return _ReadPage(read, page.has_more and bool(ids))

    def _read_by_clock(
        self,
        step: SyncStep,
        run: int,
        findings: SyncFindings,
        where: Mapping[str, str],
        show: Callable[[PlannedStep], None],
    ) -> SyncStep:
        """Read what lives on test clocks: Stripe lists it only for a clock that is named."""
        is_begun = (step.after or "").startswith(CLOCK_PREFIX)
        last = step.after if is_begun and step.after else ""
        for clock in self._mirror.objects(ObjectKind.TEST_CLOCK):
            if clock.stripe_id <= last:
                continue
            of_clock = {**where, "test_clock": clock.stripe_id}
            page = _ReadPage(step._replace(after=None), has_more=True)
            while page.has_more:
                page = self._read_page(page.step, run, findings, of_clock)
            step = page.step._replace(after=clock.stripe_id)
            self._note(step, show)
        return step

    def _read_unseen(self, step: SyncStep, run: int, findings: SyncFindings) -> SyncStep:
        """Read what was known and was in no page: it may be gone."""
        for known in self._mirror.objects(step.kind, unseen_in=run):
            budget = _Budget(self, step)
            budget.spend(1)
            kept = self._stripe_mirror.refresh(step.kind, known.stripe_id)
            self._judge([known.stripe_id], [kept], findings)
            findings.calls += 1
            step = budget.step
        return step

    def _learn_pasts(self, step: SyncStep, findings: SyncFindings) -> SyncStep:
        """Learn from the events of the last 30 days what items were before they were read."""
        budget = _Budget(self, step)
        after = None
        while True:
            budget.spend(1)
            page = self._source.events(after, "customer.subscription.*")
            for body in page.bodies:
                event = msgspec.json.decode(body, type=Event)
                self._mirror.remember(event.id, event.pasts())
                after = event.id
            if not page.has_more or not page.bodies:
                findings.calls += budget.spent
                return budget.step

    def spend(self, step: SyncStep, calls: int) -> SyncStep:
        """Write calls down before they are made: a plan holds across a crash too.

        Raises:
            PlanExceeded
        """
        state = self._ledger.state()
        others = sum(one.calls for one in self._ledger.steps() if one.kind is not step.kind)
        spent = step._replace(calls=step.calls + calls)
        if 1 + others + spent.calls > state.calls_max:
            raise PlanExceeded(
                f"the plan's {state.calls_max:,} calls are used up while reading {step.kind} "
                "objects; what was read stands: go on with a larger --calls-max"
            )
        self._ledger.advance(spent)
        return spent

    def _take_in_events(self, findings: SyncFindings, count: Callable[[int], None]) -> str | None:
        """Put unknown events into the inbox; return the newest of the list."""
        goal = self._ledger.state().newest_event
        newest: str | None = None
        found_at: int | None = None
        for looked, body in enumerate(self._listed_events(count)):
            if found_at is not None and looked >= found_at + OVERLAP_EVENTS:
                break
            event = arrived(body, Brought.SWEEP)
            newest = newest or event.event_id
            if self._inbox_reader.unknown([event.event_id]):
                findings.missed += self._inbox.add(event, self._clock.now()).result()
            if event.event_id == goal:
                found_at = looked
        return newest

    def _listed_events(self, count: Callable[[int], None]) -> Iterator[bytes]:
        after = None
        while True:
            count(1)
            page = self._source.events(after)
            yield from page.bodies
            if not page.has_more or not page.bodies:
                return
            after = msgspec.json.decode(page.bodies[-1], type=_Named).id

    def _compare_open(self, findings: SyncFindings) -> None:
        """Read what is open, at Stripe or here, and count what was not known like that."""
        for kind, filters in _OPEN_LISTS:
            seen: set[str] = set()
            for where in filters:
                seen |= self._read_open(kind, where, findings)
            for known in self._mirror.objects(kind, only_open=True):
                if known.stripe_id not in seen:
                    findings.calls += 1
                    kept = self._stripe_mirror.refresh(kind, known.stripe_id)
                    self._judge([known.stripe_id], [kept], findings)

    def _read_open(
        self, kind: ObjectKind, where: dict[str, str], findings: SyncFindings
    ) -> set[str]:
        seen: set[str] = set()
        after = None
        while True:
            begun = self._stripe_mirror.begin()
            page = self._source.page(kind, after, where)
            findings.calls += 1
            kept = self._stripe_mirror.keep_page(kind, page.bodies, begun)
            ids = [msgspec.json.decode(body, type=_Named).id for body in page.bodies]
            self._judge(ids, kept, findings)
            seen.update(ids)
            if not page.has_more or not ids:
                return seen
            after = ids[-1]

    def _judge(self, ids: list[str], kept: list[Kept], findings: SyncFindings) -> None:
        findings.objects += len(ids)
        findings.new += sum(outcome is Kept.NEW for outcome in kept)
        findings.wrong += [
            stripe_id
            for stripe_id, outcome in zip(ids, kept, strict=True)
            if outcome is Kept.CHANGED
        ]


class _Budget:
    """The calls of one page, written down one by one."""

    def __init__(self, synchronizer: Synchronizer, step: SyncStep) -> None:
        self._synchronizer = synchronizer
        self.step = step
        self.spent = 0

    def spend(self, calls: int) -> None:
        """Take calls from the plan."""
        self.step = self._synchronizer.spend(self.step, calls)
        self.spent += calls


class _Named(msgspec.Struct):
    id: str


prepare(_Named)
