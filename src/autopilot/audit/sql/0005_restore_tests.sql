-- A backup counts once it was restored: each restore of one, and whether it came back as it was.
CREATE TABLE automation.restore_tests (
    id             bigserial PRIMARY KEY,
    tested_at      timestamptz NOT NULL DEFAULT now(),
    backup_file    text NOT NULL,
    sha256         text NOT NULL,
    status         text NOT NULL CHECK (status IN ('success', 'failure')),
    restore_ms     integer,
    size_bytes     bigint NOT NULL,
    seconds_per_gib numeric,
    server_version text,
    run_id         text,
    notes          text
);
CREATE INDEX restore_tests_tested_at ON automation.restore_tests (tested_at DESC);
ALTER TABLE automation.restore_tests ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON automation.restore_tests FROM PUBLIC;
