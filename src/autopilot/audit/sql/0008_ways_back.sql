-- What each release left behind so that it can be undone: the catalog before and after it, and what cannot come back.
CREATE TABLE automation.ways_back (
    migration_log_id bigint PRIMARY KEY REFERENCES automation.migration_log (id),
    run_id           text NOT NULL,
    kept_as          text NOT NULL UNIQUE,
    versions         text[] NOT NULL,
    taken_at         timestamptz NOT NULL DEFAULT now(),
    before_snapshot  jsonb NOT NULL,
    after_snapshot   jsonb,
    proven           boolean,
    loses            text[] NOT NULL DEFAULT '{}',
    undone_at        timestamptz,
    undone_by        text,
    remade           jsonb,
    notes            text
);
COMMENT ON COLUMN automation.ways_back.kept_as IS 'By which autopilot_trash.kept knows what this release kept.';
COMMENT ON COLUMN automation.ways_back.after_snapshot IS 'NULL until the release is in; the next run makes up for it.';
COMMENT ON COLUMN automation.ways_back.proven IS 'Whether it went forward, back and forward again on a copy; NULL: not tried.';
COMMENT ON COLUMN automation.ways_back.loses IS 'What going back would lose, in sentences.';
COMMENT ON COLUMN automation.ways_back.remade IS 'Tables and columns that going back made again: their keys before, and since.';
ALTER TABLE automation.ways_back ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON automation.ways_back FROM PUBLIC;

-- A run that went back on a release.
ALTER TABLE automation.runs DROP CONSTRAINT runs_state_check;
ALTER TABLE automation.runs ADD CONSTRAINT runs_state_check CHECK (state IN
    ('running', 'released', 'nothing_to_do', 'refused', 'rolled_back', 'stranded', 'stopped', 'abandoned', 'went_back'));
