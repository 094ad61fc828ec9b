// Command compactor moves records from logs into chunks and deletes what is not
// needed any more.
package main

import (
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/compactor/app"
	"github.com/samsa-io/samsa/services/compactor/config"
)

func main() {
	c := config.Default()
	service.Main(service.Program{
		Name: "compactor", Config: &c.Platform, Sections: c.Sections(),
		Module: func() fx.Option { return app.Module(c) },
	})
}
