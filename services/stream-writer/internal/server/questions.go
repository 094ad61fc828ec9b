package server

import (
	"context"

	"github.com/samsa-io/samsa/pkg/limit"
	"github.com/samsa-io/samsa/pkg/shardlog"
	"github.com/samsa-io/samsa/services/stream-writer/internal/writer"
)

// Questions bounds the questions about streams that wait for an answer. One waits
// until the object store has answered, also when whoever asked has gone and asks again.
type Questions struct {
	writer *writer.Writer
	room   *limit.Room
}

// NewQuestions lets at most so many wait at a time.
func NewQuestions(w *writer.Writer, most int64, m *limit.Metrics) *Questions {
	return &Questions{w, limit.NewRoom(most, "questions about streams at a time", "stream_writer.max_questions", m)}
}

func (q *Questions) ask(ctx context.Context, i shardlog.Inspect) (shardlog.View, error) {
	leave, err := q.room.Enter(1)
	if err != nil {
		return shardlog.View{}, err
	}
	return q.writer.Inspect(ctx, i, leave)
}
