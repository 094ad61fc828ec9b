package s3

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Else two tests would share a store and not know it.
func TestStart_DoesNotTakeAnotherServerForItsOwn(t *testing.T) {
	other := ForTest(t)
	binary, err := Binary(t.Context())
	require.NoError(t, err)
	_, err = startAt(t.Context(), binary, t.TempDir(), strings.TrimPrefix(other.Endpoint, "http://"))
	require.ErrorIs(t, err, errExited)
}
