package catalog

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPrefixEnd_LiesRightBehindAllThatBeginWithThePrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edges := rapid.RuneFrom([]rune{0, 'a', 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, utf8.MaxRune})
		text := rapid.StringOfN(edges, 1, 6, -1)
		prefix, name := text.Draw(t, "prefix"), text.Draw(t, "name")
		if rapid.Bool().Draw(t, "joined") {
			name = prefix + name
		}
		end := prefixEnd(prefix)
		require.True(t, utf8.ValidString(end))
		inRange := name >= prefix && (end == "" || name < end)
		require.Equal(t, strings.HasPrefix(name, prefix), inRange, "%q %q %q", prefix, name, end)
	})
}

func TestPageCheck_RefusesWhatNoNameHolds(t *testing.T) {
	require.NoError(t, Page{Prefix: "ä%_", StartAfter: "x"}.Check())
	for field, page := range map[string]Page{"prefix": {Prefix: "a\x00"}, "start_after": {StartAfter: "\xff"}} {
		var invalid *settings.InvalidError
		require.ErrorAs(t, page.Check(), &invalid)
		require.Equal(t, field, invalid.Field)
	}
}
