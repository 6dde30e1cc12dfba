"""What the documents say and what the code does, held together."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from autopilot.config import load
from autopilot.config_file import FileSettings

ROOT = Path(__file__).parents[1]


def test_every_error_code_is_explained() -> None:
    code = "".join(path.read_text() for path in (ROOT / "src" / "autopilot").rglob("*.py"))
    raised = set(re.findall(r'code="([a-z_0-9]+)"', code)) | set(re.findall(r'"(config_[a-z_]+)"', code))
    raised |= set(re.findall(r'(?:UsageError|Refused),\s*"([a-z_]+)"', code))
    explained = set(re.findall(r"`([a-z_0-9]+)`", (ROOT / "docs" / "errors.md").read_text()))
    assert len(raised) > 60
    assert raised - explained == set()


def test_the_example_configuration_holds_every_key_with_its_default(tmp_path: Path) -> None:
    example = ROOT / "autopilot.example.toml"
    text = example.read_text()
    assert {f for f in FileSettings.__struct_fields__ if not re.search(rf"^\[?{f}\b", text, re.MULTILINE)} == set()
    read = load(variables={}, file=example)
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert read == load(variables={}, file=empty)
    assert load(variables={}, file=example, environment_name="staging").site_url == "https://staging.example.com"


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name} → {target}"


def test_no_committed_lock_names_a_host() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text


def test_json_settings_never_show_a_secret() -> None:
    settings = load(
        variables={"SUPABASE_DB_URL": "postgresql://u:hunter22@h/d", "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/x"}
    )
    assert "hunter22" not in repr(settings)
    assert "services/x" not in repr(settings)
    assert msgspec.structs.asdict(FileSettings())["rehearsal"] == "required"
