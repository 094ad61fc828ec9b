// Command bucket keeps the streams of buckets.
package main

import (
	"go.uber.org/fx"

	"github.com/samsa-io/samsa/pkg/service"
	"github.com/samsa-io/samsa/services/bucket/app"
	"github.com/samsa-io/samsa/services/bucket/config"
)

func main() {
	c := config.Default()
	service.Main(service.Program{
		Name: "bucket", Config: &c.Platform, Sections: c.Sections(),
		Module: func() fx.Option { return app.Module(c) },
	})
}
