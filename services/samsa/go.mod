module github.com/samsa-io/samsa/services/samsa

go 1.26.0

require (
	github.com/samsa-io/samsa/gen v0.0.0
	github.com/samsa-io/samsa/pkg v0.0.0
	github.com/samsa-io/samsa/services/account v0.0.0
	github.com/samsa-io/samsa/services/bucket v0.0.0
	github.com/samsa-io/samsa/services/compactor v0.0.0
	github.com/samsa-io/samsa/services/router v0.0.0
	github.com/samsa-io/samsa/services/stream-reader v0.0.0
	github.com/samsa-io/samsa/services/stream-writer v0.0.0
)

require github.com/HdrHistogram/hdrhistogram-go v1.4.0 // indirect

replace (
	github.com/samsa-io/samsa/gen => ../../gen
	github.com/samsa-io/samsa/pkg => ../../pkg
	github.com/samsa-io/samsa/services/account => ../account
	github.com/samsa-io/samsa/services/bucket => ../bucket
	github.com/samsa-io/samsa/services/compactor => ../compactor
	github.com/samsa-io/samsa/services/router => ../router
	github.com/samsa-io/samsa/services/stream-reader => ../stream-reader
	github.com/samsa-io/samsa/services/stream-writer => ../stream-writer
)
