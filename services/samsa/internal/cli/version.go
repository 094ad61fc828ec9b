package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/samsa-io/samsa/pkg/service"
)

type versionRow struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Time     string `json:"time"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (v versionRow) cells() []string {
	return []string{v.Version, v.Revision, v.Time, v.Go, v.Platform}
}

func build() versionRow {
	v := versionRow{Version: service.Version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	settings := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	v.Revision = cmp.Or(settings["vcs.revision"], "unknown")
	if settings["vcs.modified"] == "true" {
		v.Revision += " with changes"
	}
	v.Time = cmp.Or(settings["vcs.time"], "unknown")
	return v
}

func (a *app) versionCommand() *cobra.Command {
	var f *format
	c := command("version", "Show what was built, from what", "  samsa version --format json", cobra.NoArgs,
		func(*cobra.Command, []string) error {
			return show(a.Out, f, build(), []string{"version", "revision", "time", "go", "platform"})
		})
	f = tableFormat(c.Flags())
	return c
}
