package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Admin serves /metrics, /healthz and /readyz, and profiles below /debug/pprof/.
type Admin struct {
	server *http.Server
	log    *zap.Logger
	ln     net.Listener
	done   chan struct{}
}

// NewAdmin returns an admin server for address ("host:port", port 0: any).
func NewAdmin(address string, metrics prometheus.Gatherer, health *Health, log *zap.Logger) *Admin {
	return &Admin{
		server: &http.Server{
			Addr: address, Handler: AdminHandler(metrics, health, log),
			ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(log),
		},
		log:  log,
		done: make(chan struct{}),
	}
}

// Start listens and serves.
func (a *Admin) Start(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", a.server.Addr)
	if err != nil {
		return fmt.Errorf("admin server: %w; set observability.metrics_port to a free port, or 0 for any", err)
	}
	a.ln = ln
	go a.serve()
	a.log.Info("admin server listens", zap.Stringer("address", ln.Addr()))
	return nil
}

func (a *Admin) serve() {
	defer close(a.done)
	if err := a.server.Serve(a.ln); !errors.Is(err, http.ErrServerClosed) {
		a.log.Error("admin server ended", zap.Error(err))
	}
}

// Address is where a started server listens, "" if it was not started.
func (a *Admin) Address() string {
	if a.ln == nil {
		return ""
	}
	return a.ln.Addr().String()
}

// Stop ends the server, after the requests under way or when ctx ends.
func (a *Admin) Stop(ctx context.Context) error {
	err := a.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, a.server.Close())
	}
	<-a.done
	return err
}

// AdminHandler is what an Admin serves. /healthz says that the process runs;
// /readyz answers 200 when work may be sent to it, else 503, with the components
// and their reasons as JSON. Profiles are for `go tool pprof`.
func AdminHandler(metrics prometheus.Gatherer, health *Health, log *zap.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(log)}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	handleHealth(mux, health.Status)
	return mux
}

// PublicHandler is /healthz and /readyz for everybody: without the reasons, which name
// hosts, users and addresses.
func PublicHandler(health *Health) http.Handler {
	mux := http.NewServeMux()
	handleHealth(mux, func() Status {
		status := health.Status()
		for i := range status.Components {
			status.Components[i].Reason = ""
		}
		return status
	})
	return mux
}

func handleHealth(mux *http.ServeMux, current func() Status) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]State{"status": OK})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status := current()
		code := http.StatusOK
		if !status.Ready() {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, status)
	})
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// The caller is gone if this fails.
	_ = json.NewEncoder(w).Encode(body)
}
