package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/pkg/telemetry"
	account "github.com/samsa-io/samsa/services/account/app"
	accountconfig "github.com/samsa-io/samsa/services/account/config"
	bucket "github.com/samsa-io/samsa/services/bucket/app"
	bucketconfig "github.com/samsa-io/samsa/services/bucket/config"
	compactor "github.com/samsa-io/samsa/services/compactor/app"
	compactorconfig "github.com/samsa-io/samsa/services/compactor/config"
	router "github.com/samsa-io/samsa/services/router/app"
	routerconfig "github.com/samsa-io/samsa/services/router/config"
	"github.com/samsa-io/samsa/services/samsa/internal/cli"
	"github.com/samsa-io/samsa/services/samsa/internal/settings"
	reader "github.com/samsa-io/samsa/services/stream-reader/app"
	readerconfig "github.com/samsa-io/samsa/services/stream-reader/config"
	writer "github.com/samsa-io/samsa/services/stream-writer/app"
	writerconfig "github.com/samsa-io/samsa/services/stream-writer/config"
)

// defaults are the settings of one machine that does all.
func defaults() settings.All {
	all := settings.Default()
	all.Platform.Storage.URL = "file://…/store, below --data-dir" // until that is known: for the help text
	all.Platform.Server.NodeID = "dev"
	all.Platform.Observability.LogLevel = "warn"
	all.Platform.Auth.Enabled = false
	all.Compactor.JobBytes, all.Compactor.Parallel = 16<<20, 2
	return all
}

// Command is `samsa dev`.
func Command(environ []string) *cobra.Command {
	all := defaults()
	folder := ".samsa"
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run the whole system in this process, for trying and developing",
		Long: "Runs every service in one process, with an embedded etcd and NATS, a Postgres child process\n" +
			"and the object store in a folder. It listens on this machine alone, without authentication;\n" +
			"with --auth.enabled and a root token it may listen elsewhere, too.\n" +
			"Ctrl-C stops it in order; the data stays.",
		Example: "  samsa dev\n  samsa dev --data-dir /tmp/trial --server.http_port 18080 --server.port 15052 --observability.metrics_port 19090",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			code, err := run(c, &all, folder, environ)
			if err == nil && code != service.ExitOK {
				return &cli.ExitError{Code: code}
			}
			return err
		},
	}
	c.Flags().StringVar(&folder, "data-dir", folder, "`folder` that keeps the data")
	config.AddFlags(c.Flags(), all.Sections())
	return c
}

func run(c *cobra.Command, all *settings.All, folder string, environ []string) (int, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return 0, err
	}
	loaded, err := load(c.Flags(), all, folder, environ)
	if err != nil {
		return 0, err
	}
	for _, line := range unused(loaded) {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), line)
	}
	release, err := lock(folder)
	if err != nil {
		return 0, err
	}
	defer release()
	log, err := telemetry.NewLogger(all.Platform.Observability, c.ErrOrStderr())
	if err != nil {
		return 0, err
	}
	return runIn(c, all, folder, log, loaded)
}

// load fills all. The store is in the folder unless somebody names another.
func load(flags *pflag.FlagSet, all *settings.All, folder string, environ []string) (*config.Loaded, error) {
	all.Platform.Storage.URL = "file://" + filepath.Join(folder, "store")
	loaded, err := config.Load(config.Options{
		Program: "samsa dev", Sections: all.Sections(), Foreign: service.Foreign(), Flags: flags, Environ: environ,
		DefaultFiles: []string{},
	})
	if err != nil {
		return nil, err
	}
	all.Platform.Observability.ServiceName = cmp.Or(all.Platform.Observability.ServiceName, "samsa-dev")
	return loaded, onlyLoopback(all.Platform)
}

// unused tells of each key that somebody set and that point replaces. It is no
// mistake: a shell, or a file for all programs, may well say what others need.
func unused(loaded *config.Loaded) []string {
	var lines []string
	for _, v := range loaded.Values() {
		if instead := replacement(v.Key); instead != "" && v.Origin != "default" {
			lines = append(lines, fmt.Sprintf("samsa dev starts its own %s: %s (%s) is not used", instead, v.Key, v.Origin))
		}
	}
	return lines
}

// replacement is what is started in place of what a key names; "": nothing.
func replacement(key string) string {
	if key == "database.max_connections" || key == "server.etcd_prefix" {
		return ""
	}
	for prefix, name := range map[string]string{"database.": "Postgres", "server.etcd_": "etcd", "nats.": "NATS"} {
		if strings.HasPrefix(key, prefix) {
			return name
		}
	}
	return ""
}

// onlyLoopback keeps a server that lets everybody in from being reached.
func onlyLoopback(c service.Config) error {
	s := c.Server
	if ip := net.ParseIP(s.Address); c.Auth.Enabled || ip != nil && ip.IsLoopback() || s.Address == "localhost" {
		return nil
	}
	return fmt.Errorf("server.address = %q: without authentication samsa dev lets everybody in, so it listens on a loopback address alone; "+
		"use 127.0.0.1, or set auth.enabled = true and auth.root_token", s.Address)
}

func runIn(c *cobra.Command, all *settings.All, folder string, log *zap.Logger, loaded *config.Loaded) (int, error) {
	var d *dependencies
	var failed error
	code := service.RunApp(func() *fx.App {
		d, failed = startDependencies(c.Context(), folder, log)
		if failed != nil {
			return fx.New(fx.Error(failed), fx.NopLogger)
		}
		point(all, d)
		return fx.New(
			service.Platform(all.Platform, service.WithLogger(log), service.WithLoaded(loaded)),
			modules(*all),
			fx.Supply(d),
			fx.Invoke(watch),
			fx.Invoke(func(lc fx.Lifecycle, at *router.Listening, admin *telemetry.Admin) {
				lc.Append(fx.StartHook(func() { ready(c.OutOrStdout(), all.Platform.TLS, *at, admin.Address()) }))
			}),
		)
	}, c.ErrOrStderr())
	if d != nil {
		failed = d.stop()
	}
	if failed != nil && !errors.Is(failed, context.Canceled) {
		log.Warn("a dependency did not stop cleanly", zap.Error(failed))
	}
	return code, nil
}

// point makes the services use the dependencies, whatever is configured: see unused.
func point(all *settings.All, d *dependencies) {
	p := &all.Platform
	p.Server.EtcdEndpoints = []string{d.etcd.Endpoint}
	p.Server.EtcdCAFile, p.Server.EtcdCertFile, p.Server.EtcdKeyFile = "", "", ""
	p.NATS = service.NATS{URLs: []string{d.nats.URL}}
	p.Database = service.Database{URL: d.postgres.URL, MaxConnections: p.Database.MaxConnections}
	all.Account.Listen = "inproc:account"
	all.Bucket.Listen = "inproc:bucket"
	all.Compactor.Listen = "inproc:compactor"
	all.Reader.Listen = "inproc:stream-reader"
	all.Writer.Listen = "inproc:stream-writer"
}

// modules is every service. The router comes last, so that it stops first.
func modules(all settings.All) fx.Option {
	return fx.Options(
		writer.Module(writerconfig.Config{Platform: all.Platform, Writer: all.Writer}),
		reader.Module(readerconfig.Config{Platform: all.Platform, Reader: all.Reader}),
		account.Module(accountconfig.Config{Platform: all.Platform, Account: all.Account}),
		bucket.Module(bucketconfig.Config{Platform: all.Platform, Bucket: all.Bucket}),
		compactor.Module(compactorconfig.Config{Platform: all.Platform, Compactor: all.Compactor}),
		router.Module(routerconfig.Config{Platform: all.Platform, Router: all.Router}),
	)
}

// watch ends the program when a dependency ends by itself.
func watch(lc fx.Lifecycle, shutdown fx.Shutdowner, d *dependencies, log *zap.Logger) {
	stop := make(chan struct{})
	done := make(chan struct{})
	end := func(what string, err error) {
		log.Error(what+" ended by itself", zap.Error(err))
		if err := shutdown.Shutdown(fx.ExitCode(service.ExitFailed)); err != nil {
			log.Error("cannot ask the program to stop", zap.Error(err))
		}
	}
	lc.Append(fx.StartStopHook(func() {
		go func() {
			defer close(done)
			select {
			case <-d.postgres.Exited():
				end("Postgres", nil)
			case err := <-d.etcd.Failed():
				end("etcd", err)
			case <-stop:
			}
		}()
	}, func() {
		close(stop)
		<-done
	}))
}

// ready tells where the system is and what to try. admin is "" if there is none.
func ready(out io.Writer, tls service.TLS, at router.Listening, admin string) {
	scheme := "http"
	if tls.PublicCertFile != "" {
		scheme = "https"
	}
	where := fmt.Sprintf("HTTP and gRPC on %s://%s, gRPC on %[1]s://%[3]s", scheme, at.HTTP, at.GRPC)
	if admin != "" {
		where += ", metrics and health on http://" + admin
	}
	address := ""
	if url := scheme + "://" + at.GRPC; url != cli.DefaultAddress {
		address = " -a " + url
	}
	_, _ = fmt.Fprintf(out, `Samsa is ready: %s. Try:
  bin/samsa%[2]s bucket create my-bucket --auto-create-on-append
  echo "Hello, World!" | bin/samsa%[2]s data -b my-bucket -s my-stream append --from-stdin
  bin/samsa%[2]s data -b my-bucket -s my-stream read
`, where, address)
}
