// Command stream-writer appends records to streams and owns shards.
package main

import (
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/stream-writer/app"
	"github.com/samsa-io/samsa/services/stream-writer/config"
)

func main() {
	c := config.Default()
	service.Main(service.Program{
		Name: "stream-writer", Config: &c.Platform, Sections: c.Sections(),
		Module: func() fx.Option { return app.Module(c) },
	})
}
