package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/samsa-io/samsa/pkg/clock"
)

// StoreFaults are the chances, from 0 to 1, that a request to the object store
// meets a fault. At most one happens to a request.
type StoreFaults struct {
	Unavailable float64 // 503, nothing happens
	Conflict    float64 // 409 to a put, nothing happens
	LostRequest float64 // connection reset, nothing happens
	LostReply   float64 // connection reset after it has happened
	Late        float64 // it happens Slow later, though the caller may have given up
	SlowReply   float64 // it happens at once, the answer comes Slow later
	SlowBody    float64 // the body comes in pieces, for Slow
	CutBody     float64 // the connection ends in the middle of the body

	Slow time.Duration
}

// storeProxy is an HTTP proxy in front of the object store. It knows the processes
// apart by the address that they connect to, which is their Host header.
type storeProxy struct {
	address string
	target  string // host:port
	onward  *http.Transport
	server  *http.Server
	late    sync.WaitGroup

	mu     sync.Mutex
	rng    *rand.Rand
	faults map[string]StoreFaults // by Host
	met    map[string]int         // faults that happened, by name
	needed map[string]map[StorePermission]bool
}

func newStoreProxy(t testing.TB, target string, seed uint64) *storeProxy {
	t.Helper()
	listen, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	p := &storeProxy{
		address: listen.Addr().String(), target: target,
		onward: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		rng:    rand.New(rand.NewPCG(seed, 7)), faults: map[string]StoreFaults{}, met: map[string]int{},
		needed: map[string]map[StorePermission]bool{},
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = p.server.Serve(listen) // until it is closed
	}()
	t.Cleanup(func() {
		_ = p.server.Close()
		<-served
		p.late.Wait()
		p.onward.CloseIdleConnections()
	})
	return p
}

func (p *storeProxy) set(host string, f StoreFaults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[host] = f
}

func (p *storeProxy) counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[string]int, len(p.met))
	for name, n := range p.met {
		counts[name] = n
	}
	return counts
}

// choose picks what happens to a request; "" is nothing.
func (p *storeProxy) choose(r *http.Request) (fault string, slow time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.faults[r.Host]
	x := p.rng.Float64()
	for _, c := range []struct {
		name   string
		chance float64
		only   string
	}{
		{"503", f.Unavailable, ""}, {"409", f.Conflict, http.MethodPut}, {"lost request", f.LostRequest, ""},
		{"lost reply", f.LostReply, ""}, {"late", f.Late, http.MethodPut}, {"slow reply", f.SlowReply, ""},
		{"slow body", f.SlowBody, http.MethodGet}, {"cut body", f.CutBody, http.MethodGet},
	} {
		if x -= c.chance; x < 0 {
			if c.only != "" && c.only != r.Method {
				return "", 0
			}
			p.met[c.name]++
			return c.name, f.Slow
		}
	}
	return "", 0
}

// ServeHTTP implements http.Handler.
func (p *storeProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.note(r)
	fault, slow := p.choose(r)
	switch fault {
	case "503":
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	case "409":
		refuse(w, http.StatusConflict, "ConditionalRequestConflict")
	case "lost request":
		panic(http.ErrAbortHandler) // resets the connection
	case "lost reply":
		_, _, _ = p.forward(context.Background(), r, body)
		panic(http.ErrAbortHandler)
	case "late":
		p.forwardLater(r, body, slow)
		_ = clock.Sleep(r.Context(), slow)
		panic(http.ErrAbortHandler)
	default:
		p.answer(w, r, body, fault, slow)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>fault</Message></Error>", code)
}

// forwardLater lets the request happen although nobody waits for the answer.
func (p *storeProxy) forwardLater(r *http.Request, body []byte, slow time.Duration) {
	late := r.Clone(context.Background())
	p.late.Go(func() {
		_ = clock.Sleep(context.Background(), slow)
		_, _, _ = p.forward(context.Background(), late, body)
	})
}

// forward carries the request out.
func (p *storeProxy) forward(ctx context.Context, r *http.Request, body []byte) (*http.Response, []byte, error) {
	out := r.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.target, ""
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	out.Header.Del("Connection")
	response, err := p.onward.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response, content, err
}

func (p *storeProxy) answer(w http.ResponseWriter, r *http.Request, body []byte, fault string, slow time.Duration) {
	response, content, err := p.forward(r.Context(), r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if fault == "slow reply" {
		_ = clock.Sleep(r.Context(), slow)
	}
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	w.WriteHeader(response.StatusCode)
	switch fault {
	case "slow body":
		drip(r.Context(), w, content, slow)
	case "cut body":
		_, _ = w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	default:
		_, _ = w.Write(content)
	}
}

// drip writes content in pieces.
func drip(ctx context.Context, w http.ResponseWriter, content []byte, slow time.Duration) {
	const pieces = 8
	control := http.NewResponseController(w)
	for i := range pieces {
		_, _ = w.Write(content[len(content)*i/pieces : len(content)*(i+1)/pieces])
		_ = control.Flush()
		_ = clock.Sleep(ctx, slow/pieces)
	}
}
