package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
)

// format is a --format flag.
type format struct {
	chosen string
	among  []string
}

func (f *format) String() string { return f.chosen }
func (f *format) Type() string   { return strings.Join(f.among, "|") }

func (f *format) Set(s string) error {
	for _, one := range f.among {
		if s == one {
			f.chosen = s
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(f.among, " or "))
}

// formatFlag adds --format; the first of among is the default.
func formatFlag(flags *pflag.FlagSet, usage string, among ...string) *format {
	f := &format{chosen: among[0], among: among}
	flags.Var(f, "format", usage)
	return f
}

func tableFormat(flags *pflag.FlagSet) *format {
	return formatFlag(flags, "table, or json with one object a line", "table", "json")
}

// row is an answer, as a line of a table and as a JSON object.
type row interface{ cells() []string }

// list prints rows as they come. An error ends it, after the rows before it.
func list[R row](w io.Writer, f *format, head []string, rows iter.Seq2[R, error]) error {
	p := newPrinter(w, f, head)
	printed := 0
	for r, err := range rows {
		if err == nil {
			err = p.print(r)
		}
		if err != nil && printed > 0 {
			_ = p.flush()
		}
		if err != nil {
			return err
		}
		printed++
	}
	return p.flush()
}

type printer struct {
	json  *json.Encoder
	table *tabwriter.Writer
}

func newPrinter(w io.Writer, f *format, head []string) *printer {
	if f.chosen == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return &printer{json: encoder}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, strings.Join(head, "\t"))
	return &printer{table: table}
}

func (p *printer) print(r row) error {
	if p.json != nil {
		return p.json.Encode(r)
	}
	_, err := fmt.Fprintln(p.table, strings.Join(r.cells(), "\t"))
	return err
}

func (p *printer) flush() error {
	if p.json != nil {
		return nil
	}
	return p.table.Flush()
}

// show prints one object: a line for each of its facts, or as JSON.
func show(w io.Writer, f *format, r row, names []string) error {
	if f.chosen == "json" {
		return newPrinter(w, f, nil).print(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, cell := range r.cells() {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", names[i], cell)
	}
	return table.Flush()
}

func cellTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func cellMillis(ms uint64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
