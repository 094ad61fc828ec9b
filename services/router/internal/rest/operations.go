package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

// operation is a method of a REST path.
type operation struct {
	// rpc is the full name of the gRPC method.
	rpc   string
	query []string // the query parameters it knows
	body  bool     // takes a JSON body
}

// takesText tells whether records travel in the request or its response.
func (o operation) takesText() bool {
	switch o.rpc {
	case samsav1.StreamService_Append_FullMethodName, samsav1.StreamService_Read_FullMethodName, samsav1.StreamService_ReadSession_FullMethodName:
		return true
	}
	return false
}

// path is a template such as /api/v1/buckets/{bucket} with its operations.
type path struct {
	segments   []string
	operations map[string]operation // by HTTP method
}

// operations are the paths of the API.
type operations []path

// document is as much of an OpenAPI document as operations need.
type document struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Parameters  []struct {
			Name string `json:"name"`
			In   string `json:"in"`
		} `json:"parameters"`
	} `json:"paths"`
}

func parseOperations(openAPI []byte) (operations, error) {
	var doc document
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	var all operations
	for template, methods := range doc.Paths {
		p := path{segments: strings.Split(template, "/"), operations: map[string]operation{}}
		for method, described := range methods {
			// Further bindings of an RPC are numbered: ReconfigureBucket2.
			service, name, ok := strings.Cut(strings.TrimRight(described.OperationID, "0123456789"), "_")
			if !ok {
				return nil, fmt.Errorf("OpenAPI document: %s %s has operationId %q: want Service_Method", method, template, described.OperationID)
			}
			o := operation{rpc: "/samsa.v1." + service + "/" + name}
			for _, parameter := range described.Parameters {
				switch parameter.In {
				case "query":
					o.query = append(o.query, parameter.Name)
				case "body":
					o.body = true
				}
			}
			if o.takesText() {
				o.query = append(o.query, textParameter)
			}
			p.operations[strings.ToUpper(method)] = o
		}
		all = append(all, p)
	}
	return all, nil
}

// find returns the path that a request is for, and the values of its parameters.
func (all operations) find(u *url.URL) (found path, values map[string]string, err error) {
	segments := strings.Split(u.EscapedPath(), "/")
	for _, p := range all {
		if p.matches(segments) {
			values, err = p.values(segments)
			return p, values, err
		}
	}
	return path{}, nil, nil
}

func (p path) matches(segments []string) bool {
	return slices.EqualFunc(p.segments, segments, func(want, got string) bool {
		return got == want || isParameter(want) && got != ""
	})
}

func (p path) values(segments []string) (map[string]string, error) {
	values := map[string]string{}
	for i, want := range p.segments {
		if !isParameter(want) {
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, fmt.Errorf("path segment %q: %w", segments[i], err)
		}
		values[strings.Trim(want, "{}")] = value
	}
	return values, nil
}

func (p path) allowed() string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if _, ok := p.operations[method]; ok {
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, ", ")
}

func isParameter(segment string) bool { return strings.HasPrefix(segment, "{") }
