-- What each file did on a copy of this database before it came here, and what was predicted from it.
CREATE TABLE automation.rehearsed_files (
    id           bigserial PRIMARY KEY,
    rehearsed_at timestamptz NOT NULL DEFAULT now(),
    run_id       text NOT NULL,
    version      text NOT NULL,
    file         text NOT NULL,
    sha256       text NOT NULL,
    copy         text NOT NULL,
    duration_ms  numeric NOT NULL,
    predicted_ms numeric NOT NULL,
    blocked      jsonb NOT NULL,
    statements   jsonb NOT NULL
);
COMMENT ON COLUMN automation.rehearsed_files.copy IS 'Where it was rehearsed: PostgreSQL''s version and origin.';
COMMENT ON COLUMN automation.rehearsed_files.blocked IS 'Relations that somebody would have to wait for, and how long.';
COMMENT ON COLUMN automation.rehearsed_files.statements IS 'Line, duration, locks, rewrites and rows of each statement.';
CREATE INDEX rehearsed_files_sha256 ON automation.rehearsed_files (sha256, rehearsed_at DESC);
ALTER TABLE automation.rehearsed_files ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON automation.rehearsed_files FROM PUBLIC;
