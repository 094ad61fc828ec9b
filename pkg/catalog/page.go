package catalog

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
)

// MaxPage is how many names a list holds at most.
const MaxPage = 1000

// Page says which part of a list is wanted, by name.
type Page struct {
	Prefix     string // taken literally
	StartAfter string // names up to and including it are left out
	Limit      uint64 // 0 or more than MaxPage: MaxPage
	// Only, if set, is the one name that may be listed.
	Only *string
}

// Check refuses what no name can hold, and Postgres can't compare with. The error
// is a *settings.InvalidError.
func (p Page) Check() error {
	for field, text := range map[string]string{"prefix": p.Prefix, "start_after": p.StartAfter} {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return &settings.InvalidError{Field: field, Problem: fmt.Sprintf("%.100q: want UTF-8 without NUL", text)}
		}
	}
	return nil
}

func (p Page) limit() int {
	if p.Limit == 0 || p.Limit > MaxPage {
		return MaxPage
	}
	return int(p.Limit)
}

// where is the condition that column lies on the page or behind it, as a range
// of the index, with its arguments, numbered from first on.
func (p Page) where(column string, first int) (string, []any) {
	condition := fmt.Sprintf("%s > $%d AND %s >= $%d", column, first, column, first+1)
	args := []any{p.StartAfter, p.Prefix}
	if end := prefixEnd(p.Prefix); end != "" {
		condition += fmt.Sprintf(" AND %s < $%d", column, first+2)
		args = append(args, end)
	}
	if p.Only != nil {
		args = append(args, *p.Only)
		condition += fmt.Sprintf(" AND %s = $%d", column, first+len(args)-1)
	}
	return condition, args
}

// prefixEnd is the first string, by bytes, after all that begin with prefix; "":
// none does. It is UTF-8, whose order by bytes is the order of code points.
func prefixEnd(prefix string) string {
	const firstSurrogate, afterSurrogates = 0xD800, 0xE000
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if next := last + 1; next == firstSurrogate {
			return prefix + string(rune(afterSurrogates))
		} else if next <= utf8.MaxRune {
			return prefix + string(next)
		}
	}
	return ""
}

// list runs a query "… WHERE <condition>" for a page by column. It asks for one
// row too many, which tells whether there are more.
func list[T any](ctx context.Context, db queryer, query string, args []any, page Page, column string, scan pgx.RowToFunc[T]) (rows []T, more bool, err error) {
	query += fmt.Sprintf(" ORDER BY %s LIMIT %d", column, page.limit()+1)
	result, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, false, err
	}
	rows, err = pgx.CollectRows(result, scan)
	if err != nil {
		return nil, false, err
	}
	if len(rows) > page.limit() {
		return rows[:page.limit()], true, nil
	}
	return rows, false, nil
}
