package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/auth/mtls"
	"github.com/samsa-io/samsa/pkg/rpc"
)

// peerKey is the metadata that carries the peers' shared secret.
const peerKey = "samsa-peer-secret"

// Peers tells the cluster's own services from others. By certificate it knows
// which service it is, too.
type Peers struct {
	// TrustDomain is that of the certificates; "": there are none.
	TrustDomain string
	// Secret is what peers share that have no certificates; "": they don't.
	Secret string
}

// check refuses a caller that is not one of the roles. A role is known by its
// certificate alone: a caller in the same process, or with the shared secret, may
// be any of them. It holds for API calls too, whoever's token they bring: the limits
// and the time-outs of the router are not to be passed by.
func (p Peers) check(ctx context.Context, m *method) error {
	switch {
	case inProcess(ctx):
		return nil
	case p.TrustDomain != "":
		if p.hasRole(ctx, m.callers) {
			return nil
		}
	case p.Secret != "" && p.hasSecret(ctx):
		return nil
	}
	return notPeer()
}

func notPeer() error {
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PERMISSION_DENIED, "this is for certain services of the cluster, and the caller has not proved to be one").
		With("reason", "wrong_identity")
}

// inProcess tells a connection that never left the process.
func inProcess(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	return ok && p.Addr != nil && mtls.IsInProcess(p.Addr)
}

func (p Peers) hasRole(ctx context.Context, roles []string) bool {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	return ok && mtls.HasRole(info.State, p.TrustDomain, roles)
}

func (p Peers) hasSecret(ctx context.Context) bool {
	given := metadata.ValueFromIncomingContext(ctx, peerKey)
	if len(given) != 1 {
		return false
	}
	want, got := sha256.Sum256([]byte(p.Secret)), sha256.Sum256([]byte(given[0]))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// PeerCredentials go with every call to another service. They send the shared secret,
// and where there are certificates see to it that the other one is of the role that
// answers the call: etcd is not believed in that, since whoever may register there
// could have a writer's records and the clients' tokens sent to it.
type PeerCredentials struct {
	peers   Peers
	methods table
}

// NewPeerCredentials fails if an RPC has no rule.
func NewPeerCredentials(p Peers) (*PeerCredentials, error) {
	methods, err := newTable(services(), rules())
	return &PeerCredentials{peers: p, methods: methods}, err
}

// GetRequestMetadata implements credentials.PerRPCCredentials. gRPC calls it when the
// connection stands, before it sends anything of the call.
func (c *PeerCredentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if c.peers.TrustDomain != "" {
		if err := c.checkServer(ctx); err != nil {
			return nil, err
		}
	}
	if c.peers.Secret == "" {
		return nil, nil
	}
	return map[string]string{peerKey: c.peers.Secret}, nil
}

// checkServer fails as a connection does that can't be made.
func (c *PeerCredentials) checkServer(ctx context.Context) error {
	request, _ := credentials.RequestInfoFromContext(ctx)
	secured, ok := request.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil // within the process: everything else is TLS
	}
	m := c.methods[request.Method]
	switch {
	case m == nil && isOpen(serviceOf(request.Method)):
		return nil
	case m != nil && mtls.ServerHasRole(secured.State, c.peers.TrustDomain, m.server):
		return nil
	}
	return status.Errorf(codes.Unavailable, "the server's certificate is not of the role that answers %s", request.Method)
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: networks where
// others may listen want certificates instead of the secret.
func (*PeerCredentials) RequireTransportSecurity() bool { return false }
