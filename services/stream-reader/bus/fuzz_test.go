package bus

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
)

// FuzzMessages reads any bytes as what writers publish.
func FuzzMessages(f *testing.F) {
	whole, err := proto.Marshal(&clusterv1.AppendNotification{
		Incarnation: make([]byte, 16), Appends: []*clusterv1.StreamAppend{{StreamId: make([]byte, 16)}}})
	require.NoError(f, err)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		var n clusterv1.AppendNotification
		if proto.Unmarshal(data, &n) == nil {
			if read, err := Notification(&n); err == nil {
				require.Len(t, read.Appends, len(n.GetAppends()))
			}
		}
		var b clusterv1.Beacon
		if proto.Unmarshal(data, &b) == nil {
			require.Len(t, Beacon(&b).Shards, len(b.GetShards()))
		}
	})
}
