package settings

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
)

func TestExample_ListsEveryKeyWithItsDefault(t *testing.T) {
	all := Default()
	require.Empty(t, config.CheckExample("../../../../deploy/config/example.toml", all.Sections()))
}

// A section that no program reads would be taken in silence.
func TestForeign_NamesTheServicesOwnSections(t *testing.T) {
	all := Default()
	var own []string
	for _, s := range all.Sections()[len(all.Platform.Sections()):] {
		own = append(own, s.Name)
	}
	require.ElementsMatch(t, own, service.Foreign())
}

func TestDefault_IsValid(t *testing.T) {
	all := Default()
	_, err := config.Load(config.Options{Program: "test", Sections: all.Sections(), DefaultFiles: []string{}})
	require.NoError(t, err)
}
