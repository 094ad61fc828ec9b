package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/pkg/stream"
)

const (
	linesType  = "application/x-ndjson"
	eventsType = "text/event-stream"
	lastEvent  = "Last-Event-ID"
)

// session serves a read session. The gateway's own streams wrap each response,
// and know no server-sent events.
func (h *Handler) session(w http.ResponseWriter, r *http.Request, params map[string]string) {
	request, err := sessionRequest(r, params)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	ctx, err := runtime.AnnotateContext(r.Context(), h.gateway, r, samsav1.StreamService_ReadSession_FullMethodName)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	responses, err := h.streams.ReadSession(ctx, request)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	first, err := responses.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		h.fail(w, r, err)
		return
	}
	out := h.openSession(w, r)
	for response := first; err == nil; response, err = responses.Recv() {
		if out.send(response) != nil {
			return // the client is gone; the call ends with the request
		}
	}
	out.end(err)
}

// sessionRequest reads a session's start from the query, or from where an event
// source says it has been.
func sessionRequest(r *http.Request, params map[string]string) (*samsav1.ReadSessionRequest, error) {
	request := &samsav1.ReadSessionRequest{Bucket: params["bucket"], Stream: params["stream"]}
	query := r.URL.Query()
	inPath := utilities.NewDoubleArray([][]string{{"bucket"}, {"stream"}})
	if err := runtime.PopulateQueryParameters(request, query, inPath); err != nil {
		return nil, invalid("%s", err)
	}
	if !requestOf(r).events {
		return request, nil
	}
	if !query.Has("heartbeats") {
		request.Heartbeats = true // proxies close silent connections
	}
	return request, resume(request, r.Header.Get(lastEvent))
}

func resume(request *samsav1.ReadSessionRequest, id string) error {
	if id == "" {
		return nil
	}
	next, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return invalid("%s is %q: want the seq_num to go on from", lastEvent, id).In(lastEvent)
	}
	request.Start = &samsav1.ReadSessionRequest_SeqNum{SeqNum: next}
	return nil
}

// sessionWriter writes responses in one of the two forms.
type sessionWriter struct {
	handler *Handler
	w       http.ResponseWriter
	control *http.ResponseController
	request *http.Request
	marshal func(any) ([]byte, error) // ends with a newline
	events  bool
	buf     bytes.Buffer
}

func (h *Handler) openSession(w http.ResponseWriter, r *http.Request) *sessionWriter {
	known := requestOf(r)
	out := &sessionWriter{
		handler: h, w: w, control: http.NewResponseController(w), request: r,
		marshal: h.json.Marshal, events: known.events,
	}
	if known.text {
		out.marshal = h.text.Marshal
	}
	header := w.Header()
	header.Set("Content-Type", linesType)
	if known.events {
		header.Set("Content-Type", eventsType)
		header.Set("X-Accel-Buffering", "no") // nginx must not hold events back
	}
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return out
}

func (s *sessionWriter) send(response *samsav1.ReadSessionResponse) error {
	if s.events && response.GetOutput() == nil && response.GetTail() == nil {
		return s.write([]byte(": heartbeat\n\n"))
	}
	line, err := s.marshal(response)
	if err != nil {
		s.end(fmt.Errorf("show a response: %w", err))
		return err
	}
	if !s.events {
		return s.write(line)
	}
	s.buf.Reset()
	if next, ok := nextPosition(response); ok {
		fmt.Fprintf(&s.buf, "id: %d\n", next)
	}
	fmt.Fprintf(&s.buf, "data: %s\n", line)
	return s.write(s.buf.Bytes())
}

// nextPosition is where to go on after a response.
func nextPosition(response *samsav1.ReadSessionResponse) (uint64, bool) {
	if records := response.GetOutput().GetBatch().GetRecords(); len(records) > 0 {
		return records[len(records)-1].GetSeqNum() + 1, true
	}
	if tail := response.GetTail(); tail != nil {
		return tail.GetNextSeqNum(), true
	}
	id, err := stream.ParseSeqID(response.GetOutput().GetNextSeqId())
	return uint64(id.SeqNum()), err == nil
}

// end writes the session's last word: nothing in lines if it ended well.
func (s *sessionWriter) end(err error) {
	failed := !errors.Is(err, io.EOF)
	if !failed && !s.events {
		_ = s.control.Flush() // the header, if there was no response
		return
	}
	s.buf.Reset()
	switch {
	case !failed: // else an event source would come again
		s.buf.WriteString("event: end\ndata: {}\n\n")
	case s.events:
		fmt.Fprintf(&s.buf, "event: error\ndata: %s\n", s.detail(err))
	default:
		fmt.Fprintf(&s.buf, "{\"error\":%s}\n", bytes.TrimSpace(s.detail(err)))
	}
	// If the client is gone there is nobody to tell.
	_ = s.write(s.buf.Bytes())
}

func (s *sessionWriter) detail(err error) []byte {
	detail, marshalErr := s.handler.json.Marshal(rpc.Detail(s.handler.typed(s.request, err)))
	if marshalErr != nil {
		return []byte("{}\n")
	}
	return detail
}

// write sends what is complete in itself at once.
func (s *sessionWriter) write(b []byte) error {
	if _, err := s.w.Write(b); err != nil { //nolint:gosec // JSON or events under their type, which identify forbids to guess at
		return err
	}
	return s.control.Flush()
}
