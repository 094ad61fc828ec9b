package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidate_NamesEveryProblem(t *testing.T) {
	c := Default()
	require.Empty(t, c.Router.Validate())
	require.Len(t, new(Router).Validate(), 10)
	require.Equal(t, "127.0.0.1:8080", c.HTTPAddress())
}
