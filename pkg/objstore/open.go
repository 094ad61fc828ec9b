package objstore

import (
	"context"

	"github.com/samsa-io/samsa/pkg/config"
)

// Option changes how [Open] opens a store.
type Option func(*options)

type options struct {
	onFatal func(error)
}

// OnFatal has f called, once, when the store fails for good (see [ErrFatal]), so
// that the service can end its process.
func OnFatal(f func(error)) Option { return func(o *options) { o.onFatal = f } }

// Open gives the store that cfg names. Release it with [Close].
func Open(ctx context.Context, cfg Config, opts ...Option) (Store, error) {
	if err := config.Problems(cfg.Validate()).OrNil(); err != nil {
		return nil, err
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	target, _ := parseURL(cfg.URL) // validated above
	switch target.scheme {
	case "s3":
		return openS3(ctx, target, cfg.S3)
	case "file":
		return NewFile(target.folder, o.onFatal)
	default:
		return NewMem(), nil
	}
}
