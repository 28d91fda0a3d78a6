-- When an event happened by the collector's clock: `received_at - (sent_at - ts)`, which needs no client's clock to be
-- right, only to run evenly between the event and its batch. Without `sent_at` it is `ts`. Never after `received_at`;
-- and where `ts` lies ten years or more before it (seconds in place of milliseconds are 1970), `received_at`.
-- Rows of before this migration get both when they are read.

ALTER TABLE unjoin.signals
    ADD COLUMN IF NOT EXISTS sent_at Int64 DEFAULT 0 CODEC(Delta, ZSTD(1))
        COMMENT 'Unix milliseconds by the client''s clock when the batch was sent; 0 where it does not say'
        AFTER received_at,
    ADD COLUMN IF NOT EXISTS at DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(
        toUnixTimestamp64Milli(received_at)
        - if(
            if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts > 315576000000,
            0,
            greatest(if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts, 0)
        ),
        'UTC'
    ) CODEC(Delta, ZSTD(1))
        COMMENT 'when it happened: ts, corrected by what the client''s clock is off; use this one'
        AFTER sent_at;

ALTER TABLE unjoin.analytics
    ADD COLUMN IF NOT EXISTS sent_at Int64 DEFAULT 0 CODEC(Delta, ZSTD(1))
        COMMENT 'Unix milliseconds by the client''s clock when the batch was sent; 0 where it does not say'
        AFTER received_at,
    ADD COLUMN IF NOT EXISTS at DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(
        toUnixTimestamp64Milli(received_at)
        - if(
            if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts > 315576000000,
            0,
            greatest(if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts, 0)
        ),
        'UTC'
    ) CODEC(Delta, ZSTD(1))
        COMMENT 'when it happened: ts, corrected by what the client''s clock is off; use this one'
        AFTER sent_at;

ALTER TABLE unjoin.personal
    ADD COLUMN IF NOT EXISTS sent_at Int64 DEFAULT 0 CODEC(Delta, ZSTD(1))
        COMMENT 'Unix milliseconds by the client''s clock when the batch was sent; 0 where it does not say'
        AFTER received_at,
    ADD COLUMN IF NOT EXISTS at DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(
        toUnixTimestamp64Milli(received_at)
        - if(
            if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts > 315576000000,
            0,
            greatest(if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts, 0)
        ),
        'UTC'
    ) CODEC(Delta, ZSTD(1))
        COMMENT 'when it happened: ts, corrected by what the client''s clock is off; use this one'
        AFTER sent_at;

ALTER TABLE unjoin.labelers
    ADD COLUMN IF NOT EXISTS sent_at Int64 DEFAULT 0 CODEC(Delta, ZSTD(1))
        COMMENT 'Unix milliseconds by the client''s clock when the batch was sent; 0 where it does not say'
        AFTER received_at,
    ADD COLUMN IF NOT EXISTS at DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(
        toUnixTimestamp64Milli(received_at)
        - if(
            if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts > 315576000000,
            0,
            greatest(if(sent_at > 0, sent_at, toUnixTimestamp64Milli(received_at)) - ts, 0)
        ),
        'UTC'
    ) CODEC(Delta, ZSTD(1))
        COMMENT 'when it happened: ts, corrected by what the client''s clock is off; use this one'
        AFTER sent_at;
