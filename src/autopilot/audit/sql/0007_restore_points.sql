-- Restore points of a provider, where one stands in for a dump of a very large database.
CREATE TABLE automation.restore_points (
    id       bigserial PRIMARY KEY,
    made_at  timestamptz NOT NULL,
    provider text NOT NULL,
    name     text NOT NULL UNIQUE,
    run_id   text NOT NULL,
    how_back text NOT NULL,
    details  jsonb NOT NULL
);
COMMENT ON COLUMN automation.restore_points.name IS 'As migration_log.backup_file has it.';
ALTER TABLE automation.restore_points ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON automation.restore_points FROM PUBLIC;
