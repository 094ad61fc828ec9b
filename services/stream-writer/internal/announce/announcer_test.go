package announce

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/stream"
)

// A beacon is encoded while the writer goes on, and may begin another log.
func TestBeacon_KeepsItsLogWhenAnotherBegins(t *testing.T) {
	a := New(Config{Instance: "w"}, nil)
	first := stream.NewIncarnation()
	a.Began(first)
	beacon := a.beacon()
	a.Began(stream.NewIncarnation())
	require.Equal(t, first[:], beacon.GetIncarnation())
}
