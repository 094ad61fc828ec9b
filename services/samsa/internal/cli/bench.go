package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/services/samsa/internal/bench"
)

// subscribersPerConnection spreads many subscribers over connections.
const subscribersPerConnection = 250

func (a *app) benchCommand() *cobra.Command {
	config := bench.Config{}
	var class *client.StorageClass
	var verify bool
	var mode string
	var f *format
	c := command("bench", "Put a load on the server, measure it, and check what was stored",
		"  samsa bench                                              # one client in lockstep, 1 KiB\n"+
			"  samsa bench --mode session --record-size 100             # one pipelined session\n"+
			"  samsa bench --streams 1000 --clients 200 --rate 50000    # at a rate\n"+
			"  samsa bench --mode read --records 1000000                # catch-up reads\n"+
			"  samsa bench --mode live --subscribers 100 --rate 4000    # delivery to followers",
		cobra.NoArgs, func(c *cobra.Command, _ []string) error {
			config.Mode, config.Verify = bench.Mode(mode), verify
			if class != nil {
				config.Class = *class
			}
			if config.Clients == 0 {
				config.Clients = max(1, config.Streams*map[bool]int{true: 1}[config.Mode != bench.Append])
			}
			if config.Records > 0 && !c.Flags().Changed("duration") {
				config.Duration = 0
			}
			if err := config.Validate(); err != nil {
				return &usageError{err}
			}
			return a.bench(c, f, config)
		})
	c.Long = "Writes records that tell who wrote them, at which place and with which content, reads all back and checks each: " +
		"none lost, none twice, none out of order, none changed.\n\n" +
		"Modes: append (each client has one append in flight), session (each pipelines through a session), " +
		"read (fills streams, then reads them), live (as session, with subscribers that follow).\n\n" +
		"With --rate a latency counts from when the batch was due."
	flags := c.Flags()
	flags.StringVar(&mode, "mode", "append", "append, session, read or live")
	flags.StringVarP(&config.Bucket, "bucket", "b", "", "use this `bucket`, which must create streams on append; else one is made and deleted")
	flags.BoolVar(&config.Keep, "keep", false, "keep the bucket that was made")
	optional(flags, &class, "storage-class", "standard|express", "of the streams", named(storageClasses()))
	flags.IntVar(&config.Streams, "streams", 1, "streams")
	flags.IntVar(&config.Clients, "clients", 0, "clients; 0: 1 in mode append, else one for each stream")
	flags.IntVar(&config.Subscribers, "subscribers", 1, "followers of each stream in mode live")
	flags.IntVar(&config.RecordBytes, "record-size", 1024, "`bytes` of a record's body, from 16 up")
	flags.IntVar(&config.Batch, "batch", 0, "`records` of a batch; 0: 1 in mode append, else as many as fit, with --rate a tenth of a client's second at most")
	flags.Float64Var(&config.Rate, "rate", 0, "`records` per second of all clients; 0: closed loop")
	flags.DurationVar(&config.Duration, "duration", 10*time.Second, "how `long`")
	flags.IntVar(&config.Records, "records", 0, "stop after so many `records` of all clients instead")
	flags.IntVar(&config.InFlight, "in-flight", 0, "`batches` in flight of a session")
	flags.BoolVar(&verify, "verify", true, "check the content of all records")
	f = tableFormat(flags)
	return c
}

func (a *app) bench(c *cobra.Command, f *format, config bench.Config) error {
	connections := 1 + min(config.Clients/subscribersPerConnection, 15)
	if config.Mode == bench.Live {
		connections += config.Streams * config.Subscribers / subscribersPerConnection
	}
	cl, err := a.connect(dataPatience, client.WithConnections(connections))
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	result, err := bench.Run(c.Context(), cl, config)
	if err != nil {
		return err
	}
	if f.chosen == "json" {
		return newPrinter(a.Out, f, nil).print(benchRow{result})
	}
	return a.showBench(result, config)
}

// benchRow is a result for the JSON printer.
type benchRow struct{ bench.Result }

func (benchRow) cells() []string { return nil }

func (a *app) showBench(r bench.Result, config bench.Config) error {
	table := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("load", "%s, %d streams, %d clients, records of %d bytes, batches of %d", r.Mode, r.Streams, r.Clients, r.RecordBytes, r.Batch)
	line("records", "%s in %.2f s", grouped(r.Records), r.Seconds)
	line("throughput", "%s records/s, %.2f MiB/s", grouped(uint64(r.RecordsPerSecond)), r.MiBPerSecond)
	if r.Ack != nil {
		line("ack", "%s", percentiles(r.Ack))
	}
	if r.Mode == bench.Live {
		line("delivered", "%s records to %d subscribers, %s records/s",
			grouped(r.Delivered), r.Subscribers*r.Streams, grouped(uint64(r.DeliveredPerSec)))
		if r.Delivery != nil {
			line("ack to delivery", "%s", percentiles(r.Delivery))
		}
	}
	if config.Verify {
		line("verified", "%s records: none lost, repeated, out of order or changed", grouped(r.Verified))
	}
	return table.Flush()
}

func percentiles(l *bench.Latencies) string {
	var parts []string
	for _, p := range []struct {
		name string
		ms   float64
	}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"p99.9", l.P999}, {"max", l.Max}} {
		parts = append(parts, fmt.Sprintf("%s %.3f ms", p.name, p.ms))
	}
	return strings.Join(parts, ", ")
}
