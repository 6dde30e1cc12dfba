"""The JSON documents of the contract."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from autopilot.cli.complaints import error_document
from autopilot.errors import AutopilotError
from autopilot.migrations.effect import Effect
from autopilot.migrations.lint import Finding
from autopilot.migrations.locks import Lock
from autopilot.migrations.statements import Statement
from autopilot.workflows.outcome import Outcome
from autopilot.workflows.preview import Predicted, Preview

if TYPE_CHECKING:
    from autopilot.workflows.failing import Failing


def outcome_document(outcome: Outcome, *, known: tuple[str, ...]) -> dict[str, Any]:
    """`migrate --json`."""
    backup, rehearsal, deploy = outcome.backup, outcome.rehearsal, outcome.deploy
    return {
        "run_id": outcome.run_id,
        "outcome": outcome.outcome,
        "applied": list(outcome.applied),
        "pending": list(outcome.pending),
        "backup": None
        if backup is None
        else {"file": backup.manifest.file, "sha256": backup.manifest.sha256, "size_bytes": backup.manifest.size_bytes},
        "restore_point": None
        if outcome.restore_point is None
        else {
            "provider": outcome.restore_point.provider, "name": outcome.restore_point.name,
            "made_at": outcome.restore_point.made_at, "how_back": outcome.restore_point.how_back,
        },
        "rehearsal": None
        if rehearsal is None
        else {
            "server_version": rehearsal.server_version, "origin": rehearsal.origin, "restored_tables": rehearsal.restored_tables,
            "restored_rows": rehearsal.restored_rows, "restore_ms": rehearsal.restore_ms, "apply_ms": rehearsal.apply_ms,
            "locks": [lock_document(lock) for lock in rehearsal.locks], "stood_in": list(rehearsal.stood_in),
            "kind": rehearsal.kind, "blind_spots": list(rehearsal.blind_spots),
            "predicted_ms": rehearsal.forecast.duration_ms,
            "way_back": None
            if rehearsal.way_back is None
            else {"proven": rehearsal.way_back.proven, "loses": list(rehearsal.way_back.loses)},
            "blocked": [blocked.document() for blocked in rehearsal.forecast.blocked],
            "touched": [asdict(written) for written in rehearsal.touched],
            "statements": [{"file": s.file} | s.document() for t in rehearsal.transactions for s in t.statements],
        },
        "deploy": None
        if deploy is None
        else {
            "platform": deploy.platform, "deploy_id": deploy.deploy_id, "status": deploy.status, "proven": deploy.proven,
            "notes": deploy.words,
        },
        "findings": [finding_document(f) | {"file": f.file} for f in outcome.findings],
        "locks": [lock_document(lock) for lock in outcome.locks],
        "error": None if outcome.error is None else error_document(outcome.error, known=known),
        "duration_ms": outcome.duration_ms,
    }  # fmt: skip


def finding_document(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "line": finding.line,
        "message": finding.message,
        "hint": finding.hint,
    }


def lock_document(lock: Lock) -> dict[str, Any]:
    return {"relation": lock.relation, "mode": lock.mode, "keeps_waiting": lock.keeps_waiting}


def change_document(statement: Statement, effect: Effect) -> dict[str, Any]:
    return {"line": statement.line, "change": effect.change.kind, "why": effect.change.why}


def _predicted_document(predicted: Predicted) -> dict[str, Any]:
    at = predicted.rehearsed_at
    return {
        "predicted_ms": predicted.forecast.duration_ms,
        "blocked": [blocked.document() for blocked in predicted.forecast.blocked],
        "rehearsed_at": None if at is None else at.isoformat(),
    }


def plan_document(preview: Preview) -> dict[str, Any]:
    """`plan --json`."""
    from autopilot.workflows.net import document as net_document

    return {
        "pending": [
            {
                "version": m.version,
                "name": m.file.name,
                "file": m.file.file,
                "sha256": m.file.sha256,
                "statements": len(m.statements),
                "transactional": m.transactional,
                "change": m.change,
                "changes": [change_document(s, e) for s, e in zip(m.statements, m.effects, strict=True)],
                "locks": [
                    lock_document(lock) | {"line": s.line}
                    for s, e in zip(m.statements, m.effects, strict=True)
                    for lock in e.locks
                ],
                "after_deploy": m.after_deploy,
                **_predicted_document(preview.predicted[m.version]),
                "findings": [finding_document(f) for f in preview.findings if f.file == m.file.file],
            }
            for m in preview.migrations
        ],
        "applied": list(preview.plan.applied),
        "drift": [{"kind": d.kind, "version": d.version, "message": d.message} for d in preview.plan.drift],
        "refusals": [{"code": r.code, "message": r.message, "hint": r.hint, "file": r.file} for r in preview.plan.refusals],
        "ignored": [{"name": i.name, "why": i.why} for i in preview.listing.ignored],
        "backup": net_document(preview.net),
        "one_transaction": preview.apart is None and bool(preview.migrations),
        "way_back": None if preview.failing is None else _failing_document(preview.failing),
    }


def _failing_document(failing: Failing) -> dict[str, Any]:
    return {
        "on_failure": failing.way,
        "words": failing.words,
        "proven": failing.proven,
        "loses": None if failing.loses is None else [{"what": lost.sentence, "mend": lost.mend} for lost in failing.loses],
    }


def refused_plan_document(error: AutopilotError, *, known: tuple[str, ...]) -> dict[str, Any]:
    """`plan --json` where a file cannot even be read: nothing is planned, and why stands in both places."""
    told = error_document(error, known=known)
    refusal = {name: told[name] for name in ("code", "message", "hint", "file")}
    return {"pending": [], "applied": [], "drift": [], "refusals": [refusal], "outcome": error.outcome, "error": told}
