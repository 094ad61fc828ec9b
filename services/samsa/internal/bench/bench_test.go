package bench

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/samsa-io/samsa/pkg/client"
	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T) (*clienttest.Server, *client.Client) {
	t.Helper()
	server, err := clienttest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	c, err := client.New(server.Address())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return server, c
}

func TestRun_EveryModeCountsAndVerifies(t *testing.T) {
	_, c := connect(t)
	for mode, config := range map[Mode]Config{
		Append:  {Streams: 5, Clients: 3, Batch: 2, Records: 300},
		Session: {Streams: 2, Clients: 4, Batch: 10, Records: 1001},
		Read:    {Streams: 2, Clients: 2, Records: 1000},
		Live:    {Streams: 2, Clients: 2, Subscribers: 3, Batch: 10, Records: 1000, Rate: 50_000},
	} {
		t.Run(string(mode), func(t *testing.T) {
			config.Mode, config.RecordBytes, config.Verify = mode, 50, true
			require.NoError(t, config.Validate())
			result, err := Run(t.Context(), c, config)
			require.NoError(t, err)
			require.Equal(t, uint64(config.Records), result.Records)
			require.Equal(t, uint64(config.Records), result.Verified)
			require.Positive(t, result.RecordsPerSecond)
			require.Equal(t, mode != Read, result.Ack != nil)
			require.Equal(t, uint64(config.Subscribers*config.Records), result.Delivered)
			require.Equal(t, mode == Live, result.Delivery != nil)
		})
	}
	for b, err := range c.Buckets(t.Context(), client.List{}) {
		require.NoError(t, err)
		t.Errorf("bucket %s is left behind", b.Name)
	}
}

func TestRun_KeepsToTheRate(t *testing.T) {
	_, c := connect(t)
	result, err := Run(t.Context(), c, Config{Mode: Append, Streams: 1, Clients: 2, RecordBytes: 16, Batch: 1, Rate: 200, Duration: 500 * time.Millisecond})
	require.NoError(t, err)
	require.InDelta(t, 100, result.Records, 30)
}

// A batch that holds all that is due in the whole time would be sent at once.
func TestRun_KeepsToALowRateWithoutABatchSize(t *testing.T) {
	_, c := connect(t)
	result, err := Run(t.Context(), c, Config{Mode: Session, Streams: 1, Clients: 1, RecordBytes: 16, Rate: 100, Duration: 500 * time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, 10, result.Batch)
	require.InDelta(t, 50, result.Records, 10)
}

func TestConfig_BatchFollowsTheRate(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   int
	}{
		{Config{Mode: Session, Clients: 1, RecordBytes: 100}, 1000},
		{Config{Mode: Session, Clients: 1, RecordBytes: 100, Rate: 1e6}, 1000},
		{Config{Mode: Live, Clients: 2, RecordBytes: 100, Rate: 4000}, 200},
		{Config{Mode: Session, Clients: 10, RecordBytes: 100, Rate: 1}, 1},
		{Config{Mode: Session, Clients: 1, RecordBytes: 100, Rate: 1, Batch: 500}, 500},
		{Config{Mode: Append, Clients: 1, RecordBytes: 100, Rate: 4000}, 1},
	} {
		require.Equal(t, c.want, c.config.batch(), "%+v", c.config)
	}
}

func TestRun_SurvivesFaultsWithoutALoss(t *testing.T) {
	server, c := connect(t)
	server.SetFaults(clienttest.Faults{AfterAppend: func(n int) error {
		if n%20 == 0 {
			return clienttest.OutcomeUnknown()
		}
		return nil
	}})
	for _, mode := range []Mode{Append, Session} {
		_, err := Run(t.Context(), c, Config{Mode: mode, Streams: 1, Clients: 2, RecordBytes: 20, Batch: 5, Records: 1000, Verify: true})
		require.NoError(t, err)
	}
}

func TestChecker_SeesEveryFault(t *testing.T) {
	records := func(n ...uint64) []client.Record {
		var all []client.Record
		for i, n := range n {
			body := make([]byte, 30)
			fill(body, 1, 2, n)
			all = append(all, client.Record{SeqNum: uint64(i), Body: body})
		}
		return all
	}
	damaged := records(0)
	damaged[0].Body[29] ^= 1
	short := records(0)
	short[0].Body = short[0].Body[:20]
	for want, records := range map[string][]client.Record{
		"": records(0, 1, 2), "lost": records(0, 2), "repeated": records(0, 0), "differs": damaged, "20 bytes": short,
	} {
		check := newChecker(2, 30)
		var err error
		for _, r := range records {
			if err = check.check(r); err != nil {
				break
			}
		}
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestConfig_ValidateNamesWhatIsWrong(t *testing.T) {
	good := Config{Mode: Session, Streams: 1, Clients: 1, RecordBytes: 100, Records: 1}
	require.NoError(t, good.Validate())
	for want, change := range map[string]func(*Config){
		"mode":        func(c *Config) { c.Mode = "x" },
		"streams":     func(c *Config) { c.Streams = 0 },
		"as many":     func(c *Config) { c.Streams = 2 },
		"subscriber":  func(c *Config) { c.Mode = Live },
		"record size": func(c *Config) { c.RecordBytes = 1 },
		"batch":       func(c *Config) { c.Batch = 1001 },
		"1 MiB":       func(c *Config) { c.RecordBytes, c.Batch = 1<<20-8, 2 },
		"duration":    func(c *Config) { c.Records = 0 },
		"rate of -1":  func(c *Config) { c.Rate = -1 },
		"rate of NaN": func(c *Config) { c.Rate = math.NaN() },
	} {
		bad := good
		change(&bad)
		require.ErrorContains(t, bad.Validate(), want)
	}
}
