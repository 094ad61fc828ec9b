package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/services/account/config"
)

func TestDefault_IsValid(t *testing.T) {
	c := config.Default()
	require.Empty(t, c.Account.Validate())
	require.Equal(t, "account", c.Sections()[len(c.Sections())-1].Name)
}

func TestValidate_FindsEveryProblem(t *testing.T) {
	problems := new(config.Account).Validate()
	require.Len(t, problems, 3)
	for _, p := range problems {
		require.Contains(t, p.Key, "account.")
		require.Equal(t, "0", p.Value)
		require.NotEmpty(t, p.Remedy)
	}
}
