package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

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

// PeerCredentials sends the peers' shared secret with every call between services.
type PeerCredentials string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (c PeerCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{peerKey: string(c)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: networks where
// others may listen want certificates instead.
func (PeerCredentials) RequireTransportSecurity() bool { return false }
