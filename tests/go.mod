module github.com/samsa-io/samsa/tests

go 1.26.0

require (
	github.com/samsa-io/samsa/gen v0.0.0
	github.com/samsa-io/samsa/pkg v0.0.0
)

require (
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	k8s.io/api v0.34.1 // indirect
	k8s.io/apimachinery v0.34.1 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)

replace (
	github.com/samsa-io/samsa/gen => ../gen
	github.com/samsa-io/samsa/pkg => ../pkg
)
