-- +goose Up

-- Streams that have ended, for ever: their rows are gone, and nobody who read the
-- object store a moment earlier may bring one back.
CREATE TABLE ended_streams (id uuid PRIMARY KEY);

-- +goose Down

DROP TABLE ended_streams;
