package routertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// RequirePushBack requires that a stream-writer which takes nothing stops a client of
// the router before much piles up on the way.
func RequirePushBack(t testing.TB, r *Rig, client samsav1.StreamServiceClient) {
	release := make(chan struct{})
	defer close(release)
	r.Add("stream-writer", &Service{AppendSession: func(ss samsav1.StreamService_AppendSessionServer) error {
		if err := ss.SendHeader(nil); err != nil {
			return err
		}
		<-release
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	session, err := client.AppendSession(ctx)
	require.NoError(t, err)
	request := &samsav1.AppendSessionRequest{Bucket: "logs", Stream: "a", Records: []*samsav1.AppendRecord{{Body: make([]byte, 1<<20)}}}
	require.NoError(t, session.Send(request))
	_, err = session.Header() // the writer has the session
	require.NoError(t, err)
	time.AfterFunc(500*time.Millisecond, cancel)
	n := 0
	for ; session.Send(request) == nil && n < 1000; n++ { // until it is cancelled, if all is well
	}
	require.Less(t, n, 100)
}
