"""Which backups may go: decided from values, so that every rule can be tried on thousands of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopilot.backups.catalog import Entry
from autopilot.backups.manifest import Manifest
from autopilot.backups.references import References
from autopilot.backups.retention import Facts, Identity, Policy, weigh
from autopilot.workflows.keeping import newest_failed

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OURS = Identity(database="app", database_oid=16384, system_identifier="7")
FACTS = Facts(database=OURS)


def entry(days: float, *, state: str = "good", identity: Identity = OURS, run_id: str | None = None) -> Entry:
    taken_at = NOW - timedelta(days=days)
    run_id = run_id or f"{int(days * 1000):08x}"
    file = f"backup_{taken_at:%Y%m%d_%H%M%S}_{run_id}.dump"
    if state == "no manifest":
        return Entry(file=file, state=state, manifest=None, why="")
    manifest = Manifest(
        format_version=1, file=file, size_bytes=1, sha256="0" * 64, taken_at=taken_at, duration_ms=1, run_id=run_id,
        commit_sha=None, database=identity.database, database_oid=identity.database_oid,
        system_identifier=identity.system_identifier, server_version="17", tool="pg_dump", tool_version="17",
        compression="1", lsn=None, rows={},
    )  # fmt: skip
    return Entry(file=file, state=state, manifest=manifest, why="")


def pruned(entries: list[Entry], policy: Policy, facts: Facts = FACTS) -> set[str]:
    return {v.file for v in weigh(entries, policy, facts, now=NOW) if v.prune}


ENTRIES = st.lists(
    st.builds(
        entry,
        st.floats(-2, 200),
        state=st.sampled_from(["good", "good", "good", "good", "damaged", "missing", "no manifest"]),
        identity=st.sampled_from([OURS, OURS, OURS, replace(OURS, database_oid=1), replace(OURS, system_identifier=None)]),
        run_id=st.sampled_from([None, None, None, "run-a", "run-b"]),
    ),
    max_size=40,
    unique_by=lambda e: e.file,
)
POLICIES = st.builds(Policy, keep_days=st.integers(1, 100), keep_last=st.integers(1, 12))


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Entry], Policy, Facts]:
    entries = draw(ENTRIES)
    files = [e.file for e in entries]
    some = st.frozensets(st.sampled_from(files)) if files else st.just(frozenset[str]())
    facts = Facts(
        database=OURS, unconfirmed_runs=draw(st.frozensets(st.sampled_from(["run-a", "run-b"]), max_size=1)),
        unconfirmed_files=draw(some), last_failed=draw(st.sampled_from([False, False, False, True])),
        restored=draw(st.one_of(st.none(), some)),
    )  # fmt: skip
    return entries, draw(POLICIES), facts


def ours(entries: list[Entry]) -> list[Entry]:
    return [e for e in entries if e.manifest is not None and e.manifest.database_oid == 16384 and e.manifest.system_identifier]


@given(situations())
def test_nothing_is_pruned_that_any_rule_keeps(situation: tuple[list[Entry], Policy, Facts]) -> None:
    entries, policy, facts = situation
    gone = pruned(entries, policy, facts)
    good = sorted((e for e in ours(entries) if e.state == "good"), key=lambda e: e.file, reverse=True)
    for e in entries:
        if e.file not in gone:
            continue
        assert e.manifest is not None
        assert e in ours(entries)
        assert not facts.last_failed
        assert e.file not in facts.unconfirmed_files
        assert e.manifest.run_id not in facts.unconfirmed_runs
        assert NOW - e.manifest.taken_at > timedelta(days=policy.keep_days)
        newer = [g for g in good if g.manifest is not None and g.manifest.taken_at >= e.manifest.taken_at and g is not e]
        assert len(newer) >= policy.keep_last
        assert facts.restored is None or any(g.file in facts.restored for g in newer)


@given(situations())
def test_what_no_rule_keeps_is_pruned(situation: tuple[list[Entry], Policy, Facts]) -> None:
    entries, policy, facts = situation
    assert len(weigh(entries, policy, facts, now=NOW)) == len(entries)
    plain = Facts(database=OURS)
    good = sorted((e.manifest.taken_at, e.file) for e in ours(entries) if e.state == "good" and e.manifest is not None)
    limit = NOW - timedelta(days=policy.keep_days)
    too_old = {file for taken_at, file in good[: -policy.keep_last] if taken_at < limit}
    assert too_old <= pruned(entries, policy, plain)


@given(situations())
def test_the_last_good_ones_stay_however_old(situation: tuple[list[Entry], Policy, Facts]) -> None:
    entries, policy, facts = situation
    gone = pruned(entries, policy, facts)
    good = [e for e in ours(entries) if e.state == "good"]
    assert sum(e.file not in gone for e in good) >= min(policy.keep_last, len(good))


@given(situations())
def test_pruning_twice_prunes_nothing_more(situation: tuple[list[Entry], Policy, Facts]) -> None:
    entries, policy, facts = situation
    left = [e for e in entries if e.file not in pruned(entries, policy, facts)]
    assert pruned(left, policy, facts) == set()


@given(situations())
def test_the_order_of_the_list_does_not_matter(situation: tuple[list[Entry], Policy, Facts]) -> None:
    entries, policy, facts = situation
    assert weigh(entries, policy, facts, now=NOW) == weigh(entries[::-1], policy, facts, now=NOW)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (FACTS, "older than 30 days"),
        (replace(FACTS, last_failed=True), "the newest attempt to take a backup failed: nothing is pruned until one succeeds"),
        (replace(FACTS, unconfirmed_runs=frozenset({"old"})), "run old is not settled"),
        (replace(FACTS, restored=frozenset()), "no newer one was restored yet"),
        (replace(FACTS, restored=frozenset({entry(1).file})), "older than 30 days"),
        (Facts(database=replace(OURS, database="other")), "of another database"),
    ],
)
def test_each_verdict_says_why(facts: Facts, why: str) -> None:
    verdicts = weigh([entry(1), entry(40, run_id="old")], Policy(keep_last=1), facts, now=NOW)
    assert verdicts[1].why == why
    assert verdicts[1].prune is (why == "older than 30 days")


def test_damaged_ones_do_not_count_among_the_last() -> None:
    entries = [entry(1, state="damaged"), entry(2, state="missing"), entry(40)]
    assert pruned(entries, Policy(keep_last=1)) == set()


@pytest.mark.parametrize(
    ("entries", "failed_at", "expected"),
    [
        ([entry(1)], None, False),
        ([entry(1)], NOW - timedelta(days=2), False),
        ([entry(3)], NOW - timedelta(days=2), True),
        ([], NOW, True),
        ([entry(1, state="no manifest"), entry(2)], None, True),
        ([entry(1), entry(2, state="no manifest")], None, False),
    ],
)
def test_a_failed_newest_attempt_is_recognised(entries: list[Entry], failed_at: datetime | None, expected: bool) -> None:
    assert newest_failed(tuple(entries), References(failed_at=failed_at)) is expected
