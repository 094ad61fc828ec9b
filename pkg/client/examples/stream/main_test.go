package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/client/clienttest"
)

func TestRun(t *testing.T) {
	server, err := clienttest.Start()
	require.NoError(t, err)
	defer server.Stop()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), server.Address(), &out))
	require.Contains(t, out.String(), "followed 1500 records live")
	require.Contains(t, out.String(), "the next one is 1500")
}
