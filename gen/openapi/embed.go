// Package openapi holds the OpenAPI document that is generated from the API.
package openapi

import _ "embed"

// Document is the OpenAPI 2 document of the REST API.
//
//go:embed samsa.swagger.json
var Document []byte
