// Command stream-reader reads streams and follows them live.
package main

import (
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/stream-reader/app"
	"github.com/samsa-io/samsa/services/stream-reader/config"
)

func main() {
	c := config.Default()
	service.Main(service.Program{
		Name: "stream-reader", Config: &c.Platform, Sections: c.Sections(),
		Module: func() fx.Option { return app.Module(c) },
	})
}
