"""Notices that arrive: written with what they tell of, sent afterwards, by the real command line, past kills and outages."""

from __future__ import annotations

import contextlib
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.channels.pagerduty import alerts
from tests.channels.stage import CLOSED, KINDS, Staged, standing_in
from tests.conftest import Cli, Database, Ran

QUICKLY = ("migrate", "--no-backup", "--no-deploy", "--yes-destroy-data")
DOWN = "postgresql://somebody:s3cr3tpassw0rd@127.0.0.1:1/shop"
GOOD = "create table public.{} (id bigint primary key);\n"
#: The first statement stays in, the second fails, and nobody has proven a way back: a person is needed.
STRANDS = "create index concurrently on public.one (id);\ninsert into public.nowhere values (1);\n"


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, Staged]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(standing_in(name)) for name in KINDS}


@pytest.fixture
def channels(processes: dict[str, Staged]) -> Iterator[dict[str, Staged]]:
    for staged in processes.values():
        staged.script(anew=True)
    yield processes
    for staged in processes.values():
        staged.hold_to_document()


@pytest.fixture
def told(cli: Cli, channels: dict[str, Staged], tmp_path: Path) -> Cli:
    """The command line with every channel configured and one migration."""
    cli.env |= {k: v for staged in channels.values() for k, v in staged.variables.items()}
    cli.env |= {"AUTOPILOT_STATE_DIR": str(tmp_path / "state")}
    cli.write("1_one.sql", GOOD.format("one"))
    return cli


def only(cli: Cli, *channels: Staged) -> Cli:
    """No other channel than these."""
    for name in ("SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY", "GITHUB_TOKEN", "AUTOPILOT_NOTIFY_HOOK"):
        cli.env.pop(name, None)
    cli.env |= {k: v for staged in channels for k, v in staged.variables.items()}
    return cli


def listed(cli: Cli) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("notify", "list", "--json").out)
    return found


def rows(database: Database) -> list[tuple[Any, ...]]:
    return database.rows(
        "select o.action, o.severity, d.channel, d.state from automation.outbox o"
        " join automation.outbox_deliveries d on d.outbox_id = o.id order by o.id, d.channel"
    )


# --- the way of a notice ---


def test_a_release_is_told_to_each_channel_in_its_own_way(told: Cli, channels: dict[str, Staged], database: Database) -> None:
    assert told(*QUICKLY, "--commit", "c0ffee0").code == 0
    assert channels["slack"].headlines() == ["🚀 Migration started", "✅ Migration success"]
    assert channels["webhook"].headlines() == ["🚀 Migration started", "✅ Migration success"]
    assert [h[:19] for h in channels["pagerduty"].headlines()] == ["✅ Migration success"]
    assert channels["github"].exchanges() == []
    assert {state for *_, state in rows(database)} == {"told"}
    (context,) = [b for b in channels["slack"].took()[-1]["blocks"] if b["type"] == "context"]
    assert context["elements"][0]["text"] == "<https://github.com/acme/shop/commit/c0ffee0|Changes>"


def test_a_release_that_needs_a_person_pages_and_the_next_that_works_ends_it(
    told: Cli, channels: dict[str, Staged], database: Database
) -> None:
    assert told(*QUICKLY).code == 0
    told.write("2_two.sql", STRANDS)
    assert told(*QUICKLY).code == 4
    assert told(*QUICKLY).code == 4
    (page,) = listed(told)["pages"]
    assert (page["severity"], page["headline"], page["acked_by"]) == ("critical", "❌ Migration failed", None)
    database.run("create table public.nowhere (n int)")
    done = told(*QUICKLY)
    assert done.code == 0, done.err
    pager = [body for body in channels["pagerduty"].took() if "event_action" in body]
    assert alerts(pager) == [["trigger", "trigger", "resolve"]]
    opened, again, resolved, closed = channels["github"].took()
    assert opened["labels"] == ["urgent", "incident", "autopilot"]
    assert "Migration failed" in again["body"]
    assert "✅ Resolved" in resolved["body"]
    assert closed["state"] == "closed"
    assert channels["slack"].headlines().count("✅ Resolved") == 0
    assert listed(told) == {"pages": [], "waiting": [], "refused": [], "spooled": 0}


def test_a_row_is_written_with_the_end_of_the_run_and_without_a_channel_none_is(cli: Cli, database: Database) -> None:
    cli.write("1_one.sql", GOOD.format("one"))
    assert cli(*QUICKLY).code == 0
    assert database.value("select count(*) from automation.outbox") == 0


def test_going_back_is_told_and_ends_the_page(told: Cli, channels: dict[str, Staged], database: Database) -> None:
    assert told(*QUICKLY).code == 0
    told.write("2_two.sql", STRANDS)
    assert told(*QUICKLY).code == 4
    assert told("rollback", "--accept-data-loss").code == 0
    assert channels["slack"].headlines()[-1] == "🚨 Rollback executed"
    assert alerts([b for b in channels["pagerduty"].took() if "event_action" in b]) == [["trigger", "resolve"]]
    assert listed(told)["pages"] == []


# --- outages ---


def test_what_a_channel_missed_comes_as_one_message_when_it_is_back(told: Cli, channels: dict[str, Staged]) -> None:
    channels["slack"].fails({"status": 503})
    for name in ("one", "two"):
        told.write(f"{len(name)}_{name}.sql" if name == "one" else "4_two.sql", GOOD.format(name + "_more"))
    ran = told(*QUICKLY)
    assert ran.code == 0
    assert "Slack gave HTTP 503" in ran.err
    assert channels["webhook"].headlines() == ["🚀 Migration started", "✅ Migration success"]
    assert channels["slack"].took() == []
    channels["slack"].works()
    assert told(*QUICKLY).code == 0
    (digest,) = channels["slack"].took()
    assert digest["blocks"][0]["text"]["text"] == "📬 2 messages while this channel could not be told"
    assert "🚀 Migration started" in digest["blocks"][1]["text"]["text"]
    assert "✅ Migration success" in digest["blocks"][1]["text"]["text"]
    assert listed(told)["waiting"] == []


@pytest.mark.faults
def test_programs_get_every_notice_after_an_outage(told: Cli, channels: dict[str, Staged]) -> None:
    channels["webhook"].fails({"reset": True})
    assert told(*QUICKLY).code == 0
    channels["webhook"].works()
    ran = told("notify", "flush")
    assert ran.code == 0, ran.err
    assert channels["webhook"].headlines() == ["🚀 Migration started", "✅ Migration success"]
    assert told("notify", "flush").out == "Nothing waits that could be told now.\n"


@pytest.mark.faults
def test_all_channels_down_hold_nothing_up_and_lose_nothing(told: Cli, channels: dict[str, Staged], database: Database) -> None:
    for staged in channels.values():
        staged.fails({"status": 500})
    ran = told(*QUICKLY)
    assert ran.code == 0
    assert ran.err.count("it is told by the next run") == 5  # PagerDuty only hears of the end
    for staged in channels.values():
        staged.works()
    assert told("notify", "flush").code == 0
    assert {state for *_, state in rows(database)} == {"told"}


def test_a_rest_that_a_channel_asks_for_is_kept_even_by_hand(told: Cli, channels: dict[str, Staged]) -> None:
    only(told, channels["slack"])
    channels["slack"].fails({"status": 429, "headers": {"Retry-After": "600"}})
    assert told(*QUICKLY).code == 0
    asked = len(channels["slack"].exchanges())
    channels["slack"].works()
    assert told("notify", "flush").code == 0
    assert len(channels["slack"].exchanges()) == asked == 1
    assert {w["held_by"] for w in listed(told)["waiting"]} == {"rest", None}


def test_a_channel_that_refuses_is_told_through_the_others_once_until_it_is_mended(
    told: Cli, channels: dict[str, Staged]
) -> None:
    channels["slack"].fails({"status": 404, "body": "no_service"})
    ran = told(*QUICKLY)
    assert ran.code == 0
    assert "Slack gave HTTP 404 (no_service); that message is not sent there again" in ran.err
    assert channels["webhook"].headlines().count("⚠️ Slack channel is broken") == 1
    assert [b["title"] for b in channels["github"].took()] == ["⚠️ Slack channel is broken (production)"]
    assert [b["payload"]["severity"] for b in channels["pagerduty"].took() if "event_action" in b] == ["error"]
    assert {r["channel"] for r in listed(told)["refused"]} == {"slack"}
    channels["slack"].works()
    assert told("notify", "flush", "--again").code == 0
    assert channels["slack"].headlines() == ["📬 2 messages while this channel could not be told"]
    assert channels["webhook"].headlines()[-1] == "✅ Slack channel works again"
    assert channels["github"].took()[-1]["state"] == "closed"
    assert listed(told) == {"pages": [], "waiting": [], "refused": [], "spooled": 0}


# --- kills ---


def killed(cli: Cli, point: str, *arguments: str) -> Ran:
    ran = cli(*arguments, AUTOPILOT_TEST="1", AUTOPILOT_TEST_KILLPOINT=point)
    assert ran.code == -signal.SIGKILL, ran.err
    return ran


@pytest.mark.parametrize(
    "point", ["N1", *(pytest.param(p, marks=pytest.mark.faults) for p in ("N1:2", "N1:3", "N2", "N2:3", "N3", "N3:3"))]
)
def test_killed_while_it_tells_no_notice_is_lost_and_none_comes_more_than_twice(
    told: Cli, channels: dict[str, Staged], point: str
) -> None:
    only(told, channels["pagerduty"], channels["webhook"])
    killed(told, point, *QUICKLY)
    assert told(*QUICKLY).code == 0
    assert told("notify", "flush").code == 0
    keys = [body["key"] for body in channels["webhook"].took()]
    ends = {"end", "started"}
    assert {key.rsplit("/", 1)[-1] for key in keys} == ends
    assert all(keys.count(key) <= 2 for key in keys)
    changes = [b for b in channels["pagerduty"].took() if "event_action" not in b]
    assert 1 <= len(changes) <= 3
    assert listed(told)["waiting"] == []


@pytest.mark.parametrize(
    "point", ["N1:5", "N2:4", *(pytest.param(p, marks=pytest.mark.faults) for p in ("N1:4", "N1:6", "N2:5", "N3:3", "N3:4"))]
)
def test_killed_while_it_pages_somebody_is_paged_and_one_issue_is_open(
    told: Cli, channels: dict[str, Staged], point: str
) -> None:
    assert told(*QUICKLY).code == 0
    told.write("2_two.sql", STRANDS)
    killed(told, point, *QUICKLY)
    told("notify", "flush")
    pager = [body for body in channels["pagerduty"].took() if "event_action" in body]
    assert alerts(pager) in [[["trigger"]], [["trigger", "trigger"]]]
    assert len([b for b in channels["github"].took() if "title" in b]) == 1
    for name in ("slack", "webhook"):
        assert 1 <= channels[name].headlines().count("❌ Migration failed") <= 2
    assert listed(told)["waiting"] == []


@pytest.mark.parametrize("point", ["A2", "A8", pytest.param("A6", marks=pytest.mark.faults)])
def test_a_run_that_died_without_a_word_is_told_by_the_next(told: Cli, channels: dict[str, Staged], point: str) -> None:
    only(told, channels["slack"])
    killed(told, point, *QUICKLY)
    assert channels["slack"].headlines() == ["🚀 Migration started"]
    assert told(*QUICKLY).code == 0
    said = " ".join(json.dumps(body, ensure_ascii=False) for body in channels["slack"].took())
    assert said.count("ended without a word") >= 1
    assert told(*QUICKLY).code == 0
    again = " ".join(json.dumps(body, ensure_ascii=False) for body in channels["slack"].took())
    assert again == said


# --- without a database ---


def spool_of(cli: Cli) -> list[Path]:
    return sorted(Path(cli.env["AUTOPILOT_STATE_DIR"]).glob("*.jsonl"))


def test_a_database_that_is_away_is_told_all_the_same_and_leaves_nothing(told: Cli, channels: dict[str, Staged]) -> None:
    ran = told(*QUICKLY, SUPABASE_DB_URL=DOWN)
    assert ran.code == 1
    assert channels["slack"].headlines() == ["❌ Migration failed"]
    assert spool_of(told) == []
    assert "s3cr3tpassw0rd" not in json.dumps([s.exchanges() for s in channels.values()])


def test_what_cannot_be_told_without_a_database_is_spooled_and_told_by_the_next_run(
    told: Cli, channels: dict[str, Staged]
) -> None:
    only(told, channels["slack"])
    channels["slack"].fails({"status": 500})
    assert told(*QUICKLY, SUPABASE_DB_URL=DOWN).code == 1
    (file,) = spool_of(told)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["letter"]["notice"]["headline"] == "❌ Migration failed"
    assert "s3cr3tpassw0rd" not in line
    channels["slack"].works()
    assert told(*QUICKLY, SUPABASE_DB_URL=DOWN).code == 1
    assert channels["slack"].headlines() == ["❌ Migration failed", "❌ Migration failed"]
    assert spool_of(told) == []


def test_a_spool_becomes_rows_as_soon_as_the_database_can_be_written(
    told: Cli, channels: dict[str, Staged], database: Database
) -> None:
    only(told, channels["webhook"])
    channels["webhook"].fails({"status": 500})
    database.run(f"alter database {database.name} connection limit 0", admin=True)
    assert told(*QUICKLY).code in {1, 2}
    (file,) = spool_of(told)
    database.run(f"alter database {database.name} connection limit -1", admin=True)
    channels["webhook"].works()
    assert told(*QUICKLY).code == 0
    assert not file.exists()
    assert channels["webhook"].headlines() == ["❌ Migration failed", "🚀 Migration started", "✅ Migration success"]
    assert {state for *_, state in rows(database)} == {"told"}


@pytest.mark.faults
def test_a_spool_that_is_half_written_or_of_somebody_else_stops_nothing(told: Cli, channels: dict[str, Staged]) -> None:
    only(told, channels["slack"])
    channels["slack"].fails({"status": 500})
    assert told(*QUICKLY, SUPABASE_DB_URL=DOWN).code == 1
    (file,) = spool_of(told)
    file.write_bytes(b'{"letter": {"key"\n\xff\xfe\n[]\n' + file.read_bytes() + b'{"half')
    channels["slack"].works()
    assert told(*QUICKLY, SUPABASE_DB_URL=DOWN).code == 1
    assert len(channels["slack"].took()) == 2


def test_where_nothing_can_be_kept_it_is_said(told: Cli, channels: dict[str, Staged], tmp_path: Path) -> None:
    only(told, channels["slack"])
    (tmp_path / "file").write_text("")
    ran = told(*QUICKLY, SUPABASE_DB_URL=DOWN, AUTOPILOT_STATE_DIR=str(tmp_path / "file"))
    assert ran.code == 1
    assert "could not be kept for later" in ran.err


# --- pages ---


def stranded(cli: Cli) -> None:
    assert cli(*QUICKLY).code == 0
    cli.write("2_two.sql", STRANDS)
    assert cli(*QUICKLY).code == 4


def test_an_acknowledged_page_is_told_and_no_longer_reminded_of(
    told: Cli, channels: dict[str, Staged], database: Database
) -> None:
    stranded(told)
    assert told("notify", "ack", "--by", "ann").out == "❌ Migration failed: ann looks after it.\n"
    assert channels["slack"].headlines()[-1] == "👀 Acknowledged"
    assert [b["event_action"] for b in channels["pagerduty"].took() if "event_action" in b] == ["trigger", "acknowledge"]
    database.run("update automation.pages set opened_at = opened_at - interval '2 hours'")
    before = len(channels["slack"].took())
    assert told("notify", "flush").code == 0
    assert told("notify", "ack", "--by", "bob").out == "❌ Migration failed: ann looks after it.\n"
    assert len(channels["slack"].took()) == before


def test_a_page_that_nobody_acknowledges_is_told_again_by_whoever_comes_by(
    told: Cli, channels: dict[str, Staged], database: Database
) -> None:
    stranded(told)
    database.run("update automation.pages set opened_at = opened_at - interval '2 hours'")
    assert told("notify", "flush").code == 0
    assert channels["slack"].headlines()[-1].startswith("🔔 Still open")
    assert "Still open" in channels["github"].took()[-1]["body"]
    assert [b["event_action"] for b in channels["pagerduty"].took() if "event_action" in b] == ["trigger"]
    before = len(channels["slack"].took())
    assert told("notify", "flush").code == 0
    assert len(channels["slack"].took()) == before


def test_without_an_open_page_there_is_nothing_to_acknowledge(told: Cli) -> None:
    assert told(*QUICKLY).code == 0
    ran = told("notify", "ack", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (1, "no_open_page")


# --- the test message ---


def test_every_channel_gets_one_real_message_and_nothing_stays_open(told: Cli, channels: dict[str, Staged]) -> None:
    ran = told("notify", "test", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["outcome"]) == (0, "told"), ran.out
    assert [c["kind"] for c in found["channels"]] == ["pagerduty", "github", "slack", "webhook"]
    assert channels["slack"].headlines() == ["🔧 Autopilot test message"]
    assert alerts(channels["pagerduty"].took()) == [["trigger", "resolve"]]
    assert channels["github"].took()[-1]["state"] == "closed"


def test_a_channel_that_does_not_take_it_is_named_with_what_came_back(told: Cli, channels: dict[str, Staged]) -> None:
    channels["slack"].fails({"status": 404, "body": "no_service"})
    ran = told("notify", "test")
    assert ran.code == 1
    assert "✘ Slack: Slack gave HTTP 404 (no_service)." in ran.out
    assert "✔ PagerDuty: PagerDuty took it (HTTP 202)" in ran.out
    assert len(channels["slack"].exchanges()) == 1


def test_without_a_channel_the_test_says_how_to_set_one(cli: Cli) -> None:
    ran = cli("notify", "test", "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (2, "no_channels")


def test_a_table_whose_variable_is_missing_fails_the_test_and_no_release(told: Cli, channels: dict[str, Staged]) -> None:
    (told.home / "autopilot.toml").write_text('[[notify]]\nkind = "slack"\nname = "ops"\nvariable = "OPS_WEBHOOK_URL"\n')
    ran = told("notify", "test")
    assert ran.code == 1
    assert "✘ ops: OPS_WEBHOOK_URL is not set here." in ran.out
    assert told(*QUICKLY).code == 0


def test_no_secret_stands_in_any_row_or_on_the_screen(told: Cli, channels: dict[str, Staged], database: Database) -> None:
    told.write("1_one.sql", "select 's3cr3tw3bh00kpath';\ndo $$ begin raise 'the key is %', repeat('5', 64); end $$;\n")
    ran = told(*QUICKLY)
    assert ran.code == 3
    kept = str(database.rows("select t::text from automation.outbox t")) + str(
        database.rows("select t::text from automation.outbox_deliveries t")
    )
    sent = "".join(e["body"] for staged in channels.values() for e in staged.exchanges() if staged.name != "pagerduty")
    for secret in ("5" * 64, "s3cr3tw3bh00kpath", "s3cr3tn0tic3path", channels["pagerduty"].told["PAGERDUTY_ROUTING_KEY"]):
        assert secret not in kept + sent + ran.out + ran.err
    assert "the key is" in kept


@pytest.mark.faults
def test_a_black_hole_costs_a_release_its_few_seconds(told: Cli, channels: dict[str, Staged]) -> None:
    only(told, channels["slack"])
    ran = told(*QUICKLY, SLACK_WEBHOOK_URL=f"{CLOSED}/services/T0/B0/s3cr3tpath")
    assert ran.code == 0
    assert ran.err.count("Slack gave no answer (connect)") == 2
    assert "s3cr3tpath" not in ran.err
