package discovery

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// follower keeps Members as etcd has them: it lists, then watches from the
// listing's revision, and lists again whenever the watch may have missed
// something: its revision was compacted, etcd was away, or etcd lost its data
// (a watch from a revision that does not exist yet would wait for ever, so the
// revision is asked for at every heartbeat).
type follower struct {
	*Members
	client  *clientv3.Client
	options Options
	prefix  string
	log     *zap.Logger

	view     *view
	revision int64 // of the last listing or event
	cluster  uint64
}

func (f *follower) run(ctx context.Context) {
	f.view = newView()
	retry := backoff{first: 100 * time.Millisecond, most: f.options.Heartbeat}
	for ctx.Err() == nil {
		if err := f.reload(ctx); err != nil {
			f.noteLost(ctx, err)
			retry.sleep(ctx)
			continue
		}
		begun := time.Now()
		if err := f.watch(ctx); err != nil {
			f.noteLost(ctx, err)
		}
		if time.Since(begun) < f.options.Heartbeat {
			retry.sleep(ctx) // a watch can be refused where a listing is answered
		} else {
			retry.reset()
		}
	}
}

func (f *follower) noteLost(ctx context.Context, err error) {
	if ctx.Err() == nil && f.lost(err) {
		f.log.Warn("etcd is lost: keeping the last known members", zap.Error(err))
	}
}

func (f *follower) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.options.callTimeout())
	defer cancel()
	answer, err := f.client.Get(ctx, f.prefix, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("list %s: %w", f.prefix, err)
	}
	now, hold := time.Now(), time.Time{}
	if again := f.revision > 0; again {
		hold = now.Add(f.options.LeaseTTL + f.options.Heartbeat)
	}
	f.revision, f.cluster = answer.Header.Revision, answer.Header.ClusterId
	f.view.reload(f.decode(answer.Kvs), now, hold)
	f.publish(f.view.list())
	return nil
}

func (f *follower) decode(pairs []*mvccpb.KeyValue) []record {
	var records []record
	for _, kv := range pairs {
		if r, ok := f.decodeOne(kv); ok {
			records = append(records, r)
		}
	}
	return records
}

func (f *follower) decodeOne(kv *mvccpb.KeyValue) (record, bool) {
	r, err := decodeRecord(kv.Value)
	if err != nil {
		f.log.Warn("ignoring a registration that cannot be read",
			zap.ByteString("key", kv.Key), zap.ByteString("value", kv.Value), zap.Error(err))
	}
	return r, err == nil
}

// watch applies events until they may have become incomplete.
func (f *follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Watch returns only once etcd has answered, so it needs a time limit of its own.
	opening := time.AfterFunc(f.options.callTimeout(), cancel)
	events := f.client.Watch(clientv3.WithRequireLeader(ctx), f.prefix,
		clientv3.WithPrefix(), clientv3.WithRev(f.revision+1))
	opening.Stop()
	heartbeat := time.NewTicker(f.options.Heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("watch %s: %w", f.prefix, ctx.Err())
		case answer, open := <-events:
			if !open {
				return fmt.Errorf("watch %s: ended", f.prefix)
			}
			if err := answer.Err(); err != nil {
				return fmt.Errorf("watch %s: %w", f.prefix, err)
			}
			f.apply(answer)
		case <-heartbeat.C:
			if err := f.probe(ctx); err != nil {
				return err
			}
		case <-f.holdEnds():
			f.view.expire(time.Now())
			f.publish(f.view.list())
		}
	}
}

func (f *follower) apply(answer clientv3.WatchResponse) {
	now := time.Now()
	for _, e := range answer.Events {
		if e.Type == clientv3.EventTypeDelete {
			f.view.drop(instanceOf(string(e.Kv.Key)), now)
		} else if r, ok := f.decodeOne(e.Kv); ok {
			f.view.put(r)
		}
	}
	f.revision = max(f.revision, answer.Header.Revision)
	f.publish(f.view.list())
}

// holdEnds fires when the members that etcd lost have had their time; never if
// there are none.
func (f *follower) holdEnds() <-chan time.Time {
	until, held := f.view.holds()
	if !held {
		return nil
	}
	return time.After(time.Until(until))
}

// probe finds out whether etcd answers and is still the one that was listed.
func (f *follower) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.options.callTimeout())
	defer cancel()
	answer, err := f.client.Get(ctx, f.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("etcd does not answer: %w", err)
	}
	if answer.Header.ClusterId != f.cluster || answer.Header.Revision < f.revision {
		return fmt.Errorf("etcd lost its data: it is at revision %d of cluster %x, it was at %d of %x",
			answer.Header.Revision, answer.Header.ClusterId, f.revision, f.cluster)
	}
	return nil
}
