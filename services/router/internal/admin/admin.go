package admin

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	clusterv1 "github.com/samsa-io/samsa/gen/samsa/cluster/v1"
	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/discovery"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// Membership says who has a role; *discovery.Registry is one.
type Membership interface {
	Watch(role string) *discovery.Members
}

// Dialer connects to addresses; *rpc.Dialer is one.
type Dialer interface {
	Conn(address string) (*grpc.ClientConn, error)
}

// Admin serves AdminService.
type Admin struct {
	clusterv1.UnimplementedAdminServiceServer
	members Membership
	dialer  Dialer
	shards  uint32
}

// New makes the service for a cluster of so many shards.
func New(members Membership, dialer Dialer, shards uint32) *Admin {
	return &Admin{members: members, dialer: dialer, shards: shards}
}

// answerTimeout is how long a writer may take to say how it stands.
const answerTimeout = 3 * time.Second

// writer is a registered writer and what it says of itself; err: it does not answer.
type writer struct {
	discovery.Member
	says *clusterv1.DescribeResponse
	err  error
}

// ListWriters lists the writers that are registered.
func (a *Admin) ListWriters(ctx context.Context, _ *clusterv1.ListWritersRequest) (*clusterv1.ListWritersResponse, error) {
	writers, err := a.ask(ctx)
	if err != nil {
		return nil, err
	}
	r := &clusterv1.ListWritersResponse{}
	for _, w := range writers {
		r.Writers = append(r.Writers, w.describe())
	}
	return r, nil
}

func (w writer) describe() *clusterv1.Writer {
	d := &clusterv1.Writer{
		Instance: w.Instance, Zone: w.Zone, Address: w.Address, Since: timestamppb.New(w.Started), Drained: w.Drained,
	}
	if w.err != nil {
		d.Error = w.err.Error()
		d.Incarnation, _ = hex.DecodeString(w.Incarnation) // nil if it has told none yet
		return d
	}
	d.Incarnation, d.Drained, d.Shards = w.says.GetIncarnation(), w.says.GetDrained(), uint32(len(w.says.GetShards()))
	return d
}

// ListShards lists all shards. If two writers claim one, the later epoch counts: the
// other has yet to learn that its log is sealed.
func (a *Admin) ListShards(ctx context.Context, _ *clusterv1.ListShardsRequest) (*clusterv1.ListShardsResponse, error) {
	writers, err := a.ask(ctx)
	if err != nil {
		return nil, err
	}
	r := &clusterv1.ListShardsResponse{Shards: make([]*clusterv1.ShardOwner, a.shards)}
	for id := range r.Shards {
		r.Shards[id] = &clusterv1.ShardOwner{Shard: uint32(id)}
	}
	for _, w := range writers {
		if w.err != nil {
			r.Unanswered = append(r.Unanswered, w.Instance)
		}
		for _, owned := range w.says.GetShards() {
			if owned.GetShard() < a.shards {
				claim(r.Shards[owned.GetShard()], owned, w)
			}
		}
	}
	return r, nil
}

func claim(s *clusterv1.ShardOwner, owned *clusterv1.OwnedShard, by writer) {
	if s.Owner != nil && s.Owner.Epoch >= owned.GetEpoch() {
		return
	}
	s.FirstSlot = owned.GetFirstSlot()
	s.Owner = &clusterv1.Owner{
		Epoch: owned.GetEpoch(), Incarnation: owned.GetIncarnation(), Instance: by.Instance, Address: by.Address,
	}
}

// DrainWriter passes the wish on to the writer.
func (a *Admin) DrainWriter(ctx context.Context, r *clusterv1.DrainWriterRequest) (*clusterv1.DrainWriterResponse, error) {
	members, err := a.registered()
	if err != nil {
		return nil, err
	}
	if err := mayDrain(members, r); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(members, func(m discovery.Member) bool { return m.Instance == r.GetInstance() })
	err = a.call(ctx, members[at], func(ctx context.Context, w clusterv1.WriterServiceClient) error {
		_, err := w.Drain(ctx, &clusterv1.DrainRequest{Undo: r.GetUndo()})
		return err
	})
	if err != nil {
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_SERVICE_UNAVAILABLE, "stream-writer %s at %s does not answer: %v",
			r.GetInstance(), members[at].Address, err)
	}
	return &clusterv1.DrainWriterResponse{}, nil
}

// mayDrain refuses what nobody could carry out.
func mayDrain(members []discovery.Member, r *clusterv1.DrainWriterRequest) error {
	var names []string
	known, others := false, false
	for _, m := range members {
		names = append(names, m.Instance)
		if m.Instance == r.GetInstance() {
			known = true
		} else if !m.Drained {
			others = true
		}
	}
	switch {
	case !known:
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "no stream-writer %q is registered; there are: %s",
			r.GetInstance(), strings.Join(names, ", ")).In("instance")
	case !others && !r.GetUndo():
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED,
			"no other stream-writer would take the shards of %s: start one, or undo the drain of one", r.GetInstance()).In("instance")
	}
	return nil
}

func (a *Admin) registered() ([]discovery.Member, error) {
	watched := a.members.Watch(discovery.RoleStreamWriter)
	members := slices.Clone(watched.Snapshot())
	if err := watched.Err(); len(members) == 0 && err != nil {
		return nil, rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_ETCD_ERROR, "%v", err)
	}
	slices.SortFunc(members, func(x, y discovery.Member) int { return cmp.Compare(x.Instance, y.Instance) })
	return members, nil
}

// ask has all writers say how they stand.
func (a *Admin) ask(ctx context.Context) ([]writer, error) {
	members, err := a.registered()
	if err != nil {
		return nil, err
	}
	writers := make([]writer, len(members))
	var group sync.WaitGroup
	for i, m := range members {
		writers[i].Member = m
		group.Go(func() {
			writers[i].err = a.call(ctx, m, func(ctx context.Context, w clusterv1.WriterServiceClient) (err error) {
				writers[i].says, err = w.Describe(ctx, &clusterv1.DescribeRequest{})
				return err
			})
		})
	}
	group.Wait()
	return writers, nil
}

func (a *Admin) call(ctx context.Context, m discovery.Member, f func(context.Context, clusterv1.WriterServiceClient) error) error {
	conn, err := a.dialer.Conn(m.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return f(ctx, clusterv1.NewWriterServiceClient(conn))
}
