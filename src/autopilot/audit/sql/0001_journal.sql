-- The automation schema as the contract fixes it: what ran, what was deployed, how healthy it was.

CREATE SCHEMA IF NOT EXISTS automation;
COMMENT ON SCHEMA automation IS 'Autopilot: what was applied, deployed and found healthy. Never part of a rollback.';

CREATE TABLE automation.schema_versions (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- One row a run of `autopilot migrate`; opened before anything else and closed with its outcome.
CREATE TABLE automation.runs (
    run_id       text PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    state        text NOT NULL DEFAULT 'running'
                 CHECK (state IN ('running', 'released', 'nothing_to_do', 'refused', 'rolled_back', 'stranded', 'stopped', 'abandoned')),
    commit_sha   text,
    triggered_by text NOT NULL,
    host         text NOT NULL,
    tool_version text NOT NULL,
    notes        text
);
CREATE INDEX runs_open ON automation.runs (started_at) WHERE state = 'running';

-- The ledger. A row is written in the transaction of the migration's last statement, or not at all.
CREATE TABLE automation.applied_migrations (
    version           text PRIMARY KEY,
    name              text NOT NULL,
    file              text NOT NULL,
    sha256            text NOT NULL,
    normalized_sha256 text NOT NULL,
    statements        integer NOT NULL,
    segments          integer NOT NULL,
    started_at        timestamptz NOT NULL,
    finished_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration_ms       integer NOT NULL,
    run_id            text NOT NULL,
    origin            text NOT NULL DEFAULT 'autopilot' CHECK (origin IN ('autopilot', 'supabase', 'bundle')),
    triggered_by      text NOT NULL,
    commit_sha        text,
    tool_version      text NOT NULL
);

-- How far a migration of several segments has come: intent before a statement that cannot be in a transaction,
-- done in the segment's own transaction or after the catalog was asked.
CREATE TABLE automation.migration_segments (
    version     text NOT NULL,
    segment     integer NOT NULL,
    state       text NOT NULL CHECK (state IN ('intent', 'done')),
    sha256      text NOT NULL,
    run_id      text NOT NULL,
    before      jsonb,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    PRIMARY KEY (version, segment)
);

CREATE TABLE automation.migration_log (
    id            bigserial PRIMARY KEY,
    ran_at        timestamptz DEFAULT now(),
    commit_sha    text,
    status        text CHECK (status IN ('success', 'failure', 'rollback', 'pending')),
    notes         text,
    backup_file   text,
    duration_ms   integer,
    error_message text,
    triggered_by  text DEFAULT 'github_actions',
    run_id        text,
    versions      text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX migration_log_ran_at ON automation.migration_log (ran_at DESC);
CREATE INDEX migration_log_pending ON automation.migration_log (run_id) WHERE status = 'pending';

CREATE TABLE automation.health_log (
    id               bigserial PRIMARY KEY,
    checked_at       timestamptz DEFAULT now(),
    status           text CHECK (status IN ('healthy', 'degraded', 'unhealthy')),
    response_time_ms integer,
    checks           jsonb,
    notes            text,
    run_id           text
);
CREATE INDEX health_log_checked_at ON automation.health_log (checked_at DESC);

CREATE TABLE automation.deployment_log (
    id               bigserial PRIMARY KEY,
    deployed_at      timestamptz DEFAULT now(),
    platform         text,
    deploy_id        text,
    status           text CHECK (status IN ('triggered', 'building', 'success', 'failed')),
    url              text,
    notes            text,
    migration_log_id bigint REFERENCES automation.migration_log (id),
    run_id           text,
    commit_sha       text,
    finished_at      timestamptz
);
CREATE INDEX deployment_log_deployed_at ON automation.deployment_log (deployed_at DESC);
CREATE INDEX deployment_log_migration ON automation.deployment_log (migration_log_id);
