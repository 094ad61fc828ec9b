package settings

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/config"
)

func TestExample_ListsEveryKeyWithItsDefault(t *testing.T) {
	all := Default()
	require.Empty(t, config.CheckExample("../../../../deploy/config/example.toml", all.Sections()))
}

func TestDefault_IsValid(t *testing.T) {
	all := Default()
	_, err := config.Load(config.Options{Program: "test", Sections: all.Sections(), DefaultFiles: []string{}})
	require.NoError(t, err)
}
