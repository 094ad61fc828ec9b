package service

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/config"
)

const examples = "../../deploy/config/"

func writeFile(t *testing.T, path, body string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(body), 0o600))
}

func TestConfigFiles_AreValid(t *testing.T) {
	for _, name := range []string{"example", "development", "production"} {
		c := Default()
		_, err := config.Load(config.Options{Sections: c.Sections(), Foreign: Foreign(), File: examples + name + ".toml"})
		require.NoError(t, err, name)
	}
}

func TestExampleConfig_ListsEveryKeyWithItsDefault(t *testing.T) {
	c := Default()
	require.Empty(t, config.CheckExample(examples+"example.toml", c.Sections()))
}
