package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"

	"github.com/samsa-io/samsa/services/samsa/internal/settings"
)

func (a *app) configCommand() *cobra.Command {
	return a.group("config", "Look at the configuration that services would run with", "", a.configShow(), a.configValidate())
}

// loadConfig loads what the flags of c, the environment and the file say.
func loadConfig(c *cobra.Command, sections []config.Section, foreign []string) (*config.Loaded, error) {
	return config.Load(config.Options{
		Program: "samsa", Sections: sections, Foreign: foreign, Flags: c.Flags(), Environ: os.Environ(),
	})
}

type settingRow struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func (s settingRow) cells() []string { return []string{s.Key, s.Value, s.Origin} }

func (a *app) configShow() *cobra.Command {
	all := settings.Default()
	sections := all.Sections()
	var changed bool
	var f *format
	c := command("show", "Show every key, its value, and where that comes from",
		"  samsa config show --config deploy/config/production.toml\n  SAMSA_SERVER_PORT=1 samsa config show --changed", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			loaded, err := loadConfig(c, sections, service.Foreign())
			if err != nil {
				return err
			}
			values := loaded.Values()
			if changed {
				values = loaded.Changed()
			}
			return list(a.Out, f, []string{"KEY", "VALUE", "FROM"}, func(yield func(settingRow, error) bool) {
				for _, v := range values {
					if !yield(settingRow{v.Key, v.Value, v.Origin}, nil) {
						return
					}
				}
			})
		})
	c.Flags().BoolVar(&changed, "changed", false, "only what is not the default")
	f = tableFormat(c.Flags())
	config.AddFlags(c.Flags(), sections)
	return c
}

func (a *app) configValidate() *cobra.Command {
	all := settings.Default()
	sections := all.Sections()
	c := command("validate", "List every problem of the configuration",
		"  samsa config validate --config deploy/config/production.toml", cobra.NoArgs,
		func(c *cobra.Command, _ []string) error {
			if _, err := loadConfig(c, sections, service.Foreign()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.Out, "The configuration is valid.")
			return err
		})
	config.AddFlags(c.Flags(), sections)
	return c
}
