-- +goose Up

-- Names compare by their bytes everywhere: COLLATE "C".

-- The cluster that this database belongs to: one row.
CREATE TABLE cluster (
    single     boolean     PRIMARY KEY DEFAULT true CHECK (single),
    id         text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE buckets (
    id         uuid        PRIMARY KEY,
    name       text        COLLATE "C" NOT NULL UNIQUE,
    state      text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'deleting')),
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,

    -- The settings; NULL: left out. Numbered as in the API.
    create_stream_on_append         boolean,
    create_stream_on_read           boolean,
    default_storage_class           smallint CHECK (default_storage_class IN (1, 2)),
    default_timestamping_mode       smallint CHECK (default_timestamping_mode IN (1, 2, 3)),
    default_allow_future_timestamps boolean,
    default_retention_seconds       bigint   CHECK (default_retention_seconds >= 0),
    default_delete_on_empty_seconds bigint   CHECK (default_delete_on_empty_seconds >= 0),

    -- Every shard's owner has acknowledged the bucket's tombstone.
    tombstoned boolean     NOT NULL DEFAULT false,
    -- When a worker may next take up the deletion.
    retry_at   timestamptz NOT NULL DEFAULT now(),

    CHECK ((state = 'deleting') = (deleted_at IS NOT NULL))
);

CREATE INDEX buckets_unfinished ON buckets (retry_at) WHERE state = 'deleting';

CREATE TABLE streams (
    id         uuid        PRIMARY KEY,
    bucket_id  uuid        NOT NULL REFERENCES buckets (id),
    name       text        COLLATE "C" NOT NULL,
    state      text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'deleting')),
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,

    -- The resolved configuration. Numbered as in the API.
    storage_class           smallint NOT NULL CHECK (storage_class IN (1, 2)),
    timestamping_mode       smallint NOT NULL CHECK (timestamping_mode IN (1, 2, 3)),
    allow_future_timestamps boolean  NOT NULL,
    retention_seconds       bigint   NOT NULL CHECK (retention_seconds >= 0),
    delete_on_empty_seconds bigint   NOT NULL CHECK (delete_on_empty_seconds >= 0),

    -- Grows with every change of the configuration.
    config_version  bigint NOT NULL DEFAULT 1,
    -- The last version that the shard's owner has acknowledged. A stream is
    -- opened with the version that its row has then, so version 1 needs no word.
    applied_version bigint NOT NULL DEFAULT 1,
    -- When a worker may next take up the deletion or the configuration.
    retry_at   timestamptz NOT NULL DEFAULT now(),

    UNIQUE (bucket_id, name),
    CHECK (applied_version <= config_version),
    CHECK ((state = 'deleting') = (deleted_at IS NOT NULL))
);

CREATE INDEX streams_unfinished ON streams (retry_at)
    WHERE state = 'deleting' OR applied_version < config_version;

CREATE TABLE access_tokens (
    id          text        COLLATE "C" PRIMARY KEY,
    -- SHA-256 of the token's text.
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
    expires_at  timestamptz,
    auto_prefix boolean     NOT NULL,
    -- A samsa.v1.AccessTokenScope.
    scope       jsonb       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX access_tokens_expiry ON access_tokens (expires_at) WHERE expires_at IS NOT NULL;

-- +goose Down

DROP TABLE access_tokens;
DROP TABLE streams;
DROP TABLE buckets;
DROP TABLE cluster;
