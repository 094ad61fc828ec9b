package nats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/samsa-io/samsa/pkg/local/internal/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart_TakesAnotherPortIfTheLastOneIsTaken(t *testing.T) {
	taken, dir := ForTest(t), t.TempDir()
	require.NoError(t, ports.Save(dir, taken.Port))
	s, err := Start(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	require.NotEqual(t, taken.Port, s.Port)
	require.NoError(t, s.Stop(t.Context()))
}

// Another may listen since the port was found free.
func TestStart_SaysAtOnceThatItsPortIsTaken(t *testing.T) {
	taken := ForTest(t)
	begun := time.Now()
	_, err := start(t.Context(), Options{Log: zap.NewNop(), StartTimeout: time.Minute}, taken.Port)
	require.ErrorContains(t, err, "address already in use")
	require.Less(t, time.Since(begun), time.Minute)
}

func TestStart_CarriesMessagesBetweenASocketAndTheProcess(t *testing.T) {
	s := ForTest(t)
	outside := s.Connect()
	inside, err := nats.Connect("", s.InProcess())
	require.NoError(t, err)
	defer inside.Close()
	messages, err := inside.SubscribeSync("s")
	require.NoError(t, err)
	require.NoError(t, inside.Flush())
	require.NoError(t, outside.Publish("s", []byte("hello")))
	m, err := messages.NextMsg(10 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "hello", string(m.Data))
}

func TestRestart_KeepsThePort(t *testing.T) {
	s := ForTest(t)
	first := s.URL
	s.Restart()
	require.Equal(t, first, s.URL)
	require.True(t, s.Connect().IsConnected())
}
