-- What each applied file means for the code that runs: the way back is chosen by it.
ALTER TABLE automation.applied_migrations
    ADD COLUMN change text CHECK (change IN ('expand', 'data', 'contract', 'irreversible')),
    ADD COLUMN changes text[];
COMMENT ON COLUMN automation.applied_migrations.change IS 'Class of the whole file: that of its worst statement.';
COMMENT ON COLUMN automation.applied_migrations.changes IS 'Class of each statement, in order.';

-- Files that waited until the new deploy was proven are a row of their own, which owes no deploy.
ALTER TABLE automation.migration_log ADD COLUMN after_deploy boolean NOT NULL DEFAULT false;
