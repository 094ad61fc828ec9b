package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/samsa-io/samsa/pkg/objstore"
	"github.com/samsa-io/samsa/pkg/segment"

	"github.com/samsa-io/samsa/tests/cluster"
)

// Series is a figure over time.
type Series struct {
	Name   string
	Unit   string
	Points []Point
	// Lasting things are left behind for good, by design: their growth is no finding.
	Lasting bool
}

// Point is a figure at a time since the beginning.
type Point struct {
	At    time.Duration
	Value float64
}

// recorder keeps the series, in the order in which they first came.
type recorder struct {
	begun time.Time
	all   []*Series
}

func (r *recorder) add(name, unit string, value float64, lasting bool) {
	at := slices.IndexFunc(r.all, func(s *Series) bool { return s.Name == name })
	if at < 0 {
		at = len(r.all)
		r.all = append(r.all, &Series{Name: name, Unit: unit, Lasting: lasting})
	}
	r.all[at].Points = append(r.all[at].Points, Point{time.Since(r.begun), value})
}

// process adds what a process says of itself; one that is being restarted says
// nothing.
func (r *recorder) process(p *cluster.Process) {
	values, err := p.Figures()
	if err != nil {
		return
	}
	r.add(p.Name+" RSS", "MiB", values["process_resident_memory_bytes"]/(1<<20), false)
	r.add(p.Name+" goroutines", "", values["go_goroutines"], false)
}

// objects counts what stands in the store, by what it is.
func (r *recorder) objects(ctx context.Context, store objstore.Store) error {
	counts := map[string]int{"slots": 0, "seals and marks": 0, "chain entries": 0, "states": 0, "chunk objects": 0}
	for info, err := range store.List(ctx, "", "") {
		if err != nil {
			return fmt.Errorf("listing the store: %w", err)
		}
		counts[kindOf(info)]++
	}
	for _, kind := range []string{"slots", "states", "chunk objects", "seals and marks", "chain entries"} {
		r.add(kind, "", float64(counts[kind]), kind == "seals and marks" || kind == "chain entries")
	}
	return nil
}

func kindOf(info objstore.Info) string {
	// A seal is a header and a trailer, a segment at least a block or an entry more.
	const sealSize = 2 * segment.TrailerSize
	switch kind, _, _ := strings.Cut(info.Key, "/"); kind {
	case "log":
		if strings.HasSuffix(info.Key, "/gone") || info.Size <= sealSize {
			return "seals and marks"
		}
		return "slots"
	case "chain":
		return "chain entries"
	case "state":
		return "states"
	case "chunk":
		return "chunk objects"
	}
	return "others"
}

// rows counts the chunk index's.
func (r *recorder) rows(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, table := range []string{"chunks", "chunk_objects", "compacted_logs"} {
		var n int64
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			return fmt.Errorf("counting %s: %w", table, err)
		}
		// A log's row stays, as its seal does.
		r.add("rows of "+table, "", float64(n), table == "compacted_logs")
	}
	return nil
}
