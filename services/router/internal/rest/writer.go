package rest

import (
	"net/http"
	"time"
)

// patientWriter waits for a stalled client, but only so long at each write. It
// sets no limit to the whole response.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func newPatientWriter(w http.ResponseWriter, timeout time.Duration) *patientWriter {
	return &patientWriter{w, http.NewResponseController(w), timeout}
}

// Unwrap serves http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements io.Writer. Over HTTP/2 a deadline ends the stream even if
// nothing is being written, so it is lifted afterwards.
func (w *patientWriter) Write(p []byte) (int, error) {
	defer w.limit()()
	return w.ResponseWriter.Write(p)
}

// FlushError serves http.ResponseController.
func (w *patientWriter) FlushError() error {
	defer w.limit()()
	return w.control.Flush()
}

// limit sets the deadline; writers that have none go without.
func (w *patientWriter) limit() (lift func()) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.timeout))
	return func() { _ = w.control.SetWriteDeadline(time.Time{}) }
}
