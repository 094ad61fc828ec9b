package etcd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart_KeepsDataAndPortOverRestarts(t *testing.T) {
	s := ForTest(t)
	client := s.Client()
	_, err := client.Put(t.Context(), "k", "v")
	require.NoError(t, err)
	first := s.Endpoint

	s.Restart()
	require.Equal(t, first, s.Endpoint)
	answer, err := client.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Len(t, answer.Kvs, 1)

	s.Stop()
	s.Forget()
	s.Restart()
	answer, err = client.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Empty(t, answer.Kvs)
}

func TestStart_IsFastAndQuiet(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	began := time.Now()
	s, err := Start(t.Context(), Options{Dir: t.TempDir(), Log: zap.New(core)})
	require.NoError(t, err)
	t.Logf("started after %v", time.Since(began))
	said := logs.All() // when it is stopped at once, it complains
	require.NoError(t, s.Stop(t.Context()))
	require.Len(t, said, 1)
	require.Equal(t, "etcd runs", said[0].Message)
}

func TestStop_IsNotDelayedByWatches(t *testing.T) {
	s := ForTest(t)
	events := s.Client().Watch(clientv3.WithRequireLeader(t.Context()), "k", clientv3.WithCreatedNotify())
	<-events
	began := time.Now()
	s.Stop()
	t.Logf("stopped after %v", time.Since(began))
}

func TestStart_AllowsLeasesOfASecond(t *testing.T) {
	lease, err := ForTest(t).Client().Grant(t.Context(), 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, lease.TTL)
}
