package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/services/bucket/config"
)

func TestDefault_IsValid(t *testing.T) {
	c := config.Default()
	require.Empty(t, c.Bucket.Validate())
	require.Equal(t, "bucket", c.Sections()[len(c.Sections())-1].Name)
}

func TestValidate_FindsEveryProblem(t *testing.T) {
	problems := new(config.Bucket).Validate()
	require.Len(t, problems, 3)
	for _, p := range problems {
		require.Contains(t, p.Key, "bucket.")
		require.Equal(t, "0", p.Value)
		require.NotEmpty(t, p.Remedy)
	}
}
