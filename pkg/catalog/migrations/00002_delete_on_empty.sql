-- +goose Up

-- Active streams that are deleted when they are empty; retry_at is when a worker may
-- next look whether they are.
CREATE INDEX streams_delete_on_empty ON streams (retry_at)
    WHERE state = 'active' AND delete_on_empty_seconds > 0;

-- +goose Down

DROP INDEX streams_delete_on_empty;
