package s3

import "context"

// TB is what [ForTest] needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	TempDir() string
	Fatalf(format string, args ...any)
}

// ForTest starts a server that ends with the test.
func ForTest(t TB) *Server {
	t.Helper()
	server, err := Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("starting versitygw: %v", err)
	}
	t.Cleanup(server.Stop)
	return server
}
