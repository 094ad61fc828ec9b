package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	pkgconfig "github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/services/compactor/config"
)

func TestDefault_IsValidAndInTheExample(t *testing.T) {
	c := config.Default()
	require.Empty(t, c.Compactor.Validate())
	require.Empty(t, pkgconfig.CheckExample("../../../deploy/config/example.toml", c.Sections()))
}

func TestValidate_FindsEveryProblem(t *testing.T) {
	problems := (&config.Compactor{LiveBytes: -1, LiveAgeSecs: -1, SealAgeSecs: -1}).Validate()
	require.Len(t, problems, 8)
	for _, p := range problems {
		require.Contains(t, p.Key, "compactor.")
		require.NotEmpty(t, p.Remedy)
	}
}
