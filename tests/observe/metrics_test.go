package observe

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client"

	"github.com/samsa-io/samsa/tests/cluster"
)

// moved is what each program's figures must say after records were appended, read
// and followed. Each is a family of which some sample is above zero.
func moved() map[string][]string {
	common := []string{"samsa_build_info", "samsa_component_state", "go_goroutines", "process_resident_memory_bytes"}
	storage := append([]string{"samsa_objstore_operation_duration_seconds"}, common...)
	postgres := []string{"samsa_postgres_connections", "samsa_postgres_max_connections", "samsa_postgres_acquires_total"}
	return map[string][]string{
		"account-0": append(append([]string{"grpc_server_handled_total"}, postgres...), storage...),
		"bucket-0":  append(append([]string{"grpc_server_started_total"}, postgres...), storage...),
		"router-0":  append([]string{"grpc_server_handled_total", "grpc_client_handled_total", "samsa_discovery_current"}, storage...),
		"compactor-0": append(append([]string{
			"samsa_catalog_buckets", "samsa_catalog_streams", "samsa_chunkindex_logs",
		}, postgres...), storage...),
		"stream-reader-0": append([]string{
			"samsa_stream_reader_live_sessions", "samsa_stream_reader_records_total", "samsa_stream_reader_live_delay_seconds",
			"samsa_notify_received_total", "samsa_notify_connected",
		}, storage...),
		"stream-writer-0": append([]string{
			"samsa_stream_writer_append_phase_duration_seconds", "samsa_stream_writer_proof_duration_seconds",
			"samsa_stream_writer_put_duration_seconds", "samsa_stream_writer_segments_total", "samsa_stream_writer_segment_bytes_total",
			"samsa_stream_writer_records_total", "samsa_stream_writer_shards_owned", "samsa_stream_writer_takeover_duration_seconds",
			"samsa_stream_writer_incarnations_total", "samsa_notify_published_total",
		}, storage...),
	}
}

// shown is what must be there, though it may be zero when all is well.
func shown() map[string][]string {
	return map[string][]string{
		"compactor-0": {
			"samsa_compactor_backlog_slots", "samsa_compactor_backlog_bytes", "samsa_compactor_backlog_age_seconds",
			"samsa_catalog_pending_deletions", "samsa_chunkindex_rows", "samsa_chunkindex_stored_bytes",
		},
		"stream-reader-0": {"samsa_stream_reader_live_lag_records", "samsa_logindex_block_cache_hits_total"},
		"stream-writer-0": {
			"samsa_stream_writer_segments_in_flight", "samsa_stream_writer_replay_duration_seconds",
			"samsa_stream_writer_shards_lost_total", "samsa_stream_writer_sealed_logs_total",
		},
	}
}

func TestMetrics_KeepTheConventionsAndMoveWithTheWork(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Compactors: 1})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cl := cluster.Client(t, c)
	_, err := cl.CreateBucket(ctx, "metrics", client.BucketConfig{CreateStreamOnAppend: new(true)})
	require.NoError(t, err)
	stream := cl.Bucket("metrics").Stream("s")
	appendOne := func() {
		_, err := stream.Append(ctx, client.AppendInput{Records: []client.AppendRecord{{Body: []byte("x")}}})
		require.NoError(t, err)
	}
	appendOne()
	_, err = stream.CheckTail(ctx)
	require.NoError(t, err)
	session := stream.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)})
	defer session.Close()
	read := 0
	for _, err := range session.Records() {
		require.NoError(t, err)
		if read++; read == 20 {
			break
		}
		appendOne()
	}
	for name := range moved() {
		t.Run(name, func(t *testing.T) { requireMetrics(t, c.Process(t, name)) })
	}
}

func requireMetrics(t *testing.T, p *cluster.Process) {
	problems, err := promlint.New(bytes.NewReader(p.Metrics(t))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	cluster.Eventually(t, patience, "the figures of "+p.Name+" move", func() error {
		families := parse(t, p.Metrics(t))
		for _, want := range moved()[p.Name] {
			if highest(families[want]) <= 0 {
				return fmt.Errorf("%s has no sample above zero", want)
			}
		}
		for _, want := range shown()[p.Name] {
			if families[want] == nil {
				return fmt.Errorf("%s is missing", want)
			}
		}
		return nil
	})
}

func parse(t *testing.T, body []byte) map[string]*dto.MetricFamily {
	t.Helper()
	families := map[string]*dto.MetricFamily{}
	for in := expfmt.NewDecoder(bytes.NewReader(body), expfmt.NewFormat(expfmt.TypeTextPlain)); ; {
		var f dto.MetricFamily
		err := in.Decode(&f)
		if err == io.EOF { //nolint:errorlint // the decoder's own word
			return families
		}
		require.NoError(t, err)
		require.True(t, model.UTF8Validation.IsValidMetricName(f.GetName()))
		families[f.GetName()] = &f
	}
}

// highest is the highest value, or count of observations, of a family.
func highest(f *dto.MetricFamily) (most float64) {
	for _, m := range f.GetMetric() {
		most = max(most, m.GetCounter().GetValue(), m.GetGauge().GetValue(), float64(m.GetHistogram().GetSampleCount()))
	}
	return most
}
