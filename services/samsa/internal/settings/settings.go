// Package settings is the configuration of all services together, for the program
// that runs them in one process and for the commands that show and check it.
package settings

import (
	"github.com/samsa-io/samsa/pkg/config"
	"github.com/samsa-io/samsa/pkg/service"
	account "github.com/samsa-io/samsa/services/account/config"
	bucket "github.com/samsa-io/samsa/services/bucket/config"
	compactor "github.com/samsa-io/samsa/services/compactor/config"
	router "github.com/samsa-io/samsa/services/router/config"
	reader "github.com/samsa-io/samsa/services/stream-reader/config"
	writer "github.com/samsa-io/samsa/services/stream-writer/config"
)

// All is every section of every service.
type All struct {
	Platform  service.Config
	Account   account.Account
	Bucket    bucket.Bucket
	Compactor compactor.Compactor
	Router    router.Router
	Reader    reader.Reader
	Writer    writer.Writer
}

// Default runs against compose.yaml.
func Default() All {
	return All{
		Platform:  service.Default(),
		Account:   account.Default().Account,
		Bucket:    bucket.Default().Bucket,
		Compactor: compactor.Default().Compactor,
		Router:    router.Default().Router,
		Reader:    reader.Default().Reader,
		Writer:    writer.Default().Writer,
	}
}

// Sections is a for config.Load, which fills a.
func (a *All) Sections() []config.Section {
	return append(a.Platform.Sections(),
		config.Section{Name: "account", Value: &a.Account},
		config.Section{Name: "bucket", Value: &a.Bucket},
		config.Section{Name: "compactor", Value: &a.Compactor},
		config.Section{Name: "router", Value: &a.Router},
		config.Section{Name: "stream_reader", Value: &a.Reader},
		config.Section{Name: "stream_writer", Value: &a.Writer},
	)
}
