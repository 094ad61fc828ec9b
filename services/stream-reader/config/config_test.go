package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidate_AcceptsTheDefaults(t *testing.T) {
	c := Default()
	require.Empty(t, c.Reader.Validate())
}

func TestValidate_NamesEveryProblem(t *testing.T) {
	problems := (&Reader{HeartbeatSecs: 16, CacheBytes: -1}).Validate()

	require.Len(t, problems, 13)
	for _, p := range problems {
		require.NotEmpty(t, p.Key)
		require.NotEmpty(t, p.Value)
		require.NotEmpty(t, p.Remedy)
	}
}
