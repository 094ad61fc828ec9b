// Command router is the one address of a Samsa cluster: REST, gRPC and
// server-sent events.
package main

import (
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/router/app"
	"github.com/samsa-io/samsa/services/router/config"
)

func main() {
	c := config.Default()
	service.Main(service.Program{
		Name: "router", Config: &c.Platform, Sections: c.Sections(),
		Module: func() fx.Option { return app.Module(c) },
	})
}
