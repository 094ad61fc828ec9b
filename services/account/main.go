// Command account keeps buckets and access tokens.
package main

import (
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/account/app"
	"github.com/samsa-io/samsa/services/account/config"
)

func main() {
	c := config.Default()
	service.Main(service.Program{
		Name: "account", Config: &c.Platform, Sections: c.Sections(),
		Module: func() fx.Option { return app.Module(c) },
	})
}
