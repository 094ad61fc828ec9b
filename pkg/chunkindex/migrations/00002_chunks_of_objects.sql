-- +goose Up

-- An object's rows, to be sure that there are none before it goes.
CREATE INDEX chunks_object ON chunks (object);

-- +goose Down

DROP INDEX chunks_object;
