module github.com/samsa-io/samsa/services/bucket

go 1.26.0

require (
	github.com/samsa-io/samsa/gen v0.0.0
	github.com/samsa-io/samsa/pkg v0.0.0
)

replace (
	github.com/samsa-io/samsa/gen => ../../gen
	github.com/samsa-io/samsa/pkg => ../../pkg
)
