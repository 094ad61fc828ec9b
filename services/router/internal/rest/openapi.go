package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
)

type object = map[string]any

// publish completes the generated document with what the generator can't know.
func publish(generated []byte) ([]byte, error) {
	var doc object
	if err := json.Unmarshal(generated, &doc); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	doc["info"] = object{"title": "Samsa", "version": "v1", "description": "A distributed store for streams of records."}
	describeTags(doc)
	describeErrors(doc)
	for _, methods := range asObject(doc["paths"]) {
		for _, o := range asObject(methods) {
			describeOperation(asObject(o))
		}
	}
	return json.MarshalIndent(doc, "", "  ")
}

func asObject(v any) object {
	o, _ := v.(object)
	return o
}

// describeTags leaves out the services that have no paths.
func describeTags(doc object) {
	tags, _ := doc["tags"].([]any)
	doc["tags"] = slices.DeleteFunc(tags, func(tag any) bool {
		name := asObject(tag)["name"]
		return name == "WriterService" || name == "AdminService"
	})
}

// describeErrors defines the body of errors.
func describeErrors(doc object) {
	codes := make([]string, 0, len(samsav1.ErrorCode_name))
	for _, number := range sortedKeys(samsav1.ErrorCode_name) {
		codes = append(codes, samsav1.ErrorCode_name[number])
	}
	definitions := asObject(doc["definitions"])
	delete(definitions, "rpcStatus")
	delete(definitions, "protobufAny")
	definitions["ErrorDetail"] = object{
		"type": "object",
		"properties": object{
			"code":       object{"type": "string", "enum": codes},
			"message":    object{"type": "string"},
			"metadata":   object{"type": "object", "additionalProperties": object{"type": "string"}},
			"field":      object{"type": "string", "description": "The request field at fault."},
			"request_id": object{"type": "string"},
		},
	}
}

func sortedKeys(names map[int32]string) []int32 {
	keys := make([]int32, 0, len(names))
	for key := range names {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func describeOperation(o object) {
	responses := asObject(o["responses"])
	responses["default"] = object{"description": "An error.", "schema": object{"$ref": "#/definitions/ErrorDetail"}}
	id, _ := o["operationId"].(string)
	switch id {
	case "StreamService_ReadSession":
		o["produces"] = []string{linesType, eventsType}
		responses["200"] = object{
			"description": "One object a line, or one an event.",
			"schema":      object{"$ref": "#/definitions/v1ReadSessionResponse"},
		}
	case "StreamService_Append", "StreamService_Read":
	default:
		return
	}
	parameters, _ := o["parameters"].([]any)
	o["parameters"] = append(parameters, object{
		"name": textParameter, "in": "query", "required": false, "type": "boolean",
		"description": "Record bodies, header names and values are plain strings; what is not UTF-8 stands as base64 in body_base64, name_base64, value_base64.",
	})
}

func (h *Handler) serveDocument(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		h.fail(w, r, wrongMethod(r, http.MethodGet))
		return
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(h.document)
}
