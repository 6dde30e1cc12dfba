-- Notices: written with what they tell of, sent afterwards, marked when a channel has taken them.
CREATE TABLE automation.outbox (
    id          bigserial PRIMARY KEY,
    key         text NOT NULL UNIQUE,
    written_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id      text NOT NULL,
    environment text NOT NULL,
    action      text NOT NULL CHECK (action IN ('tell', 'change', 'open', 'ack', 'resolve', 'remind')),
    severity    text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    about       text NOT NULL,
    page        text,
    notice      jsonb NOT NULL
);
COMMENT ON COLUMN automation.outbox.key IS 'The same for every copy of a notice: what receivers can tell copies by.';
CREATE INDEX outbox_page ON automation.outbox (page) WHERE page IS NOT NULL;

CREATE TABLE automation.outbox_deliveries (
    outbox_id bigint NOT NULL REFERENCES automation.outbox (id) ON DELETE CASCADE,
    channel   text NOT NULL,
    state     text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'told', 'dead')),
    tries     integer NOT NULL DEFAULT 0,
    not_before timestamptz,
    held_by   text CHECK (held_by IN ('quiet', 'backoff', 'rest')),
    moved_at  timestamptz,
    answer    text,
    PRIMARY KEY (outbox_id, channel)
);
COMMENT ON COLUMN automation.outbox_deliveries.held_by IS 'Why it waits until not_before: quiet hours, our own patience, or the channel asked for it.';
CREATE INDEX outbox_deliveries_waiting ON automation.outbox_deliveries (channel) WHERE state = 'waiting';

-- What a person is called for: open until it is over, one at a time of an environment and a matter.
CREATE TABLE automation.pages (
    page        text PRIMARY KEY,
    environment text NOT NULL,
    about       text NOT NULL,
    severity    text NOT NULL,
    headline    text NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by   text NOT NULL,
    acked_at    timestamptz,
    acked_by    text,
    reminded_at timestamptz,
    resolved_at timestamptz,
    resolved_by text
);
COMMENT ON COLUMN automation.pages.about IS '"release", or "channel:" and the name of a channel that is broken.';
CREATE UNIQUE INDEX pages_open ON automation.pages (environment, about) WHERE resolved_at IS NULL;

ALTER TABLE automation.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE automation.outbox_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE automation.pages ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON automation.outbox, automation.outbox_deliveries, automation.pages FROM PUBLIC;
REVOKE ALL ON SEQUENCE automation.outbox_id_seq FROM PUBLIC;
