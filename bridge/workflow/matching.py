"""Which order a study belongs to: the decision, its links with evidence, and what a person must decide."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from bridge.domain.matching import Candidate, Decision, OrderFacts, Rule, Spell, judge
from bridge.domain.study import MatchState, StudyState
from bridge.errors import NotFound, StateConflict
from bridge.log import work
from bridge.store import audit, links, orders, performed, review, studies
from bridge.store.db import Connection
from bridge.workflow import performing, publishing, reporting
from bridge.workflow.context import Context
from bridge.workflow.leaving import PERFORMED

BRIDGE = "bridge"
log = logging.getLogger("bridge.matching")
DONE_BY_LINK = "done-by-a-link-undone"
REVIEWS = ("study-unmatched", "study-ambiguous")


class Matching:
    def __init__(self, context: Context, spell: Spell = str) -> None:
        """`spell` writes a name as devices that lack its letters are told it."""
        self._context = context
        self._spell = spell

    def judge_due(self, limit: int = 50) -> int:
        """Judge complete studies that are new or have changed; returns how many."""
        with self._context.database.read() as connection:
            due = studies.unjudged_studies(connection, limit)
        for study_id in due:
            decision = self._context.database.write(partial(self._judge, study_id=study_id))
            work(log, "study judged", study_id=study_id, outcome=decision.state, reason=decision.reason)
        return len(due)

    def _judge(self, connection: Connection, study_id: int) -> Decision:
        row = studies.get_study(connection, study_id)
        if not studies.count_instances(connection, study_id):
            return self._nothing_left(connection, study_id, MatchState(row.match_state))
        facts = links.facts_of(connection, study_id)
        named, mistaken = performed.procedures_of_study(connection, facts.study_instance_uid)
        done = frozenset[int]().union(*named.values())
        rows = links.all_links(connection, study_id)
        live = [link for link in rows if link.ended_at is None]
        standing = frozenset(link.procedure_id for link in live)
        candidates = links.candidate_orders(connection, facts, done)
        decision = judge(facts, candidates, done, standing, self._spell, _group(named))
        if row.conflicting:
            decision = Decision(MatchState.AMBIGUOUS, "instances-name-two-patients", (), decision.candidates)
        elif any(link.rule == Rule.PERSON for link in live):
            # A person has decided; later evidence does not undo that.
            self._settle(connection, study_id, MatchState.MATCHED)
            return Decision(MatchState.MATCHED, Rule.PERSON)
        undone = {link.procedure_id for link in rows if link.ended_at is not None and link.ended_by != BRIDGE}
        if any(c.order.procedure_id in undone for c in decision.links):
            # What a person has taken apart, no later message puts together.
            decision = Decision(MatchState.AMBIGUOUS, "unlinked-by-a-person", (), decision.candidates)
        elif any(c.order.procedure_id in mistaken for c in decision.links):
            decision = Decision(MatchState.AMBIGUOUS, performing.WRONG_ENTRY, (), decision.candidates)
        self._write(connection, study_id, decision, live)
        return decision

    def _nothing_left(self, connection: Connection, study_id: int, state: MatchState) -> Decision:
        """All of it was rejected, or has been deleted: there is nothing to link, and nothing for a person to do."""
        at = self._context.clock.now()
        review.close_review(connection, REVIEWS, f"study:{study_id}", at, BRIDGE, "nothing of it is shown")
        studies.judged(connection, study_id, state)
        publishing.withdraw(connection, study_id, self._context)
        return Decision(state, "nothing-left")

    def _write(self, connection: Connection, study_id: int, decision: Decision, live: list[Any]) -> None:
        at = self._context.clock.now()
        wanted = {c.order.procedure_id: c for c in decision.links}
        gone = [link for link in live if link.procedure_id not in wanted]
        for link in gone:
            links.end_link(connection, link.id, at, BRIDGE, decision.reason)
        self._steps_stay(connection, study_id, gone)
        for procedure_id, candidate in wanted.items():
            if procedure_id not in {link.procedure_id for link in live}:
                self._link(connection, study_id, candidate, BRIDGE)
        audit.write_audit(
            connection,
            at=at,
            who="role:worker",
            action="study-judged",
            subject=f"study:{study_id}",
            outcome=decision.state,
            details={"reason": decision.reason, "orders": sorted(c.order.order_id for c in decision.links)},
        )
        subject = f"study:{study_id}"
        if decision.state is MatchState.MATCHED:
            review.close_review(connection, REVIEWS, subject, at, BRIDGE, decision.reason)
        else:
            kind, other = REVIEWS if decision.state is MatchState.UNMATCHED else REVIEWS[::-1]
            review.close_review(connection, (other,), subject, at, BRIDGE, decision.reason)
            details = {"candidates": [_told(c) for c in decision.candidates]}
            review.open_review(connection, kind, subject, decision.reason, at, details)
        self._settle(connection, study_id, decision.state)

    def _settle(self, connection: Connection, study_id: int, state: MatchState) -> None:
        studies.judged(connection, study_id, state)
        if state is MatchState.MATCHED:
            reporting.study_came(connection, study_id, self._context.clock.now())
            publishing.request(connection, study_id, self._context)
        else:
            publishing.withdraw(connection, study_id, self._context)

    def _link(self, connection: Connection, study_id: int, candidate: Candidate, by: str) -> None:
        links.add_link(
            connection,
            study_id,
            candidate.order.procedure_id,
            rule=candidate.rules[0],
            evidence=[[e.what, e.verdict] for e in candidate.evidence],
            at=self._context.clock.now(),
            by=by,
        )
        self._steps_follow(connection, study_id, candidate.order)

    def _steps_follow(self, connection: Connection, study_id: int, order: OrderFacts) -> None:
        """An exam that was done under a UID that we did not give is found by its link: nobody is offered it again."""
        uid = studies.get_study(connection, study_id).study_instance_uid
        if uid != order.study_instance_uid:
            performing.order_came(connection, uid, order.order_id, self._context)

    def _steps_stay(self, connection: Connection, study_id: int, gone: list[Any]) -> None:
        """A step that was done by a link alone is not open again by its end: whether the exam was done after all only a
        person can find out."""
        uid = studies.get_study(connection, study_id).study_instance_uid
        for link in gone:
            own = {one.id: one.study_instance_uid for one in orders.procedures_of(connection, link.order_id)}
            steps = orders.steps_of(connection, link.procedure_id)
            if own[link.procedure_id] != uid and any(step.status in PERFORMED for step in steps):
                at, subject, details = self._context.clock.now(), f"order:{link.order_id}", {"study": study_id}
                review.open_review(connection, "performed-conflict", subject, DONE_BY_LINK, at, details)

    def link(self, study_id: int, order_id: int, by: str) -> None:
        """A person ties a study to an order. Raises `NotFound`, or `StateConflict` while images still come in."""
        self._context.database.write(lambda c: self._link_by_person(c, study_id, order_id, by))

    def _link_by_person(self, connection: Connection, study_id: int, order_id: int, by: str) -> None:
        at = self._context.clock.now()
        facts = links.facts_of(connection, study_id)
        if studies.get_study(connection, study_id).state == StudyState.RECEIVING:
            raise StateConflict("images of the study still come in: try again when it is complete", where="study")
        procedures = links.procedures_of_order(connection, order_id)
        if not procedures:
            raise NotFound("no such order, or it has no procedure", where="order")
        live = links.live_links(connection, study_id)
        for link in live:
            links.end_link(connection, link.id, at, by, "another order was chosen")
        named, _ = performed.procedures_of_study(connection, facts.study_instance_uid)
        done = frozenset[int]().union(*named.values())
        candidates = {c.order.procedure_id: c for c in judge(facts, procedures, done).candidates}
        for order in procedures:
            candidate = candidates.get(order.procedure_id)
            links.add_link(
                connection,
                study_id,
                order.procedure_id,
                rule=Rule.PERSON,
                evidence=[[e.what, e.verdict] for e in candidate.evidence] if candidate else [],
                at=at,
                by=by,
            )
        for order in procedures:
            self._steps_follow(connection, study_id, order)
        chosen = {order.procedure_id for order in procedures}
        self._steps_stay(connection, study_id, [link for link in live if link.procedure_id not in chosen])
        audit.write_audit(
            connection,
            at=at,
            who=by,
            action="study-linked",
            subject=f"study:{study_id}",
            details={"order": order_id},
        )
        review.close_review(
            connection,
            (*REVIEWS, "study-conflict", "images-unavailable"),
            f"study:{study_id}",
            at,
            by,
            "linked by a person",
        )
        # They have seen whose images these are: only what comes after is news.
        studies.change_study(connection, study_id, {"conflicting": False, "unavailable": False})
        studies.new_version(connection, study_id)
        self._settle(connection, study_id, MatchState.MATCHED)

    def unlink(self, study_id: int, by: str, reason: str) -> None:
        """A person undoes the link; the study waits for review again. Raises `StateConflict` when it has none."""
        self._context.database.write(lambda c: self._unlink(c, study_id, by, reason))

    def _unlink(self, connection: Connection, study_id: int, by: str, reason: str) -> None:
        at = self._context.clock.now()
        live = links.live_links(connection, study_id)
        if not live:
            raise StateConflict("the study is linked to no order", where="study")
        for link in live:
            links.end_link(connection, link.id, at, by, reason)
        self._steps_stay(connection, study_id, live)
        audit.write_audit(connection, at=at, who=by, action="study-unlinked", subject=f"study:{study_id}")
        review.open_review(connection, "study-ambiguous", f"study:{study_id}", "unlinked-by-a-person", at, {})
        studies.new_version(connection, study_id)
        self._settle(connection, study_id, MatchState.AMBIGUOUS)


def _group(named: dict[int, set[int]]) -> frozenset[int]:
    """The procedures that one performed step names together; none when two steps group them differently."""
    groups = {frozenset(procedures) for procedures in named.values() if len(procedures) > 1}
    return groups.pop() if len(groups) == 1 else frozenset()


def _told(candidate: Candidate) -> dict[str, Any]:
    return {
        "order": candidate.order.order_id,
        "rules": list(candidate.rules),
        "evidence": [[e.what, e.verdict] for e in candidate.evidence],
    }
