//go:build compose

package compose

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every container ends by itself, cleanly, within its time. The file's name makes it
// the last test: nothing is left to look at.
func TestStop_EndsEachContainerCleanly(t *testing.T) {
	s := newStack(t)
	s.compose(t, "", "stop")
	for _, c := range s.all(t) {
		require.Equal(t, "exited", c.State.Status, c.service())
		require.Zero(t, c.State.ExitCode, "%s did not end cleanly", c.service())
	}
}
