-- +goose Up

-- Why the index must not be worked on, if so; see Halt.
CREATE TABLE chunk_index (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    behind text    NOT NULL DEFAULT ''
);

INSERT INTO chunk_index DEFAULT VALUES;

-- Logs, from the first look at them for ever: a row is an hour of a writer.
CREATE TABLE compacted_logs (
    incarnation   uuid        PRIMARY KEY,
    -- The records of all slots below it are in live chunks, or need not be kept.
    watermark     bigint      NOT NULL DEFAULT 0 CHECK (watermark >= 0),
    -- Where the lowest seal stands; NULL: not known to be sealed.
    sealed_end    bigint      CHECK (sealed_end >= watermark),
    discovered_at timestamptz NOT NULL DEFAULT now(),
    -- Since when watermark = sealed_end.
    drained_at    timestamptz,
    -- Set before the log's gone mark is put, which comes before its slots go.
    gone_at       timestamptz,
    -- Its slots have been deleted.
    collected_at  timestamptz,
    CHECK ((drained_at IS NOT NULL) = (sealed_end IS NOT NULL AND watermark = sealed_end)),
    CHECK (gone_at IS NULL OR drained_at IS NOT NULL),
    CHECK (collected_at IS NULL OR gone_at IS NOT NULL)
);

CREATE INDEX compacted_logs_left ON compacted_logs (incarnation) WHERE collected_at IS NULL;

-- How much of each shard's chain has been looked at: all epochs below next_epoch.
CREATE TABLE chain_heads (
    shard      bigint PRIMARY KEY,
    next_epoch bigint NOT NULL
);

CREATE SEQUENCE chunk_object_ids;

CREATE TABLE chunk_objects (
    id         bigint      PRIMARY KEY,
    -- pending: may be put. live: stands, and was read back. removed: nothing may
    -- name it any more, it is being deleted.
    state      text        NOT NULL CHECK (state IN ('pending', 'live', 'removed')),
    -- What was compacted; NULL: only sources.
    log        uuid,
    from_slot  bigint      NOT NULL DEFAULT 0,
    to_slot    bigint      NOT NULL DEFAULT 0,
    -- The chunk objects whose chunks were taken over.
    sources    bigint[]    NOT NULL DEFAULT '{}',
    -- Of its blocks, as stored, and of those that rows of chunks name.
    bytes      bigint      NOT NULL DEFAULT 0,
    live_bytes bigint      NOT NULL DEFAULT 0 CHECK (live_bytes >= 0),
    -- When it came into its state, or when the last of its chunks went.
    since      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX chunk_objects_unfinished ON chunk_objects (since) WHERE state <> 'live' OR live_bytes = 0;

-- A row is a block: consecutive records of a stream. Rows of a stream do not
-- overlap. Timestamps are less 2^63, because they are 64 bits without a sign.
CREATE TABLE chunks (
    stream_id       uuid     NOT NULL,
    first_seq       bigint   NOT NULL,
    next_seq        bigint   NOT NULL CHECK (next_seq > first_seq),
    first_timestamp bigint   NOT NULL,
    last_timestamp  bigint   NOT NULL,
    object          bigint   NOT NULL,
    offset_bytes    bigint   NOT NULL,
    stored_bytes    bigint   NOT NULL,
    raw_bytes       bigint   NOT NULL,
    codec           smallint NOT NULL,
    checksum        bigint   NOT NULL,
    -- By its end, so that the chunk that holds a position is the first one above it.
    PRIMARY KEY (stream_id, next_seq)
);

CREATE INDEX chunks_time ON chunks (stream_id, last_timestamp, next_seq);

-- What logs say of streams that lets records go. It never goes back.
CREATE TABLE stream_limits (
    stream_id  uuid    PRIMARY KEY,
    bucket_id  uuid,
    trim       bigint  NOT NULL DEFAULT 0,
    tombstoned boolean NOT NULL DEFAULT false,
    -- There may be chunks that need not be kept.
    dirty      boolean NOT NULL DEFAULT false
);

CREATE INDEX stream_limits_bucket ON stream_limits (bucket_id);
CREATE INDEX stream_limits_dirty ON stream_limits (stream_id) WHERE dirty;

CREATE TABLE tombstoned_buckets (bucket_id uuid PRIMARY KEY);

-- +goose Down

DROP TABLE tombstoned_buckets;
DROP TABLE stream_limits;
DROP TABLE chunks;
DROP TABLE chunk_objects;
DROP SEQUENCE chunk_object_ids;
DROP TABLE chain_heads;
DROP TABLE compacted_logs;
DROP TABLE chunk_index;
