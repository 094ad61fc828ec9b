// Package patient waits for clients that are slow to take what is written to them,
// but not for ever.
package patient

import (
	"net/http"
	"time"
)

// Writer waits for a stalled client, but only so long at each write. It sets no
// limit to the whole response.
type Writer struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// New bounds each write, and each flush, to timeout.
func New(w http.ResponseWriter, timeout time.Duration) *Writer {
	return &Writer{w, http.NewResponseController(w), timeout}
}

// Unwrap serves http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements io.Writer. Over HTTP/2 a deadline ends the stream even if
// nothing is being written, so it is lifted afterwards.
func (w *Writer) Write(p []byte) (int, error) {
	defer w.limit()()
	return w.ResponseWriter.Write(p)
}

// FlushError serves http.ResponseController.
func (w *Writer) FlushError() error {
	defer w.limit()()
	return w.control.Flush()
}

// Flush implements http.Flusher, which gRPC asks for.
func (w *Writer) Flush() { _ = w.FlushError() }

// limit sets the deadline; writers that have none go without.
func (w *Writer) limit() (lift func()) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.timeout))
	return func() { _ = w.control.SetWriteDeadline(time.Time{}) }
}
